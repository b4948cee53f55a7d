"""BackupAndRestore: a fit that broke off goes on from its last backup, as if it had not."""

from __future__ import annotations

import itertools
import json
import os

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import callbacks, layers
from zoo_keras.errors import ClusterError, ConfigError, FileError
from zoo_keras.saving import files

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


class Break(callbacks.Callback):
    """A power cut before a step."""

    def __init__(self, epoch, batch=0):
        super().__init__()
        self.at, self.now = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == self.at:
            raise KeyError("power cut")


def regression():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def fit(model, *given, **options):
    options = {"epochs": 4, "batch_size": 4, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, callbacks=list(given), **options)


def broken(model, *given):
    with pytest.raises(KeyError, match="power cut"):
        fit(model, *given)


def assert_equal_weights(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("double", [False, True])
def test_a_fit_that_goes_on_ends_as_one_that_never_broke(tmp_path, double):
    whole, again = regression(), regression()
    fit(whole)
    backup = callbacks.BackupAndRestore(tmp_path / "b", double_checkpoint=double)
    broken(regression(), backup, Break(2, 1))
    assert fit(again, backup).epoch == [2, 3]
    assert_equal_weights(whole, again)


def test_a_backup_of_a_batch_begins_its_epoch_anew_with_its_weights(tmp_path):
    seen = {}

    class Sees(Break):
        def on_train_batch_begin(self, batch, logs=None):
            seen[self.now, batch] = self.model.get_weights()
            super().on_train_batch_begin(batch, logs)

    backup = callbacks.BackupAndRestore(tmp_path, save_freq=2)
    broken(regression(), backup, Sees(1, 2))  # five steps are made, the backup has four
    saved, again = dict(seen), Sees(9)
    assert fit(regression(), backup, again).epoch == [1, 2, 3]
    for a, b in zip(saved[1, 1], seen[1, 0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_fit_leaves_no_backup_unless_asked_for(tmp_path):
    for keep in (False, True):
        fit(regression(), callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=not keep))
        assert (tmp_path / "b").exists() == keep
    kept = callbacks.BackupAndRestore(tmp_path / "b")
    assert fit(regression(), kept, epochs=6).epoch == [4, 5]


def test_a_backup_that_cannot_be_removed_does_not_fail_the_fit(tmp_path, monkeypatch):
    def refuse(path):
        raise FileError(f"{path}: Hadoop could not reach the file.")

    monkeypatch.setattr(files, "remove_folder", refuse)
    with pytest.warns(UserWarning, match="could not be removed.*Hadoop could not reach"):
        history = fit(regression(), callbacks.BackupAndRestore(tmp_path))
    assert history.epoch == [0, 1, 2, 3]


def test_where_a_fit_began_does_not_bind_the_next_one(tmp_path):
    model, backup = regression(), callbacks.BackupAndRestore(tmp_path)
    broken(model, backup, Break(2))
    fit(model, backup)
    assert fit(model).epoch == [0, 1, 2, 3]


def test_a_spoilt_backup_gives_way_to_the_one_before_it(tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path, double_checkpoint=True)
    broken(regression(), backup, Break(3))
    (tmp_path / "latest.weights.h5").write_bytes(b"cut short")
    assert fit(regression(), backup).epoch == [2, 3]
    once = callbacks.BackupAndRestore(tmp_path)
    broken(regression(), once, Break(3))
    (tmp_path / "latest.weights.h5").write_bytes(b"cut short")
    with pytest.raises(FileError, match=r"latest\.weights\.h5"):
        fit(regression(), once)


@pytest.mark.parametrize("killed_at", range(4, 8))
def test_a_process_killed_at_any_file_of_a_backup_goes_on_to_the_same_bits(
    tmp_path, monkeypatch, killed_at
):
    """os.replace puts each file in its place; at the third epoch's end: which of its files."""
    whole, backup = regression(), callbacks.BackupAndRestore(tmp_path / "b")
    fit(whole)
    count, replace = itertools.count(), os.replace

    def killed(*given):
        if next(count) == killed_at:
            raise KeyError("power cut")
        replace(*given)

    monkeypatch.setattr(os, "replace", killed)
    broken(regression(), backup)
    monkeypatch.setattr(os, "replace", replace)
    again = regression()
    assert fit(again, callbacks.BackupAndRestore(tmp_path / "b")).epoch in ([2, 3], [3])
    assert_equal_weights(whole, again)


def test_weights_of_another_moment_than_their_description_are_refused(tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path)
    broken(regression(), backup, Break(2))
    described = json.loads((tmp_path / "training_metadata.json").read_text())
    (tmp_path / "training_metadata.json").write_text(json.dumps({**described, "iterations": 99}))
    with pytest.raises(FileError, match=r"of different moments.*an optimizer of 6 steps"):
        fit(regression(), backup)


class Halves(keras.Sequential):
    """Each layer has an optimizer of its own, which the first step builds."""

    def compile(self, *further, **given):
        super().compile(**given)
        self.further = list(further)

    def train_step(self, data):
        x, y = data
        with keras.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(self(x) - y))
        grads = tape.gradient(loss, self.trainable_weights)
        for i, optimizer in enumerate(self.further):
            half = slice(2 * i, 2 * i + 2)
            if i:
                optimizer.build(self.trainable_weights[half])
            optimizer.apply(grads[half], self.trainable_weights[half])
        return {"loss": loss}


def halves():
    keras.utils.set_random_seed(1)
    model = Halves([keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01, momentum=0.9))
    model.compile(keras.optimizers.Adam(0.1), scaled)
    return model


@pytest.mark.parametrize("killed", [False, True])
def test_further_optimizers_go_on_too(tmp_path, monkeypatch, killed):
    """After a cut in the third epoch, or between the weights of the second and what describes them;
    each backup replaces 3 files, the first one 2."""
    whole, backup = halves(), callbacks.BackupAndRestore(tmp_path)
    fit(whole)
    count, replace = itertools.count(), os.replace

    def last(*given):
        if killed and next(count) == 4:
            raise KeyError("power cut")
        replace(*given)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", last)
        broken(halves(), backup, Break(2, 1))
    again = halves()
    assert fit(again, callbacks.BackupAndRestore(tmp_path)).epoch == [2, 3]
    assert_equal_weights(whole, again)
    for ours, theirs in zip(whole.further, again.further, strict=True):
        for one, other in zip(ours.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"epoch": -1}', '{"epoch": "2"}'])
def test_a_backup_that_names_no_epoch_is_refused(tmp_path, text):
    backup = callbacks.BackupAndRestore(tmp_path)
    broken(regression(), backup, Break(1))
    assert json.loads((tmp_path / "training_metadata.json").read_text())["epoch"] == 1
    (tmp_path / "training_metadata.json").write_text(text)
    with pytest.raises(FileError, match="does not say in which epoch"):
        fit(regression(), backup)


def test_wrong_arguments_and_models_without_weights_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="backup_dir must be a folder"):
        callbacks.BackupAndRestore("")
    with pytest.raises(ClusterError, match="need a running Spark session"):
        fit(regression(), callbacks.BackupAndRestore("hdfs://a/b"))
    for freq in (0, "batch", True, 1.5):
        with pytest.raises(ConfigError, match="save_freq must be"):
            callbacks.BackupAndRestore(tmp_path, save_freq=freq)
    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ConfigError, match="must have its weights before fit"):
        model.fit(iter([(X, Y)]), callbacks=[callbacks.BackupAndRestore(tmp_path)], verbose=0)
