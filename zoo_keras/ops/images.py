"""Public ops on images, which Keras has in `keras.ops.image` alone: sizes, borders, grey.

In: (height, width, channels) or a batch of such, or channels first with
data_format="channels_first". Out: the same layout and dtype. Sizes are known while tracing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.ops.convert import as_dtype, as_float, dtype_of, known_ints, value
from zoo_keras.ops.elementwise import clip, round
from zoo_keras.ops.indexing import take
from zoo_keras.ops.products import matmul, tensordot
from zoo_keras.ops.shaping import moveaxis, pad, reshape
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives.resampling import INTERPOLATIONS, crop_box, pad_box, taps
from zoo_keras.switches import image_data_format

_GREY = np.array([0.2989, 0.5870, 0.1140], np.float32)


def checked_axes(name: str, images: Any, data_format: str | None) -> tuple[int, int, int]:
    """(height, width, channel) axes, counted from the end."""
    if len(images.shape) not in (3, 4):
        raise ShapeError(
            f"image.{name}: Invalid images rank: expected rank 3 (one image) or rank 4 (a batch). "
            f"Received: shape {tuple(images.shape)}. Reshape them."
        )
    if data_format not in (None, "channels_last", "channels_first"):
        raise ConfigError(
            f"image.{name}: data_format must be 'channels_last' or 'channels_first'. Received: "
            f"data_format={data_format!r}."
        )
    first = (data_format or image_data_format()) == "channels_first"
    return (-2, -1, -3) if first else (-3, -2, -1)


def in_floats(images: Any, compute: Callable[[Any], Any]) -> Any:
    """What `compute` makes of the images as floats, in their own dtype again."""
    name = dtype_of(images)
    made = compute(as_float(images))
    if name in dtypes.INTEGERS:
        limits = np.iinfo(name)
        made = clip(round(made), float(limits.min), float(limits.max))
    return as_dtype(made, name)


def on_batch(name: str, images: Any, data_format: str | None, compute: Callable[..., Any]) -> Any:
    """compute(batch of images, channels last) for images in either layout, or for a single one."""
    x = value(images)
    channels = checked_axes(name, x, data_format)[2]
    single = len(x.shape) == 3
    x = moveaxis(x, channels, -1) if channels != -1 else x
    made = compute(x[None] if single else x)
    made = made[0] if single else made
    return moveaxis(made, -1, channels) if channels != -1 else made


@public
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images of another (height, width), as Resizing makes them; see there for the arguments.

    Raises ConfigError for an unknown interpolation or fill_mode, or both ways to keep the aspect.

    >>> ops.image.resize(images, (224, 224))
    """
    images = value(images)
    height, width, _ = checked_axes("resize", images, data_format)
    if any(d is not None and d < 1 for d in known_ints(size, "size")):
        raise ConfigError(
            f"image.resize: `size` must have positive height and width. Received: size={size}. "
            "Pass "
            "(height, width)."
        )
    if interpolation not in INTERPOLATIONS:
        raise ConfigError(
            f"image.resize: unknown interpolation. Received: {interpolation!r}. Use one of "
            f"{', '.join(INTERPOLATIONS)}."
        )
    if fill_mode != "constant" or (crop_to_aspect_ratio and pad_to_aspect_ratio):
        raise ConfigError(
            "image.resize: the border is constant, and images are cropped or padded. Received: "
            f"fill_mode={fill_mode!r}, crop_to_aspect_ratio={crop_to_aspect_ratio}, "
            f"pad_to_aspect_ratio={pad_to_aspect_ratio}. Choose one."
        )
    new_height, new_width = known_ints(size, "size")
    sizes = {height: new_height, width: new_width}
    old = images.shape[height], images.shape[width], (new_height, new_width)
    if crop_to_aspect_ratio:
        box = crop_box(*old)
        images = crop_images(
            images, box.top, box.left, target_height=box.height, target_width=box.width,
            data_format=data_format,
        )  # fmt: skip
    elif pad_to_aspect_ratio:
        box = pad_box(*old)
        borders = [(0, 0)] * len(images.shape)
        borders[height], borders[width] = (box.top, box.top), (box.left, box.left)
        images = pad(images, borders, constant_values=fill_value)

    def resized(x: Any) -> Any:
        for axis, new in sizes.items():
            x = resize_axis(x, axis % len(x.shape), new, interpolation, antialias)
        return x

    return resized(images) if interpolation == "nearest" else in_floats(images, resized)


