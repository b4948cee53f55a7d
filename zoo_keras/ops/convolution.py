"""Public convolutions and pooling, and the rearrangements between space and channels.

In: (batch, *spatial, channels), or (batch, channels, *spatial) with data_format="channels_first".
Out: the same layout. Paddings "same" and "valid" become numbers of cells here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.ops.convert import as_dtype, as_float, dtype_of
from zoo_keras.ops.indexing import take
from zoo_keras.ops.reduction import amax, mean
from zoo_keras.ops.shaping import concatenate, moveaxis
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import pool as pools
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.arrays import transpose as transpose_op
from zoo_keras.primitives.conv import conv as conv_op
from zoo_keras.primitives.conv import conv_grad_input
from zoo_keras.primitives.straight import straight
from zoo_keras.switches import image_data_format

Padding = tuple[tuple[int, int], ...]


def _numbers(given: Any, count: int, name: str) -> tuple[int, ...]:
    made = (given,) * count if isinstance(given, int) else tuple(int(v) for v in given)
    if len(made) != count or any(v < 1 for v in made):
        raise ConfigError(
            f"{name} must be a whole number above 0, or one for each of {count} spatial axes. "
            f"Received: {name}={given}."
        )
    return made


def cells(
    padding: str,
    spatial: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> Padding:
    """Cells of padding (before, after) each spatial axis for "same" or "valid".

    Raises ConfigError for another word.
    """
    name = str(padding).lower()
    if name == "valid":
        return ((0, 0),) * len(spatial)
    if name != "same":
        raise ConfigError(f"padding must be 'same' or 'valid'. Received: padding={padding!r}.")
    made = []
    for i, (size, width, step) in enumerate(zip(spatial, window, strides, strict=True)):
        reach = (width - 1) * (dilation[i] if dilation else 1) + 1
        total = max((-(-size // step) - 1) * step + reach - size, 0)
        made.append((total // 2, total - total // 2))
    return tuple(made)


def _channels_last(data_format: str | None) -> bool:
    if data_format not in (None, "channels_last", "channels_first"):
        raise ConfigError(
            "data_format must be 'channels_last' or 'channels_first'. Received: "
            f"data_format={data_format!r}."
        )
    return (data_format or image_data_format()) != "channels_first"


def _in(x: Any, last: bool) -> Any:
    return x if last else moveaxis(x, 1, -1)


def _out(x: Any, last: bool) -> Any:
    return x if last else moveaxis(x, -1, 1)


@public
@straight
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Convolution with a kernel (*window, channels // groups, filters), 1-D to 3-D.

    The number of groups follows from the channels of the inputs and of the kernel.
    """
    last = _channels_last(data_format)
    x, w = _in(as_float(inputs), last), as_float(kernel)
    count = len(x.shape) - 2
    steps = _numbers(strides, count, "strides")
    gaps = _numbers(dilation_rate, count, "dilation_rate")
    if x.shape[-1] % w.shape[-2]:
        raise ShapeError(
            f"conv: the number of input channels must match the kernel's: {w.shape[-2]} must "
            "divide "
            f"{x.shape[-1]}. Received: inputs.shape={inputs.shape}, kernel.shape={w.shape}. Change "
            "one of them."
        )
    pad = cells(padding, x.shape[1:-1], w.shape[:-2], steps, gaps)
    groups = x.shape[-1] // w.shape[-2]
    y = conv_op(x, w, strides=steps, padding=pad, dilation=gaps, groups=groups)
    return _out(y, last)


@public
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Each channel convolved by itself: kernel (*window, channels, multiplier)."""
    w = as_float(kernel)
    *window, channels, multiplier = w.shape
    flat = reshape_op(w, shape=(*window, 1, channels * multiplier))
    return conv(inputs, flat, strides, padding, data_format, dilation_rate)


@public
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """A depthwise convolution followed by a pointwise one."""
    x = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(x, pointwise_kernel, 1, "valid", data_format, 1)


@public
@straight
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """The transpose of a convolution: kernel (*window, filters, channels of the inputs)."""
    last = _channels_last(data_format)
    x, w = _in(as_float(inputs), last), as_float(kernel)
    count = len(x.shape) - 2
    steps = _numbers(strides, count, "strides")
    gaps = _numbers(dilation_rate, count, "dilation_rate")
    more = (output_padding,) * count if isinstance(output_padding, int) else output_padding
    spatial, pad = [], []
    for i, size in enumerate(x.shape[1:-1]):
        reach = (w.shape[i] - 1) * gaps[i] + 1
        grown = _grown(size, reach, steps[i], padding, None if more is None else more[i])
        lost = 0 if padding == "valid" else max((size - 1) * steps[i] + reach - grown, 0)
        spatial.append(grown)
        pad.append((lost // 2, lost - lost // 2))
    shape = (x.shape[0], *spatial, w.shape[-2])
    how = {"strides": steps, "padding": tuple(pad), "dilation": gaps, "groups": 1}
    return _out(conv_grad_input(x, w, input_shape=shape, **how), last)


def _grown(size: int, reach: int, stride: int, padding: str, more: int | None) -> int:
    """Cells of an axis behind a transposed convolution.

    Args:
        reach: cells that the window covers.
        more: output_padding; None means that "same" gives size * stride cells, and "valid" no
            place less than the windows need.
    """
    if padding == "valid":
        return (size - 1) * stride + (max(reach, stride) if more is None else reach + more)
    if more is None:
        return size * stride
    return (size - 1) * stride + reach % 2 + more


# --- pooling


def _pooled(op: Any, x: Any, size: Any, strides: Any, padding: str, data_format: Any) -> Any:
    last = _channels_last(data_format)
    x = _in(x, last)
    count = len(x.shape) - 2
    window = _numbers(size, count, "pool_size")
    steps = window if strides is None else _numbers(strides, count, "strides")
    pad = cells(padding, x.shape[1:-1], window, steps)
    return _out(op(x, pool=window, strides=steps, padding=pad), last)


@public
@straight
def max_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The largest element of each window."""
    x = as_float(inputs)
    return _pooled(pools.max_pool, x, pool_size, strides, padding, data_format)


