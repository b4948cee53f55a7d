"""Convolution and its gradients, channels last.

In: x (batch, *spatial, channels), w (*kernel, channels // groups, filters); the engine has kernels
for 1 to 3 spatial axes. Out: tensors of the same layout. Which algorithm computes them is the
engine's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.dtypes import promote
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.arrays import reshape, strided_slice, strided_slice_grad
from zoo_keras.primitives.conv_choice import winograd_gradient
from zoo_keras.primitives.conv_geometry import (
    CASES,
    Padding,
    case_attrs,
    conv_shape,
    float32_conv,
    geometry,
    numbers,
    output_shape,
    y_shape,
)
from zoo_keras.primitives.op import Sample, op
from zoo_keras.primitives.products import matmul
from zoo_keras.primitives.row_rules import first_input

# --- reference: one step for each cell of the kernel


def _taps(
    kernel: Sequence[int], out: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each cell of the kernel, with the cells of the padded input that it meets."""
    for tap in itertools.product(*map(range, kernel)):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        yield (
            tap,
            (
                slice(None),
                *[
                    slice(a, a + s * (n - 1) + 1, s)
                    for a, s, n in zip(starts, strides, out, strict=True)
                ],
            ),
        )


def _by_group(x: np.ndarray, groups: int) -> np.ndarray:
    """(..., channels) as (groups, rows, channels of a group)."""
    rows = int(np.prod(x.shape[:-1]))
    return x.reshape(rows, groups, x.shape[-1] // groups).swapaxes(0, 1)


def _grouped_product(x: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    """x (..., channels) times w (channels of a group, filters), group by group."""
    y = np.matmul(_by_group(x, groups), _by_group(w, groups))
    return y.swapaxes(0, 1).reshape(*x.shape[:-1], w.shape[-1])


def _pad_spatial(x: np.ndarray, padding: Padding) -> np.ndarray:
    return np.pad(x, ((0, 0), *padding, (0, 0)))


def conv_grad(
    g: Any, y: Any, x: Any, w: Any, *, strides: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    if groups == 1 and not np.any(padding) and all(n == 1 for n in w.shape[:-2]):
        return _pointwise_grad(g, x, w, strides)
    how = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return (
        conv_grad_input(g, w, input_shape=tuple(x.shape), **how),
        conv_grad_kernel(x, g, kernel_shape=tuple(w.shape), **how),
    )


def _rows(x: Any) -> Any:
    return reshape(x, shape=(int(np.prod(x.shape[:-1])), x.shape[-1]))


def _pointwise_grad(g: Any, x: Any, w: Any, strides: Sequence[int]) -> tuple[Any, Any]:
    """A window of one cell: matrix products over the cells that were read."""
    flat, g_rows, begin = _rows(w), _rows(g), (0,) * len(x.shape)
    steps = (1, *strides, 1)
    end = [(n - 1) * s + 1 for n, s in zip((*g.shape[:-1], x.shape[-1]), steps, strict=True)]
    dx = reshape(matmul(g_rows, flat, transpose_b=True), shape=(*g.shape[:-1], x.shape[-1]))
    if tuple(dx.shape) != tuple(x.shape):
        cells = {"begin": begin, "end": tuple(map(int, end)), "strides": steps}
        dx = strided_slice_grad(dx, shape=tuple(x.shape), **cells)
        x = strided_slice(x, **cells)
    dw = matmul(_rows(x), g_rows, transpose_a=True)
    return dx, reshape(dw, shape=tuple(w.shape))


@op(
    with_bias=lambda node: ("conv_fused", node.attrs),
    rows=first_input,
    shape=conv_shape,
    grad=conv_grad,
    kernel=True,
    attrs_to_c=geometry,
    dtypes=float32_conv,
    samples=[Sample((c[0], c[1]), case_attrs(c)) for c in CASES],
)
def conv(
    x: np.ndarray,
    w: np.ndarray,
    *,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> np.ndarray:
    """Convolution (correlation, as in Keras) over the spatial axes.

    x is (batch, *spatial, channels), w is (*kernel, channels // groups, filters), padding is
    ((low, high), ...) cells of zeros; the result is (batch, *places, filters).
    """
    out = conv_shape(
        Spec(x.shape, x.dtype.name),
        Spec(w.shape, w.dtype.name),
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    padded = _pad_spatial(x, padding)
    y = np.zeros(out.shape, out.dtype)
    for tap, cells in _taps(w.shape[:-2], out.shape[1:-1], strides, dilation):
        y += _grouped_product(padded[cells], w[tap], groups)
    return y


def _conv_grad_input_shape(
    g: Spec, w: Spec, *, input_shape: Any, strides: Any, padding: Any, dilation: Any, groups: int
) -> Spec:
    x = Spec(tuple(input_shape), promote(g.dtype, w.dtype))
    expected = output_shape(x, w.shape, strides, padding, dilation, groups)
    if g.shape != expected:
        raise ShapeError(f"the gradient must have the shape of the output, {expected}.")
    return x


def _conv_grad_input_grad(
    g: Any, y: Any, x: Any, w: Any, *, input_shape: Any, **how: Any
) -> tuple[Any, Any]:
    """x, the gradient that came in, is the output of the convolution whose input is like g."""
    return conv(g, w, **how), conv_grad_kernel(g, x, kernel_shape=tuple(w.shape), **how)


@op(
    counts_rows=("input_shape",),
    rows=first_input,
    shape=_conv_grad_input_shape,
    grad=_conv_grad_input_grad,
    kernel=True,
    attrs_to_c=geometry,
    dtypes=float32_conv,
    samples=[Sample((y_shape(c), c[1]), {"input_shape": c[0], **case_attrs(c)}) for c in CASES],
)
def conv_grad_input(
    g: np.ndarray,
    w: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv` with respect to x, from the gradient g of its result.

    g is (batch, *places, filters), w is (*kernel, channels // groups, filters); the result has
    `input_shape`, (batch, *spatial, channels).
    """
    sizes = input_shape[1:-1]
    padded = [n + lo + hi for n, (lo, hi) in zip(sizes, padding, strict=True)]
    dx = np.zeros((input_shape[0], *padded, input_shape[-1]), promote(g.dtype.name, w.dtype.name))
    for tap, cells in _taps(w.shape[:-2], g.shape[1:-1], strides, dilation):
        dx[cells] += _grouped_product(g, _turned(w[tap], groups), groups)
    inside = [slice(lo, lo + n) for n, (lo, _) in zip(sizes, padding, strict=True)]
    return dx[(slice(None), *inside)]


def _turned(w: np.ndarray, groups: int) -> np.ndarray:
    """(channels of a group, filters) as (filters of a group, channels)."""
    return _by_group(w, groups).transpose(2, 0, 1).reshape(w.shape[1] // groups, -1)


def _conv_grad_kernel_shape(
    x: Spec, g: Spec, *, kernel_shape: Any, strides: Any, padding: Any, dilation: Any, groups: int
) -> Spec:
    expected = output_shape(x, kernel_shape, strides, padding, dilation, groups)
    if g.shape != expected:
        raise ShapeError(f"the gradient must have the shape of the output, {expected}.")
    return Spec(tuple(kernel_shape), promote(x.dtype, g.dtype))


def _kernel_grad_numbers(
    attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]
) -> list[float]:
    return numbers(attrs, winograd_gradient(ins[1].shape, attrs["kernel_shape"], attrs))


def _conv_grad_kernel_grad(
    h: Any, y: Any, x: Any, g: Any, *, kernel_shape: Any, **how: Any
) -> tuple[Any, Any]:
    """h is shaped like the weights."""
    return conv_grad_input(g, h, input_shape=tuple(x.shape), **how), conv(x, h, **how)


@op(
    shape=_conv_grad_kernel_shape,
    grad=_conv_grad_kernel_grad,
    kernel=True,
    attrs_to_c=_kernel_grad_numbers,
    dtypes=float32_conv,
    samples=[Sample((c[0], y_shape(c)), {"kernel_shape": c[1], **case_attrs(c)}) for c in CASES],
)
def conv_grad_kernel(
    x: np.ndarray,
    g: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv` with respect to w, from the gradient g of its result.

    x is (batch, *spatial, channels), g is (batch, *places, filters); the result has
    `kernel_shape`, (*kernel, channels // groups, filters).
    """
    padded = _pad_spatial(x, padding)
    dw = np.zeros(kernel_shape, promote(x.dtype.name, g.dtype.name))
    g_rows = _by_group(g, groups)
    for tap, cells in _taps(kernel_shape[:-2], g.shape[1:-1], strides, dilation):
        rows = _by_group(padded[cells], groups)
        dw[tap] = np.concatenate(np.matmul(rows.swapaxes(1, 2), g_rows), axis=-1)
    return dw
