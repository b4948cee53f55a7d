"""What columns may hold, on DataFrames, RDDs and locally: values as numpy has them, and nulls."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pytest
from pyspark.errors import PythonException

import zoo_keras as keras
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.feed.columns import as_column

D, T = datetime.date, datetime.datetime
UTC = datetime.timezone.utc
SECONDS = 1_700_000_000.0

# Spark type, three values, and what numpy makes of them.
KINDS = [
    ("boolean", [True, False, True], [1, 0, 1]),
    ("tinyint", [-128, 0, 127], [-128, 0, 127]),
    ("smallint", [-300, 0, 300], [-300, 0, 300]),
    ("int", [-(1 << 20), 0, 1 << 20], [-(1 << 20), 0, 1 << 20]),
    ("bigint", [-(1 << 20), 0, 1 << 20], [-(1 << 20), 0, 1 << 20]),
    ("float", [0.5, -1.5, 2.0], [0.5, -1.5, 2.0]),
    ("double", [0.1, -1.5, 2.0], [0.1, -1.5, 2.0]),
    ("decimal(10,2)", [decimal.Decimal(v) for v in ("1.25", "-3.50", "0.01")], [1.25, -3.5, 0.01]),
    ("date", [D(1970, 1, 3), D(1969, 12, 31), D(2020, 1, 1)], [2, -1, 18262]),
    ("timestamp", [T.fromtimestamp(s, UTC) for s in (2.5, 0.0, SECONDS)], [2.5, 0, SECONDS]),
    ("timestamp_ntz", [T(1970, 1, 1, 0, 0, s) for s in (1, 2, 3)], [1, 2, 3]),
    ("interval day to second", [datetime.timedelta(hours=h) for h in (1, 2, 3)],
     [3600, 7200, 10800]),
    ("array<int>", [[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]),
    ("array<array<double>>", [[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]],
     [[[1, 2]], [[3, 4]], [[5, 6]]]),
    ("array<date>", [[D(1970, 1, d)] * 2 for d in (1, 2, 3)], [[0, 0], [1, 1], [2, 2]]),
    ("struct<a:int,b:double>", [(1, 0.5), (2, 1.5), (3, 2.5)], [[1, 0.5], [2, 1.5], [3, 2.5]]),
    ("array<struct<a:int,b:int>>", [[(1, 2), (3, 4)]] * 3, [[[1, 2], [3, 4]]] * 3),
    ("struct<a:array<int>,d:date>", [([1, 2], D(1970, 1, 5))] * 3, [[1, 2, 4]] * 3),
]  # fmt: skip
NAMES = [kind for kind, _, _ in KINDS]


SHAPES = [np.array(want).shape[1:] or (1,) for _, _, want in KINDS]


def identity_of(shapes):
    """A model that gives back what it reads: an input and an output for each shape."""
    inputs = {f"c{i}": keras.Input(s, name=f"c{i}") for i, s in enumerate(shapes)}
    return keras.Model(inputs, [keras.layers.Rescaling(1.0)(t) for t in inputs.values()])


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


def scored(model, frame, cols, outputs=1, **given):
    """The outputs for a frame's rows, (rows, ...) for each."""
    names = [f"out{i}" for i in range(outputs)]
    rows = model.predict(frame.coalesce(1), feature_cols=cols, output_col=names, **given).collect()
    return [np.array([row[name] for row in rows], np.float32) for name in names]


@pytest.mark.spark
def test_columns_of_a_frame_read_as_numpy(spark):
    rows = list(zip(*[values for _, values, _ in KINDS], strict=True))
    schema = ", ".join(f"k{i} {kind}" for i, kind in enumerate(NAMES))
    cols = {f"c{i}": f"k{i}" for i in range(len(KINDS))}
    got = scored(identity_of(SHAPES), spark.createDataFrame(rows, schema), cols, len(KINDS))
    for (kind, _, want), found in zip(KINDS, got, strict=True):
        want = np.array(want, np.float32)
        np.testing.assert_array_equal(found.reshape(want.shape), want, kind)


