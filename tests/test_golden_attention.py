"""Attention layers, EinsumDense, normalizations and noise layers against real Keras 3."""

from __future__ import annotations

import numpy as np
import pytest
from golden.compare import GRADIENT, OUTPUT, assert_close, differences
from golden.store import DATA, Golden, series

import zoo_keras as zk
from zoo_keras.execute import value_and_grad

GOLDEN = Golden("attention")
CASES = [name for name in GOLDEN.cases if name != "file"]
FILES = DATA / "attention"


def shapes_of(name):
    return [x.shape for x in series(GOLDEN.arrays(name), "input")]


def built(name):
    """The layer with the weights Keras had."""
    case = GOLDEN.cases[name]
    layer = getattr(zk.layers, case["class"])(**case["kwargs"])
    layer.build(shapes_of(name)) if case["listed"] else layer.build(*shapes_of(name))
    layer.set_weights(series(GOLDEN.arrays(name), "weight"))
    return layer


def filled(value, masks):
    if isinstance(value, dict):
        return masks[value["mask"]]
    return [filled(v, masks) for v in value] if isinstance(value, list) else value


def call(name, layer, inputs):
    """The layer's outputs for these inputs, with the case's masks and flags."""
    case, masks = GOLDEN.cases[name], series(GOLDEN.arrays(name), "mask")
    flags = {key: filled(value, masks) for key, value in case["call"].items()}
    return layer(list(inputs), **flags) if case["listed"] else layer(*inputs, **flags)


@pytest.mark.parametrize("name", CASES)
def test_configuration_is_keras(name):
    config = GOLDEN.cases[name]["config"]
    assert not differences(zk.saving.serialize_keras_object(built(name)), config)
    again = zk.saving.deserialize_keras_object(config)
    assert not differences(again.get_config(), config["config"])


@pytest.mark.parametrize("name", CASES)
def test_weights_shapes_and_parameter_count(name):
    case, layer = GOLDEN.cases[name], built(name)
    rows = [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in layer.weights]
    assert rows == case["weights"]
    assert layer.count_params() == case["count_params"]
    shapes = shapes_of(name)
    found = layer.compute_output_shape(*([shapes] if case["listed"] else shapes))
    assert list(found) == case["output_shape"]


@pytest.mark.parametrize("name", CASES)
def test_outputs(name):
    arrays = GOLDEN.arrays(name)
    outputs = call(name, built(name), series(arrays, "input"))
    assert_close(outputs, arrays["output"], OUTPUT)


@pytest.mark.parametrize("name", [n for n in CASES if not GOLDEN.cases[n]["call"].get("training")])
def test_outputs_in_a_model(name):
    arrays = GOLDEN.arrays(name)
    given = series(arrays, "input")
    inputs = [zk.Input(batch_shape=x.shape) for x in given]
    model = zk.Model(inputs, call(name, built(name), inputs))
    assert_close(model.predict_on_batch(given), arrays["output"], OUTPUT)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    arrays, layer = GOLDEN.arrays(name), built(name)

    def projected(*tensors):
        return zk.ops.sum(call(name, layer, tensors) * arrays["projection"])

    given = series(arrays, "input")
    _, input_grads, weight_grads = value_and_grad(projected, given, layer.trainable_weights)
    found = {f"input_grad{i}": g for i, g in enumerate(input_grads)}
    found |= {f"weight_grad{i}": g for i, g in enumerate(weight_grads)}
    for key in [k for k in arrays if "_grad" in k]:
        # the gradient by a bias of the keys is 0 but for rounding
        want = arrays[key] if np.abs(arrays[key]).max(initial=0) > 1e-5 else 0 * arrays[key]
        got = found[key] if want.any() else np.where(np.abs(found[key]) < 1e-5, 0, found[key])
        assert_close(got, want, GRADIENT, key)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_files_of_keras_are_read_and_written_again(name, tmp_path):
    arrays = GOLDEN.arrays("file")
    model = zk.saving.load_model(FILES / name)
    outputs = model.predict(arrays["inputs"], verbose=0)
    assert_close(outputs, arrays["outputs"], OUTPUT)
    model.save(tmp_path / name)
    again = zk.saving.load_model(tmp_path / name)
    np.testing.assert_array_equal(again.predict(arrays["inputs"], verbose=0), outputs)


def test_weights_of_keras_are_read_into_the_same_architecture():
    arrays = GOLDEN.arrays("file")
    model = zk.saving.load_model(FILES / "model.keras")
    for weight in model.weights:
        weight.assign(np.zeros_like(weight))
    model.load_weights(FILES / "model.weights.h5")
    assert_close(model.predict(arrays["inputs"], verbose=0), arrays["outputs"], OUTPUT)
