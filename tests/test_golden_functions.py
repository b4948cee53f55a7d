"""Public functions of losses, metrics and merging layers against real Keras 3."""

from __future__ import annotations

import pytest
from golden.compare import GRADIENT, OUTPUT, assert_close
from golden.store import Golden, series
from traced import value_and_grad

import zoo_keras as zk

GOLDEN = Golden("functions")


def called(name, tensors):
    case = GOLDEN.cases[name]
    function = getattr(getattr(zk, case["module"]), case["name"])
    given = [list(tensors)] if case["module"] == "layers" else tensors
    return function(*given, **case["kwargs"])


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_value_on_arrays(name):
    arrays = GOLDEN.arrays(name)
    value = called(name, series(arrays, "input"))
    assert_close(value, arrays["output"], OUTPUT)


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_value_and_gradient_in_a_program(name):
    arrays = GOLDEN.arrays(name)

    def projected(*tensors):
        return zk.ops.sum(zk.ops.cast(called(name, tensors), "float32") * arrays["projection"])

    value, grads, _ = value_and_grad(projected, series(arrays, "input"), [])
    total = (arrays["output"] * arrays["projection"]).sum(dtype="float32")
    assert value == pytest.approx(float(total), rel=OUTPUT, abs=1e-4)
    for key in [k for k in arrays if k.startswith("grad")]:
        assert_close(grads[int(key[4:])], arrays[key], GRADIENT, key)
