"""Records of an RDD become typed columns; a wrong record is named by partition and row."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from zoo_keras.errors import ClusterError, DataError
from zoo_keras.spark.data.records import CHUNK, Columns, Layout, Leaf, layout_of, narrow


def read(records, supervised=True, budget=1 << 30):
    return Columns(layout_of(records[0], supervised), 3, budget).read(records, supervised)


VECTORS = [np.arange(3.0), [0.0, 1.0, 2.0], (0, 1, 2), [np.float32(0), np.float32(1), 2]]


@pytest.mark.parametrize("x", VECTORS, ids=str)
def test_arrays_and_lists_of_numbers_are_vectors(x):
    columns = read([(x, 1), (x, 0)])
    assert [c.shape for c in columns] == [(2, 3), (2,)]
    assert columns[0][0].tolist() == [0, 1, 2]


NUMBERS = [
    [0.5, -1.0], [0.5, 1, True], [1, 2], [True, False], [True, 2], [[1, 2], [3, 4]], [[0.5], (1,)],
    [np.float32(0.5), 2.0], [np.int64(3), True], [1 << 40, 1], [2.5e9], [[[1.0]], [[2.0]]],
    (0.5, 2),
]  # fmt: skip


@pytest.mark.parametrize("given", NUMBERS, ids=str)
def test_lists_of_numbers_are_what_numpy_makes_of_them(given):
    want = np.asarray(given)
    layout = layout_of((given, 0), True)
    assert layout.leaves[0].shape == want.shape
    assert layout.leaves[0].dtype == narrow(want.dtype)
    if np.abs(want).max() < 1 << 31 or want.dtype.kind == "f":
        np.testing.assert_array_equal(read([(given, 0)] * 2)[0], np.stack([want] * 2))


@pytest.mark.parametrize("given", [[np.ones(2), np.ones(2)], [np.ones(2), [1.0, 2.0]]], ids=str)
def test_lists_that_hold_an_array_are_several_inputs(given):
    assert layout_of((given, 0), True).counts[0] == len(read([(given, 0)])) - 1 >= 2


@pytest.mark.parametrize(
    "given", [[1.0, None], [1.0, "2"], [[1.0], [1.0, 2.0]], [1.0, float("nan")]]
)
def test_lists_of_more_than_numbers_name_partition_and_row(given):
    with pytest.raises(DataError, match=r"[Pp]artition 3, row 1"):
        read([([1.0, 2.0], 0), (given, 0)])


def test_ml_vectors_are_dense_rows():
    from pyspark.ml.linalg import DenseVector, SparseVector

    records = [(DenseVector([1, 0]), 0), (SparseVector(2, {1: 5.0}), 1)]
    for order in (records, records[::-1]):
        assert sorted(read(order)[0].tolist()) == [[0, 5], [1, 0]]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.uint8(7), "uint8"), (np.float64(7), "float32"), (7, "int32"), (7.0, "float32"),
        (np.float16(7), "float32"), (np.int64(7), "int32"), (np.uint32(7), "int32"), (True, "bool"),
    ],
)  # fmt: skip
def test_dtypes_are_kept_or_made_as_narrow_as_the_engine_wants(value, dtype):
    assert next(c.dtype.name for c in read([(np.full(2, value), 0)])) == dtype


@pytest.mark.parametrize("kind", [">f2", ">f4", ">f8", ">i2", ">i4", ">i8", ">u2"])
def test_other_byte_orders_are_read_as_numbers(kind):
    x = np.arange(6).reshape(3, 2)
    found = read([(row.astype(kind), np.asarray(i).astype(kind)) for i, row in enumerate(x)])
    assert found[0].tolist() == x.tolist()
    assert found[1].tolist() == [0, 1, 2]


def test_sample_weights_are_floats():
    assert read([(np.zeros(2), 1, 3), (np.zeros(2), 1, 0.5)])[2].tolist() == [3, 0.5]


def test_several_inputs_and_outputs():
    records = [({"b": np.ones(2), "a": np.zeros(3)}, [1, np.arange(2)], 0.5)] * 4
    layout = layout_of(records[0], True)
    assert [leaf.shape for leaf in layout.leaves] == [(3,), (2,), (), (2,), ()]
    assert layout.counts == (2, 2, 1)
    assert [c.shape for c in read(records)] == [(4, 3), (4, 2), (4,), (4, 2), (4,)]


@pytest.mark.parametrize("budget", [0, 3000, 1 << 30])
def test_columns_over_budget_lie_in_a_file(budget, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = 2 * CHUNK + 5
    x, y = read([(np.full(2, i, np.float32), i) for i in range(rows)], budget=budget)
    assert x[:, 1].tolist() == y.tolist() == list(range(rows))
    assert isinstance(x, np.memmap) == (budget < 1 << 20)
    assert not list(tmp_path.iterdir())


GOOD = (np.zeros(3, np.float32), 1)
BAD = {
    "width": ((np.zeros(4, np.float32), 1), r"expected shape \(3,\).*Received: shape \(4,\)"),
    "ragged": (([[1, 2], [3]], 1), "expected numbers of one shape"),
    "text": (("abc", 1), r"expected numbers of one shape. Received: str \(abc\)"),
    "null": ((None, 1), "Received: x: 0, y: 1, sample_weight: 0"),
    "null label": ((np.zeros(3), None), "Received: x: 1, y: 0"),
    "nan": ((np.array([0, np.nan, 0]), 1), "expected finite numbers. Received: NaN"),
    "null within": (([0.5, None, 1], 1), "expected numbers of one shape"),
    "infinity": ((np.array([0, 0, np.inf]), 1), "expected finite numbers"),
    "dtype": ((np.zeros(3), 1.5), "expected int32 as in the first record. Received: dtype float64"),
    "wide": ((np.zeros(3), 1 << 40), "values 1099511627776 to 1099511627776"),
    "no tuple": ([np.zeros(3), 1], "a record must be a tuple"),
    "bare": (np.zeros(3), "a record must be a tuple .* Received: ndarray"),
    "long": ((np.zeros(3), 1, 1, 1), "Received: tuple of 4"),
    "more": ((np.zeros(3), 1, 0.5), "Received: x: 1, y: 1, sample_weight: 1"),
}


@pytest.mark.parametrize("row", [1, CHUNK + 2])
@pytest.mark.parametrize("case", BAD)
def test_a_wrong_record_is_named(case, row):
    record, message = BAD[case]
    records = [GOOD] * row + [record, GOOD]
    with pytest.raises(DataError, match=rf"(?s)artition 3, row {row}.*{message}.*\. \w"):
        read(records)


FIRST = [(1, 2, 3, 4), (None, 1), ("a", 1), ([[1], []], 1)]


@pytest.mark.parametrize("record", FIRST, ids=str)
def test_a_wrong_first_record_is_refused_before_any_job(record):
    with pytest.raises(DataError, match="irst record"):
        layout_of(record, True)


def test_images_stay_bytes_and_larger_numbers_are_refused():
    records = [(np.full((2, 2), 255, np.uint8), 0), (np.full((2, 2), 256), 0)]
    assert read(records[:1])[0].dtype == np.uint8
    with pytest.raises(DataError, match="row 1: x: expected uint8"):
        read(records)


@pytest.mark.parametrize("sizes", [[], [0], [3, 0, 1], [1] * 300, [700, 5, 900]])
def test_chunks_of_any_size_follow_each_other(sizes):
    rows = np.arange(2 * sum(sizes), dtype=np.float32).reshape(-1, 2)
    layout = Layout((Leaf("x", (2,), "float32"),), (1, 0, 0), (0, None, None))
    ends = np.cumsum([0, *sizes])
    chunks = ([rows[lo:hi]] for lo, hi in itertools.pairwise(ends))
    (found,) = Columns(layout, 0).read_chunks(chunks)
    assert found.shape == rows.shape
    assert found.tolist() == rows.tolist()


def test_records_do_not_spill_where_disks_must_be_encrypted():
    records = [(np.ones(3, np.float32), np.float32(1))] * 2000
    layout = layout_of(records[0], True)
    with pytest.raises(ClusterError, match=r"Partition 3: .*data_budget=100 and spark.io.encryp"):
        Columns(layout, 3, 100, spills=False).read(records, True)
    kept = Columns(layout, 3, 1 << 20, spills=False).read(records, True)
    assert len(kept[0]) == 2000