@pytest.mark.spark
def test_many_columns_travel_as_one_array_and_read_as_each(spark):
    kinds = ["float", "bigint", "double", "boolean", "tinyint", "smallint", "int"] * 10
    values = [0.5, (1 << 62) + (1 << 38) + 1, 0.1, True, -128, 300, -(1 << 30)] * 10
    names = [f"a.`{i}" for i in range(len(kinds))]
    schema = ", ".join(f"k{i} {kind}" for i, kind in enumerate(kinds))
    rows = [values, [type(v)(0) for v in values], values]
    frame = spark.createDataFrame(rows, schema).toDF(*names)
    (found,) = scored(identity_of([(len(kinds),)]), frame, names)
    want = np.stack([np.array(column).astype("f4") for column in zip(*rows, strict=True)], axis=1)
    np.testing.assert_array_equal(found, want)  # rounded once
    (found,) = scored(identity_of([(3,)]), frame, names[:3])  # few travel one by one
    np.testing.assert_array_equal(found, want[:, :3])


@pytest.mark.spark
def test_many_columns_train_and_score_as_one_array_column(spark):
    x = np.random.default_rng(0).integers(-50, 50, (40, 70)) / 8
    names, y = [f"c{i}" for i in range(70)], x[:, 0].tolist()
    wide = spark.createDataFrame([(*row, t) for row, t in zip(x.tolist(), y, strict=True)],
                                 [*names, "y"]).coalesce(1)  # fmt: skip
    one = spark.createDataFrame(list(zip(x.tolist(), y, strict=True)), ["x", "y"]).coalesce(1)
    results = []
    for frame, cols in ((wide, names), (one, "x")):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((70,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        how = {"feature_cols": cols, "label_cols": "y"}
        history = model.fit(frame, validation_data=frame, epochs=2, batch_size=8, verbose=0, **how)
        loss = model.evaluate(frame, verbose=0, **how)
        results.append((history.history, loss, scored(model, frame, cols)[0].tolist()))
    assert results[0] == results[1]


@pytest.mark.spark
def test_records_read_as_numpy(local2):
    plain = [i for i, kind in enumerate(NAMES) if "struct" not in kind]
    rows = list(zip(*[KINDS[i][1] for i in plain], strict=True))
    records = [{f"c{n}": np.array(v) if isinstance(v, list) else v for n, v in enumerate(row)}
               for row in rows]  # fmt: skip
    model = identity_of([SHAPES[i] for i in plain])
    got = model.predict(local2.parallelize(records, 1)).collect()
    for n, i in enumerate(plain):
        want = np.array(KINDS[i][2], np.float32)
        found = np.stack([row[n] for row in got]).reshape(want.shape)
        np.testing.assert_array_equal(found, want, NAMES[i])


@pytest.mark.spark
def test_vectors_and_images_of_spark_read_as_their_arrays(spark):
    from pyspark.ml.linalg import Vectors

    images = np.arange(2 * 3 * 2 * 3, dtype=np.uint8).reshape(2, 3, 2, 3)
    structs = [("file", 3, 2, 3, 16, bytearray(i.tobytes())) for i in images]
    vectors = [Vectors.dense([1.0, 0.0, 2.0]), Vectors.sparse(3, {1: 5.0})]
    schema = "i struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
    (pixels,) = scored(identity_of([(3, 2, 3)]), spark.createDataFrame(
        [(s,) for s in structs], schema), "i")  # fmt: skip
    np.testing.assert_array_equal(pixels, images)
    (found,) = scored(identity_of([(3,)]), spark.createDataFrame(
        [(v,) for v in vectors], ["v"]), "v")  # fmt: skip
    np.testing.assert_array_equal(found, [[1, 0, 2], [0, 5, 0]])


@pytest.mark.parametrize(("kind", "values", "want"), KINDS, ids=NAMES)
def test_arrow_arrays_read_as_numpy(kind, values, want):
    pa = pytest.importorskip("pyarrow")
    if "struct" in kind:
        values = [_dicts(v) for v in values]
    for made in (pa.array(values), pa.chunked_array([pa.array(values[:1]), pa.array(values[1:])])):
        np.testing.assert_allclose(as_column(made, "x"), np.array(want), 1e-6)


def _dicts(value):
    if isinstance(value, list) and isinstance(value[0], tuple):
        return [_dicts(v) for v in value]
    names = "ad" if isinstance(value[0], list) else "ab"
    return dict(zip(names, value, strict=True)) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("kind", "values", "want"), KINDS[:12], ids=NAMES[:12])
def test_lists_and_objects_read_as_numpy(kind, values, want):
    for made in (values, np.array(values, object)):
        np.testing.assert_allclose(as_column(made, "x"), np.array(want), 1e-6)
    if "datetime" in type(values[0]).__module__:
        without_zone = [v.replace(tzinfo=None) if isinstance(v, T) else v for v in values]
        np.testing.assert_allclose(as_column(np.array(without_zone, "M8[us]" if isinstance(
            values[0], T) else None), "x"), np.array(want), 1e-6)  # fmt: skip


def test_tables_of_pandas_read_column_by_column():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1, 2], "d": [D(1970, 1, 2), D(1970, 1, 3)]})
    np.testing.assert_array_equal(as_column(table, "x"), [[1, 1], [2, 2]])
    table["n"] = pandas.Series([1, None], dtype="Int64")
    with pytest.raises(DataError, match=r"x, column n, row 1: .*Received: a null"):
        as_column(table, "x")
    filled = as_column(table, "x", {"n": 7})
    np.testing.assert_array_equal(filled, [[1, 1, 1], [2, 2, 7]])


