"""Files of Keras 2 in the forms that the golden files of tf-keras do not show."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from golden.store import DATA, Golden, series

import zoo_keras as zk
from zoo_keras.errors import ConfigError
from zoo_keras.saving import keras2

X = np.linspace(-1, 1, 24, dtype="float32").reshape(6, 4)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_hard_sigmoid_of_keras_2_stays_what_it_was(suffix, tmp_path):
    model = zk.saving.load_model(DATA / "keras2" / "text.h5")
    x, want = (series(Golden("keras2").arrays("text"), key)[0] for key in ("x", "predicted"))
    model.save(tmp_path / f"model{suffix}")
    again = zk.saving.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_allclose(again.predict_on_batch(x), want, rtol=1e-5)
    assert again.get_layer("gate").activation is keras2.hard_sigmoid


def test_clearing_the_custom_objects_keeps_hard_sigmoid_of_keras_2():
    objects = zk.saving.get_custom_objects()
    before = dict(objects)
    zk.saving.load_model(DATA / "keras2" / "text.h5")
    objects.clear()
    try:
        model = zk.saving.load_model(DATA / "keras2" / "text.h5")
    finally:
        objects.update(before)
    assert model.get_layer("gate").activation is keras2.hard_sigmoid


def test_a_new_process_reads_hard_sigmoid_of_keras_2_from_json():
    text = zk.saving.load_model(DATA / "keras2" / "text.h5").to_json()
    code = "import sys, zoo_keras as zk; zk.models.model_from_json(sys.stdin.read())"
    run = subprocess.run([sys.executable, "-c", code], input=text, text=True, capture_output=True)
    assert run.returncode == 0, run.stderr


def test_archive_of_keras_2_opens_with_its_training_state(tmp_path):
    """As tf-keras 2.18 writes it: modules of its own, the first layer's shape, old arguments."""

    def entry(name, config, family="layers", **more):
        return {"module": f"keras.{family}", "class_name": name, "config": config,
                "registered_name": None} | more  # fmt: skip

    start = entry("InputLayer", {"batch_input_shape": [None, 4], "name": "in", "ragged": False})
    dense = entry("Dense", {"units": 2, "activation": "linear", "name": "d", "trainable": True},
                  build_config={"input_shape": [None, 4]})  # fmt: skip
    optimizer = entry("SGD", {"learning_rate": 0.5, "decay": 0.0, "jit_compile": True},
                      "optimizers.legacy")  # fmt: skip
    config = {"module": "tf_keras.src.engine.functional", "class_name": "Functional", "config": {
        "name": "m", "input_layers": [["in", 0, 0]], "output_layers": [["d", 0, 0]], "layers": [
            start | {"name": "in", "inbound_nodes": []},
            dense | {"name": "d", "inbound_nodes": [[["in", 0, 0, {}]]]},
        ]}, "registered_name": "Functional",
        "compile_config": {"optimizer": optimizer, "loss": "mse", "metrics": ["mae"]},
    }  # fmt: skip
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["_layer_checkpoint_dependencies/dense/vars/0"] = np.ones((4, 2), "f4")
        file["_layer_checkpoint_dependencies/dense/vars/1"] = np.ones(2, "f4")
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.18.0"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
    model = zk.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(model.predict_on_batch(X)[:, 0], X.sum(axis=1) + 1, rtol=1e-5)
    assert float(model.optimizer.learning_rate) == 0.5 and model.loss == "mse"


