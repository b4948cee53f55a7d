"""Every layer against real Keras 3: configuration, weights, shapes, outputs and gradients.

The cases are those of all areas of tests/golden that hold layers; see golden/layer_case.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from golden.compare import GRADIENT, OUTPUT, assert_all_close, assert_close, differences
from golden.layer_case import cases, flat, flat_shapes, series
from traced import value_and_grad

import zoo_keras as zk

ALL = cases()
COMPUTING = [c for c in ALL if c.computes]
BY_VALUE = [c for c in ALL if c.row["class"] != "Lambda"]
CELLS = [c for c in ALL if c.row["class"].endswith("Cell") or c.row["class"] == "StackedRNNCells"]
# A model has one batch size, and its predictions override training=True.
IN_A_MODEL = [
    c
    for c in COMPUTING
    if not c.name.endswith("batch_axis") and not c.row["call"].get("training") and c not in CELLS
]
FIXED_SHAPE = [c for c in COMPUTING if "output_shape" in c.row and c.area != "recurrent"]
RECURRENT = [c for c in cases("output_shape") if c.area == "recurrent"]
ADDING_LOSS = [c for c in cases("added_loss") if not c.row["call"]]
UPDATING = [c for c in ALL if "after0" in c.row["arrays"]]


def serialized(layer):
    config = zk.saving.serialize_keras_object(layer)
    if isinstance(layer, zk.layers.Lambda):
        del config["config"]["function"]  # bytecode
    return config


@pytest.mark.parametrize("case", ALL, ids=str)
def test_configuration_is_keras(case):
    assert not differences(serialized(case.built()), case.row["config"])


@pytest.mark.parametrize("case", BY_VALUE, ids=str)
def test_configuration_of_keras_makes_the_same_layer(case):
    config = case.row["config"]
    again = getattr(zk.layers, config["class_name"]).from_config(config["config"])
    assert not differences(again.get_config(), config["config"])
    revived = zk.saving.deserialize_keras_object(config)
    assert not differences(revived.get_config(), config["config"])


@pytest.mark.parametrize("case", ALL, ids=str)
def test_weights_have_the_names_shapes_and_order_of_keras(case):
    layer = case.built()
    rows = [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in layer.weights]
    assert rows == case.row["weights"]
    if case.computes:
        assert layer.count_params() == case.row["count_params"]


@pytest.mark.parametrize("case", FIXED_SHAPE, ids=str)
def test_output_shape(case):
    assert list(case.output_shape(case.built(), case.shapes())) == case.row["output_shape"]


@pytest.mark.parametrize("case", cases("free_output_shape"), ids=str)
def test_output_shape_with_a_free_batch_size(case):
    free = [(None, *shape[1:]) for shape in case.shapes()]
    assert list(case.output_shape(case.built(), free)) == case.row["free_output_shape"]


@pytest.mark.parametrize(
    "case", [c for c in cases("output_shape") if c.area == "recurrent"], ids=str
)
def test_output_shapes_of_a_recurrent_layer_with_a_free_batch_size(case):
    inputs = zk.Input(case.shapes()[0][1:])
    found = [list(t.shape) for t in flat(case.built()(inputs))]
    assert found == flat_shapes(case.row["output_shape"])


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_outputs_on_arrays(case):
    assert_close(case.call(case.built(), case.inputs()), case.arrays["output"], OUTPUT)


@pytest.mark.parametrize("case", IN_A_MODEL, ids=str)
def test_outputs_in_a_model(case):
    given = case.inputs()
    inputs = [zk.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in given]
    model = zk.Model(inputs, case.call(case.built(), inputs))
    predicted = model.predict_on_batch(given[0] if len(given) == 1 else given)
    assert_close(predicted, case.arrays["output"], OUTPUT)


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_gradients(case):
    arrays, layer = case.arrays, case.built()

    def projected(*tensors):
        outputs = zk.ops.cast(case.call(layer, list(tensors)), "float32")
        return zk.ops.sum(outputs * arrays["projection"])

    _, input_grads, weight_grads = value_and_grad(projected, case.inputs(), layer.trainable_weights)
    found = {f"input_grad{i}": g for i, g in enumerate(input_grads) if g is not None}
    found |= {f"weight_grad{i}": g for i, g in enumerate(weight_grads) if g is not None}
    for key in [k for k in arrays if "_grad" in k]:
        assert key in found, f"Keras has a gradient for {key}"
        assert_close(*without_noise(found[key], arrays[key]), GRADIENT, key)


def without_noise(got, want):
    """Both as zeros where they are 0 but for rounding, as the gradient by a bias of keys is."""
    if np.abs(want).max(initial=0) > 1e-5:
        return got, want
    return np.where(np.abs(got) < 1e-5, 0, got), 0 * want


@pytest.mark.parametrize("case", ADDING_LOSS, ids=str)
def test_regularizers_add_to_the_loss(case):
    (given, *_) = case.inputs()
    inputs = zk.Input(batch_shape=given.shape, dtype=given.dtype.name)
    model = zk.Model(inputs, case.call(case.built(), [inputs]))
    model.compile(optimizer="sgd", loss="mse")
    targets = model.predict_on_batch(given)
    loss = model.test_on_batch(given, targets)
    assert loss == pytest.approx(case.row["added_loss"], rel=OUTPUT)


@pytest.mark.parametrize("case", UPDATING, ids=str)
def test_training_updates_the_statistics(case):
    layer = case.built()
    case.call(layer, case.inputs())
    names = [w.name for w in layer.weights]
    assert_all_close(layer.get_weights(), series(case.arrays, "after"), OUTPUT, names)


@pytest.mark.parametrize(
    "case", [c for c in UPDATING if c.name.startswith("BatchNormalization")], ids=str
)
def test_one_training_step_updates_the_statistics(case):
    layer, (given,) = case.built(), case.inputs()
    model = zk.Sequential([zk.Input(batch_shape=given.shape), layer])
    model.compile(optimizer=zk.optimizers.SGD(0.0), loss="mse")
    model.train_on_batch(given, np.zeros_like(given))
    for variable, want in zip(layer.weights, series(case.arrays, "after"), strict=True):
        if not variable.trainable:  # the others may have met a constraint
            assert_close(variable, want, OUTPUT, variable.name)
