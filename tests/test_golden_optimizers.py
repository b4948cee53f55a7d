"""Every optimizer against real Keras 3: five steps on given gradients."""

from __future__ import annotations

import re
from copy import deepcopy

import numpy as np
import pytest
from golden.compare import STEP, assert_close, differences
from golden.optimizer_arguments import arguments
from golden.store import Golden

import zoo_keras as zk

FILES = [Golden(area) for area in ("optimizers", "more_optimizers")]
CASES = {n: case for golden in FILES for n, case in golden.cases.items()}
STEPS = [n for n, case in CASES.items() if "table" not in case]
EMA = [n for n in STEPS if CASES[n]["kwargs"].get("use_ema")]
TABLES = [n for n in CASES if n not in STEPS]


def arrays_of(name):
    return next(golden.arrays(name) for golden in FILES if name in golden.cases)


def made(name):
    case = CASES[name]
    return getattr(zk.optimizers, case["class"])(**arguments(zk, deepcopy(case["kwargs"])))


def plain(name):
    """Without the number that a variable without name gets."""
    return re.sub(r"^variable_\d+$", "variable", name)


def variables(arrays):
    return [zk.Variable(arrays[k], name=k) for k in ("kernel", "bias")]


def gradients(arrays, step):
    return [arrays[f"kernel_grad{step}"], arrays[f"bias_grad{step}"]]


@pytest.mark.parametrize("name", STEPS)
def test_configuration_round_trips(name):
    config = CASES[name]["config"]
    assert not differences(zk.optimizers.serialize(made(name)), config)
    assert not differences(zk.optimizers.serialize(zk.optimizers.get(deepcopy(config))), config)


@pytest.mark.parametrize("name", STEPS)
def test_five_steps_on_given_gradients(name):
    case, arrays, optimizer = CASES[name], arrays_of(name), made(name)
    kernel, bias = variables(arrays)
    for step in range(case["steps"]):
        optimizer.apply(gradients(arrays, step), [kernel, bias])
        assert_close(kernel, arrays[f"kernel{step}"], STEP, f"kernel after step {step}")
        assert_close(bias, arrays[f"bias{step}"], STEP, f"bias after step {step}")


@pytest.mark.parametrize("name", STEPS)
def test_slots_have_the_names_order_and_values_of_keras(name):
    case, arrays, optimizer = CASES[name], arrays_of(name), made(name)
    kernel, bias = variables(arrays)
    for step in range(case["steps"]):
        optimizer.apply_gradients(zip(gradients(arrays, step), [kernel, bias], strict=True))
    rows = [[plain(v.name), list(v.shape)] for v in optimizer.variables]
    assert rows == [[plain(slot[0]), slot[2]] for slot in case["slots"]]
    for i, variable in enumerate(optimizer.variables):
        assert_close(variable, arrays[f"slot{i}"], STEP, variable.name)


@pytest.mark.parametrize("name", EMA)
def test_averages_replace_the_weights_at_the_end(name):
    case, arrays, optimizer = CASES[name], arrays_of(name), made(name)
    kernel, bias = variables(arrays)
    for step in range(case["steps"]):
        optimizer.apply(gradients(arrays, step), [kernel, bias])
    optimizer.finalize_variable_values([kernel, bias])
    assert_close(kernel, arrays["kernel_final"], STEP)
    assert_close(bias, arrays["bias_final"], STEP)


def trained_model(arrays, optimizer):
    """A Dense layer whose gradients are what `batch_of` puts into x and y."""
    model = zk.Sequential([zk.Input(shape=(3,)), zk.layers.Dense(4, name="dense")])
    model.set_weights([arrays["kernel"], arrays["bias"]])
    rows = 4
    model.compile(
        optimizer=optimizer,
        loss=lambda true, pred: rows * zk.ops.sum(true * pred, axis=-1),
    )
    return model


def batch_of(kernel_grad, bias_grad):
    """Rows 0..2 give the kernel's gradient, row 3 the rest of the bias's."""
    x = np.eye(4, 3, dtype=np.float32)
    return x, np.vstack([kernel_grad, bias_grad - kernel_grad.sum(axis=0)])


UNSCALED = [n for n in STEPS if not n.startswith("LossScale")]  # the others scale the loss first


@pytest.mark.parametrize("name", UNSCALED)
def test_five_training_steps_of_a_model(name):
    case, arrays = CASES[name], arrays_of(name)
    model = trained_model(arrays, made(name))
    for step in range(case["steps"]):
        model.train_on_batch(*batch_of(*gradients(arrays, step)))
        kernel, bias = model.get_weights()
        assert_close(kernel, arrays[f"kernel{step}"], STEP, f"kernel after step {step}")
        assert_close(bias, arrays[f"bias{step}"], STEP, f"bias after step {step}")


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_trained_as_in_keras(name):
    arrays, optimizer = arrays_of(name), made(name)
    ids = zk.Input((2,), dtype="int32")
    rows = zk.layers.Flatten()(zk.layers.Embedding(12, 3)(ids))
    model = zk.Model(ids, zk.layers.Dense(1)(rows))
    model.set_weights([arrays[f"start{i}"] for i in range(3)])
    model.compile(optimizer, "mse")
    for x, y in zip(arrays["x"], arrays["y"], strict=True):
        model.train_on_batch(x, y)
    assert len(model._local().state.tables) == 1
    for i, weight in enumerate(model.get_weights()):
        assert_close(weight, arrays[f"end{i}"], STEP, f"weight {i}")
    for i, variable in enumerate(optimizer.variables):
        assert_close(variable, arrays[f"slot{i}"], STEP, variable.name)
