"""Convolution, its gradients, and its fused and packed forms, channels last.

In: x (batch, *spatial, channels), w (*kernel, channels // groups, filters). Out: tensors of the
same layout. The engine has kernels for 1 and 2 spatial axes; others run on the host. Which
algorithm computes them is the engine's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.dtypes import promote
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.ops.linalg import (
    FUSED_ACTIVATIONS,
    PANEL,
    activate,
    activation_code,
    activation_grad,
)
from zoo_keras.ops.op import Sample, op
from zoo_keras.ops.reduce import reduce_sum

Padding = tuple[tuple[int, int], ...]


def window_cells(
    size: int, window: int, stride: int, padding: tuple[int, int], dilation: int = 1
) -> int:
    """Number of places of a window along one axis; ShapeError when there is none."""
    covered = dilation * (window - 1) + 1
    places = (size + sum(padding) - covered) // stride + 1
    if places < 1 or window < 1:
        raise ShapeError(
            f"a window of {window} cells (dilation {dilation}) does not fit on an axis of {size} "
            f"cells padded by {padding}; use a smaller window or padding 'same'."
        )
    return places


def check_lengths(axes: int, **attrs: Sequence[Any]) -> None:
    """ShapeError unless every attribute has one entry for each spatial axis."""
    for name, value in attrs.items():
        if len(value) != axes:
            raise ShapeError(f"{name} must have {axes} entries, one for each spatial axis.")


def two_axes(values: Sequence[Any], missing: Any) -> list[Any]:
    """Attributes of 1 or 2 spatial axes as those of 2: an axis of length 1 comes first."""
    return [missing] * (2 - len(values)) + list(values)


def float32_plane(*specs: Spec) -> bool:
    """Whether the kernels apply: float32 and 1 or 2 spatial axes."""
    return all(s.dtype == "float32" for s in specs) and len(specs[0].shape) in (3, 4)


def _check_channels(x: Spec, kernel: Sequence[int], groups: int) -> None:
    if len(x.shape) < 3 or len(kernel) != len(x.shape):
        raise ShapeError(
            "x needs a batch axis, 1 spatial axis or more and a channel axis, and w as many axes "
            "as x."
        )
    channels, filters = x.shape[-1], kernel[-1]
    if groups < 1 or channels != kernel[-2] * groups or filters % groups:
        raise ShapeError(
            f"with groups={groups} the channels of x must be groups times w's {kernel[-2]}, and "
            f"the {filters} filters of w a multiple of groups."
        )


def _output_shape(
    x: Spec, kernel: Sequence[int], strides: Any, padding: Any, dilation: Any, groups: int
) -> tuple[int, ...]:
    _check_channels(x, kernel, groups)
    check_lengths(len(kernel) - 2, strides=strides, padding=padding, dilation=dilation)
    sizes = x.shape[1:-1]
    places = map(window_cells, sizes, kernel[:-2], strides, padding, dilation)
    return (x.shape[0], *places, kernel[-1])


def _conv_shape(
    x: Spec, w: Spec, *, strides: Any, padding: Any, dilation: Any, groups: int = 1
) -> Spec:
    shape = _output_shape(x, w.shape, strides, padding, dilation, groups)
    return Spec(shape, promote(x.dtype, w.dtype))


def _geometry(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    """What C wants: strides, low padding and dilation of 2 axes, groups, activation."""
    low = [p[0] for p in attrs["padding"]]
    code = activation_code(attrs.get("activation", "linear"))
    return [
        *two_axes(attrs["strides"], 1),
        *two_axes(low, 0),
        *two_axes(attrs["dilation"], 1),
        attrs.get("groups", 1),
        code,
    ]


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


def _conv_grad(
    g: Any, y: Any, x: Any, w: Any, *, strides: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    how = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return (
        conv_grad_input(g, w, input_shape=tuple(x.shape), **how),
        conv_grad_kernel(x, g, kernel_shape=tuple(w.shape), **how),
    )


# x, w, strides, padding, dilation, groups
_CASES = (
    ((2, 9, 8, 3), (3, 3, 3, 5), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 7, 9, 4), (3, 2, 4, 17), (2, 3), ((0, 1), (1, 0)), (1, 1), 1),
    ((2, 11, 10, 2), (3, 3, 2, 33), (1, 1), ((2, 2), (0, 3)), (2, 3), 1),
    ((2, 6, 6, 6), (3, 3, 3, 8), (1, 2), ((1, 1), (1, 1)), (1, 1), 2),
    ((2, 7, 6, 5), (3, 3, 1, 5), (1, 1), ((1, 1), (1, 1)), (1, 1), 5),
    ((1, 8, 7, 20), (3, 3, 1, 20), (2, 2), ((0, 1), (1, 1)), (1, 1), 20),
    ((2, 5, 6, 3), (2, 3, 1, 6), (1, 1), ((0, 0), (1, 1)), (1, 2), 3),
    ((3, 12, 12, 1), (5, 5, 1, 6), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    ((2, 4, 4, 24), (1, 1, 24, 20), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 5, 5, 3), (1, 1, 3, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    ((0, 5, 5, 3), (3, 3, 3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 3, 3, 1), (3, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 13, 3), (3, 3, 7), (1,), ((1, 1),), (1,), 1),
    ((1, 20, 4), (3, 4, 6), (2,), ((4, 0),), (2,), 1),
    ((2, 9, 6), (3, 1, 6), (1,), ((1, 1),), (1,), 6),
)
_SOLID = ((1, 4, 5, 3, 2), (2, 3, 2, 2, 3), (1, 2, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 2), 1)


def _attrs(case: Any) -> dict[str, Any]:
    return dict(zip(("strides", "padding", "dilation", "groups"), case[2:], strict=True))


def _y_shape(case: Any) -> tuple[int, ...]:
    return _output_shape(Spec(case[0], "float32"), case[1], *case[2:])


@op(
    shape=_conv_shape,
    grad=_conv_grad,
    kernel=True,
    attrs_to_c=_geometry,
    dtypes=float32_plane,
    samples=[Sample((c[0], c[1]), _attrs(c)) for c in (*_CASES, _SOLID)],
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
    out = _conv_shape(
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
    expected = _output_shape(x, w.shape, strides, padding, dilation, groups)
    if g.shape != expected:
        raise ShapeError(f"the gradient must have the shape of the output, {expected}.")
    return x


@op(
    shape=_conv_grad_input_shape,
    kernel=True,
    attrs_to_c=_geometry,
    dtypes=float32_plane,
    samples=[
        Sample((_y_shape(c), c[1]), {"input_shape": c[0], **_attrs(c)}) for c in (*_CASES, _SOLID)
    ],
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
    expected = _output_shape(x, kernel_shape, strides, padding, dilation, groups)
    if g.shape != expected:
        raise ShapeError(f"the gradient must have the shape of the output, {expected}.")
    return Spec(tuple(kernel_shape), promote(x.dtype, g.dtype))


@op(
    shape=_conv_grad_kernel_shape,
    kernel=True,
    attrs_to_c=_geometry,
    dtypes=float32_plane,
    samples=[
        Sample((c[0], _y_shape(c)), {"kernel_shape": c[1], **_attrs(c)}) for c in (*_CASES, _SOLID)
    ],
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


def _check_bias(b: Spec, filters: int) -> None:
    if b.shape != (filters,):
        raise ShapeError(f"the bias must hold {filters} numbers, one for each filter.")


def _conv_fused_shape(x: Spec, w: Spec, b: Spec, *, activation: str = "linear", **how: Any) -> Spec:
    activation_code(activation)
    spec = _conv_shape(x, w, **how)
    _check_bias(b, spec.shape[-1])
    return Spec(spec.shape, promote(spec.dtype, b.dtype))


def _conv_fused_grad(
    g: Any, y: Any, x: Any, w: Any, b: Any, *, activation: str = "linear", **how: Any
) -> Any:
    before = activation_grad(g, y, activation)
    axes = tuple(range(len(before.shape) - 1))
    db = reduce_sum(before, axes=axes, keepdims=False)
    return (*_conv_grad(before, y, x, w, **how), db)


def _with_activations(cases: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    return zip(cases, itertools.cycle(FUSED_ACTIVATIONS))


@op(
    shape=_conv_fused_shape,
    grad=_conv_fused_grad,
    kernel=True,
    attrs_to_c=_geometry,
    dtypes=float32_plane,
    samples=[
        Sample((c[0], c[1], c[1][-1:]), {**_attrs(c), "activation": name})
        for c, name in _with_activations(_CASES)
    ],
)
def conv_fused(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    *,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
    activation: str = "linear",
) -> np.ndarray:
    """activation(conv(x, w) + b) in one kernel.

    b is (filters,), `activation` one of FUSED_ACTIVATIONS; the rest is as in `conv`.
    """
    y = conv.reference(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups)
    return activate(y + b, activation)


# --- packed weights, for inference


def packed_shape(kernel_shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """(groups * panels, taps, channels of a group, 16) for weights of this shape.

    Depthwise weights (1 channel and 1 filter a group) stay as they are: (1, taps, 1, filters).
    """
    taps = int(np.prod(kernel_shape[:-2]))
    channels, filters = kernel_shape[-2:]
    if groups > 1 and channels == 1 and filters == groups:
        return (1, taps, 1, filters)
    return (groups * -(-(filters // groups) // PANEL), taps, channels, PANEL)


def _pack_conv_shape(w: Spec, *, groups: int = 1) -> Spec:
    if len(w.shape) < 3 or groups < 1 or w.shape[-1] % groups:
        raise ShapeError(f"w needs 3 axes or more and a multiple of groups={groups} filters.")
    return Spec(packed_shape(w.shape, groups), w.dtype)


def _groups(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    return [attrs.get("groups", 1)]


@op(
    shape=_pack_conv_shape,
    kernel=True,
    attrs_to_c=_groups,
    dtypes=float32_plane,
    samples=[Sample((c[1],), {"groups": c[-1]}) for c in _CASES],
)
def pack_conv(w: np.ndarray, *, groups: int = 1) -> np.ndarray:
    """Convolution weights in the order the kernel reads them, zero where there is no filter.

    w is (*kernel, channels of a group, filters); for the result see `packed_shape`.
    """
    shape = packed_shape(w.shape, groups)
    if shape[-1] != PANEL or shape[0] == 1 < groups:
        return w.reshape(shape)
    _, taps, channels, _ = shape
    filters = w.shape[-1] // groups
    panels = shape[0] // groups
    padded = np.zeros((taps, channels, groups, panels * PANEL), w.dtype)
    padded[..., :filters] = w.reshape(taps, channels, groups, filters)
    by_panel = padded.reshape(taps, channels, groups * panels, PANEL)
    return np.ascontiguousarray(by_panel.transpose(2, 0, 1, 3))


def _unpacked(packed: np.ndarray, kernel_shape: tuple[int, ...], groups: int) -> np.ndarray:
    filters = kernel_shape[-1] // groups
    if packed.shape[-1] != PANEL or packed.shape[0] == 1 < groups:
        return packed.reshape(kernel_shape)
    panels, taps, channels, _ = packed.shape
    columns = panels * PANEL // groups
    by_group = packed.transpose(1, 2, 0, 3).reshape(taps, channels, groups, columns)
    return by_group[..., :filters].reshape(kernel_shape)


def _conv_packed_shape(
    x: Spec,
    packed: Spec,
    b: Spec,
    *,
    kernel_shape: tuple[int, ...],
    groups: int = 1,
    activation: str = "linear",
    **how: Any,
) -> Spec:
    w = Spec(tuple(kernel_shape), packed.dtype)
    expected = _pack_conv_shape(w, groups=groups).shape
    if packed.shape != expected:
        raise ShapeError(f"weights of shape {w.shape}, packed, must have the shape {expected}.")
    return _conv_fused_shape(x, w, b, groups=groups, activation=activation, **how)


def _packed_geometry(
    attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]
) -> list[float]:
    kernel = two_axes(attrs["kernel_shape"][:-2], 1)
    return [*_geometry(attrs, ins, outs), *kernel]


@op(
    shape=_conv_packed_shape,
    kernel=True,
    attrs_to_c=_packed_geometry,
    dtypes=float32_plane,
    samples=[
        Sample(
            (c[0], packed_shape(c[1], c[-1]), c[1][-1:]),
            {"kernel_shape": c[1], **_attrs(c), "activation": name},
        )
        for c, name in _with_activations(_CASES)
    ],
)
def conv_packed(
    x: np.ndarray,
    packed: np.ndarray,
    b: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
    activation: str = "linear",
) -> np.ndarray:
    """`conv_fused` with weights from `pack_conv`; has no gradient.

    kernel_shape is that of the weights before packing, (*kernel, channels // groups, filters).
    """
    how = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    w = _unpacked(packed, tuple(kernel_shape), groups)
    return conv_fused.reference(x, w, b, activation=activation, **how)