@public
@straight
def average_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The mean of each window; padding is not counted."""
    x = as_float(inputs)
    return _pooled(pools.avg_pool, x, pool_size, strides, padding, data_format)


def _adaptive(
    op: Any, reduce: Any, x: Any, output_size: Any, data_format: str | None, name: str
) -> Any:
    """Window i of n along an axis of s cells covers [floor(i s / n), ceil((i + 1) s / n))."""
    last = _channels_last(data_format)
    x = _in(x, last)
    sizes = _numbers(output_size, len(x.shape) - 2, "output_size")
    if all(s % n == 0 for s, n in zip(x.shape[1:-1], sizes, strict=True)):
        window = tuple(s // n for s, n in zip(x.shape[1:-1], sizes, strict=True))
        return _out(op(x, pool=window, strides=window, padding=((0, 0),) * len(sizes)), last)
    for axis, n in enumerate(sizes, start=1):
        s = x.shape[axis]
        if n > s:
            raise ShapeError(
                f"{name}: output_size must not be above the {s} cells of axis {axis}. Received: "
                f"output_size={output_size}. Pass a smaller one.",
                met=[(s,), (n,)],
            )
        ends = [(i * s // n, -(-(i + 1) * s // n)) for i in range(n)]
        cells = (x[(slice(None),) * axis + (slice(*end),)] for end in ends)
        x = concatenate([reduce(c, axis=axis, keepdims=True) for c in cells], axis=axis)
    return _out(x, last)


@public
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The mean of windows that lie so that output_size places come out of each axis."""
    x, name = as_float(inputs), "adaptive_average_pool"
    return _adaptive(pools.avg_pool, mean, x, output_size, data_format, name)


@public
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The largest element of windows that lie so that output_size places come out of each axis."""
    x, name = as_float(inputs), "adaptive_max_pool"
    return _adaptive(pools.max_pool, amax, x, output_size, data_format, name)


# --- space and channels


def _blocks(name: str, block_size: int, data_format: str) -> bool:
    if block_size < 2:
        raise ConfigError(
            f"{name}: `block_size` must be at least 2. Received: block_size={block_size}. Pass the "
            "number of cells along a side."
        )
    return _channels_last(data_format)


@public
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Blocks of block_size x block_size cells become channels."""
    last = _blocks("space_to_depth", block_size, data_format)
    x = _in(as_dtype(x, dtype_of(x)), last)
    b, h, w, c = x.shape
    x = reshape_op(x, shape=(b, h // block_size, block_size, w // block_size, block_size, c))
    x = transpose_op(x, perm=(0, 1, 3, 2, 4, 5))
    shape = (b, h // block_size, w // block_size, block_size * block_size * c)
    return _out(reshape_op(x, shape=shape), last)


@public
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Channels become blocks of block_size x block_size cells."""
    last = _blocks("depth_to_space", block_size, data_format)
    x = _in(as_dtype(x, dtype_of(x)), last)
    b, h, w, channels = x.shape
    c = channels // (block_size * block_size)
    x = reshape_op(x, shape=(b, h, w, block_size, block_size, c))
    x = transpose_op(x, perm=(0, 1, 3, 2, 4, 5))
    return _out(reshape_op(x, shape=(b, h * block_size, w * block_size, c)), last)


@public
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """All windows of sequence_length along the last axis, sequence_stride apart."""
    if not x.shape:
        raise ShapeError(
            "extract_sequences: Input should have rank >= 1. Received: a scalar. Add an axis."
        )
    count = 1 + (x.shape[-1] - sequence_length) // sequence_stride
    starts = np.arange(max(count, 0))[:, None] * sequence_stride
    places = (starts + np.arange(sequence_length)).astype("int32")
    return take(x, places, axis=-1)


__all__ = [
    "adaptive_average_pool", "adaptive_max_pool", "average_pool", "conv", "conv_transpose",
    "depth_to_space", "depthwise_conv", "extract_sequences", "max_pool", "separable_conv",
    "space_to_depth",
]  # fmt: skip
