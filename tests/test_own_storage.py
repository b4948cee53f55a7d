"""Layers that store themselves in their own way: arrays, files beside them, and their build."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import Input, Sequential, layers, ops
from zoo_keras.errors import ConfigError, FileError

X = np.linspace(0, 1, 12, dtype="float32").reshape(3, 4)


@zk.saving.register_keras_serializable("own_storage")
class Scaled(layers.Layer):
    """(x - mean) / deviation; keeps the mean as a sum and its words in a file, as lookups do."""

    def __init__(self, words=None, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.words, self.scale = words, scale

    def build(self, shape):
        self.mean = self.add_weight(shape=(shape[-1],), trainable=False, initializer="zeros")
        self.deviation = self.add_weight(shape=(shape[-1],), trainable=False, initializer="ones")

    def adapt(self, data, words):
        self.mean.assign(data.mean(0))
        self.deviation.assign(data.std(0))
        self.words, self.scale = words, float(data.std())

    def call(self, x):
        return ops.divide(ops.subtract(x, self.mean), self.deviation) * self.scale

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["scale"] = np.float64(self.scale)

    def load_own_variables(self, store):
        self.scale = float(store["scale"])
        super().load_own_variables({k: store[k] for k in ("0", "1")})

    def save_assets(self, folder):
        (Path(folder) / "words").mkdir()
        (Path(folder) / "words" / "list.txt").write_text("\n".join(self.words))

    def load_assets(self, folder):
        self.words = (Path(folder) / "words" / "list.txt").read_text().split("\n")


def adapted():
    model = Sequential([Input((4,)), Scaled(name="scaled"), layers.Dense(2)])
    model.layers[0].adapt(X, ["red", "green"])
    return model


def test_arrays_and_files_of_a_layer_are_saved_with_it(tmp_path):
    model = adapted()
    model.save(tmp_path / "m.keras")
    names = zipfile.ZipFile(tmp_path / "m.keras").namelist()
    assert "assets/layers/scaled/words/list.txt" in names
    again = zk.saving.load_model(tmp_path / "m.keras")
    assert again.layers[0].words == ["red", "green"]
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))


def test_weights_files_hold_the_arrays_alone(tmp_path):
    model = adapted()
    model.save_weights(tmp_path / "m.weights.h5")
    again = Sequential([Input((4,)), Scaled(scale=1.0, name="scaled"), layers.Dense(2)])
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))


def test_a_layer_is_built_as_its_build_configuration_says(tmp_path):
    @zk.saving.register_keras_serializable("own_storage")
    class Wide(layers.Layer):
        def build(self, shape, width=3):
            self.width = width
            self.kernel = self.add_weight(shape=(shape[-1], width))

        def call(self, x):
            return ops.matmul(x, self.kernel)

        def get_build_config(self):
            return {"wide": {"input_shape": (None, 4), "width": self.width}}

        def build_from_config(self, config):
            self.build(tuple(config["wide"]["input_shape"]), config["wide"]["width"])

    wide = Wide()
    wide.build((None, 4), 5)
    model = Sequential([Input((4,)), wide])
    model.save(tmp_path / "m.keras")
    again = zk.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))


@pytest.mark.parametrize("name", ["a/b", "", 3])
def test_names_of_arrays_are_checked_before_a_file_appears(name, tmp_path):
    class Bad(layers.Dense):
        def save_own_variables(self, store):
            store[name] = np.zeros(1)

    with pytest.raises(ConfigError, match="must name its arrays"):
        Sequential([Input((4,)), Bad(2)]).save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../../out.txt", "words/../../out.txt", "/out.txt", "..\\out"])
def test_assets_stay_in_their_folder(name, tmp_path):
    adapted().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive:
        archive.writestr(f"assets/layers/scaled/{name}", "x")
    with pytest.raises(FileError, match="outside of its folder"):
        zk.saving.load_model(tmp_path / "m.keras")
    assert not Path("/out.txt").exists() and not (tmp_path.parent / "out.txt").exists()


def test_a_lost_asset_is_an_error_that_names_the_file(tmp_path):
    adapted().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as given:
        members = {n: given.read(n) for n in given.namelist() if not n.startswith("assets")}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as made:
        for member, data in members.items():
            made.writestr(member, data)
    with pytest.raises(ConfigError, match=r"m\.keras"):
        zk.saving.load_model(tmp_path / "m.keras")
