"""Public ops on colours and neighbourhoods of pixels: HSV, edges, patches, likeness.

In: images in either layout, one or a batch. Out: images, patches, or a number for each image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ArgumentTypeError, ConfigError, ShapeError
from zoo_keras.ops import elementwise as e
from zoo_keras.ops.convert import as_dtype, as_float, dtype_of, value
from zoo_keras.ops.convolution import conv, depthwise_conv
from zoo_keras.ops.images import on_batch
from zoo_keras.ops.indexing import where
from zoo_keras.ops.reduction import max as largest
from zoo_keras.ops.reduction import mean
from zoo_keras.ops.reduction import min as smallest
from zoo_keras.ops.resampling import bell
from zoo_keras.ops.shaping import moveaxis, pad, reshape, stack, transpose
from zoo_keras.ops.symbolic import public
from zoo_keras.switches import image_data_format


def _floats(name: str, images: Any) -> Any:
    images = value(images)
    if not dtypes.is_float(dtype_of(images)):
        raise ConfigError(
            f"image.{name}: Invalid images dtype: expected float dtype. Received: dtype "
            f"{dtype_of(images)}. Divide them by 255 first."
        )
    return images


@public
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Hue, saturation and value, each from 0 to 1, of colours from 0 to 1."""
    return on_batch("rgb_to_hsv", _floats("rgb_to_hsv", images), data_format, hsv)


def _colours(name: str, x: Any) -> list[Any]:
    if x.shape[-1] != 3:
        raise ShapeError(
            f"image.{name}: Invalid channel size: expected 3. Received: {x.shape[-1]} channels. "
            "Check data_format."
        )
    return [x[..., i] for i in range(3)]


def hsv(x: Any) -> Any:
    """The same of (..., 3)."""
    r, g, b = _colours("rgb_to_hsv", x)
    top = largest(x, axis=-1)
    spread = top - smallest(x, axis=-1)
    saturation = where(top > 0, spread / where(top > 0, top, 1.0), 0.0)
    norm = 1 / (6 * where(spread > 0, spread, 1.0))
    of_green, of_blue = norm * (b - r) + 2 / 6, norm * (r - g) + 4 / 6
    hue = where(r == top, norm * (g - b), where(g == top, of_green, of_blue))
    hue = where(spread > 0, hue, 0.0)
    return stack([where(hue < 0, hue + 1, hue), saturation, top], axis=-1)


@public
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """Red, green and blue of hue, saturation and value, all from 0 to 1."""
    return on_batch("hsv_to_rgb", _floats("hsv_to_rgb", images), data_format, rgb)


def rgb(x: Any) -> Any:
    """The same of (..., 3)."""
    hue, saturation, top = _colours("hsv_to_rgb", x)
    turn = hue * 6
    red = e.clip(e.absolute(turn - 3) - 1, 0, 1)
    green, blue = (e.clip(2 - e.absolute(turn - k), 0, 1) for k in (2, 4))
    return stack([((c - 1) * saturation + 1) * top for c in (red, green, blue)], axis=-1)


_SOBEL = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], np.float32)


@public
def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """The slope of every channel down and across, on a new last axis."""
    images = as_float(images)
    channels = -3 if (data_format or image_data_format()) == "channels_first" else -1
    count = images.shape[channels]
    kernel = np.tile(np.stack([_SOBEL, _SOBEL.T], -1)[:, :, None], (1, 1, count, 1))

    def edges(x: Any) -> Any:
        x = pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return depthwise_conv(x, kernel, 1, "valid", "channels_last")

    found = on_batch("sobel_edges", images, None, edges) if channels == -1 else on_batch(
        "sobel_edges", moveaxis(images, -3, -1), None, edges)  # fmt: skip
    found = reshape(found, (*found.shape[:-1], count, 2))
    return found if channels == -1 else moveaxis(found, -2, -4)


@public
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """How alike two images are, 1 for equal ones: Wang et al. 2004, a number for each image."""
    name, curve = dtype_of(value(image1)), bell(filter_size, filter_sigma)
    x, y = (_planes(image, data_format) for image in (image1, image2))
    kernel = (curve[:, None] * curve[None, :])[:, :, None, None]

    def smooth(z: Any) -> Any:
        return conv(z, kernel, 1, "valid", "channels_last")

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    likeness = (2 * mx * my + c1) * (2 * cov + c2)
    likeness = likeness / ((mx * mx + my * my + c1) * (vx + vy + c2))
    batch = () if len(value(image1).shape) == 3 else (value(image1).shape[0],)
    each = mean(reshape(likeness, (*batch, -1)), axis=-1)
    return as_dtype(each, name)