# ---- nulls ---------------------------------------------------------------------------------------

NULLS = [
    ("x int", [1, None, 3], -1, [1, -1, 3]),
    ("x double", [1.5, None, float("nan")], 0.5, [1.5, 0.5, 0.5]),
    ("x boolean", [True, None, False], 0, [1, 0, 0]),
    ("x tinyint", [1, None, 3], 0.5, [1, 0.5, 3]),
    ("x date", [D(1970, 1, 3), None, D(1970, 1, 2)], 0, [2, 0, 1]),
    ("x array<int>", [[1, 2], None, [3, None]], 9, [[1, 2], [9, 9], [3, 9]]),
]


@pytest.mark.spark
def test_a_null_is_named_or_filled_by_frames(spark):
    for schema, values, fill, want in NULLS:
        frame = spark.createDataFrame([(v,) for v in values], schema)
        model = identity_of([np.array(want).shape[1:] or (1,)])
        (got,) = scored(model, frame, "x", fill_value=fill)
        np.testing.assert_array_equal(got.reshape(np.shape(want)), want, schema)
    with pytest.raises(PythonException, match=r"Row 1: column x: .*Received: null.*fill_value"):
        scored(model, frame, "x")
    with pytest.raises(ConfigError, match=r"not chosen. Received: \['z'\]"):
        scored(model, frame, "x", fill_value={"z": 1})


@pytest.mark.spark
def test_a_null_among_many_columns_is_named_or_filled_by_frames(spark):
    names = [f"c{i}" for i in range(70)]
    rows = [[float(i) for i in range(70)], [None if i == 7 else 1.0 for i in range(70)]]
    frame = spark.createDataFrame(rows, ", ".join(f"{n} double" for n in names))
    model = identity_of([(70,)])
    with pytest.raises(Exception, match=r"Row 1: column c7: expected numbers\. Received: null"):
        scored(model, frame, names)
    (found,) = scored(model, frame, names, fill_value={"c7": 5})
    assert found[1].tolist() == [5.0 if i == 7 else 1.0 for i in range(70)]


@pytest.mark.parametrize(("schema", "values", "fill", "want"), NULLS[:5])
def test_a_null_is_named_or_filled_in_lists(schema, values, fill, want):
    np.testing.assert_array_equal(as_column(values, "x", fill), want)
    if None in values[:2] and "double" not in schema:
        with pytest.raises(DataError, match=r"x, row 1: .*a null"):
            as_column(values, "x")


