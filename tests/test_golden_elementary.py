"""Activations, initializers, regularizers and constraints against real Keras 3."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from golden.compare import GRADIENT, OUTPUT, assert_close, differences
from golden.store import Golden
from traced import value_and_grad

import zoo_keras as zk

GOLDEN = Golden("elementary")
BY_KIND = {
    kind: [n for n, case in GOLDEN.cases.items() if case["kind"] == kind]
    for kind in ("activation", "initializer", "regularizer", "constraint", "schedule")
}
MODULES = {
    "initializer": zk.initializers,
    "regularizer": zk.regularizers,
    "constraint": zk.constraints,
    "schedule": zk.optimizers.schedules,
}


def made(name):
    case = GOLDEN.cases[name]
    return getattr(MODULES[case["kind"]], case["name"])(**case["kwargs"])


def assert_each_close(got, want, tolerance, small):
    """Every entry by itself: the wide vectors hold 1e4 beside 0.01."""
    np.testing.assert_allclose(np.asarray(got), want, rtol=tolerance, atol=small)


@pytest.mark.parametrize("name", BY_KIND["activation"])
def test_activation_on_arrays(name):
    case, arrays = GOLDEN.cases[name], GOLDEN.arrays(name)
    y = getattr(zk.activations, case["name"])(arrays["x"], **case["kwargs"])
    assert_each_close(y, arrays["y"], OUTPUT, 1e-6)


@pytest.mark.parametrize("name", BY_KIND["activation"])
def test_activation_and_gradient_in_a_program(name):
    case, arrays = GOLDEN.cases[name], GOLDEN.arrays(name)
    activation = getattr(zk.activations, case["name"])

    layer = zk.layers.Lambda(lambda x: activation(x, **case["kwargs"]))
    assert_each_close(layer(arrays["x"]), arrays["y"], OUTPUT, 1e-6)

    def projected(x):
        return zk.ops.sum(activation(x, **case["kwargs"]) * arrays["projection"])

    _, (grad,), _ = value_and_grad(projected, [arrays["x"]], [])
    known = np.isfinite(arrays["grad"])
    small = 1e-5 * float(np.abs(arrays["projection"]).max())
    assert np.isfinite(grad[known]).all()
    assert_each_close(grad[known], arrays["grad"][known], GRADIENT, small)


@pytest.mark.parametrize("name", [n for k in MODULES for n in BY_KIND[k]])
def test_configuration_round_trips(name):
    case = GOLDEN.cases[name]
    module = MODULES[case["kind"]]
    assert not differences(module.serialize(made(name)), case["config"])
    again = module.deserialize(deepcopy(case["config"]))
    assert not differences(module.serialize(again), case["config"])
    assert not differences(made(name).get_config(), case["config"]["config"])


@pytest.mark.parametrize("name", BY_KIND["initializer"])
def test_initializer_has_the_distribution_of_keras(name):
    arrays = GOLDEN.arrays(name)
    if "value" in arrays:
        assert_close(made(name)(arrays["value"].shape), arrays["value"], OUTPUT)
    for row in GOLDEN.cases[name]["samples"]:
        value = np.asarray(made(name)(tuple(row["shape"])))
        assert value.shape == tuple(row["shape"])
        assert value.dtype == np.float32
        spread = row["std"] + 1e-9
        chance = 5 / np.sqrt(value.size)  # five standard errors, as both are samples
        assert abs(value.mean() - row["mean"]) <= chance * np.sqrt(2) * spread
        assert value.std() == pytest.approx(row["std"], rel=chance, abs=1e-9)
        assert value.min() == pytest.approx(row["low"], rel=0.5, abs=1.5 * spread)
        assert value.max() == pytest.approx(row["high"], rel=0.5, abs=1.5 * spread)


@pytest.mark.parametrize("name", BY_KIND["regularizer"])
def test_regularizer_has_the_penalty_of_keras(name):
    arrays = GOLDEN.arrays(name)
    assert_close(made(name)(arrays["x"]), arrays["y"], OUTPUT)


@pytest.mark.parametrize("name", BY_KIND["constraint"])
def test_constraint_projects_as_keras(name):
    arrays = GOLDEN.arrays(name)
    assert_close(made(name)(arrays["x"]), arrays["y"], OUTPUT)


@pytest.mark.parametrize("name", BY_KIND["schedule"])
def test_schedule_has_the_rates_of_keras(name):
    schedule = made(name)
    rates = [float(schedule(step)) for step in GOLDEN.cases[name]["steps"]]
    np.testing.assert_allclose(rates, GOLDEN.arrays(name)["y"], rtol=OUTPUT, atol=1e-9)
