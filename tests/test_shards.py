"""Weights in several files: what is written, read back, and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras.errors import ConfigError, FileError
from zoo_keras.saving import shards

X = np.random.default_rng(1).normal(size=(4, 30)).astype("float32")


def trained():
    layers = [zk.layers.Dense(20), zk.layers.BatchNormalization(), zk.layers.Dense(30)]
    model = zk.Sequential([zk.Input((30,)), *layers])
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0)
    return model


def test_files_of_limited_size_give_all_weights_and_state_back(tmp_path):
    model, path = trained(), tmp_path / "m.weights.json"
    model.save_weights(path, max_shard_size=3000 / 2**30)
    names = sorted(p.name for p in tmp_path.glob("*.h5"))
    assert len(names) > 3 and names[0] == "m_00000.weights.h5"
    assert len(json.loads(path.read_text())["weight_map"]["/optimizer/vars"]) > 1
    again = trained()
    again.load_weights(path)
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))
    ours, theirs = model.optimizer.variables, again.optimizer.variables
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_what_is_no_such_path_or_size_is_refused(tmp_path):
    model = trained()
    with pytest.raises(ConfigError, match="must end in"):
        model.save_weights(tmp_path / "m.weights.h5", max_shard_size=1)
    with pytest.raises(ConfigError, match="exceeds the maximum shard size"):
        model.save_weights(tmp_path / "m.weights.json", max_shard_size=1e-9)


@pytest.mark.parametrize("name", ("../m.weights.h5", "/etc/passwd", "a\\b.h5", 3))
def test_a_map_names_no_file_outside_of_its_folder(name, tmp_path):
    path = tmp_path / "m.weights.json"
    path.write_text(json.dumps({"weight_map": {"/vars": name}}))
    with pytest.raises(FileError, match="outside"):
        trained().load_weights(path)


def test_a_map_without_files_is_refused(tmp_path):
    path = tmp_path / "m.weights.json"
    path.write_text("[1]")
    with pytest.raises(FileError, match="weight_map"):
        trained().load_weights(path)


def test_several_files_hold_all_layers_or_say_so(tmp_path):
    model, path = trained(), tmp_path / "m.weights.json"
    with pytest.raises(ConfigError, match="objects_to_skip"):
        model.save_weights(path, max_shard_size=1, objects_to_skip=model.layers[:1])
    assert not path.exists()
    model.save_weights(path, max_shard_size=1)
    with pytest.raises(ConfigError, match="objects_to_skip"):
        model.load_weights(path, objects_to_skip=model.layers[:1])


def test_a_failing_save_leaves_every_file_as_it_was(tmp_path, monkeypatch):
    model, path = trained(), tmp_path / "m.weights.json"
    model.save_weights(path, max_shard_size=3e-6)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    model.fit(X, X, verbose=0)
    monkeypatch.setattr(shards, "_map", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save_weights(path, max_shard_size=3e-6)
    assert len(before) > 2
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
