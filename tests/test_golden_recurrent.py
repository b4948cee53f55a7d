"""Recurrent layers and cells against real Keras 3: configuration, weights, outputs, gradients."""

from __future__ import annotations

import numpy as np
import pytest
from golden.compare import GRADIENT, OUTPUT, assert_close, differences
from golden.recurrent_call import arguments, build, flat, output
from golden.store import Golden, series

import zoo_keras as zk
from zoo_keras.execute import value_and_grad

GOLDEN = Golden("recurrent")
CASES = list(GOLDEN.cases)
LAYERS = [n for n in CASES if "output_shape" in GOLDEN.cases[n]]
ADDING_LOSS = [n for n in CASES if "added_loss" in GOLDEN.cases[n]]


def built(name):
    """The layer with the weights Keras had."""
    case = GOLDEN.cases[name]
    layer = build(zk, case["class"], case["kwargs"])
    layer.build(tuple(case["input_shapes"][0]))
    layer.set_weights(series(GOLDEN.arrays(name), "weight"))
    return layer


def call_of(name):
    return arguments(GOLDEN.cases[name]["call"])


@pytest.mark.parametrize("name", CASES)
def test_configuration_is_keras(name):
    config = zk.saving.serialize_keras_object(built(name))
    assert not differences(config, GOLDEN.cases[name]["config"])


@pytest.mark.parametrize("name", CASES)
def test_configuration_of_keras_makes_the_same_layer(name):
    config = GOLDEN.cases[name]["config"]
    again = getattr(zk.layers, config["class_name"]).from_config(config["config"])
    assert not differences(again.get_config(), config["config"])
    revived = zk.saving.deserialize_keras_object(config)
    assert not differences(revived.get_config(), config["config"])


@pytest.mark.parametrize("name", CASES)
def test_weights_have_the_names_shapes_and_order_of_keras(name):
    layer = built(name)
    rows = [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in layer.weights]
    assert rows == GOLDEN.cases[name]["weights"]
    assert layer.count_params() == GOLDEN.cases[name]["count_params"]


@pytest.mark.parametrize("name", LAYERS)
def test_output_shapes_with_a_free_batch_size(name):
    case = GOLDEN.cases[name]
    inputs = zk.Input(tuple(case["input_shapes"][0][1:]))
    shapes = [list(t.shape) for t in flat(built(name)(inputs))]
    wanted = case["output_shape"]
    assert shapes == flat_shapes(wanted)


def flat_shapes(shapes):
    if all(d is None or isinstance(d, int) for d in shapes):
        return [shapes]
    return [s for item in shapes for s in flat_shapes(item)]


@pytest.mark.parametrize("name", CASES)
def test_outputs_on_arrays(name):
    arrays = GOLDEN.arrays(name)
    found = output(zk, built(name), series(arrays, "input"), call_of(name))
    assert_close(found, arrays["output"], OUTPUT)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    arrays, layer = GOLDEN.arrays(name), built(name)

    def projected(*tensors):
        return zk.ops.sum(output(zk, layer, list(tensors), call_of(name)) * arrays["projection"])

    given = series(arrays, "input")
    _, input_grads, weight_grads = value_and_grad(projected, given, layer.trainable_weights)
    found = {f"input_grad{i}": g for i, g in enumerate(input_grads) if g is not None}
    found |= {f"weight_grad{i}": g for i, g in enumerate(weight_grads) if g is not None}
    for key in [k for k in arrays if "_grad" in k]:
        assert key in found, f"Keras has a gradient for {key}"
        assert_close(found[key], arrays[key], GRADIENT, key)


@pytest.mark.parametrize("name", ADDING_LOSS)
def test_regularizers_add_to_the_loss(name):
    found = sum(float(np.asarray(loss)) for loss in built(name).losses)
    assert found == pytest.approx(GOLDEN.cases[name]["added_loss"], rel=OUTPUT)
