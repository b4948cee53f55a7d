"""Convolution with bias and activation in one kernel, and its form with packed weights.

In: x and w as for `conv`, b (filters,). Out: activation(conv(x, w) + b).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.dtypes import promote
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec, Tensor
from zoo_keras.native import lib
from zoo_keras.primitives.conv import conv, conv_grad
from zoo_keras.primitives.conv_choice import LEAST_CHANNELS, TILES, winograd_packed, winograd_points
from zoo_keras.primitives.conv_geometry import (
    CASES,
    Padding,
    case_attrs,
    conv_shape,
    float32_conv,
    geometry,
    numbers,
    three_axes,
    y_shape,
)
from zoo_keras.primitives.op import Sample, op
from zoo_keras.primitives.products import (
    FUSED_ACTIVATIONS,
    PANEL,
    activate,
    activation_code,
    activation_grad,
)
from zoo_keras.primitives.reduce import reduce_sum


def _check_bias(b: Spec, filters: int) -> None:
    if b.shape != (filters,):
        raise ShapeError(f"the bias must hold {filters} numbers, one for each filter.")


def _conv_fused_shape(x: Spec, w: Spec, b: Spec, *, activation: str = "linear", **how: Any) -> Spec:
    activation_code(activation)
    spec = conv_shape(x, w, **how)
    _check_bias(b, spec.shape[-1])
    return Spec(spec.shape, promote(spec.dtype, b.dtype))


def _conv_fused_grad(
    g: Any, y: Any, x: Any, w: Any, b: Any, *, activation: str = "linear", **how: Any
) -> Any:
    before = activation_grad(g, y, activation)
    axes = tuple(range(len(before.shape) - 1))
    db = reduce_sum(before, axes=axes, keepdims=False)
    return (*conv_grad(before, y, x, w, **how), db)


def _with_activations(cases: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    return zip(cases, itertools.cycle(FUSED_ACTIVATIONS))


def _pack_conv(w: Tensor, attrs: dict[str, Any], out: Spec) -> tuple[Tensor, dict[str, Any]]:
    tile = winograd_packed(out.shape, w.shape, attrs)
    packed = pack_conv(w, groups=attrs.get("groups", 1), winograd=tile)
    return packed, {"kernel_shape": w.shape}


@op(
    epilogue=FUSED_ACTIVATIONS,
    with_residual="conv_fused_add",
    packed=("conv_packed", _pack_conv),
    shape=_conv_fused_shape,
    grad=_conv_fused_grad,
    kernel=True,
    attrs_to_c=geometry,
    dtypes=float32_conv,
    samples=[
        Sample((c[0], c[1], c[1][-1:]), {**case_attrs(c), "activation": name})
        for c, name in _with_activations(CASES)
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


def _add_shape(fused: Any) -> Any:
    """The shape rule of a fused convolution with a residual as its last input."""

    def rule(x: Spec, w: Spec, b: Spec, residual: Spec, **attrs: Any) -> Spec:
        spec: Spec = fused(x, w, b, **attrs)
        if residual.shape != spec.shape:
            raise ShapeError(f"the residual must have the shape of the output, {spec.shape}.")
        return Spec(spec.shape, promote(spec.dtype, residual.dtype))

    return rule


def _conv_fused_add_grad(
    g: Any, y: Any, x: Any, w: Any, b: Any, residual: Any, *, activation: str = "linear", **how: Any
) -> Any:
    before = activation_grad(g, y, activation)
    axes = tuple(range(len(before.shape) - 1))
    db = reduce_sum(before, axes=axes, keepdims=False)
    return (*conv_grad(before, y, x, w, **how), db, before)


@op(
    epilogue=FUSED_ACTIVATIONS,
    packed=("conv_packed_add", _pack_conv),
    shape=_add_shape(_conv_fused_shape),
    grad=_conv_fused_add_grad,
    kernel="conv_fused",
    attrs_to_c=geometry,
    dtypes=float32_conv,
    inplace=(3,),
    samples=[
        Sample((c[0], c[1], c[1][-1:], y_shape(c)), {**case_attrs(c), "activation": name})
        for c, name in _with_activations(CASES)
    ],
)
def conv_fused_add(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    residual: np.ndarray,
    *,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
    activation: str = "linear",
) -> np.ndarray:
    """activation(conv(x, w) + b + residual) in one kernel; residual is like the result.

    The rest is as in `conv_fused`.
    """
    y = conv.reference(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups)
    return activate(y + b + residual, activation)


# --- packed weights, for inference


def packed_shape(kernel_shape: Sequence[int], groups: int, winograd: int = 0) -> tuple[int, ...]:
    """(groups * panels, taps, channels of a group, 16) for weights of this shape; for tiles of
    Winograd's algorithm (panels, points, channels + 1, 16), where the last channel is zero.

    Depthwise weights (1 channel and 1 filter a group) stay as they are: (1, taps, 1, filters).
    """
    taps = int(np.prod(kernel_shape[:-2]))
    channels, filters = kernel_shape[-2:]
    if groups > 1 and channels == 1 and filters == groups:
        return (1, taps, 1, filters)
    panels = groups * -(-(filters // groups) // PANEL)
    if winograd:
        return (panels, winograd_points(winograd), channels + 1, PANEL)
    return (panels, taps, channels, PANEL)


def _pack_conv_shape(w: Spec, *, groups: int = 1, winograd: int = 0) -> Spec:
    if len(w.shape) < 3 or groups < 1 or w.shape[-1] % groups:
        raise ShapeError(f"w needs 3 axes or more and a multiple of groups={groups} filters.")
    if winograd and (w.shape[:-2] != (3, 3) or groups > 1 or min(w.shape[2:]) < LEAST_CHANNELS):
        raise ShapeError(
            f"Winograd's algorithm is for windows of 3 x 3 in one group, from {LEAST_CHANNELS} "
            "channels and filters upward."
        )
    if winograd not in (0, *TILES):
        raise ShapeError(f"Winograd's tiles have 2 or 4 outputs along an axis, not {winograd}.")
    return Spec(packed_shape(w.shape, groups, winograd), w.dtype)


def _groups(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    return [attrs.get("groups", 1)]


@op(
    shape=_pack_conv_shape,
    kernel=True,
    attrs_to_c=_groups,
    dtypes=float32_conv,
    samples=[
        *[Sample((c[1],), {"groups": c[-1]}) for c in CASES],
        *[Sample(((3, 3, *n),), {"winograd": t}) for n in ((16, 16), (19, 33)) for t in TILES],
    ],
)
def pack_conv(w: np.ndarray, *, groups: int = 1, winograd: int = 0) -> np.ndarray:
    """Convolution weights in the order the kernel reads them, zero where there is no filter.

    w is (*kernel, channels of a group, filters); for the result see `packed_shape`. With
    `winograd` the weights are taken to the 36 points of Winograd's F(4x4, 3x3), if it is 4, or to
    the 16 of F(2x2, 3x3), if it is 2, as `conv_choice.winograd_packed` advises.
    """
    if winograd:
        points = _at_points(w, _WEIGHTS_TO_POINTS[winograd])
        return pack_conv.reference(np.pad(points, ((0, 0), (0, 0), (0, 1), (0, 0))))
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


def _weights_to_points(*points: float) -> np.ndarray:
    """The (n + 1, 3) map of csrc/conv/winograd.h: values at n points of a polynomial with three
    coefficients, over the products of distances between the points; the last coefficient."""
    at = np.array(points)
    apart = (at[:, None] - at + np.eye(len(at))).prod(1, keepdims=True)
    return np.vstack([at[:, None] ** [0, 1, 2] / apart, [0, 0, 1]])


_NEAR = lib.ZK_WINOGRAD_P / lib.ZK_WINOGRAD_Q
_WEIGHTS_TO_POINTS = {
    4: _weights_to_points(0, _NEAR, -_NEAR, 1 / _NEAR, -1 / _NEAR),
    2: _weights_to_points(0, 1, -1),
}


def _at_points(w: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The map `line` (n, m) along both axes of w (m, m, channels, filters)."""
    return np.einsum("ik,jl,kl...->ij...", line, line, w).astype(w.dtype)


