"""Public ops that move pixels: affine and perspective transforms, coordinates, distortions.

In: images, and where each pixel of the result comes from. Out: images in their dtype. Pixels are
gathered by indices that are computed like any tensor, so all of it runs in the engine and has
gradients; a perspective's matrix is solved on the host.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.ops import elementwise as e
from zoo_keras.ops.convert import as_dtype, as_float, value
from zoo_keras.ops.convolution import depthwise_conv
from zoo_keras.ops.images import checked_axes, in_floats, on_batch
from zoo_keras.ops.indexing import where
from zoo_keras.ops.products import solve, tensordot
from zoo_keras.ops.reduction import sum as total_of
from zoo_keras.ops.shaping import (
    broadcast_to,
    concatenate,
    expand_dims,
    moveaxis,
    reshape,
    stack,
    transpose,
)
from zoo_keras.ops.special import sin
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives.index import gather

ORDERS = {"nearest": 0, "bilinear": 1}
Fix = Callable[[Any, int], Any]


def _checked(name: str, argument: str, given: Any, allowed: Sequence[Any]) -> Any:
    if given not in allowed:
        raise ConfigError(
            f"image.{name}: unknown {argument}. Received: {argument}={given!r}. Use one of "
            f"{', '.join(map(repr, allowed))}."
        )
    return given


def _rounded(x: Any) -> Any:
    """Halves away from zero."""
    return where(x < 0, e.ceil(x - 0.5), e.floor(x + 0.5))


def _sampled(
    rows: Any, sizes: Sequence[int], coordinates: Sequence[Any], order: int, fix: Fix | None,
    fill: Any, first: Any = 0,
) -> Any:  # fmt: skip
    """Rows of pixels (prod(sizes), channels) between the cells next to each coordinate.

    fix brings an index into its axis; without it, `fill` lies outside. first: the row at which the
    image of each pixel begins.
    """
    nodes: list[list[tuple[Any, Any]]] = []
    index: Any
    share: Any
    inside: Any
    for at in coordinates:
        low = e.floor(at)
        nodes.append([(low, 1 - (at - low)), (low + 1, at - low)] if order else [(_rounded(at), 1)])
    total: Any = 0
    for corner in itertools.product(*nodes):
        index, share, inside = first, 1, True
        for (at, weight), size in zip(corner, sizes, strict=True):
            at = fix(at, size) if fix else at
            inside = e.logical_and(inside, e.logical_and(at >= 0, at <= size - 1))
            index = index * size + as_dtype(e.clip(at, 0, size - 1), "int32")
            share = share * weight
        found = gather(rows, index)
        found = found if fix else where(inside[..., None], found, fill)
        total = total + (found * share[..., None] if order else found)
    return total


# ---- where coordinates outside go ----------------------------------------------------------------


def _clamped(x: Any, size: int) -> Any:
    return e.clip(x, 0, size - 1)


def _reflected(x: Any, size: int) -> Any:
    """dcba|abcd|dcba."""
    x = e.mod(x, 2 * size)
    return e.minimum(x, 2 * size - 1 - x)


def _mirrored(x: Any, size: int) -> Any:
    """dcb|abcd|cba."""
    if size == 1:
        return x * 0
    x = e.mod(x, 2 * (size - 1))
    return e.minimum(x, 2 * (size - 1) - x)


def _wrapped(x: Any, size: int) -> Any:
    return e.mod(x, size)


def _wrapped_once(x: Any, size: int) -> Any:
    """TensorFlow's way to wrap a coordinate: the distance of the ends counts once."""
    if size == 1:
        return x * 0
    turns = e.floor(e.absolute(x) / (size - 1))
    return where(x < 0, x + size * (turns + 1), where(x > size - 1, x - size * turns, x))


# A transform's coordinates are brought inside before the cells next to them are found...
_OF_TRANSFORMS: dict[str, Fix | None] = {
    "constant": None, "nearest": _clamped, "wrap": _wrapped_once, "reflect": _reflected,
    "mirror": _mirrored,
}  # fmt: skip
# ... and of map_coordinates the cells are found first.
_OF_COORDINATES: dict[str, Fix | None] = {
    "constant": None, "nearest": _clamped, "wrap": _wrapped, "mirror": _mirrored,
    "reflect": _reflected,
}  # fmt: skip


