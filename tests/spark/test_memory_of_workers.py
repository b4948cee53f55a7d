"""Python workers stay as small as they were, whatever shapes of rows they meet."""

from __future__ import annotations

import os
import time

import numpy as np
import pyspark
import pytest

import zoo_keras as keras
from zoo_keras.layers import GRU, Dense, Embedding
from zoo_keras.spark.scoring import worker
from zoo_keras.training import programs

pytestmark = pytest.mark.spark

KEPT = 12  # programs of a model, so that few shapes are many
SEEN = 64  # rows after which everything that stays has been made


def with_few_programs(items):
    """The same rows, in a process whose models keep few programs meanwhile."""
    before, programs.PROGRAMS = programs.PROGRAMS, KEPT
    yield from items
    programs.PROGRAMS = before


def measured(items):
    """How many MB the process grew from row SEEN to the end, and the programs of its models."""
    count = 0
    for count, _ in enumerate(items, 1):
        if count == SEEN:
            before = resident_mb()
    models = [w._model for w in worker._workers.values() if w._model is not None]
    yield count, resident_mb() - before, max(len(m._runtime._programs) for m in models)


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_predict_keeps_as_many_programs_as_it_may(local2):
    model = keras.Sequential([keras.Input((None, 4)), GRU(64), Dense(1)])
    rows = [np.full((n, 4), 0.1, np.float32) for n in range(200, 40, -1)]
    data = local2.parallelize(rows, 1).mapPartitions(with_few_programs)
    ((count, grown, kept),) = model.predict(data).mapPartitions(measured).collect()
    assert (count, kept) == (160, KEPT)
    assert grown < 12


def process(items):
    """This process, and its memory in MB."""
    time.sleep(0.3)  # so that both workers take part
    yield os.getpid(), resident_mb()


@pytest.mark.skipif(pyspark.__version__ < "4", reason="a worker runs one task, see conftest.py")
def test_fits_of_other_lengths_leave_nothing_in_a_worker(local2, sessions):
    """Frames: Spark ends a worker that has given the first record of an RDD."""
    model = keras.Sequential(
        [keras.Input((None,), dtype="int32"), Embedding(9, 4), GRU(64), Dense(1)]
    )
    model.compile("sgd", "mse")

    def train(longest):
        rows = [(list(range(9)) * (n // 9 + 1), 1.0) for n in [longest, 2, 5, 3] * 8]
        frame = (
            sessions.get("local[2]").createDataFrame(rows, "x array<int>, y float").repartition(2)
        )
        model.fit(frame, feature_cols="x", label_cols="y", batch_size=16, pad_value=0, verbose=0)
        return dict(local2.parallelize(range(2), 2).mapPartitions(process).collect())

    train(300)
    before = train(330)
    for longest in (90, 170, 220):
        train(longest)
    after = train(280)
    assert set(after) & set(before)
    assert max(after[pid] - before[pid] for pid in set(after) & set(before)) < 12