@pytest.mark.spark
def test_a_fit_fills_nulls_alike_on_frames_records_and_arrays(spark):
    rows = [(float(i) if i % 3 else None, i % 5, float(i % 2)) for i in range(32)]
    frame = spark.createDataFrame(rows, "a double, b int, y double").coalesce(1)

    def fitted(*args, **given):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        model.fit(*args, batch_size=32, epochs=2, shuffle=False, verbose=0, **given)
        return model

    x = np.array([[np.nan if a is None else a, b] for a, b, _ in rows])
    y = np.array([r[2] for r in rows], np.float32)
    here = fitted(x, y, fill_value=0.25)
    cols = {"feature_cols": ["a", "b"], "label_cols": "y"}
    records = spark.sparkContext.parallelize([([a, b], y) for a, b, y in rows], 1)
    for other in (fitted(frame, fill_value={"a": 0.25}, **cols), fitted(records, fill_value=0.25)):
        for a, b in zip(here.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(b, a, 1e-5, 1e-6)
    want = here.evaluate(x, y, fill_value=0.25, verbose=0)
    np.testing.assert_allclose(here.evaluate(frame, fill_value=0.25, **cols), want, 1e-5)
    with pytest.raises(DataError, match=r"Column a, first row: expected numbers. Received: null"):
        fitted(frame, **cols)


# ---- rows of different sizes ---------------------------------------------------------------------

TOKENS = [[int(t) for t in np.random.default_rng(i).integers(1, 9, 1 + i * 7 % 5)]
          for i in range(24)]  # fmt: skip
LONG = [row + [0] * (5 - len(row)) for row in TOKENS]
LABELS = np.array([row[0] % 2 for row in TOKENS], np.float32)


def model_of_tokens(masks=True):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([
        keras.Input((None,), dtype="int32"), keras.layers.Embedding(9, 4, mask_zero=masks),
        keras.layers.LSTM(3), keras.layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
    return model


def test_rows_of_different_lengths_give_what_each_gives_alone():
    pa, model = pytest.importorskip("pyarrow"), model_of_tokens()
    want = np.concatenate([model.predict(np.array([row]), verbose=0) for row in TOKENS])
    objects = np.empty(len(TOKENS), object)
    objects[:] = TOKENS
    for given in (TOKENS, [np.array(row) for row in TOKENS], objects, pa.array(TOKENS)):
        np.testing.assert_array_equal(model.predict(given, batch_size=4, verbose=0), want)


def test_outputs_of_different_sizes_are_a_list():
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 3)])
    images = [np.random.default_rng(i).uniform(size=(4 + i % 2, 5 + i % 3, 1)) for i in range(7)]
    got = model.predict(images, verbose=0)
    for found, image in zip(got, images, strict=True):
        np.testing.assert_array_equal(found, model.predict(image[None], verbose=0)[0])


def test_a_masking_model_trains_on_padded_rows_as_on_rows_of_one_length():
    ragged, whole = model_of_tokens(), model_of_tokens()
    arguments = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    ragged.fit(TOKENS, LABELS, pad_value=0, validation_data=(TOKENS, LABELS), **arguments)
    whole.fit(np.array(LONG), LABELS, **arguments)
    for a, b in zip(ragged.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)
    want = whole.evaluate(np.array(LONG), LABELS, verbose=0)
    np.testing.assert_allclose(ragged.evaluate(TOKENS, LABELS, pad_value=0, verbose=0), want, 1e-5)