def resize_axis(x: Any, axis: int, new: int, interpolation: str, antialias: bool = False) -> Any:
    """x with `new` cells along an axis: picked for "nearest", else one product with weights."""
    old = x.shape[axis]
    if old == new and interpolation in ("nearest", "bilinear"):
        return x
    made = taps(old, new, interpolation, antialias)
    if interpolation == "nearest":
        return take(x, made.first.astype(np.int32), axis=axis)
    rows, columns = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    y = matmul(made.dense(old), reshape(x, (rows, old, columns)))
    return reshape(y, (*x.shape[:axis], new, *x.shape[axis + 1 :]))


@public
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """0.2989 red + 0.5870 green + 0.1140 blue, with a channel axis of 1."""
    images = value(images)
    channels = checked_axes("rgb_to_grayscale", images, data_format)[2]
    count = images.shape[channels]
    if count not in (1, 3):
        raise ShapeError(
            "image.rgb_to_grayscale: Invalid channel size: expected 3 (RGB) or 1 (Grayscale). "
            f"Received: {count} channels. Check data_format."
        )
    if count == 1:
        return images

    def grey(x: Any) -> Any:
        mixed = tensordot(moveaxis(x, channels, -1), _GREY[:, None], axes=1)
        return moveaxis(mixed, -1, channels)

    name = dtype_of(images)
    return as_dtype(grey(as_float(images)), name)


def _borders(
    what: str, names: str, inner: Any, outer: Any, before: Any, after: Any
) -> tuple[int, int]:
    """(before, after) of an axis, with inner + before + after == outer, where one is not given.

    names: what the user calls the borders and the new size.
    """
    new = inner if what == "crop_images" else outer
    if sum(given is None for given in (inner, outer, before, after)) != 1:
        raise ConfigError(
            f"image.{what}: Must specify exactly two of {names}. Received: {before}, {after}, "
            f"{new}."
        )
    if before is None:
        before = outer - inner - after
    elif after is None:
        after = outer - inner - before
    for name, given in zip(names.split(", "), (before, after, new), strict=True):
        if given is not None and given < 0:
            raise ShapeError(
                f"image.{what}: {name} must be >= 0. Received: sizes {inner} and {outer}, borders "
                f"{before} and {after}. Change the size or the borders."
            )
    if before < 0 or after < 0 or (outer is not None and before + after > outer):
        raise ShapeError(
            f"image.{what}: the borders do not fit. Received: sizes {inner} and {outer}, borders "
            f"{before} and {after}. Change the size or the borders."
        )
    return int(before), int(after)


@public
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images without their borders. Two of top, bottom and height are given, and so for width."""
    images = value(images)
    height, width, _ = checked_axes("crop_images", images, data_format)
    old = images.shape[height], images.shape[width]
    names = "top_cropping, bottom_cropping, target_height"
    down = _borders("crop_images", names, target_height, old[0], top_cropping, bottom_cropping)
    names = "left_cropping, right_cropping, target_width"
    along = _borders("crop_images", names, target_width, old[1], left_cropping, right_cropping)
    keep = [slice(None)] * len(images.shape)
    for axis, (first, last) in ((height, down), (width, along)):
        keep[axis] = slice(first, images.shape[axis] - last)
    return images[tuple(keep)]


@public
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images with zeros around them. Two of top, bottom and height are given, and so for width."""
    images = value(images)
    height, width, _ = checked_axes("pad_images", images, data_format)
    borders = [(0, 0)] * len(images.shape)
    old = images.shape[height], images.shape[width]
    names = "top_padding, bottom_padding, target_height"
    down = _borders("pad_images", names, old[0], target_height, top_padding, bottom_padding)
    names = "left_padding, right_padding, target_width"
    along = _borders("pad_images", names, old[1], target_width, left_padding, right_padding)
    borders[height], borders[width] = down, along
    return pad(images, borders)


__all__ = ["crop_images", "pad_images", "resize", "rgb_to_grayscale"]
