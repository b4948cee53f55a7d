"""Copies in the middle of an epoch: a fit that loses an executor goes on from there, to the bit."""

from __future__ import annotations

import os
import pickle
import signal

import numpy as np
import pytest
from test_fit_failures import LABELS, X, classifier, executor_pids, records, state_of

from zoo_keras import callbacks, optimizers
from zoo_keras.errors import ConfigError
from zoo_keras.spark.fit import watch
from zoo_keras.spark.fit.middle import Kept, joined

pytestmark = pytest.mark.spark
OPTIONS = {"epochs": 2, "batch_size": 4, "verbose": 0, "validation_split": 0.1}


class Kills:
    """Kills an executor as soon as the driver has a copy of some epoch; then leaves it at that."""

    def __init__(self, sc, monkeypatch, epoch=1):
        self.pid, self.step = executor_pids(sc)[-1], None
        keep = watch.Watcher._keep

        def kept(watcher, records):
            keep(watcher, records)
            middle = watcher.fit.middle
            if self.step is None and middle is not None and middle.epoch == epoch:
                self.step = middle.step
                os.kill(self.pid, signal.SIGKILL)

        monkeypatch.setattr(watch.Watcher, "_keep", kept)


def lamb():
    model = classifier()
    model.compile(optimizers.Lamb(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


CASES = {
    "float32": (classifier, {"wire": "float32"}),
    "bfloat16": (classifier, {"wire": "bfloat16"}),
    "whole": (lamb, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_restart_in_the_middle_of_an_epoch_changes_no_bit(cluster2, monkeypatch, case):
    make, more = CASES[case]
    data = cluster2.parallelize(list(zip(X, LABELS)) * 100, 2)  # 900 steps an epoch
    options = {**OPTIONS, **more, "snapshot_steps": 40}
    undisturbed = make()
    expected = undisturbed.fit(data, **options).history
    kills = Kills(cluster2, monkeypatch)
    disturbed = make()
    with pytest.warns(RuntimeWarning, match=r"goes on from step \d+1 of epoch 2, restart 1"):
        found = disturbed.fit(data, **options)
    assert kills.step and kills.step % 40 == 0
    assert found.history == expected
    assert all(map(np.array_equal, state_of(disturbed), state_of(undisturbed)))


def test_copies_by_seconds_change_nothing_else(local2):
    plain = classifier()
    expected = plain.fit(records(local2), **OPTIONS).history
    model = classifier()
    assert model.fit(records(local2), **OPTIONS, snapshot_seconds=0.001).history == expected
    assert all(map(np.array_equal, state_of(model), state_of(plain)))


def test_a_backup_on_a_hadoop_path_is_taken_up_by_another_number_of_ranks(local2, tmp_path):
    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    options = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0}
    backup = [callbacks.BackupAndRestore(f"file://{tmp_path}/kept")]
    breaks = [*backup, callbacks.LambdaCallback(on_epoch_begin=interrupt)]
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(records(local2, partitions=2), callbacks=breaks, **options)
    again = classifier()
    found = again.fit(records(local2, partitions=1), callbacks=backup, **options)
    assert found.epoch == [2, 3]
    assert not (tmp_path / "kept").exists()
    plain = classifier()
    plain.fit(records(local2, partitions=2), **{**options, "epochs": 2})
    plain.fit(records(local2, partitions=1), initial_epoch=2, **options)
    assert all(map(np.array_equal, state_of(again), state_of(plain)))


def test_copies_of_different_moments_are_no_whole():
    def blob(step):
        return pickle.dumps(Kept([1, step], 7, None, (0, 0), {}, None))

    assert joined([blob(3), blob(3)]).step == 3
    assert joined([blob(3), blob(4)]) is None


BAD = [
    ({"snapshot_steps": 0}, "snapshot_steps must be a whole number"),
    ({"min_ranks": 0}, "min_ranks must be a whole number"),
    ({"snapshot_seconds": -1}, "snapshot_seconds must be a number of seconds above 0"),
    (
        {"snapshot_steps": 3, "callbacks": [callbacks.LambdaCallback(on_train_batch_end=print)]},
        "don't go with callbacks that see every step",
    ),
]


@pytest.mark.parametrize("options, message", BAD)
def test_wrong_words_are_refused(local2, options, message):
    with pytest.raises(ConfigError, match=message):
        classifier().fit(records(local2), verbose=0, **options)