def test_an_argument_of_keras_2_that_would_be_lost_is_refused(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        act = {"name": "n", "activation": "relu", "old": True, "batch_input_shape": [None, 3]}
        config = {"layers": [{"class_name": "Activation", "config": act}]}
        file.attrs["keras_version"] = "2.4.0"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
    with pytest.raises(NotImplementedError, match="'old': True"):
        zk.saving.load_model(tmp_path / "old.h5")


def test_bare_names_of_old_files_are_told_at_once(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        dense = {"name": "d", "units": 2, "activation": "my_act", "batch_input_shape": [None, 3]}
        config = [{"class_name": "Dense", "config": dense}, {"class_name": "Mine", "config": {}}]
        file.attrs["keras_version"] = "2.2.4"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
        training = {"optimizer_config": {"class_name": "MyOpt", "config": {"lr": 0.1}},
                    "loss": "my_loss", "metrics": ["acc", "my_metric"]}  # fmt: skip
        file.attrs["training_config"] = json.dumps(training)
    with pytest.raises(ConfigError) as caught:
        zk.saving.load_model(tmp_path / "old.h5")
    for name in ("my_act", "Mine", "MyOpt", "my_loss", "my_metric"):
        assert f"'{name}'" in str(caught.value)


def keras_2_0_file(path, names_dtype):
    """A model as Keras 2.0.5 wrote it: a list of layers, `lr`, names in fixed-length strings."""
    scaling = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
    dense = {
        "name": "dense_1", "units": 2, "activation": "softmax", "use_bias": True,
        "kernel_initializer": {"class_name": "VarianceScaling", "config": scaling},
        "bias_initializer": {"class_name": "Zeros", "config": {}}, "trainable": True,
        "batch_input_shape": [None, 4], "dtype": "float32", "kernel_regularizer": None,
    }  # fmt: skip
    adam = {"lr": 0.25, "beta_1": 0.9, "beta_2": 0.999, "epsilon": None, "decay": 0.5}
    training = {"optimizer_config": {"class_name": "Adam", "config": adam}, "metrics": ["acc"],
                "loss": "categorical_crossentropy", "sample_weight_mode": None}  # fmt: skip
    model = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": dense}]}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = np.bytes_("2.0.5")
        file.attrs["model_config"] = np.bytes_(json.dumps(model))
        file.attrs["training_config"] = np.bytes_(json.dumps(training))
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array(["dense_1"], names_dtype)
        layer = group.create_group("dense_1")
        layer.attrs["weight_names"] = np.array(["dense_1_1/kernel:0", "dense_1_1/b:0"], names_dtype)
        layer["dense_1_1/kernel:0"] = np.arange(8, dtype="f4").reshape(4, 2)
        layer["dense_1_1/b:0"] = np.ones(2, "f4")
        optimizer = file.create_group("optimizer_weights")
        optimizer.attrs["weight_names"] = np.array(["iterations_1:0", "Variable_104:0"], "S20")
        optimizer["iterations_1:0"], optimizer["Variable_104:0"] = np.float32(3), np.ones(2, "f4")


@pytest.mark.parametrize("names_dtype", ["S26", h5py.string_dtype()])
def test_a_file_of_keras_2_0_opens_and_its_optimizer_starts_afresh(names_dtype, tmp_path):
    keras_2_0_file(tmp_path / "old.h5", names_dtype)
    with pytest.warns(UserWarning, match="starts afresh"):
        model = zk.saving.load_model(tmp_path / "old.h5")
    assert model.input_shape == (None, 4)
    np.testing.assert_array_equal(model.get_weights()[0], np.arange(8).reshape(4, 2))
    rate = model.optimizer.learning_rate
    assert float(rate) == 0.25 and model.optimizer.epsilon == 1e-7
    model.optimizer.iterations.assign(2)
    assert float(model.optimizer.learning_rate) == 0.125  # 0.25 / (1 + 0.5 * 2)


def test_calls_of_keras_2_keep_their_arguments_and_tensors():
    names = {"a", "b"}
    call = [["a", 0, 0, {"training": False, "mask": None, "value": ["b", 1, 0], "axes": [1, 2]}]]
    made = keras2.modern_call(call, names)
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["b", 1, 0]}}
    assert made["kwargs"] == {"training": False, "value": tensor, "axes": [1, 2]}
    assert made["args"][0]["config"]["keras_history"] == ["a", 0, 0]
    assert keras2.modern_call(["a", 0, 0, {}], names)["args"] == made["args"]
    two = keras2.modern_call([["a", 0, 0, {}], ["b", 0, 0, {}]], names)
    assert [t["config"]["keras_history"][0] for t in two["args"][0]] == ["a", "b"]
