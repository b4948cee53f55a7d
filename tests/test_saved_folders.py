"""Models as folders, and configs that claim to be something else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.configs.serialization import deserialize_keras_object
from zoo_keras.errors import ArgumentTypeError, ConfigError, FileError, UnsupportedError

X = np.linspace(-1, 1, 12, dtype="f4").reshape(4, 3)


def net():
    model = zk.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def test_a_model_is_saved_as_a_folder_and_loaded_from_it(tmp_path):
    model, place = net(), tmp_path / "model"
    model.fit(X, X[:, :2], verbose=0)
    for _ in range(2):  # the second time in place of the first
        zk.saving.save_model(model, place, zipped=False)
    assert sorted(os.listdir(place)) == ["config.json", "metadata.json", "model.weights.h5"]
    assert os.listdir(tmp_path) == ["model"]
    again = zk.saving.load_model(place)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert int(again.optimizer.iterations) == 1


def test_a_folder_keeps_the_assets_of_layers(tmp_path):
    words = layers.StringLookup()
    words.adapt(["a", "b", "b"])
    model = zk.Sequential([layers.Input((1,), dtype="string"), words])
    zk.saving.save_model(model, tmp_path / "m", zipped=False)
    assert zk.saving.load_model(tmp_path / "m").layers[0].get_vocabulary() == ["[UNK]", "b", "a"]


def test_a_folder_replaces_models_only(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(FileError, match="name is taken"):
        zk.saving.save_model(net(), tmp_path / "mine", zipped=False)
    (tmp_path / "mine" / "config.json").write_text("{}")  # as others call theirs, too
    with pytest.raises(FileError, match="name is taken"):
        zk.saving.save_model(net(), tmp_path / "mine", zipped=False)
    assert sorted(os.listdir(tmp_path / "mine")) == ["config.json", "letter.txt"]
    (tmp_path / "mine" / "config.json").unlink()
    with pytest.raises(ConfigError, match="should not end in"):
        zk.saving.save_model(net(), tmp_path / "m.keras", zipped=False)
    with pytest.raises(FileError, match="a directory"):
        zk.saving.load_model(tmp_path / "mine")


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    model, place = net(), tmp_path / "m"
    zk.saving.save_model(model, place, zipped=False)
    rename = Path.rename

    def fail(self, target):
        if target == place and (self / "model.weights.h5").stat().st_mtime > old:
            raise OSError("no space")
        return rename(self, target)

    old = (place / "model.weights.h5").stat().st_mtime
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no space"):
        zk.saving.save_model(net(), place, zipped=False)
    assert os.listdir(tmp_path) == ["m"]
    np.testing.assert_array_equal(zk.saving.load_model(place).predict(X), model.predict(X))


def test_folders_are_local(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="are local ones"):
        zk.saving.save_model(net(), "hdfs://name/model", zipped=False)
    assert os.listdir(tmp_path) == []


def test_links_are_no_members_of_a_folder(tmp_path):
    zk.saving.save_model(net(), tmp_path / "m", zipped=False)
    secret = tmp_path / "config.json"
    (tmp_path / "m" / "config.json").rename(secret)
    (tmp_path / "m" / "config.json").symlink_to(secret)
    with pytest.raises(FileError, match=r"holds no config\.json"):
        zk.saving.load_model(tmp_path / "m")


def test_by_name_is_refused_where_files_have_no_layers(tmp_path):
    model = net()
    model.save(tmp_path / "m.keras")
    with pytest.raises(ConfigError, match="by_name only supports"):
        model.load_weights(tmp_path / "m.keras", by_name=True)


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ({"class_name": "Dense", "module": "keras.layers", "registered_name": "pkg>Mine",
          "config": {"units": 1}}, ConfigError, "resolved to a Keras built-in"),
        ({"class_name": "function", "module": "builtins", "registered_name": "other",
          "config": "relu"}, ConfigError, "resolved to a Keras built-in"),
        ({"class_name": "function", "config": ["relu"]}, ArgumentTypeError, "non-null str"),
        ({"class_name": "__typespec__", "config": "x"}, ArgumentTypeError, "list or a tuple"),
    ],
)  # fmt: skip
def test_configs_of_something_else_are_refused(config, error, match):
    with pytest.raises(error, match=match):
        deserialize_keras_object(config)


def test_a_config_with_its_own_name_is_read():
    named = {"class_name": "Dense", "module": "keras.layers", "registered_name": "Dense"}
    assert deserialize_keras_object({**named, "config": {"units": 2}}).units == 2


def test_inputs_by_name_are_not_given_as_a_list():
    def model(*names):
        inputs = {name: layers.Input((2,), name=name) for name in names}
        return zk.Model(inputs, layers.subtract(list(inputs.values())))

    two = [np.ones((1, 2), "f4"), np.zeros((1, 2), "f4")]
    with pytest.warns(UserWarning, match="structure of `inputs`"):
        np.testing.assert_array_equal(model("a", "b")(two), [[1, 1]])
    with pytest.raises(ConfigError, match="structure of `inputs`"):
        model("b", "a")(two)


def test_a_loss_of_several_outputs_together_is_refused_by_name():
    x = layers.Input((3,))
    model = zk.Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)])
    with pytest.raises(UnsupportedError, match="several outputs together"):
        model.compile("sgd", ["mse", ("mse", "mae")])
