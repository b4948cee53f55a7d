"""Layers models of TensorFlow.js, made of files that tf.keras wrote."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from golden.compare import OUTPUT, assert_all_close
from golden.store import DATA, Golden, series
from hostile import assert_small

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, FileError, UnsupportedError

GOLDEN = Golden("keras2")
RNG = np.random.default_rng(4)


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


def written(folder, model, weights, keras_version="tfjs-layers 4.22.0", **more):
    """A `model.json` of a model and (name, array) pairs, as TensorFlow.js writes it."""
    config = json.loads(model.to_json())
    (folder / "w.bin").write_bytes(b"".join(np.float32(a).tobytes() for _, a in weights))
    told = [{"name": n, "shape": list(np.shape(a)), "dtype": "float32", **more} for n, a in weights]
    topology = {**config, "keras_version": keras_version, "backend": "tensor_flow.js"}
    manifest = [{"paths": ["w.bin"], "weights": told}]
    made = {"modelTopology": topology, "weightsManifest": manifest}
    (folder / "model.json").write_text(json.dumps(made))
    return folder / "model.json"


def normalised():
    """A model with weights that do not train between others, all of one shape."""
    model = zk.Sequential(
        [zk.Input((2,)), layers.BatchNormalization(name="a"), layers.BatchNormalization(name="b")]
    )
    model.set_weights([np.array([i, 10.0 + i], np.float32) for i in range(8)])
    return model


OWN_ORDER = (0, 1, 4, 5, 2, 3, 6, 7)  # all that train, then the others


@pytest.mark.parametrize(
    ("version", "order", "name"),
    [
        ("tfjs-layers 4.22.0", OWN_ORDER, "w{0}"), ("2.15.0", range(8), "w{0}"),
        ("tfjs-layers 4.22.0", range(7, -1, -1), "{1}"), ("2.15.0", OWN_ORDER, "{1}:0"),
        ("2.15.0", range(7, -1, -1), "{2}"),
    ],
)  # fmt: skip
def test_weights_go_by_name_or_by_the_order_of_the_writer(version, order, name, tmp_path):
    model = normalised()
    paths = [v.path for v in model.weights]
    names = [name.format(i, path.split("/", 1)[1], path) for i, path in enumerate(paths)]
    weights = model.get_weights()
    path = written(tmp_path, model, [(names[i], weights[i]) for i in order], version)
    np.testing.assert_array_equal(zk.saving.from_tfjs(path).get_weights(), weights)


def test_weights_of_nested_and_recurrent_layers_go_by_name(tmp_path):
    inner = zk.Sequential([zk.Input((2,)), layers.Dense(2, name="d")], name="inner")
    model = zk.Sequential([zk.Input((3, 2)), layers.SimpleRNN(2, name="r"), inner])
    kernel, turned, bias, deep, _ = weights = [
        RNG.normal(size=w.shape).astype("f") for w in model.get_weights()
    ]
    named = [("d/kernel", deep), ("r/bias", bias), ("r/recurrent_kernel", turned),
             ("inner/d/bias", weights[4]), ("r/kernel", kernel)]  # fmt: skip
    got = zk.saving.from_tfjs(written(tmp_path, model, named)).get_weights()
    for a, b in zip(got, weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_that_could_be_of_several_weights_leave_the_order(tmp_path):
    model = zk.Sequential(
        [
            zk.Input((2,)),
            *[zk.Sequential([zk.Input((2,)), layers.Dense(2, name="d")]) for _ in "ab"],
        ]
    )
    weights = [np.full(w.shape, i, "f") for i, w in enumerate(model.get_weights())]
    names = ["d/kernel", "d/bias", "unknown", "of_a_bias"]
    path = written(tmp_path, model, list(zip(names, weights, strict=True)))
    got = zk.saving.from_tfjs(path).get_weights()
    assert [w.flat[0] for w in got] == [0, 1, 2, 3]


@pytest.mark.parametrize("version", ["tfjs-layers 4.22.0", "3.5.0", "2.15.0"])
def test_activations_are_those_of_tensorflow_js(version, tmp_path):
    model = zk.Sequential([zk.Input((1,)), layers.Activation("hard_sigmoid")])
    read = zk.saving.from_tfjs(written(tmp_path, model, [], version))
    np.testing.assert_allclose(read.predict_on_batch(np.ones((1, 1))), [[0.7]], rtol=1e-6)


def test_a_weight_of_texts_is_refused_before_memory_is_taken(tmp_path):
    model = zk.Sequential([zk.Input((1024,)), layers.Dense(1024, use_bias=False)])
    path = written(tmp_path, model, [("k", np.zeros((1024, 1024)))], dtype="U1000000",
                   quantization={"dtype": "float32"})  # fmt: skip
    error = assert_small(lambda: zk.saving.from_tfjs(path))
    assert isinstance(error, UnsupportedError) and "U1000000" in str(error)


@pytest.mark.parametrize("again", ["group1-shard1of2.bin", "./group1-shard1of2.bin"])
def test_a_shard_that_is_named_twice_is_refused(again, tmp_path):
    path = converted("lenet", tmp_path)
    path.write_text(path.read_text().replace("group1-shard2of2.bin", again))
    with pytest.raises(FileError, match="twice"):
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