def _starts(batch: int, rank: int) -> np.ndarray:
    """The number of each image, to broadcast with indices of `rank` axes."""
    return np.arange(batch, dtype=np.int32).reshape(batch, *[1] * (rank - 1))


def _projected(x: Any, transform: Any, interpolation: str, mode: str, fill: float) -> Any:
    """(batch, height, width, channels) by transforms (batch or 1, 8)."""
    batch, height, width, channels = x.shape
    across = np.arange(width, dtype=np.float32)[None, None, :]
    down = np.arange(height, dtype=np.float32)[None, :, None]
    a0, a1, a2, b0, b1, b2, c0, c1 = (transform[:, i, None, None] for i in range(8))
    scale = c0 * across + c1 * down + 1
    places = [(b0 * across + b1 * down + b2) / scale, (a0 * across + a1 * down + a2) / scale]
    outside = _OF_TRANSFORMS[mode]
    if outside:
        places = [_clamped(outside(p, n), n) for p, n in zip(places, (height, width), strict=True)]
    rows = reshape(x, (batch * height * width, channels))
    places = [broadcast_to(p, (batch, height, width)) for p in places]
    fix = _clamped if outside else None
    order = ORDERS[interpolation]
    return _sampled(rows, (height, width), places, order, fix, fill, _starts(batch, 3))


@public
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Images whose pixel (x, y) is the one at (a0 x + a1 y + a2, b0 x + b1 y + b2) / k of the old.

    A transform is (a0, a1, a2, b0, b1, b2, c0, c1), with k = c0 x + c1 y + 1: one, or one for each
    image. fill_mode is "constant", "nearest", "wrap", "mirror" or "reflect". Source:
    keras.ops.image.affine_transform.
    """
    _checked("affine_transform", "interpolation", interpolation, tuple(ORDERS))
    _checked("affine_transform", "fill_mode", fill_mode, tuple(_OF_TRANSFORMS))
    checked_axes("affine_transform", value(images), data_format)
    transform = as_float(transform)
    if len(transform.shape) not in (1, 2) or transform.shape[-1] != 8:
        raise ShapeError(
            "image.affine_transform: Invalid transform rank: expected rank 1 (one transform of 8 "
            f"numbers) or rank 2 (one for each image). Received: shape {tuple(transform.shape)}. "
            "Reshape it."
        )
    transform = reshape(transform, (-1, 8))

    def moved(x: Any) -> Any:
        return _projected(x, transform, interpolation, fill_mode, fill_value)

    return on_batch("affine_transform", images, data_format, lambda x: in_floats(x, moved))


def homography(start_points: Any, end_points: Any) -> Any:
    """Transforms (batch, 8) that take end points (batch, 4, 2) to start points."""
    start, end = (as_dtype(as_float(p), "float32") for p in (start_points, end_points))
    x, y = end[..., 0], end[..., 1]
    one, zero = e.add(x * 0, 1.0), x * 0
    rows = []
    for axis in (0, 1):
        s = start[..., axis]
        plain, nothing = [x, y, one], [zero, zero, zero]
        six = plain + nothing if axis == 0 else nothing + plain
        rows.append(stack([*six, -s * x, -s * y], axis=-1))
    matrix = concatenate(rows, axis=1)
    wanted = concatenate([start[..., 0], start[..., 1]], axis=1)
    return reshape(solve(matrix, expand_dims(wanted, -1)), (-1, 8))


@public
def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Images seen so that four points (x, y) move to other places: (4, 2) or (batch, 4, 2).

    Source: keras.ops.image.perspective_transform.
    """
    _checked("perspective_transform", "interpolation", interpolation, tuple(ORDERS))
    points = [value(start_points), value(end_points)]
    checked_axes("perspective_transform", value(images), data_format)
    fits = all(len(p.shape) in (2, 3) and tuple(p.shape[-2:]) == (4, 2) for p in points)
    if not fits or points[0].shape != points[1].shape:
        raise ShapeError(
            "image.perspective_transform: Invalid start_points shape: expected (4, 2) or "
            "(batch, 4, "
            f"2), and end_points alike. Received: shapes {[tuple(p.shape) for p in points]}. Give "
            "four corners each."
        )
    transform = homography(*[reshape(p, (-1, 4, 2)) for p in points])

    def moved(x: Any) -> Any:
        return _projected(x, transform, interpolation, "constant", fill_value)

    return on_batch("perspective_transform", images, data_format, lambda x: in_floats(x, moved))


