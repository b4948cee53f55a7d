"""Every layer against real Keras 3: configuration, weights, shapes, outputs and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from golden.compare import GRADIENT, OUTPUT, assert_all_close, assert_close, differences
from golden.functions import table as functions
from golden.store import Golden, series

import zoo_keras as zk
from zoo_keras.execute import value_and_grad

GOLDEN = Golden("layers")
CASES = list(GOLDEN.cases)
COMPUTING = [n for n in CASES if GOLDEN.cases[n]["class"] != "InputLayer"]
BY_VALUE = [n for n in CASES if GOLDEN.cases[n]["class"] != "Lambda"]
FREE_BATCH = [n for n in COMPUTING if "free_output_shape" in GOLDEN.cases[n]]
ADDING_LOSS = [n for n in CASES if "added_loss" in GOLDEN.cases[n] and not GOLDEN.cases[n]["call"]]
UPDATING = [n for n in CASES if "after0" in GOLDEN.cases[n]["arrays"]]
# A model has one batch size, and its predictions override training=True.
IN_A_MODEL = [
    n
    for n in COMPUTING
    if not n.endswith("batch_axis") and not GOLDEN.cases[n]["call"].get("training")
]


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def made(name):
    case = GOLDEN.cases[name]
    kwargs = dict(case["kwargs"])
    if case["class"] == "Lambda":
        kwargs["function"] = functions(zk.ops)[kwargs["function"]]
    return getattr(zk.layers, case["class"])(**kwargs)


def built(name):
    """The layer with the weights Keras had."""
    layer = made(name)
    if name in COMPUTING:
        shapes = [tuple(s) for s in GOLDEN.cases[name]["input_shapes"]]
        layer.build(joined(shapes))
        layer.set_weights(series(GOLDEN.arrays(name), "weight"))
    return layer


def serialized(layer):
    config = zk.saving.serialize_keras_object(layer)
    if isinstance(layer, zk.layers.Lambda):
        del config["config"]["function"]  # bytecode
    return config


@pytest.mark.parametrize("name", CASES)
def test_configuration_is_keras(name):
    assert not differences(serialized(built(name)), GOLDEN.cases[name]["config"])


@pytest.mark.parametrize("name", BY_VALUE)
def test_configuration_of_keras_makes_the_same_layer(name):
    config = GOLDEN.cases[name]["config"]
    again = getattr(zk.layers, config["class_name"]).from_config(config["config"])
    assert not differences(again.get_config(), config["config"])
    revived = zk.saving.deserialize_keras_object(config)
    assert not differences(revived.get_config(), config["config"])


@pytest.mark.parametrize("name", CASES)
def test_weights_have_the_names_shapes_and_order_of_keras(name):
    weights = built(name).weights
    rows = [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in weights]
    assert rows == GOLDEN.cases[name]["weights"]


@pytest.mark.parametrize("name", COMPUTING)
def test_shapes_and_parameter_count(name):
    case, layer = GOLDEN.cases[name], built(name)
    shapes = [tuple(s) for s in case["input_shapes"]]
    assert list(layer.compute_output_shape(joined(shapes))) == case["output_shape"]
    assert layer.count_params() == case["count_params"]


@pytest.mark.parametrize("name", FREE_BATCH)
def test_shapes_with_a_free_batch_size(name):
    case, layer = GOLDEN.cases[name], built(name)
    free = joined([(None, *s[1:]) for s in case["input_shapes"]])
    assert list(layer.compute_output_shape(free)) == case["free_output_shape"]


@pytest.mark.parametrize("name", COMPUTING)
def test_outputs_on_arrays(name):
    arrays = GOLDEN.arrays(name)
    outputs = built(name)(joined(series(arrays, "input")), **GOLDEN.cases[name]["call"])
    assert_close(outputs, arrays["output"], OUTPUT)


@pytest.mark.parametrize("name", IN_A_MODEL)
def test_outputs_in_a_model(name):
    arrays, layer = GOLDEN.arrays(name), built(name)
    given = series(arrays, "input")
    inputs = [zk.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in given]
    outputs = layer(joined(inputs), **GOLDEN.cases[name]["call"])
    predicted = zk.Model(joined(inputs), outputs).predict_on_batch(joined(given))
    assert_close(predicted, arrays["output"], OUTPUT)


@pytest.mark.parametrize("name", COMPUTING)
def test_gradients(name):
    arrays, layer = GOLDEN.arrays(name), built(name)
    given = series(arrays, "input")

    def projected(*tensors):
        outputs = layer(joined(tensors), **GOLDEN.cases[name]["call"])
        return zk.ops.sum(zk.ops.cast(outputs, "float32") * arrays["projection"])

    variables = layer.trainable_weights
    _, input_grads, weight_grads = value_and_grad(projected, given, variables)
    found = {f"input_grad{i}": g for i, g in enumerate(input_grads) if g is not None}
    found |= {f"weight_grad{i}": g for i, g in enumerate(weight_grads) if g is not None}
    for key in [k for k in arrays if "_grad" in k]:
        assert key in found, f"Keras has a gradient for {key}"
        assert_close(found[key], arrays[key], GRADIENT, key)


@pytest.mark.parametrize("name", ADDING_LOSS)
def test_regularizers_add_to_the_loss(name):
    arrays, layer = GOLDEN.arrays(name), built(name)
    (given,) = series(arrays, "input")
    inputs = zk.Input(batch_shape=given.shape, dtype=given.dtype.name)
    model = zk.Model(inputs, layer(inputs, **GOLDEN.cases[name]["call"]))
    model.compile(optimizer="sgd", loss="mse")
    targets = model.predict_on_batch(given)
    loss = model.test_on_batch(given, targets)
    assert loss == pytest.approx(GOLDEN.cases[name]["added_loss"], rel=OUTPUT)


@pytest.mark.parametrize("name", UPDATING)
def test_training_updates_the_statistics(name):
    arrays, layer = GOLDEN.arrays(name), built(name)
    layer(joined(series(arrays, "input")), **GOLDEN.cases[name]["call"])
    names = [w.name for w in layer.weights]
    assert_all_close(layer.get_weights(), series(arrays, "after"), OUTPUT, names)


@pytest.mark.parametrize("name", [n for n in UPDATING if n.startswith("BatchNormalization")])
def test_one_training_step_updates_the_statistics(name):
    arrays, layer = GOLDEN.arrays(name), built(name)
    (given,) = series(arrays, "input")
    model = zk.Sequential([zk.Input(batch_shape=given.shape), layer])
    model.compile(optimizer=zk.optimizers.SGD(0.0), loss="mse")
    model.train_on_batch(given, np.zeros_like(given))
    after = series(arrays, "after")
    for variable, want in zip(layer.weights, after, strict=True):
        if not variable.trainable:  # the others may have met a constraint
            assert_close(variable, want, OUTPUT, variable.name)