def _unpacked(packed: np.ndarray, kernel_shape: tuple[int, ...], groups: int) -> np.ndarray:
    tile = _tile_of(Spec(packed.shape, packed.dtype.name), kernel_shape)
    if tile:
        square = (tile + 2, tile + 2, *kernel_shape[-2:])
        points = _unpacked(packed[:, :, :-1], square, groups)
        return _at_points(points, np.linalg.pinv(_WEIGHTS_TO_POINTS[tile]))
    filters = kernel_shape[-1] // groups
    if packed.shape[-1] != PANEL or packed.shape[0] == 1 < groups:
        return packed.reshape(kernel_shape)
    panels, taps, channels, _ = packed.shape
    columns = panels * PANEL // groups
    by_group = packed.transpose(1, 2, 0, 3).reshape(taps, channels, groups, columns)
    return by_group[..., :filters].reshape(kernel_shape)


def _tile_of(packed: Spec, kernel_shape: Sequence[int]) -> int:
    """Outputs along an axis of the Winograd tiles that packed weights are for, or 0."""
    fits = tuple(kernel_shape[:-2]) == (3, 3)
    return next((t for t in TILES if fits and packed.shape[1:2] == (winograd_points(t),)), 0)


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
    tile = _tile_of(packed, kernel_shape)
    expected = _pack_conv_shape(w, groups=groups, winograd=tile).shape
    if packed.shape != expected:
        raise ShapeError(f"weights of shape {w.shape}, packed, must have the shape {expected}.")
    return _conv_fused_shape(x, w, b, groups=groups, activation=activation, **how)


def _packed_geometry(
    attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]
) -> list[float]:
    kernel = three_axes(attrs["kernel_shape"][:-2], 1)
    return numbers(attrs, _tile_of(ins[1], attrs["kernel_shape"]), kernel)


@op(
    shape=_conv_packed_shape,
    kernel=True,
    attrs_to_c=_packed_geometry,
    dtypes=float32_conv,
    samples=[
        Sample(
            (c[0], packed_shape(c[1], c[-1]), c[1][-1:]),
            {"kernel_shape": c[1], **case_attrs(c), "activation": name},
        )
        for c, name in _with_activations(CASES)
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


@op(
    shape=_add_shape(_conv_packed_shape),
    kernel="conv_packed",
    attrs_to_c=_packed_geometry,
    dtypes=float32_conv,
    inplace=(3,),
    samples=[
        Sample(
            (c[0], packed_shape(c[1], c[-1]), c[1][-1:], y_shape(c)),
            {"kernel_shape": c[1], **case_attrs(c), "activation": name},
        )
        for c, name in _with_activations(CASES)
    ],
)
def conv_packed_add(
    x: np.ndarray,
    packed: np.ndarray,
    b: np.ndarray,
    residual: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int = 1,
    activation: str = "linear",
) -> np.ndarray:
    """`conv_fused_add` with weights from `pack_conv`; has no gradient."""
    how = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    w = _unpacked(packed, tuple(kernel_shape), groups)
    return conv_fused_add.reference(x, w, b, residual, activation=activation, **how)
