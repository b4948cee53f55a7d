"""Runs an op's C kernel by itself and compares it with the op's numpy reference, in every
instruction set that this machine has and with one, two and three threads; and compares an op's
gradient with the slope of its reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from zoo_keras import native
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Op


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """The instruction set inside the block; the one in use before comes back."""
    before = native.instruction_set()
    native.set_instruction_set(name)
    try:
        yield
    finally:
        native.set_instruction_set(before)


# A process that is pinned to an instruction set tests that one.
SETS = (
    [native.instruction_set()] if os.environ.get(native.ISA_VARIABLE) else native.instruction_sets()
)


def specs_of(arrays: Sequence[np.ndarray]) -> list[Spec]:
    return [Spec(a.shape, a.dtype.name) for a in arrays]


def wide(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]


def reference(op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> tuple[Any, ...]:
    return op.compute(arrays, attrs, op.infer(*specs_of(arrays), **attrs))


def run_kernel(
    op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any], threads: int = 2
) -> list[np.ndarray]:
    """What the op's kernel makes of the arrays."""
    ins = specs_of(arrays)
    assert op.fits(*ins), f"{op.name} would not use its kernel for {ins}"
    outs = op.infer(*ins, **attrs)
    numbers = [float(n) for n in op.attrs_to_c(attrs, ins, outs)]
    assert op.kernel
    return native.call_kernel(op.kernel, outs, arrays, numbers, threads)


def check_results(
    run: Callable[[int], Sequence[np.ndarray]],
    expected: Sequence[np.ndarray],
    rtol: float,
    atol: float,
    note: str,
) -> None:
    """run(threads) gives what is expected in every instruction set; threads change no bit."""
    for name in SETS:
        with instruction_set(name):
            one, *others = (run(threads) for threads in (1, 2, 3))
        for got, want in zip(one, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol, atol, err_msg=f"{note}, {name}")
        for other in others:
            for a, b in zip(one, other, strict=True):
                assert a.tobytes() == b.tobytes(), f"{note}, {name}: threads change the result"


def check_kernel(
    op: Op,
    arrays: Sequence[np.ndarray],
    attrs: dict[str, Any] | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> None:
    """The kernel equals the reference (float64 with a tolerance); threads change no bit."""
    attrs = attrs or {}
    expected = reference(op, wide(arrays) if rtol or atol else arrays, attrs)
    note = f"{op.name} {attrs}"
    check_results(lambda n: run_kernel(op, arrays, attrs, n), expected, rtol, atol, note)


def check_samples(ops: Sequence[Op], rtol: float = 0.0, atol: float = 0.0) -> None:
    """check_kernel on all samples of the ops."""
    for op in ops:
        for sample in op.samples:
            check_kernel(op, sample.inputs(np.random.default_rng(1)), sample.attrs, rtol, atol)


# ---- gradients -----------------------------------------------------------------------------------


def summed_down(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A gradient in the broadcast shape, summed to the input's shape as the gradient pass does."""
    extra = max(gradient.ndim - len(shape), 0)
    gradient = gradient.sum(axis=tuple(range(extra)))
    ones = tuple(i for i, d in enumerate(shape) if d == 1 and gradient.shape[i] != 1)
    return np.broadcast_to(gradient.sum(axis=ones, keepdims=True), shape)


def is_wide(array: np.ndarray) -> bool:
    return array.dtype == np.float64


def slope(op: Op, arrays: list[np.ndarray], attrs: Any, i: int, v: Any, weights: Any) -> float:
    """The derivative of the weighted sum of all outputs along v, by a central difference."""

    def value(t: float) -> float:
        moved = [*arrays[:i], arrays[i] + t * v, *arrays[i + 1 :]]
        results = reference(op, moved, attrs)
        pairs = [(y, w) for y, w in zip(results, weights) if is_wide(y)]
        return sum(float(np.sum(y * w, where=np.isfinite(y))) for y, w in pairs)

    return (value(1e-6) - value(-1e-6)) / 2e-6


def check_gradient(op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> None:
    """The op's gradient, in float64, is the slope of one random weighted sum of the outputs along
    one random direction of each input (random projection, as in autograd's test_util)."""
    rng, arrays = np.random.default_rng(2), wide(arrays)
    results = reference(op, arrays, attrs)
    if not any(map(is_wide, results)) or not any(map(is_wide, arrays)):
        return
    weights = [rng.uniform(-1, 1, y.shape) for y in results]
    g, y = (weights[0], results[0]) if len(results) == 1 else (tuple(weights), results)
    assert op.grad
    gradients = op.grad(g, y, *arrays, **attrs)
    assert len(gradients) == len(arrays)
    for k, (x, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if gradient is None or not is_wide(x) or not x.size:
            continue
        v = rng.uniform(-1, 1, x.shape)
        along = float(np.sum(summed_down(np.asarray(gradient), x.shape) * v))
        expected = slope(op, arrays, attrs, k, v, weights)
        assert along == pytest.approx(expected, rel=1e-5, abs=1e-6), f"{op.name} input {k}, {attrs}"