@public
def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0.0
) -> Any:
    """The inputs at coordinates (rank of the inputs, ...); order 0 is nearest, 1 is linear.

    fill_mode is "constant", "nearest", "wrap", "mirror" or "reflect", as in scipy's "grid" modes.
    Source: keras.ops.image.map_coordinates.
    """
    _checked("map_coordinates", "fill_mode", fill_mode, tuple(_OF_COORDINATES))
    _checked("map_coordinates", "order", order, (0, 1))
    inputs, coordinates = value(inputs), as_float(coordinates)
    if coordinates.shape[0] != len(inputs.shape) or len(coordinates.shape) < 2:
        raise ShapeError(
            "image.map_coordinates: the first axis of `coordinates` must be the same as the "
            "rank of "
            "`inputs`, and there must be others, expected at least rank 2. Received: inputs "
            f"of shape {tuple(inputs.shape)}, coordinates of shape "
            f"{tuple(coordinates.shape)}. Stack one array for each axis."
        )
    places, fix = [coordinates[i] for i in range(len(inputs.shape))], _OF_COORDINATES[fill_mode]

    def picked(x: Any) -> Any:
        rows = reshape(x, (-1, 1))
        return _sampled(rows, x.shape, places, order, fix, fill_value)[..., 0]

    return in_floats(inputs, picked)


def displaced(
    images: Any, offsets: Sequence[Any], interpolation: str, fill_mode: str, fill_value: float
) -> Any:
    """(batch, height, width, channels) from offsets (batch, height, width) down and across."""
    batch, height, width, channels = images.shape
    grid = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    places = [g.astype(np.float32)[None] + o for g, o in zip(grid, offsets, strict=True)]
    rows, fix = reshape(images, (-1, channels)), _OF_COORDINATES[fill_mode]
    order, starts = ORDERS[interpolation], _starts(batch, 3)
    return _sampled(rows, (height, width), places, order, fix, fill_value, starts)


@public
def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Any:
    """Images whose pixels are moved by smooth random offsets: strength alpha, smoothness sigma.

    Source: keras.ops.image.elastic_transform.
    """
    from zoo_keras.random import normal

    _checked("elastic_transform", "interpolation", interpolation, tuple(ORDERS))
    _checked("elastic_transform", "fill_mode", fill_mode, tuple(_OF_COORDINATES))
    size = 6 * int(sigma) | 1

    def moved(x: Any) -> Any:
        noise = normal((*x.shape[:3], 2), stddev=float(sigma), seed=seed)
        smooth = blurred(noise, (size, size), (sigma, sigma)) * alpha
        offsets = [smooth[..., 1], smooth[..., 0]]
        return displaced(x, offsets, interpolation, fill_mode, fill_value)

    return on_batch("elastic_transform", images, data_format, lambda x: in_floats(x, moved))


# ---- weights along axes --------------------------------------------------------------------------


def bell(size: int, sigma: Any) -> Any:
    x = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    shares = e.exp(-0.5 * e.square(x / sigma))
    return shares / total_of(shares)


def blurred(x: Any, size: Sequence[int], sigma: Any) -> Any:
    """(batch, height, width, channels) under a bell of size (height, width) and sigma for each."""
    first, second = bell(size[0], sigma[0]), bell(size[1], sigma[1])
    if size[0] == size[1]:
        return under_curves(x, second, first)
    kernel = reshape(second[:, None] * first[None, :], (size[0], size[1], 1, 1))
    kernel = broadcast_to(kernel, (size[0], size[1], x.shape[-1], 1))
    return depthwise_conv(x, kernel, 1, "same", "channels_last")


