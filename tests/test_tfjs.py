"""Layers models of TensorFlow.js, made of files that tf.keras wrote."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from golden.compare import OUTPUT, assert_all_close
from golden.store import DATA, Golden, series

import zoo_keras as zk
from zoo_keras.errors import ConfigError, FileError, UnsupportedError

GOLDEN = Golden("keras2")


def converted(name, folder, shards=2, quantized=False):
    """What the converter makes of `data/keras2/<name>.h5`: JSON and shards of all weights."""
    with h5py.File(DATA / "keras2" / f"{name}.h5") as file:
        config, group = json.loads(file.attrs["model_config"]), file["model_weights"]
        arrays = [(n, group[layer][n][()]) for layer in group.attrs["layer_names"]
                  for n in group[layer].attrs["weight_names"]]  # fmt: skip
    data, weights = b"", []
    for title, array in arrays:
        entry = {"name": title, "shape": list(array.shape), "dtype": "float32"}
        if quantized:
            low, scale = float(array.min()), float(np.ptp(array)) / 65535 or 1.0
            entry["quantization"] = {"dtype": "uint16", "min": low, "scale": scale}
            array = np.round((array - low) / scale).astype("uint16")
        data, weights = data + array.tobytes(), [*weights, entry]
    names = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
    size = -(-len(data) // shards)
    for i, file_name in enumerate(names):
        (folder / file_name).write_bytes(data[i * size : (i + 1) * size])
    topology = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": config}
    manifest = [{"paths": names, "weights": weights}]
    made = {"format": "layers-model", "modelTopology": topology, "weightsManifest": manifest}
    (folder / "model.json").write_text(json.dumps(made))
    return folder / "model.json"


@pytest.mark.parametrize("name", ["lenet", "text", "residual", "two_towers"])
def test_a_model_predicts_as_keras_did(name, tmp_path):
    model, arrays = zk.saving.from_tfjs(converted(name, tmp_path)), GOLDEN.arrays(name)
    x = series(arrays, "x")
    got = model.predict_on_batch(x[0] if len(x) == 1 else x)
    got = got if isinstance(got, list) else [got]
    assert_all_close(got, series(arrays, "predicted"), OUTPUT, range(len(got)))


def test_weights_of_16_bits_come_back_as_floats(tmp_path):
    model = zk.saving.from_tfjs(converted("lenet", tmp_path, 1, quantized=True))
    arrays = GOLDEN.arrays("lenet")
    got = model.predict_on_batch(series(arrays, "x")[0])
    assert_all_close([got], series(arrays, "predicted"), 5e-3, ["lenet"])


def test_a_shard_that_is_cut_off_or_elsewhere_is_a_typed_error(tmp_path):
    path = converted("lenet", tmp_path)
    last = tmp_path / "group1-shard2of2.bin"
    last.write_bytes(last.read_bytes()[:-4])
    with pytest.raises(FileError, match="cut off"):
        zk.saving.from_tfjs(path)
    path.write_text(path.read_text().replace("group1-shard2of2", "../secret"))
    with pytest.raises(FileError, match="folder"):
        zk.saving.from_tfjs(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", FileError), ("[]", FileError), ('{"modelTopology": {"node": []}}', UnsupportedError),
        ('{"modelTopology": {}}', ConfigError),
        ('{"modelTopology": {}, "weightsManifest": [3]}', ConfigError),
    ],
)  # fmt: skip
def test_what_is_no_layers_model_is_named(text, error, tmp_path):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(error, match=r"model\.json"):
        zk.saving.from_tfjs(tmp_path / "model.json")