def _planes(images: Any, data_format: str | None) -> Any:
    """Every channel as an image of its own: (batch * channels, height, width, 1)."""
    x = as_float(images)
    first = (data_format or image_data_format()) == "channels_first"
    x = x if first else moveaxis(x, -1, -3)
    return reshape(x, (-1, *x.shape[-2:], 1))


# ---- patches -------------------------------------------------------------------------------------


@public
def extract_patches(
    images: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Windows of images (or of volumes, with three sizes), each flattened into the channels."""
    if not isinstance(size, (int, tuple, list)):
        raise ArgumentTypeError(
            "image.extract_patches: Expected an int or a tuple of ints as `size`. Received: "
            f"size={size!r}. Give one number for each axis."
        )
    rank = 2 if isinstance(size, int) else len(size)
    if rank not in (2, 3):
        raise ConfigError(
            "image.extract_patches: Expected a tuple of length 2 or 3 as `size`. Received: "
            f"size={size!r}. Give one number for each axis."
        )
    return _patches(value(images), rank, size, strides, dilation_rate, padding, data_format)


@public
def extract_patches_3d(
    volumes: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Windows of volumes (batch, *3 axes, channels), each flattened into the channels."""
    return _patches(value(volumes), 3, size, strides, dilation_rate, padding, data_format)


def _each(given: Any, rank: int) -> tuple[int, ...]:
    made = (given,) * rank if isinstance(given, int) else tuple(given)
    if len(made) != rank:
        raise ArgumentTypeError(
            f"image.extract_patches: Expected an int or a tuple of {rank} ints. Received: "
            f"{given!r}. "
            "Give one number for each axis."
        )
    return made


def _patches(
    x: Any, rank: int, size: Any, strides: Any, dilation: Any, padding: str, data_format: Any
) -> Any:
    if len(x.shape) not in (rank + 1, rank + 2):
        raise ShapeError(
            f"image.extract_patches: expected {rank + 1} axes, or {rank + 2} with a batch. "
            f"Received: shape {tuple(x.shape)}. Reshape the images."
        )
    first = (data_format or image_data_format()) == "channels_first"
    single = len(x.shape) == rank + 1
    x = x[None] if single else x
    x = moveaxis(x, 1, -1) if first else x
    sizes, steps = _each(size, rank), _each(strides or size, rank)
    made = _windows(x, sizes, steps, _each(dilation, rank), padding)
    made = moveaxis(made, -1, 1) if first else made
    return made[0] if single else made


def _side_by_side(x: Any, sizes: Sequence[int]) -> Any:
    """Windows that neither overlap nor leave gaps: only axes are moved."""
    counts = [n // k for n, k in zip(x.shape[1:-1], sizes, strict=True)]
    kept = [slice(0, n * k) for n, k in zip(counts, sizes, strict=True)]
    split = [d for pair in zip(counts, sizes, strict=True) for d in pair]
    cells = reshape(x[(slice(None), *kept)], (x.shape[0], *split, x.shape[-1]))
    rank = len(sizes)
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    window = math.prod(sizes) * x.shape[-1]
    return reshape(transpose(cells, order), (x.shape[0], *counts, window))


def _windows(
    x: Any, sizes: Sequence[int], steps: Sequence[int], apart: Sequence[int], padding: str
) -> Any:
    spans = [d * (k - 1) + 1 for d, k in zip(apart, sizes, strict=True)]
    if padding == "same":
        borders = []
        for n, span, s in zip(x.shape[1:-1], spans, steps, strict=True):
            missing = max((-(-n // s) - 1) * s + span - n, 0)
            borders.append((missing // 2, missing - missing // 2))
        x = pad(x, ((0, 0), *borders, (0, 0)))
    if tuple(steps) == tuple(sizes) == tuple(spans):
        return _side_by_side(x, sizes)
    ends = [n - span + 1 for n, span in zip(x.shape[1:-1], spans, strict=True)]
    found = []
    for cell in itertools.product(*map(range, sizes)):
        starts = [c * d for c, d in zip(cell, apart, strict=True)]
        cut = [slice(b, b + n, s) for b, n, s in zip(starts, ends, steps, strict=True)]
        found.append(x[(slice(None), *cut)])
    made = stack(found, axis=-2)
    return reshape(made, (*made.shape[:-2], len(found) * x.shape[-1]))


__all__ = [
    "extract_patches", "extract_patches_3d", "hsv_to_rgb", "rgb_to_hsv", "sobel_edges", "ssim",
]  # fmt: skip
