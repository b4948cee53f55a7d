"""Slice kernels of the gradient exchange: sums, and half floats with correct rounding."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, instruction_set

from zoo_keras import native

SIZES = [0, 1, 7, 8, 33, 70001]
by_set = pytest.mark.parametrize("name", SETS)


def all_bits() -> np.ndarray:
    """Floats with every upper half, and lower halves that lie at, below and above a tie."""
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << 16
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    return (upper | lower.astype(np.uint32)).ravel().view(np.float32)


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of finite floats, by comparing with both neighbours in float64."""
    below = (x.view(np.uint32) >> 16).astype(np.uint32)
    low, high = ((below + k << 16).view(np.float32).astype(np.float64) for k in (0, 1))
    high = np.where(np.isinf(high), np.sign(high) * 2.0**128, high)
    to_low, to_high = np.abs(x - low), np.abs(high - x)
    up = (to_high < to_low) | ((to_high == to_low) & (below % 2 == 1))
    return (below + up).astype(np.uint16)


@by_set
@pytest.mark.parametrize("n", SIZES)
def test_sums_of_floats(name, n):
    rng = np.random.default_rng(n)
    a, b = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    expected = {
        "slice_add": a + b,
        "slice_scale": b * np.float32(0.25),
        "slice_axpy": a + np.float32(0.25) * b,
    }
    with instruction_set(name):
        for kernel, want in expected.items():
            dst = a.copy()
            native.slice_op(kernel, dst, b, 0.25)
            np.testing.assert_array_equal(dst, want, kernel)


@by_set
def test_scaling_in_place(name):
    x = np.arange(1001, dtype=np.float32)
    with instruction_set(name):
        native.slice_op("slice_scale", x, x, 0.5)
    np.testing.assert_array_equal(x, np.arange(1001, dtype=np.float32) / 2)


@by_set
def test_bfloat16_rounds_to_nearest_even(name):
    x = all_bits()
    x = x[np.isfinite(x)]
    half = np.empty(x.size, np.uint16)
    with instruction_set(name):
        native.slice_op("slice_to_bf16", half, x)
    np.testing.assert_array_equal(half, bf16_bits(x))


@by_set
def test_bfloat16_keeps_nan_and_infinity(name):
    x = np.array([np.inf, -np.inf, np.nan, -np.nan], np.float32)
    x = np.append(x, np.array([0x7F800001], np.uint32).view(np.float32))
    half, back = np.empty(5, np.uint16), np.empty(5, np.float32)
    with instruction_set(name):
        native.slice_op("slice_to_bf16", half, x)
        native.slice_op("slice_from_bf16", back, half)
    np.testing.assert_array_equal(back[:2], x[:2])
    assert np.isnan(back[2:]).all()


@by_set
def test_every_bfloat16_widens_exactly(name):
    half = np.arange(2**16, dtype=np.uint16)
    back = np.empty(half.size, np.float32)
    with instruction_set(name):
        native.slice_op("slice_from_bf16", back, half)
    np.testing.assert_array_equal(back.view(np.uint32), half.astype(np.uint32) << 16)


@by_set
def test_float16_rounds_as_numpy_does(name):
    x = all_bits()
    x = x[~np.isnan(x)]
    half = np.empty(x.size, np.uint16)
    with instruction_set(name):
        native.slice_op("slice_to_f16", half, x)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half, x.astype(np.float16).view(np.uint16))


@by_set
@pytest.mark.parametrize("start", [0, 1])  # the last element is left to the loop without hardware
def test_every_float16_widens_exactly(name, start):
    half = np.arange(start, 2**16, dtype=np.uint16)
    back = np.empty(half.size, np.float32)
    with instruction_set(name):
        native.slice_op("slice_from_f16", back, half)
    np.testing.assert_array_equal(back, half.view(np.float16).astype(np.float32))


@by_set
def test_float16_keeps_nan(name):
    x = np.full(11, np.nan, np.float32)
    half = np.empty(11, np.uint16)
    with instruction_set(name):
        native.slice_op("slice_to_f16", half, x)
    assert np.isnan(half.view(np.float16)).all()


@by_set
@pytest.mark.parametrize("n", SIZES)
def test_half_floats_are_summed_in_float32(name, n):
    rng = np.random.default_rng(n)
    start, x = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    with instruction_set(name):
        for kind in ("bf16", "f16"):
            half, wide, total = np.empty(n, np.uint16), np.empty(n, np.float32), start.copy()
            native.slice_op(f"slice_to_{kind}", half, x)
            native.slice_op(f"slice_from_{kind}", wide, half)
            native.slice_op(f"slice_add_{kind}", total, half)
            np.testing.assert_array_equal(total, start + wide)


def test_any_number_of_threads_gives_the_same_bits():
    x = np.random.default_rng(0).normal(size=200001).astype(np.float32)
    results = []
    try:
        for threads in (1, 2, 3):
            native.set_threads(threads)
            half = np.empty(x.size, np.uint16)
            native.slice_op("slice_to_f16", half, x)
            results.append(half.tobytes())
    finally:
        native.set_threads(None)
    assert results[0] == results[1] == results[2]