def under_curves(x: Any, down: Any, across: Any) -> Any:
    """(batch, height, width, channels), its columns under one curve (n,), its rows under another:
    few channels are slow, and n + n cells are fewer than n * n."""
    turned = transpose(_columns_under(x, down), (0, 2, 1, 3))
    return transpose(_columns_under(turned, across), (0, 2, 1, 3))


def _columns_under(x: Any, curve: Any) -> Any:
    """Each row of the images is one long row of channels for the convolution."""
    batch, height, width, channels = x.shape
    kernel = broadcast_to(curve[:, None, None, None], (curve.shape[0], 1, width * channels, 1))
    flat = reshape(x, (batch, height, 1, width * channels))
    made = depthwise_conv(flat, kernel, 1, "same", "channels_last")
    return reshape(made, (batch, height, width, channels))


@public
def gaussian_blur(
    images: Any, kernel_size: Sequence[int] = (3, 3), sigma: Any = (1.0, 1.0),
    data_format: str | None = None,
) -> Any:  # fmt: skip
    """Images under a bell curve. Source: keras.ops.image.gaussian_blur."""
    sigma = as_float(sigma)

    def blur(x: Any) -> Any:
        return in_floats(x, lambda y: blurred(y, kernel_size, sigma))

    return on_batch("gaussian_blur", images, data_format, blur)


_KERNELS: dict[str, Callable[[Any], Any]] = {}


def _named(*names: str) -> Callable[..., Any]:
    def name(kernel: Any) -> Any:
        _KERNELS.update(dict.fromkeys(names, kernel))
        return kernel

    return name


@_named("linear", "bilinear", "trilinear")
def _triangle(x: Any) -> Any:
    return e.maximum(0.0, 1 - x)


@_named("cubic", "bicubic", "tricubic")
def _cubic(x: Any) -> Any:
    near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return where(x >= 2, 0.0, where(x >= 1, far, near))


def _lanczos(radius: float, x: Any) -> Any:
    top = radius * sin(np.pi * x) * sin(np.pi / radius * x)
    below = where(x > 1e-3, np.pi**2 * e.square(x), 1.0)
    return where(x > radius, 0.0, where(x > 1e-3, top / below, 1.0))


_named("lanczos3")(functools.partial(_lanczos, 3.0))
_named("lanczos5")(functools.partial(_lanczos, 5.0))


def _shares(size: int, new: int, scale: Any, shift: Any, kernel: Any, antialias: bool) -> Any:
    """(size, new): how much of each old cell is in each new one."""
    inverse = 1 / scale
    wide = e.maximum(inverse, 1.0) if antialias else 1.0
    at = (np.arange(new, dtype=np.float32) + 0.5) * inverse - shift * inverse - 0.5
    apart = e.absolute(at[None, :] - np.arange(size, dtype=np.float32)[:, None]) / wide
    shares = kernel(apart)
    whole = total_of(shares, axis=0, keepdims=True)
    shares = where(e.absolute(whole) > 1.2e-4, shares / where(whole != 0, whole, 1.0), 0.0)
    inside = e.logical_and(at >= -0.5, at <= size - 0.5)
    return where(inside[None, :], shares, 0.0)


@public
def scale_and_translate(
    images: Any,
    output_shape: Sequence[int],
    scale: Any,
    translation: Any,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> Any:
    """Inputs scaled and shifted along some axes: a cell c goes to c * scale + translation.

    method is "linear", "cubic", "lanczos3" or "lanczos5". Source:
    keras.ops.image.scale_and_translate.
    """
    kernel = _KERNELS[_checked("scale_and_translate", "method", method, tuple(_KERNELS))]
    images, scale, translation = value(images), as_float(scale), as_float(translation)

    def moved(x: Any) -> Any:
        for i, axis in enumerate(a % len(images.shape) for a in spatial_dims):
            how = (x.shape[axis], output_shape[axis], scale[i], translation[i])
            x = moveaxis(
                tensordot(x, _shares(*how, kernel, antialias), axes=[[axis], [0]]), -1, axis
            )
        return x

    return in_floats(images, moved)


__all__ = [
    "affine_transform", "elastic_transform", "gaussian_blur", "map_coordinates",
    "perspective_transform", "scale_and_translate",
]  # fmt: skip
