"""The vector functions of vmath.h against float64, in every instruction set of this machine.

Each bound is the one that the function's comment states, in ulp of the exact result.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from kernel_check import SETS

from zoo_keras import native
from zoo_keras.graph import input_tensor
from zoo_keras.primitives import chain
from zoo_keras.primitives.op import registry

INF, NAN = np.inf, np.nan


@pytest.fixture(params=SETS, autouse=True)
def instruction_set(request):
    before = native.instruction_set()
    native.set_instruction_set(request.param)
    yield request.param
    native.set_instruction_set(before)


def compute(op: str, *arrays: np.ndarray, **attrs: float) -> np.ndarray:
    """The op's tile function over the arrays, through a chain of one."""
    tensors = [input_tensor(str(i), a.shape) for i, a in enumerate(arrays)]
    node = chain.single(registry[op], *tensors, **attrs).node
    specs = [t.spec for t in tensors]
    numbers = node.op.attrs_to_c(node.attrs, specs, node.specs)
    return native.call_kernel("chain", node.specs, arrays, numbers)[0]


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest distance in units of the last place of the exact result."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        distance = np.abs(got - exact) / np.spacing(np.abs(rounded))
    same = (got == rounded) | (np.isnan(got) & np.isnan(exact))
    return float(np.max(np.where(same, 0, distance)))


def spread(low: float, high: float, tiny: bool = True) -> np.ndarray:
    """Evenly spaced numbers, and numbers of every size that lie between the ends."""
    even = np.linspace(low, high, 100_003)
    sizes = np.geomspace(1e-30, max(abs(low), abs(high)), 30_001)
    both = np.concatenate([even, sizes, -sizes] if tiny else [even])
    return both[(both >= low) & (both <= high)].astype(np.float32)


LEAST = np.finfo("f4").tiny


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


FUNCTIONS = {  # op: (exact function, low, high, ulp)
    "exp": (np.exp, -87.33, 89, 1.5),
    "expm1": (np.expm1, -30, 89, 2.5),
    "log": (np.log, 0, 3e38, 1.5),
    "log1p": (np.log1p, -1, 3e38, 2),
    "tanh": (np.tanh, -12, 12, 3),
    "sigmoid": (lambda x: np.exp(-softplus(-x)), -87, 30, 3),
    "softplus": (softplus, -87, 60, 3),
    "erf": (np.vectorize(math.erf), -6, 6, 2),
    "sin": (np.sin, -5e3, 5e3, 2),
    "cos": (np.cos, -5e3, 5e3, 2),
    "sqrt": (np.sqrt, 0, 3e38, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-30, 3e38, 1.5),
    "reciprocal": (lambda x: 1 / x, 1e-30, 8e37, 0.5),
    "exp2": (np.exp2, -125.9, 130, 1.5),
    "tan": (np.tan, -5e3, 5e3, 4),
    "arcsin": (np.arcsin, -1, 1, 3),
    "arccos": (np.arccos, -1, 1, 3),
    "arctan": (np.arctan, -1e4, 1e4, 3),
    "sinh": (np.sinh, -90, 90, 3),
    "cosh": (np.cosh, -90, 90, 3),
    "arcsinh": (np.arcsinh, -1e30, 1e30, 4),
    "arccosh": (np.arccosh, 1, 3e38, 4),
    "arctanh": (np.arctanh, -1, 1, 4),
    "erfinv": (registry["erfinv"].reference, -1, 1, 4),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_error_stays_below_the_stated_bound(op):
    exact, low, high, bound = FUNCTIONS[op]
    x = spread(low, high)
    if high > 1e30:
        x = np.concatenate([x, np.geomspace(1e-37, high, 100_003).astype(np.float32)])
        x = np.concatenate([x, spread(max(low, 0), 4)])
    with np.errstate(all="ignore"):
        want = exact(x.astype(np.float64))
    assert ulps(compute(op, x), want) <= bound


def test_sine_of_huge_angles_is_exact(instruction_set):
    x = np.array([1e6, 2e6, 1e9, 1e20, 3e38, -1e7, 11, 710.5], np.float32)
    assert ulps(compute("sin", x), np.sin(x.astype(np.float64))) <= 2
    assert ulps(compute("cos", x), np.cos(x.astype(np.float64))) <= 2


def test_tangent_of_huge_angles_is_exact():
    x = np.array([1e6, 2e6, 1e9, 1e20, 3e38, -1e7, 11, 710.5], np.float32)
    assert ulps(compute("tan", x), np.tan(x.astype(np.float64))) <= 4


def test_angles_of_points_in_all_directions():
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2, 100_000)) * np.exp(rng.uniform(-20, 20, (2, 100_000)))
    y, x = y.astype(np.float32), x.astype(np.float32)
    assert ulps(compute("arctan2", y, x), np.arctan2(y.astype("f8"), x.astype("f8"))) <= 4


def test_power_is_within_one_ulp():
    rng = np.random.default_rng(0)
    a = np.exp(rng.uniform(-30, 30, 100_000)).astype(np.float32)
    b = rng.uniform(-4, 4, 100_000).astype(np.float32)
    want = np.power(a.astype(np.float64), b)
    got, normal = compute("power", a, b), want >= LEAST
    assert ulps(got[normal], want[normal]) <= 1
    assert np.all(got[~normal] <= LEAST)


SPECIAL = np.array([0.0, -0.0, INF, -INF, NAN, 1, -1, 1e-40, -1e-40, 3e38, -3e38], np.float32)
HOSTILE = [
    *FUNCTIONS, "square", "abs", "sign", "floor", "ceil", "round", "relu", "negative",
    "isnan", "isinf", "isfinite", "logical_not",
]  # fmt: skip


def flushed(x: np.ndarray) -> np.ndarray:
    """What a program sees of x: numbers below 2^-126 are zeros of their sign."""
    return np.where(np.abs(x) < LEAST, np.copysign(np.float32(0), x), x)


@pytest.mark.parametrize("op", HOSTILE)
def test_special_values_are_numpys(op):
    got = compute(op, SPECIAL)
    with np.errstate(all="ignore"):
        want = registry[op].reference(flushed(SPECIAL))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize(
    "op", ["power", "arctan2", "maximum", "minimum", "divide", "mod", "floor_divide", "equal",
           "less", "not_equal", "greater_equal"]
)  # fmt: skip
def test_special_pairs_are_numpys(op):
    values = np.concatenate([SPECIAL, np.array([2, 3, -2, -3, 0.5, -2.5, 7], np.float32)])
    a, b = (m.ravel() for m in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        want = registry[op].reference(flushed(a), flushed(b))
    np.testing.assert_allclose(compute(op, a, b), want, rtol=1e-6, atol=1e-37)


def test_rounding_is_exact_and_ties_go_to_even():
    x = np.concatenate([np.arange(-6, 6, 0.25), [2**22 + 0.5, 2**23 - 0.5, 2**24 + 2, 1e20]])
    x = np.concatenate([x, -x, spread(-9e6, 9e6)]).astype(np.float32)
    for op, want in {"round": np.rint, "floor": np.floor, "ceil": np.ceil}.items():
        np.testing.assert_array_equal(compute(op, x), want(x))