def test_rows_are_padded_only_when_asked_for_and_only_where_sizes_are_open():
    model = model_of_tokens()
    with pytest.raises(DataError, match=r"x, row 1 .*different lengths.*pad_value"):
        model.fit(TOKENS, LABELS, verbose=0)
    with pytest.raises(ConfigError, match=r"pad_value must be a finite number. Received: 'x'"):
        model.fit(TOKENS, LABELS, pad_value="x", verbose=0)
    images = keras.Sequential([keras.Input((None, 2)), keras.layers.GlobalMaxPooling1D()])
    with pytest.raises(DataError, match=r"x, row 1: expected shape \(None, 2\).*\(4, 3\)"):
        images.predict([np.zeros((3, 2)), np.zeros((4, 3))], verbose=0)


def test_targets_are_padded_with_their_rows():
    def tagger():
        keras.utils.set_random_seed(4)
        model = keras.Sequential([
            keras.Input((None,), dtype="int32"), keras.layers.Embedding(9, 4, mask_zero=True),
            keras.layers.Dense(3, activation="softmax"),
        ])  # fmt: skip
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    tags, long = [[t % 3 for t in row] for row in TOKENS], [[t % 3 for t in row] for row in LONG]
    ragged, whole = tagger(), tagger()
    ragged.fit(TOKENS, tags, batch_size=24, shuffle=False, pad_value=0, verbose=0)
    whole.fit(np.array(LONG), np.array(long), batch_size=24, shuffle=False, verbose=0)
    for a, b in zip(ragged.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


@pytest.mark.spark
def test_rows_of_different_lengths_score_on_spark_as_alone(spark):
    model = model_of_tokens()
    want = np.concatenate([model.predict(np.array([row]), verbose=0) for row in TOKENS])
    frame = spark.createDataFrame([(row,) for row in TOKENS], "t array<int>").coalesce(2)
    (got,) = scored(model, frame, "t")
    np.testing.assert_array_equal(got, want[:, 0])
    for records in (TOKENS, [np.array(row) for row in TOKENS]):
        got = model.predict(spark.sparkContext.parallelize(records, 3), batch_size=4).collect()
        np.testing.assert_array_equal(np.stack(got), want)


@pytest.mark.spark
def test_outputs_of_different_sizes_are_lists_on_spark(spark):
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 3)])
    images = [np.random.default_rng(i).uniform(size=(3 + i % 2, 3 + i % 3, 1)) for i in range(7)]
    want = model.predict(images, verbose=0)
    schema = "i array<array<array<double>>>"
    frame = spark.createDataFrame([(i.tolist(),) for i in images], schema).coalesce(1)
    rows = model.predict(frame, feature_cols="i").collect()
    there = model.predict(spark.sparkContext.parallelize(images, 1)).collect()
    for one, row, record in zip(want, rows, there, strict=True):
        np.testing.assert_array_equal(np.array(row.prediction, np.float32), one)
        np.testing.assert_array_equal(record, one)


@pytest.mark.spark
def test_a_masking_model_trains_on_padded_rows_on_spark_as_here(spark):
    here, by_frame, by_rdd = (model_of_tokens() for _ in range(3))
    arguments = {"batch_size": 24, "epochs": 2, "shuffle": False, "pad_value": 0, "verbose": 0}
    here.fit(TOKENS, LABELS, **arguments)
    rows = [(row, float(label)) for row, label in zip(TOKENS, LABELS, strict=True)]
    frame = spark.createDataFrame(rows, "t array<int>, y double").coalesce(2)
    cols = {"feature_cols": "t", "label_cols": "y"}
    by_frame.fit(frame, **cols, **arguments, validation_data=(TOKENS, LABELS))
    by_rdd.fit(spark.sparkContext.parallelize(rows, 2), **arguments)
    for a, b, c in zip(*[m.get_weights() for m in (here, by_frame, by_rdd)], strict=True):
        np.testing.assert_allclose(b, a, 1e-5, 1e-6)
        np.testing.assert_allclose(c, a, 1e-5, 1e-6)
    want = here.evaluate(np.array(LONG), LABELS, verbose=0)
    np.testing.assert_allclose(here.evaluate(frame, pad_value=0, **cols), want, 1e-5)
    with pytest.raises(DataError, match=r"column t: expected lists of .*pass pad_value"):
        here.evaluate(frame, **cols)
