"""DataFrames and RDDs as records: columns, Arrow batches, and partitions for ranks."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras.errors import ConfigError, DataError, UnsupportedError
from zoo_keras.layers import Concatenate, Dense
from zoo_keras.spark.data import arrow, partitions
from zoo_keras.spark.data.frames import column_groups, held_arrays, records_of
from zoo_keras.spark.data.records import Leaf
from zoo_keras.spark.transport.job import run_rank_job


@pytest.mark.parametrize(
    ("cols", "wanted", "groups", "nest"),
    [
        ("a", 1, [("a",)], 0),
        (["a", "b"], 1, [("a", "b")], 0),
        (["a", "b"], 2, [("a",), ("b",)], [0, 1]),
        ([["a", "b"], "c"], 1, [("a", "b"), ("c",)], [0, 1]),
        ({"y": "a", "x": ["b", "c"]}, 2, [("b", "c"), ("a",)], {"y": 1, "x": 0}),
    ],
)
def test_columns_make_inputs(cols, wanted, groups, nest):
    assert column_groups(cols, wanted) == (groups, nest)


@pytest.mark.parametrize("cols", [3, [], [1], ["a", [2]], {"x": []}])
def test_columns_go_by_name(cols):
    with pytest.raises(ConfigError, match=r"by name. Received: .*\. Pass"):
        column_groups(cols)


def batch(**columns):
    import pyarrow as pa

    return pa.RecordBatch.from_pydict(columns)


def decoded(leaf, *groups, first=0, **columns):
    return arrow.leaves_of_batch(batch(**columns), groups, [leaf], first)[0]


def test_scalar_columns_make_a_vector():
    found = decoded(Leaf("a, b", (2,), "float32"), ("a", "b"), a=[1, 2], b=[0.5, 1.5])
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 0.5], [2, 1.5]]


def test_columns_side_by_side_keep_what_their_own_dtype_holds():
    big = decoded(Leaf("a, b", (2,), "int32"), ("a", "b"), a=[2**31 - 1], b=[-(2**31)])
    assert big.tolist() == [[2**31 - 1, -(2**31)]]
    with pytest.raises(DataError, match="Row 1: column a, b: expected finite numbers"):
        decoded(Leaf("a, b", (2,), "float32"), ("a", "b"), a=[1.0, 1e300], b=[1, 2])


KINDS = ["f4 f4", "f8 f8", "i4 i4", "f4 i4", "f4 i8", "i8 u8", "u1 ? i2"]
READ_AS = [(k, d) for k in KINDS for d in ("float32", "int32", "int64")
           if d == "float32" or "f" not in k]  # fmt: skip


@pytest.mark.parametrize(("kinds", "leaf_dtype"), READ_AS)
@pytest.mark.parametrize("rows", [1, 5, 5000])
def test_columns_read_in_one_call_are_those_read_one_by_one(kinds, rows, leaf_dtype):
    kinds = kinds.split()
    drawn = np.random.default_rng(0).integers(0, 2, (len(kinds), rows + 1))
    columns = {f"c{i}": drawn[i].astype(k) for i, k in enumerate(kinds)}
    if "i8" in kinds and leaf_dtype == "float32":
        columns["c1"] += np.array((1 << 62) + (1 << 38) + 1).astype(columns["c1"].dtype)
    leaf = Leaf("c", (len(kinds),), leaf_dtype)
    part, names = batch(**columns).slice(1), tuple(reversed(columns))
    found = arrow.leaves_of_batch(part, [names], [leaf])[0]
    alone = [arrow.leaves_of_batch(part, [(n,)], [leaf._replace(shape=())])[0] for n in names]
    assert found.dtype == leaf_dtype and found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.stack(alone, axis=1))


def test_a_null_among_many_columns_is_named():
    with pytest.raises(DataError, match="Row 1: column b: expected numbers"):
        decoded(Leaf("a, b", (2,), "float32"), ("a", "b"), a=[1.0, 2.0], b=[1.0, None])


def packed(rows, leaf, kind="float32", first=10):
    """What is read of three columns that the JVM has sent as one array."""
    import pyarrow as pa

    column = pa.array([[0, 0, 0], *rows], pa.list_(pa.float64())).cast(
        pa.list_(pa.type_for_alias(kind))
    )
    sent = pa.RecordBatch.from_arrays([column], [arrow.packed_name(0)]).slice(1)
    return arrow.leaves_of_batch(sent, [("a", "b", "c")], [leaf], first)[0]


@pytest.mark.parametrize(("kind", "dtype"), [("float32", "float32"), ("int64", "int32"),
                                             ("int64", "int64"), ("bool", "bool")])  # fmt: skip
def test_an_array_of_columns_reads_as_the_columns(kind, dtype):
    found = packed([[1, 0, 1], [0, 0, 1]], Leaf("a, b, c", (3,), dtype), kind)
    assert found.dtype == dtype and found.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert packed([], Leaf("a, b, c", (3,), dtype), kind).shape == (0, 3)


def test_nulls_in_an_array_of_columns_are_those_of_the_column():
    rows, leaf = [[1.0, 2.0, 3.0], [4.0, None, float("nan")]], Leaf("a, b, c", (3,), "float32")
    with pytest.raises(DataError, match=r"Row 11: column b: expected numbers\. Received: null"):
        packed(rows, leaf)
    found = packed(rows, leaf._replace(fill=(None, 7.0, 8.0)))
    assert found.tolist() == [[1, 2, 3], [4, 7, 8]]
    with pytest.raises(DataError, match="Row 10: column a, b, c: expected finite numbers"):
        packed([[float("nan"), 2.0, 3.0]], leaf)
    with pytest.raises(DataError, match="Row 10: column a, b, c: expected integers that fit"):
        packed([[1 << 40, 0, 0]], leaf._replace(dtype="int32"), "int64")


def test_lists_take_the_leafs_shape():
    flat, nested = [[1, 2, 3, 4]] * 3, [[[1, 2], [3, 4]]] * 3
    for column in (flat, nested):
        found = decoded(Leaf("a", (2, 2, 1), "int32"), ("a",), a=column)
        assert found.shape == (3, 2, 2, 1)
    (empty,) = arrow.leaves_of_batch(batch(a=flat)[:0], [("a",)], [Leaf("a", (2, 2), "float32")])
    assert empty.shape == (0, 2, 2)


def test_slices_of_a_batch_are_read_from_their_own_start():
    whole = batch(a=[[1, 2], [3, 4], [5, 6]]).slice(1, 2)
    (found,) = arrow.leaves_of_batch(whole, [("a",)], [Leaf("a", (2,), "int32")])
    assert found.tolist() == [[3, 4], [5, 6]]


WRONG = [
    ({"a": [1.0, None]}, (), DataError, "Row 11: column a: expected numbers. Received: null"),
    (
        {"a": [[1.0, 2.0], None]},
        (2,),
        DataError,
        "Row 11: column a: expected numbers. Received: null",
    ),
    (
        {"a": [[1.0, 2.0], [3.0, None]]},
        (2,),
        DataError,
        "Row 11: column a: expected numbers. Received: null",
    ),
    (
        {"a": [[1.0, 2.0]] * 3 + [[1.0]]},
        (2,),
        DataError,
        "Row 13: column a: expected lists of 2 as in most",
    ),
    ({"a": [[[1, 2]], [[3, 4, 5]]]}, (2,), DataError, "Row 11: column a: expected lists of 2"),
    ({"a": [[1.0, 2.0]] * 2}, (3,), DataError, "Row 10: column a: expected 3 numbers a row"),
    ({"a": [1.0, float("nan")]}, (), DataError, "Row 11: column a: expected finite numbers"),
    ({"a": [1, 1 << 40]}, (), DataError, "Row 11: column a: expected integers that fit into int32"),
    (
        {"a": ["x", "y"]},
        (),
        UnsupportedError,
        "Column a: expected numbers. Received: Arrow type string",
    ),
]


@pytest.mark.parametrize(("columns", "shape", "error", "message"), WRONG)
def test_a_wrong_row_is_named(columns, shape, error, message):
    dtype = "int32" if isinstance(columns["a"][0], int) else "float32"
    with pytest.raises(error, match=message) as raised:
        decoded(Leaf("a", shape, dtype), ("a",), first=10, **columns)
    assert raised.type is error


def test_validation_arrays_are_cut_into_one_part_a_rank():
    x, y = np.arange(14.0).reshape(7, 2), np.arange(7)
    held = held_arrays((x, y))
    parts = [held.part(rank, 3) for rank in range(3)]
    assert np.concatenate([p[0] for p in parts]).tolist() == x.tolist()
    assert np.concatenate([p[1] for p in parts]).tolist() == y.tolist()
    with pytest.raises(DataError, match="same number of rows"):
        held_arrays((x, y[:3]))


# ---- with a session ------------------------------------------------------------------------------


def two_inputs():
    a, b = keras.Input((2, 2), name="a"), keras.Input((1,), dtype="int32", name="b")
    hidden = Concatenate()([keras.layers.Flatten()(a), keras.ops.cast(b, "float32")])
    model = keras.Model([b, a], [Dense(2, name="q")(hidden), Dense(1, name="p")(hidden)])
    model.compile("sgd", ["mse", "mse"])
    return model


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


@pytest.mark.spark
def test_columns_take_the_shapes_of_their_inputs(spark):
    frame = spark.createDataFrame(
        [([1.0, 2.0, 3.0, 4.0], 7, 0.5, 1.0, 2.0, 3.0)],
        "f array<double>, i long, p float, q double, r double, w float",
    )
    model = two_inputs()
    features = {"a": "f", "b": "i"}  # by name, whatever the order of the model's inputs
    records = records_of(frame, features, {"q": ["q", "r"], "p": "p"}, "w", model)
    layout = records.layout(model, "fit")
    shapes = [((2, 2), "float32"), ((1,), "int32"), ((), "float32"), ((2,), "float32")]
    assert [leaf[1:3] for leaf in layout.leaves] == [*shapes, ((), "float32")]
    assert layout.counts == (2, 2, 1)
    assert layout.targets == (1, 0)  # leaves go by name, the model's outputs are q and p
    listed = records_of(frame, ["i", "f"], [["q", "r"], "p"], None, model).layout(model, "fit")
    assert [leaf.name for leaf in listed.leaves] == ["i", "f", "q, r", "p"]
    assert listed.targets == (0, 1)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (([1.0, 2.0],), "a array<double>", r"expected 3 numbers a row.*Received: 2"),
        ((None,), "a array<double>", "first row: expected numbers. Received: null"),
        (([1.0, None, 2.0],), "a array<double>", "first row: expected numbers. Received: null"),
        (("x",), "a string", "Received: StringType. Cast or encode"),
        (({"x": 1},), "a map<string,int>", "Received: MapType"),
    ],
)
def test_wrong_columns_are_refused_before_any_job(spark, row, kind, message):
    model = keras.Sequential([keras.Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    frame = spark.createDataFrame([(*row, 1.0)], f"{kind}, y double")
    with pytest.raises(DataError, match=message):
        records_of(frame, "a", "y", None, model).layout(model, "fit")


def contents(rdd):
    return rdd.glom().collect()


@pytest.mark.spark
def test_records_are_moved_only_when_needed_and_always_alike(local2):
    rdd = local2.parallelize(range(23), 5)
    assert partitions.spread(rdd, 5) is rdd
    first, second = (contents(partitions.spread(rdd, 2)) for _ in range(2))
    assert first == second
    assert sorted(chain(*first)) == list(range(23))
    assert max(map(len, first)) - min(map(len, first)) <= 5
    assert sorted(chain(*contents(partitions.spread(rdd, 8)))) == list(range(23))


@pytest.mark.spark
def test_unions_and_coalesced_data_stay_where_they_are(local2):
    rdd = local2.parallelize(range(8), 4)
    for whole in (rdd.coalesce(1).union(local2.parallelize(range(3), 1)), rdd.coalesce(2)):
        assert partitions.spread(whole, 2) is whole
        assert run_rank_job(whole, lambda rank: list(rank.rows)) == contents(whole)


@pytest.mark.spark
def test_frames_are_spread_in_one_order(spark):
    frame = spark.range(50, numPartitions=3).selectExpr("id", "id * 2 as y")
    found = [contents(partitions.spread(frame, 2).rdd) for _ in range(2)]
    assert found[0] == found[1]
    assert sorted(row.id for row in chain(*found[0])) == list(range(50))
    assert abs(len(found[0][0]) - len(found[0][1])) <= 3
    assert partitions.count(partitions.spread(frame.coalesce(2), 2)) == 2
