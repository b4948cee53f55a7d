"""predict on RDDs and DataFrames gives what predict on arrays gives, in the same order."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path

import leftovers
import numpy as np
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException
from pyspark.ml.evaluation import BinaryClassificationEvaluator

import zoo_keras as keras
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.layers import BatchNormalization, Dense, Flatten
from zoo_keras.spark.scoring import columns as scoring

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(1)
ROWS = 301
FROM_RDD = (PythonException, Py4JJavaError)  # Spark's own error: the second before 4.3
X = RNG.standard_normal((ROWS, 2, 3)).astype(np.float32)
FLAT = X.reshape(ROWS, 6)


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    layers = [Flatten(), Dense(4, activation="relu"), BatchNormalization(), Dense(2)]
    return keras.Sequential([keras.Input((2, 3)), *layers])


@pytest.fixture(scope="module")
def expected(model):
    return model.predict(X, verbose=0)


def two_inputs():
    keras.utils.set_random_seed(2)
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    total = keras.layers.Concatenate()([a, b])
    outputs = [Dense(1, name="one")(total), Dense(2, name="two")(total)]
    return keras.Model([b, a], outputs)


def test_single_outputs_are_doubles_for_spark_s_evaluators(spark):
    rows = [([float(i), 1.0], float(i > 5)) for i in range(12)]
    frame = spark.createDataFrame(rows, "x array<double>, label double")
    x = keras.Input((2,))
    one = Dense(1, activation="sigmoid", kernel_initializer="ones")(x)
    whole = keras.ops.cast(keras.ops.sum(x, axis=1), "int32")
    model = keras.Model(x, [one, whole])
    scored = model.predict(frame, feature_cols="x", output_col=["prediction", "whole"])
    assert dict(scored.dtypes)["prediction"] == "double" and dict(scored.dtypes)["whole"] == "int"
    evaluator = BinaryClassificationEvaluator(rawPredictionCol="prediction")
    assert evaluator.evaluate(scored) == pytest.approx(1.0)
    found = [row.prediction for row in scored.collect()]
    want = model.predict(np.array([row[0] for row in rows]), verbose=0)[0][:, 0]
    np.testing.assert_array_equal(found, want.astype(np.float64))


def test_an_rdd_keeps_its_order_and_partitions(spark, model, expected):
    sizes = [0, 150, 1, 150]
    ends = np.cumsum([0, *sizes])
    parts = [list(X[lo:hi]) for lo, hi in itertools.pairwise(ends)]
    rdd = spark.sparkContext.parallelize(parts, 4).flatMap(lambda part: part).cache()
    found = model.predict(rdd, batch_size=64).glom().collect()
    assert [len(part) for part in found] == sizes
    found = list(itertools.chain(*found))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def jobs(spark):
    return len(spark.sparkContext.statusTracker().getJobIdsForGroup(None))


def test_nothing_runs_before_the_result_is_used(spark, model):
    frame = spark.createDataFrame([(FLAT[0].tolist(),)], "f array<float>")
    before = jobs(spark)
    lazy = model.predict(spark.sparkContext.parallelize(list(X), 2))
    table = model.predict(frame, feature_cols="f")
    assert jobs(spark) == before
    assert lazy.count() == ROWS
    assert table.count() == 1


def test_several_inputs_and_outputs_of_an_rdd(spark):
    model = two_inputs()
    named = [{"a": x[:2], "b": x[2:3]} for x in FLAT[:20]]
    ones, twos = model.predict([FLAT[:20, 2:3], FLAT[:20, :2]], verbose=0)
    listed = [[x[2:3], x[:2]] for x in FLAT[:20]]
    for records in (named, listed):
        found = model.predict(spark.sparkContext.parallelize(records, 2)).collect()
        np.testing.assert_allclose([one for one, _ in found], ones, rtol=1e-5)
        np.testing.assert_allclose([two for _, two in found], twos, rtol=1e-5)


def test_a_frame_keeps_its_order_and_all_its_columns(spark, model, expected):
    from pyspark.ml.linalg import Vectors

    rows = [
        (i, f"name {i}", FLAT[i].tolist(), Vectors.dense([i, 1]), {"k": i}, None if i % 2 else 0.5)
        for i in range(ROWS)
    ]
    frame = spark.createDataFrame(
        spark.sparkContext.parallelize(rows, 3),
        ["id", "name", "f", "vector", "map", "sometimes"],
    )
    made = model.predict(frame, feature_cols="f", output_col="score")
    assert made.columns == [*frame.columns, "score"]
    found = made.collect()
    assert [tuple(row)[:-1] for row in found] == [tuple(row) for row in frame.collect()]
    np.testing.assert_allclose([row.score for row in found], expected, rtol=1e-5, atol=1e-6)


def test_vectors_columns_and_nested_arrays_are_inputs(spark, model, expected):
    from pyspark.ml.linalg import SparseVector, Vectors

    rows = []
    for i in range(9):
        entries = {j: float(v) for j, v in enumerate(FLAT[i])}
        vector = SparseVector(6, entries) if i % 2 else Vectors.dense(FLAT[i])
        rows.append((*map(float, FLAT[i]), vector, X[i].tolist()))
    names = [f"c{i}" for i in range(6)]
    frame = spark.createDataFrame(rows, [*names, "vector", "nested"])
    for cols in (names, "vector", "nested", ["vector"]):
        found = model.predict(frame, feature_cols=cols).collect()
        found = [row.prediction for row in found]
        np.testing.assert_allclose(found, expected[:9], rtol=1e-5, atol=1e-6)


def test_several_columns_are_added_for_several_outputs(spark):
    model = two_inputs()
    ones, twos = model.predict([FLAT[:7, 2:3], FLAT[:7, :2]], verbose=0)
    rows = [(float(x[2]), x[:2].tolist()) for x in FLAT[:7]]
    frame = spark.createDataFrame(rows, "s double, v array<float>")
    for cols in (["s", "v"], {"a": "v", "b": "s"}):
        found = model.predict(frame, feature_cols=cols, output_col=["p", "q"]).collect()
        np.testing.assert_allclose([row.p for row in found], ones[:, 0], rtol=1e-5)
        np.testing.assert_allclose([row.q for row in found], twos, rtol=1e-5)


def test_outputs_keep_their_shape_and_dtype(spark):
    ids = keras.Input((3,), dtype="int32")
    model = keras.Model(ids, [keras.layers.Embedding(5, 2)(ids), keras.ops.sum(ids, axis=-1)])
    frame = spark.createDataFrame([([0, 1, 2],), ([4, 4, 4],)], "i array<long>")
    made = model.predict(frame, feature_cols="i", output_col=["e", "n"])
    assert [f.dataType.simpleString() for f in made.schema][1:] == ["array<array<float>>", "int"]
    rows = made.collect()
    table = model.layers[1].get_weights()[0]
    np.testing.assert_allclose(rows[0].e, table[:3])
    assert [row.n for row in rows] == [3, 12]


def test_new_weights_are_used_at_the_next_predict(spark):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), Dense(1, use_bias=False)])
    rdd = spark.sparkContext.parallelize([np.ones(6, np.float32)], 1)
    for value in (1.0, 2.0):
        model.set_weights([np.full((6, 1), value)])
        assert model.predict(rdd).collect()[0].tolist() == [6 * value]


def test_a_stream_is_scored_as_it_comes(spark, model, expected, tmp_path):
    source, target = str(tmp_path / "in"), str(tmp_path / "out")
    rows = [(i, FLAT[i].tolist()) for i in range(10)]
    spark.createDataFrame(rows, "id int, f array<float>").write.parquet(source)
    stream = spark.readStream.schema("id int, f array<float>").parquet(source)
    scored = model.predict(stream, feature_cols="f")
    query = (
        scored.writeStream.format("parquet").option("checkpointLocation", str(tmp_path / "c"))
        .trigger(availableNow=True).start(target)
    )  # fmt: skip
    assert query.awaitTermination(120)
    found = sorted(spark.read.parquet(target).collect(), key=lambda row: row.id)
    np.testing.assert_allclose([r.prediction for r in found], expected[:10], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "needs feature_cols. Received: None"),
        ({"feature_cols": "g"}, ConfigError, r"has no column \['g'\]"),
        ({"feature_cols": "f", "output_col": "f"}, ConfigError, "has a column .* already"),
        ({"feature_cols": "f", "output_col": ["p", "q"]}, ConfigError, "the model has 1 outputs"),
        ({"feature_cols": "f", "batch_size": 0}, ConfigError, "batch_size must be"),
        ({"feature_cols": "f", "colour": 1}, ConfigError, r"Received: \['colour'\]"),
        ({"feature_cols": ["f", "g"]}, ConfigError, r"has no column \['g'\]"),
        ({"feature_cols": "t"}, DataError, "Received: StringType"),
        ({"feature_cols": "s.x"}, ConfigError, r"has no column \['s.x'\]"),
    ],
)
def test_wrong_calls_are_refused_before_any_job(spark, model, options, error, message):
    frame = spark.createDataFrame([(FLAT[0].tolist(), "x")], "f array<float>, t string")
    before = jobs(spark)
    with pytest.raises(error, match=message):
        model.predict(frame, **options)
    with pytest.raises(ConfigError, match="belongs to a DataFrame"):
        model.predict(spark.sparkContext.parallelize([1]), feature_cols="f")
    assert jobs(spark) == before


def test_a_wrong_row_names_its_partition_and_row(spark, model):
    records = [*X[:5], np.zeros((2, 2), np.float32)]
    with pytest.raises(FROM_RDD, match=r"Partition 1, row 2: x: expected shape \(2, 3\)"):
        model.predict(spark.sparkContext.parallelize(records, 2)).collect()
    for bad, message in (([1.0] * 5, "expected lists of 6"), (None, "expected numbers.*null")):
        frame = spark.createDataFrame([(FLAT[0].tolist(),)] * 5 + [(bad,)], "f array<float>")
        with pytest.raises(PythonException, match=f"Partition 0: Row 5: column .*f: {message}"):
            model.predict(frame.coalesce(1), feature_cols="f").collect()


# ---- names ---------------------------------------------------------------------------------------

NAMED = {  # name of the column, how the user may choose it
    "Sepal.Length": ["Sepal.Length", "`Sepal.Length`", "sepal.LENGTH", "`sepal.LENGTH`"],
    "petal width": ["petal width", "PETAL WIDTH"],
    "a`b": ["a`b"],
    "Plain": ["plain", "PLAIN"],
}


def total():
    layer = Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("name", NAMED)
def test_a_column_may_have_any_name_and_is_found_as_spark_finds_it(spark, name):
    from pyspark.sql import functions

    frame = spark.createDataFrame([(1.0, 2.0, "x")], [name, "other.one", "a b.c"])
    for chosen in (*NAMED[name], functions.col("`" + name.replace("`", "``") + "`")):
        made = total().predict(frame, feature_cols=[chosen, "other.one"], output_col="p.q")
        assert made.columns == [*frame.columns, "p.q"]
        assert [tuple(row) for row in made.collect()] == [(1.0, 2.0, "x", 3.0)]


def test_letter_case_counts_where_spark_says_so(spark):
    frame = spark.createDataFrame([(1.0, 2.0)], ["Sepal.Length", "b"])
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(ConfigError, match=r"has no column \['sepal.length'\]"):
            total().predict(frame, feature_cols=["sepal.length", "b"])
    finally:
        spark.conf.set("spark.sql.caseSensitive", "false")


def test_a_field_of_a_struct_goes_before_a_dotted_name_in_other_letter_case(spark):
    frame = spark.createDataFrame(
        [((1.0,), 9.0, 2.0)], "A struct<b:double>, `a.B` double, c double"
    )
    for chosen, value in (("A.b", 3.0), ("A.B", 3.0), ("a.B", 11.0)):
        (row,) = total().predict(frame, feature_cols=[chosen, "c"]).collect()
        assert row.prediction == value


def test_fields_of_structs_and_columns_are_inputs(spark):
    from pyspark.sql import functions

    frame = spark.createDataFrame(
        [((1.0, 2.0), 5.0), ((3.0, 4.0), 6.0)], "s struct<a:double,b:double>, y double"
    )
    double = functions.col("s.b") * 2
    for chosen, expected in ((["s.a", "s.b"], [3, 7]), (["s.a", frame.s.b], [3, 7]),
                             (["s.a", double], [5, 11]), ([double, double], [8, 16])):  # fmt: skip
        made = total().predict(frame, feature_cols=chosen)
        assert made.columns == ["s", "y", "prediction"]
        assert [row.prediction for row in made.collect()] == expected
    model = total()
    history = model.fit(frame, feature_cols=["s.a", double], label_cols=frame.y, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    assert model.evaluate(frame, feature_cols=["s.a", "S.B"], label_cols="Y", verbose=0) > 0


def test_the_same_name_twice_is_kept_twice(spark):
    frame = spark.createDataFrame([(1.0, 2.0)], "a double, b double")
    twice = frame.select("a", "b", frame.b.alias("a"))
    made = total().predict(twice, feature_cols=[frame.a, "b"])
    assert [tuple(row) for row in made.collect()] == [(1.0, 2.0, 2.0, 3.0)]


def test_a_null_is_reported_in_the_users_column(spark):
    frame = spark.createDataFrame([(1.0, 2.0), (None, 3.0)], "age double, income double").coalesce(
        1
    )
    with pytest.raises(
        PythonException, match=r"Row 1: column age: expected numbers. Received: null"
    ):
        total().predict(frame, feature_cols=["age", "income"]).collect()


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_records_of_fit_are_told_apart_from_those_of_predict(spark, dtype):
    model = keras.Sequential([keras.Input((2,), dtype=dtype), keras.layers.Flatten()])
    rdd = spark.sparkContext.parallelize([(np.ones(2, dtype), 1.0)] * 4, 2)
    with pytest.raises(
        Exception, match=r"predict takes records of x alone.*Received: a tuple of 2"
    ):
        model.predict(rdd).collect()


def test_a_stream_needs_a_known_shape(spark, tmp_path):
    spark.createDataFrame([([1, 2, 3],)], "w array<int>").write.json(str(tmp_path / "in"))
    stream = spark.readStream.schema("w array<int>").json(str(tmp_path / "in"))
    words = keras.Input((None,), dtype="int32")
    model = keras.Model(
        words, keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 4)(words))
    )
    with pytest.raises(ConfigError, match=r"Inputs of known shape.*Received: inputs \[\(None,\)\]"):
        model.predict(stream, feature_cols="w")


# ---- what is left behind -------------------------------------------------------------------------


def sent_files(spark):
    return set(Path(spark.sparkContext._temp_dir).iterdir())


def test_a_small_state_makes_no_file(spark):
    before = sent_files(spark)
    rdd = spark.sparkContext.parallelize([np.ones(2, np.float32)], 1)
    assert total().predict(rdd).collect()[0].tolist() == [2.0]
    assert sent_files(spark) == before


def test_a_large_state_is_sent_once_and_goes_with_the_last_that_asks_for_it(spark, monkeypatch):
    monkeypatch.setattr("zoo_keras.spark.scoring.sent.SMALL", 0)
    model = total()
    rdd = spark.sparkContext.parallelize([np.ones(2, np.float32)], 1)
    frame = spark.createDataFrame([(1.0, 2.0)], "a double, b double")
    before = sent_files(spark)
    for _ in range(3):
        model.predict(rdd).collect()
    scored = model.predict(frame, feature_cols=["a", "b"]).select(
        "prediction"
    )  # known to Java alone
    assert len(sent_files(spark) - before) == 2  # as records, and as columns of doubles
    for value in (2.0, 3.0):
        model.set_weights([np.full((2, 1), value), np.zeros(1)])
        assert model.predict(rdd).collect()[0].tolist() == [2 * value]
    collect_garbage(spark)
    assert scored.collect()[0].prediction == 3.0
    del scored, model
    leftovers.wait_until(lambda: collect_garbage(spark) or sent_files(spark) - before, set())


def collect_garbage(spark):
    gc.collect()
    spark.sparkContext._jvm.System.gc()


# ---- what goes to Python -------------------------------------------------------------------------


@pytest.fixture
def table(spark, tmp_path):
    path = str(tmp_path / "table")
    frame = spark.createDataFrame(
        [(float(i), 2.0 * i, i, f"name {i}") for i in range(20)],
        "a float, b double, id int, name string",
    )
    frame.write.parquet(path)
    return spark.read.parquet(path)


def plan(frame):
    return frame._jdf.queryExecution().executedPlan().toString()


def sums(spark):
    """Three outputs of (a, b) in one model: a + b, [a + b, a + b], a + b."""
    x = keras.Input((2,))
    total = keras.ops.sum(x, axis=-1)
    return keras.Model(x, [total, keras.ops.stack([total, total], axis=1), total])


def with_arrow_functions(spark):
    return tuple(map(int, spark.version.split(".")[:2])) >= (4, 1)


def test_only_what_the_model_reads_goes_to_python(spark, table):
    if not with_arrow_functions(spark):
        pytest.skip("Spark 4.1 brings scalar Arrow functions")
    made = total().predict(table, feature_cols=["a", "b"])
    text = plan(made)
    assert "MapInArrow" not in text
    assert "ArrowEvalPython [predict(a#" in text
    assert text.count("predict(") == 1
    assert [tuple(r) for r in made.collect()] == [(*r, 3.0 * r.id) for r in table.collect()]
    alone = plan(made.select("prediction"))
    assert "ReadSchema: struct<a:float,b:double>" in alone
    filtered = plan(made.filter("id > 3"))
    assert "PushedFilters: [IsNotNull(id), GreaterThan(id,3)]" in filtered
    assert "ArrowEvalPython" not in plan(made.select("name"))


def test_several_outputs_are_evaluated_once(spark, table):
    if not with_arrow_functions(spark):
        pytest.skip("Spark 4.1 brings scalar Arrow functions")
    names = ["p", "the.q", "r`"]
    made = sums(spark).predict(table, feature_cols=["a", "b"], output_col=names)
    assert made.columns == [*table.columns, *names]
    assert plan(made).count("ArrowEvalPython") == 1
    assert [tuple(r)[4:] for r in made.filter("id > 17").collect()] == [
        (54.0, [54.0, 54.0], 54.0),
        (57.0, [57.0, 57.0], 57.0),
    ]


@pytest.mark.parametrize("cols", [["a", "b"], "v", "f"])
def test_batches_both_ways_give_the_same(spark, table, monkeypatch, cols):
    """Before Spark 4.1 there are no scalar Arrow functions."""
    from pyspark.ml.feature import VectorAssembler

    frame = VectorAssembler(inputCols=["a", "b"], outputCol="v").transform(table)
    frame = frame.selectExpr("*", "array(a, b) as f", "name as id")  # one name twice
    names = ["p", "q", "r"]
    frame = frame.drop("id") if cols == "f" else frame
    model = sums(spark)
    found = model.predict(frame, feature_cols=cols, output_col=names)
    monkeypatch.setattr(scoring, "has_scalar_arrow", lambda frame: False)
    other = model.predict(frame, feature_cols=cols, output_col=names)
    assert "MapInArrow" in plan(other)
    assert other.columns == found.columns
    assert other.schema == found.schema
    assert other.collect() == found.collect()


def test_a_plain_column_is_sent_once_in_batches(spark, table, monkeypatch):
    monkeypatch.setattr(scoring, "has_scalar_arrow", lambda frame: False)
    made = total().predict(table, feature_cols=["a", "b"])
    (sent,) = [line for line in plan(made).splitlines() if "MapInArrow" in line]
    assert sent.count("#") < 2 * len(table.columns) + 4  # 4 columns there, 5 back
    assert [r.prediction for r in made.collect()] == [3.0 * r.id for r in table.collect()]


def test_several_outputs_of_a_stream(spark, table, tmp_path):
    path = table.inputFiles()[0].rsplit("/", 1)[0]
    stream = spark.readStream.schema(table.schema).parquet(path)
    made = sums(spark).predict(stream, feature_cols=["a", "b"], output_col=["p", "q", "r"])
    query = (
        made.writeStream.format("memory").queryName("scored")
        .trigger(availableNow=True).start()
    )  # fmt: skip
    assert query.awaitTermination(120)
    found = spark.table("scored").orderBy("id").collect()
    assert [(r.name, r.p, r.q) for r in found] == [
        (f"name {i}", 3.0 * i, [3.0 * i] * 2) for i in range(20)
    ]
