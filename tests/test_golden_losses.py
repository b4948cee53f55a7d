"""Every loss against real Keras 3: each reduction, with and without sample weights."""

from __future__ import annotations

from copy import deepcopy

import pytest
from golden.compare import GRADIENT, OUTPUT, assert_close, differences
from golden.store import Golden
from traced import value_and_grad

import zoo_keras as zk

GOLDEN = Golden("losses")
REDUCTIONS = ("sum_over_batch_size", "sum", "none", "mean", "mean_with_sample_weight")
# The gradients of the other two are these times a number.
DIFFERENT = ("sum_over_batch_size", "none", "mean_with_sample_weight")
RUNS = [
    (name, kind, reduction)
    for name, case in GOLDEN.cases.items()
    for kind in case["weights"]
    for reduction in REDUCTIONS
]


def made(name, **kwargs):
    case = GOLDEN.cases[name]
    return getattr(zk.losses, case["class"])(**case["kwargs"], **kwargs)


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_configuration_round_trips(name):
    config = GOLDEN.cases[name]["config"]
    assert not differences(zk.losses.serialize(made(name)), config)
    assert not differences(zk.losses.serialize(zk.losses.get(deepcopy(config))), config)


@pytest.mark.parametrize(("name", "kind", "reduction"), RUNS)
def test_value_on_arrays(name, kind, reduction):
    arrays = GOLDEN.arrays(name)
    weight = arrays.get(f"{kind}_weight")
    value = made(name, reduction=reduction)(arrays["true"], arrays["pred"], sample_weight=weight)
    assert_close(value, arrays[f"{kind}.{reduction}"], OUTPUT)


@pytest.mark.parametrize(("name", "kind", "reduction"), [r for r in RUNS if r[2] in DIFFERENT])
def test_value_and_gradient_in_a_program(name, kind, reduction):
    arrays = GOLDEN.arrays(name)
    loss, weight = made(name, reduction=reduction), arrays.get(f"{kind}_weight")

    def total(pred, true, *weights):
        return zk.ops.sum(loss(true, pred, sample_weight=weights[0] if weights else None))

    given = [arrays["pred"], arrays["true"], *([] if weight is None else [weight])]
    value, grads, _ = value_and_grad(total, given, [])
    wanted = arrays[f"{kind}.{reduction}"]
    assert_close(value, wanted.sum(dtype=wanted.dtype), OUTPUT)
    assert_close(grads[0], arrays[f"{kind}.{reduction}.grad"], GRADIENT)
