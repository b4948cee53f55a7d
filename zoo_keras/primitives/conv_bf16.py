"""Convolutions of bfloat16 of 1 and 2 axes with sums in float32, as tile registers make them.

In: images of float32, which the convolution rounds, or the bits of bfloat16 as uint16; weights from
`pack_bf16`. Out: float32, or such bits. Which convolutions become these is decided by
`passes.tile_convolutions` as a program is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.conv import conv, conv_grad_kernel
from zoo_keras.primitives.conv_geometry import TAP_CASES, Padding, output_shape
from zoo_keras.primitives.op import Sample, op
from zoo_keras.primitives.products import FUSED_ACTIVATIONS, activate, activation_code
from zoo_keras.primitives.row_rules import rows_in
from zoo_keras.primitives.tile_products import (
    READS,
    STEP,
    floats_of,
    narrowed,
    pack_bf16,
    packed_shape,
    reads_bits,
    unpacked,
)


def may_merge(kernel_shape: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> bool:
    """Whether the cells of a window's row, side by side in memory, should be one tap: where each by
    itself would be filled up with zeros, and places lie side by side too, or a row is short."""
    columns, channels = kernel_shape[-3:-1]
    fits = strides[-1] == 1 or columns * channels <= STEP
    return dilation[-1] == 1 and fits and channels % STEP != 0


def taps_of(kernel: Sequence[int], merged: bool) -> tuple[int, int, int]:
    """(taps, inputs of one, filters) of weights (*kernel, channels, filters)."""
    split = -3 if merged else -2
    return math.prod(kernel[:split]), math.prod(kernel[split:-1]), kernel[-1]


def _conv_shape(
    x: Spec, w: Spec, b: Spec, *more: Spec, kernel_shape: tuple[int, ...], strides: Any,
    padding: Any, dilation: Any, merged: bool, activation: str = "linear", narrow: bool = False,
) -> Spec:  # fmt: skip
    activation_code(activation)
    if len(x.shape) not in (3, 4):
        raise ShapeError("convolutions of bfloat16 have 1 or 2 spatial axes.")
    shape = output_shape(x, kernel_shape, strides, padding, dilation, 1)
    if w.shape != packed_shape(*taps_of(kernel_shape, merged)) or b.shape != shape[-1:]:
        raise ShapeError(
            f"weights {tuple(kernel_shape)} must be packed by pack_bf16, tap by tap, and the bias "
            f"hold {shape[-1]} numbers."
        )
    if any(r.shape != shape for r in more):
        raise ShapeError(f"the residual must have the shape of the output, {shape}.")
    return Spec(shape, "uint16" if narrow else "float32")


def _numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    def two(values: Sequence[int], missing: int) -> list[int]:
        return [missing] * (2 - len(values)) + list(values)

    return attributes(
        "CONV_TAPS",
        strides=two(attrs["strides"], 1),
        padding=two([p[0] for p in attrs["padding"]], 0),
        dilation=two(attrs["dilation"], 1),
        kernel=two(attrs["kernel_shape"][:-2], 1),
        activation=activation_code(attrs.get("activation", "linear")),
        merged=attrs.get("merged", False),
    )


def _convolved(
    x: np.ndarray, packed: np.ndarray, add: np.ndarray, kernel_shape: tuple[int, ...], merged: bool,
    activation: str, narrow: bool, **how: Any,
) -> np.ndarray:  # fmt: skip
    w = unpacked(packed, *taps_of(kernel_shape, merged)).reshape(kernel_shape)
    sums = conv.reference(floats_of(x).astype(np.float64), w.astype(np.float64), **how)
    return narrowed(activate(sums + add, activation), narrow)


def conv_sample(i: int, case: Any, residual: bool) -> Sample:
    """Case i of x, kernel, strides, padding and dilation."""
    x_shape, kernel, strides, padding, dilation = case
    attrs = {"strides": strides, "padding": padding, "dilation": dilation}
    merged = may_merge(kernel, strides, dilation)
    names = list(FUSED_ACTIVATIONS)

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        y = output_shape(Spec(x_shape, "float32"), kernel, strides, padding, dilation, 1)
        shapes = [x_shape, kernel, kernel[-1:], *([y] if residual else [])]
        x, w, *more = [rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]
        w *= np.float32(math.prod(kernel[:-1]) ** -0.5)
        return [x, pack_bf16.reference(w.reshape(taps_of(kernel, merged))), *more]

    attrs |= {"kernel_shape": kernel, "merged": merged, "activation": names[i % len(names)]}
    return Sample((), attrs, make=make)


@op(
    kernel=True,
    rows=rows_in(1),
    shape=_conv_shape,
    attrs_to_c=_numbers,
    dtypes=reads_bits,
    samples=[conv_sample(i, c, False) for i, c in enumerate(TAP_CASES)],
)
def conv_bf16(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    merged: bool,
    activation: str = "linear",
    narrow: bool = False,
) -> np.ndarray:
    """activation(conv(x, weights) + b), x and weights rounded to bfloat16, summed in float32.

    x is (batch, *spatial, channels), float32 or bits; w comes from `pack_bf16` for weights of
    `kernel_shape` as (taps, inputs, filters): a tap is a cell of the kernel, or, merged, a row of
    them; b is (filters,). The result is float32, or with narrow the bits of the nearest bfloat16.
    """
    how = {"strides": strides, "padding": padding, "dilation": dilation}
    return _convolved(x, w, b, kernel_shape, merged, activation, narrow, **how)


@op(
    kernel="conv_bf16",
    rows=rows_in(1, 0, 0, 1),
    shape=_conv_shape,
    attrs_to_c=_numbers,
    dtypes=reads_bits,
    samples=[conv_sample(i, c, True) for i, c in enumerate(TAP_CASES)],
)
def conv_bf16_add(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    residual: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    merged: bool,
    activation: str = "linear",
    narrow: bool = False,
) -> np.ndarray:
    """`conv_bf16` with a residual like the result, added before the activation.

    The residual is float32 or bits.
    """
    how = {"strides": strides, "padding": padding, "dilation": dilation}
    residual = floats_of(residual) if residual.dtype == np.uint16 else residual
    return _convolved(x, w, b + residual, kernel_shape, merged, activation, narrow, **how)


# ---- the gradient of the weights -----------------------------------------------------------------


def _kernel_grad_shape(
    x: Spec, g: Spec, *, kernel_shape: tuple[int, ...], strides: Any, padding: Any, dilation: Any
) -> Spec:
    if len(x.shape) not in (3, 4):
        raise ShapeError("convolutions of bfloat16 have 1 or 2 spatial axes.")
    expected = output_shape(x, kernel_shape, strides, padding, dilation, 1)
    if g.shape != expected:
        raise ShapeError(f"the gradient must have the shape of the output, {expected}.")
    return Spec(tuple(kernel_shape), "float32")


def kernel_grad_sample(case: Any) -> Sample:
    """x, kernel, strides, padding and dilation."""
    x_shape, kernel, strides, padding, dilation = case
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "kernel_shape": kernel}
    y = output_shape(Spec(x_shape, "float32"), kernel, strides, padding, dilation, 1)
    return Sample((x_shape, y), attrs)


@op(
    kernel=True,
    shape=_kernel_grad_shape,
    attrs_to_c=_numbers,
    dtypes=lambda x, g: x.dtype in READS and g.dtype in READS,
    samples=[kernel_grad_sample(c) for c in TAP_CASES],
)
def conv_grad_kernel_bf16(
    x: np.ndarray,
    g: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> np.ndarray:
    """Gradient of `conv` with respect to w, x and the gradient g of its result rounded to bfloat16.

    x is (batch, *spatial, channels), g is (batch, *places, filters), float32 or bits; the result
    has `kernel_shape`, (*kernel, channels, filters), float32.
    """
    how = {"strides": strides, "padding": padding, "dilation": dilation}
    wide = [floats_of(a).astype(np.float64) for a in (x, g)]
    return np.asarray(conv_grad_kernel.reference(*wide, kernel_shape=kernel_shape, **how))


# ---- a filter for each channel -------------------------------------------------------------------

LEAST_CHANNELS, COLUMNS, MOST_STRIDE = 16, (3, 5, 7), 2  # of depthwise_bf16


def suits_depthwise(
    kernel_shape: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> bool:
    """Whether `depthwise_bf16` can compute a convolution with weights (*kernel, channels, 1)."""
    columns, channels = kernel_shape[-3:-1]
    near = columns in COLUMNS and strides[-1] <= MOST_STRIDE and dilation[-1] == 1
    return near and channels >= LEAST_CHANNELS and len(kernel_shape) in (3, 4)


def _depthwise_shape(
    x: Spec, w: Spec, b: Spec, *, kernel_shape: tuple[int, ...], strides: Any, padding: Any,
    dilation: Any, activation: str = "linear", narrow: bool = False,
) -> Spec:  # fmt: skip
    activation_code(activation)
    *window, channels, each = kernel_shape
    if each != 1 or not suits_depthwise(kernel_shape, strides, dilation):
        raise ShapeError(
            f"depthwise convolutions of bfloat16 have {COLUMNS} columns side by side "
            f"with a stride of up to {MOST_STRIDE}, {LEAST_CHANNELS} channels or more, and a "
            "filter for each."
        )
    shape = output_shape(x, (*window, 1, channels), strides, padding, dilation, channels)
    if w.shape != (math.prod(window), channels) or b.shape != (channels,):
        raise ShapeError(f"weights must come as (taps, {channels}), the bias as ({channels},).")
    return Spec(shape, "uint16" if narrow else "float32")


_DEPTHWISE = (
    ((2, 9, 8, 16), (3, 3, 16, 1), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((1, 17, 16, 33), (3, 3, 33, 1), (2, 2), ((0, 1), (0, 1)), (1, 1)),
    ((2, 6, 23, 40), (5, 5, 40, 1), (1, 1), ((2, 2), (2, 2)), (1, 1)),
    ((3, 9, 5, 17), (2, 7, 17, 1), (1, 2), ((2, 2), (3, 3)), (2, 1)),
    ((0, 9, 5, 17), (1, 3, 17, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 30, 16), (5, 16, 1), (1,), ((4, 0),), (1,)),
)


def depthwise_sample(i: int, case: Any) -> Sample:
    """Case i of x, kernel, strides, padding and dilation."""
    x_shape, kernel, strides, padding, dilation = case
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "kernel_shape": kernel}
    shapes = (x_shape, (math.prod(kernel[:-2]), kernel[-2]), kernel[-2:-1])
    names = list(FUSED_ACTIVATIONS)
    return Sample(shapes, {**attrs, "activation": names[i % len(names)]})


@op(
    kernel=True,
    rows=rows_in(1),
    shape=_depthwise_shape,
    attrs_to_c=_numbers,
    dtypes=lambda x, w, b: x.dtype in READS and w.dtype == b.dtype == "float32",
    samples=[depthwise_sample(i, c) for i, c in enumerate(_DEPTHWISE)],
)
def depthwise_bf16(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    activation: str = "linear",
    narrow: bool = False,
) -> np.ndarray:
    """`conv_bf16` with a filter for each channel, in float32: x is rounded, w (taps, channels) is
    taken as it is, for weights of kernel_shape (*kernel, channels, 1)."""
    how = {"strides": strides, "padding": padding, "dilation": dilation}
    *window, channels, _ = kernel_shape
    weights = w.reshape(*window, 1, channels).astype(np.float64)
    sums = conv.reference(floats_of(x).astype(np.float64), weights, groups=channels, **how)
    return narrowed(activate(sums + b, activation), narrow)
