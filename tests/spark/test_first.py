"""The look at the first record: what it finds, how often it looks, and which workers it costs."""

from __future__ import annotations

import os
import time

import numpy as np
import pyspark
import pytest

from zoo_keras.spark.data.first import first_record
from zoo_keras.spark.data.frames import records_of

pytestmark = pytest.mark.spark


def lines(sc, tmp_path):
    (tmp_path / "lines.txt").write_text("a line\nanother\n")
    return sc.textFile(str(tmp_path / "lines.txt"))


RDDS = {
    "in the JVM": lambda sc, tmp: sc.parallelize([(1.5, "a"), (2.5, "b")], 2),
    "behind empty partitions": lambda sc, tmp: sc.parallelize([7], 3),
    "kept": lambda sc, tmp: sc.parallelize(range(9), 2).map(str).cache(),
    "made by Python": lambda sc, tmp: sc.parallelize(range(9), 2).map(str),
    "behind a shuffle": lambda sc, tmp: sc.parallelize([5] * 9, 2).repartition(3),
    "of two": lambda sc, tmp: sc.parallelize([1, 2], 1).union(sc.parallelize([3], 1)),
    "pairs": lambda sc, tmp: sc.parallelize([1, 2], 1).zip(sc.parallelize([3, 4], 1)),
    "lines": lines,
    "in a long batch": lambda sc, tmp: sc.parallelize(["x" * (1 << 20)] * 9, 1),
    "empty": lambda sc, tmp: sc.parallelize([], 2),
    "without partitions": lambda sc, tmp: sc.emptyRDD(),
}


@pytest.mark.parametrize("kind", RDDS)
def test_the_first_record_is_that_of_take(local2, tmp_path, kind):
    rdd = RDDS[kind](local2, tmp_path)
    assert first_record(rdd) == rdd.take(1)


def jobs(sc):
    return len(sc.statusTracker().getJobIdsForGroup(None))


@pytest.mark.parametrize("kind", ["in the JVM", "made by Python"])
def test_an_rdd_is_looked_at_once(local2, tmp_path, kind):
    rdd = RDDS[kind](local2, tmp_path)
    found, before = first_record(rdd), jobs(local2)
    assert first_record(rdd) == found
    assert jobs(local2) == before


def process(items):
    time.sleep(0.3)  # so that both workers take part
    yield os.getpid()


@pytest.mark.skipif(pyspark.__version__ < "4", reason="a worker runs one task, see conftest.py")
def test_a_look_into_the_jvm_ends_no_worker(local2):
    def workers():
        return set(local2.parallelize(range(2), 2).mapPartitions(process).collect())

    before = workers()
    rdd = local2.parallelize([(np.zeros(3), 1)] * 5000, 2)
    for source in (rdd, rdd.map(tuple).cache()):
        first_record(source)
        assert workers() == before


def test_a_frame_is_looked_at_once_for_the_same_columns(local2, sessions):
    frame = sessions.get("local[2]").createDataFrame([(1.0, 2.0, 0.0)], "a float, b float, y float")

    def first_row(feature_cols):
        return tuple(records_of(frame, feature_cols, "y")._first_rows()[0])

    assert first_row("a") == (1.0, 0.0)
    before = jobs(local2)
    assert first_row("a") == (1.0, 0.0)
    assert jobs(local2) == before
    assert first_row("b") == (2.0, 0.0)
    assert first_row(frame.b.alias("a")) == (2.0, 0.0)  # a name of the user's says nothing
