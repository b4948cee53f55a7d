"""Batch normalization of bfloat16 numbers: bits in memory give the results of float32 memory, and a
float32 array that is rounded as it is read gives those of one that was rounded before."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, instruction_set, run_kernel

from zoo_keras.primitives.op import registry as R

# rows x channels: one channel, folded rows with a rest, wide rows with a last short vector
SHAPES = [(777, 1), (2000, 3), (130, 67), (40, 9, 64), (9000, 16), (37, 300), (0, 5), (3, 0)]


def bits(x: Any) -> Any:
    return R["to_bfloat16"].reference(x)


def nearest(x: Any) -> Any:
    return R["round_bfloat16"].reference(x)


def drawn(shape: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """x, residual and g; gamma and beta."""
    rng = np.random.default_rng(len(shape) + shape[-1])
    rows = [rng.normal(0.5, 2.0, shape).astype("f") for _ in range(3)]
    return rows, [rng.uniform(0.5, 1.5, shape[-1:]).astype("f") for _ in range(2)]


def everywhere(name: str, arrays: list[np.ndarray], attrs: dict[str, Any], wanted: Any) -> None:
    """The kernel gives these bytes in each instruction set with 1, 2 and 3 threads; `wanted` gives
    what they are in the present one."""
    for isa in SETS:
        with instruction_set(isa):
            expected = [np.asarray(w).tobytes() for w in wanted()]
            for threads in (1, 2, 3):
                found = run_kernel(R[name], arrays, attrs, threads)
                assert [a.tobytes() for a in found] == expected, (name, isa, threads)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_of_bits_is_that_of_the_numbers_rounded(
    shape: tuple[int, ...], relu: bool, residual: bool
) -> None:
    (x, r, _), vectors = drawn(shape)
    name = "batch_norm_relu" if relu else "batch_norm"
    added = [r] if relu and residual else []
    wide = [nearest(x), *vectors, *map(nearest, added)]

    def wanted(form: Any) -> list[np.ndarray]:
        y, *moments = run_kernel(R[name], wide, {"epsilon": 1e-3})
        return [form(y), *moments]

    rounds = {"epsilon": 1e-3, "rounds": True}
    narrow = {**rounds, "narrow": True}
    everywhere(name, [x, *vectors, *added], rounds, partial(wanted, nearest))
    everywhere(name, [bits(x), *vectors, *map(bits, added)], narrow, partial(wanted, bits))
    everywhere(name, [x, *vectors, *map(bits, added)], narrow, partial(wanted, bits))
    everywhere(name, [bits(x), *vectors, *added], rounds, partial(wanted, nearest))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_of_bits_is_that_of_the_numbers_rounded(
    shape: tuple[int, ...], relu: bool, residual: bool
) -> None:
    (x, y, g), vectors = drawn(shape)
    name = "batch_norm_relu_grad" if relu else "batch_norm_grad"
    moments = [vectors[0], vectors[0], vectors[1] + 1]
    out = [y] if relu else []
    more = {"residual": residual} if relu else {}

    def wanted(form: Any, masked: Any) -> list[np.ndarray]:
        given = [nearest(g), *out, nearest(x), *moments]
        dx, dgamma, dbeta, *rest = run_kernel(R[name], given, {"epsilon": 1e-3, **more})
        return [form(dx), dgamma, dbeta, *map(masked, rest)]

    rounds = {"epsilon": 1e-3, "rounds": True, **more}
    narrow = {**rounds, "narrow": True}
    narrow_out = list(map(bits, out))
    everywhere(name, [bits(g), *narrow_out, bits(x), *moments], narrow, partial(wanted, bits, bits))
    everywhere(name, [nearest(g), *out, x, *moments], narrow, partial(wanted, bits, np.asarray))
    everywhere(name, [bits(g), *out, x, *moments], rounds, partial(wanted, np.asarray, bits))


def test_references_of_bits_follow_those_of_numbers() -> None:
    (x, r, g), vectors = drawn((33, 20))
    how = {"epsilon": 1e-3, "rounds": True, "narrow": True}
    forward, backward = R["batch_norm_relu"].reference, R["batch_norm_relu_grad"].reference
    y, *moments = forward(nearest(x), *vectors, nearest(r), epsilon=1e-3)
    found = forward(bits(x), *vectors, r, **how)
    np.testing.assert_array_equal(found[0], bits(y.astype("f")))
    wide = backward(nearest(g), y, nearest(x), vectors[0], *moments, epsilon=1e-3, residual=True)
    found = backward(bits(g), y, x, vectors[0], *moments, residual=True, **how)
    np.testing.assert_array_equal(found[0], bits(wide[0].astype("f")))
    np.testing.assert_array_equal(found[3], bits(wide[3]))


def test_what_is_not_finite_stays_so_in_bits() -> None:
    (x, _, _), vectors = drawn((40, 19))
    x[3, 2], x[5, 7] = np.nan, np.inf
    attrs = {"epsilon": 1e-3, "rounds": True, "narrow": True}
    y, mean, _ = run_kernel(R["batch_norm"], [bits(x), *vectors], attrs)
    y = R["from_bfloat16"].reference(y)
    assert np.isnan(y[:, [2, 7]]).all() and not np.isfinite(mean[[2, 7]]).any()
    assert np.isfinite(np.delete(y, [2, 7], axis=1)).all()
