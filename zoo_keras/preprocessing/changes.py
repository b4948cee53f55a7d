"""Single pictures changed by numpy, as scripts for Keras 2 ask: turned, moved, lightened.

In: one picture and the places of its axes (Keras 2 counts channels first). Out: another one of its
shape. numpy's global generator draws. Source: tf.keras.preprocessing.image of Keras 2. New code
uses layers.RandomRotation and its kin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.preprocessing.generators import ImageDataGenerator


def apply_affine_transform(
    x: Any, theta: float = 0, tx: float = 0, ty: float = 0, shear: float = 0, zx: float = 1,
    zy: float = 1, row_axis: int = 1, col_axis: int = 2, channel_axis: int = 0,
    fill_mode: str = "nearest", cval: float = 0.0, order: int = 1,
) -> np.ndarray:  # fmt: skip
    """The picture turned by theta degrees, moved by pixels, sheared and zoomed about its middle.

    >>> apply_affine_transform(picture, theta=90, row_axis=0, col_axis=1, channel_axis=2)
    """
    axes = (row_axis, col_axis, channel_axis)
    if sorted(axis % 3 for axis in axes) != [0, 1, 2]:
        raise ConfigError(
            "preprocessing.image: row_axis, col_axis and channel_axis are the three axes of a "
            f"picture. Received: {axes}. Pass e.g. 0, 1 and 2 where channels come last."
        )
    how = ImageDataGenerator(
        fill_mode=fill_mode, cval=cval, interpolation_order=order, data_format="channels_last"
    )
    turn = {"theta": theta, "tx": tx, "ty": ty, "shear": shear, "zx": zx, "zy": zy}
    made = how.apply_transform(np.moveaxis(np.asarray(x), axes, (0, 1, 2)), turn)
    return np.moveaxis(made, (0, 1, 2), axes)


def random_rotation(
    x: Any, rg: float, row_axis: int = 1, col_axis: int = 2, channel_axis: int = 0,
    fill_mode: str = "nearest", cval: float = 0.0, interpolation_order: int = 1,
) -> np.ndarray:  # fmt: skip
    """The picture turned by up to rg degrees, either way."""
    theta = np.random.uniform(-rg, rg)
    return apply_affine_transform(
        x, theta, 0, 0, 0, 1, 1, row_axis, col_axis, channel_axis, fill_mode, cval,
        interpolation_order,
    )  # fmt: skip


def random_shift(
    x: Any, wrg: float, hrg: float, row_axis: int = 1, col_axis: int = 2, channel_axis: int = 0,
    fill_mode: str = "nearest", cval: float = 0.0, interpolation_order: int = 1,
) -> np.ndarray:  # fmt: skip
    """The picture moved by up to these shares of its width and height, either way."""
    tx = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    ty = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    return apply_affine_transform(
        x, 0, tx, ty, 0, 1, 1, row_axis, col_axis, channel_axis, fill_mode, cval,
        interpolation_order,
    )  # fmt: skip


def random_shear(
    x: Any, intensity: float, row_axis: int = 1, col_axis: int = 2, channel_axis: int = 0,
    fill_mode: str = "nearest", cval: float = 0.0, interpolation_order: int = 1,
) -> np.ndarray:  # fmt: skip
    """The picture sheared by up to so many degrees, either way."""
    shear = np.random.uniform(-intensity, intensity)
    return apply_affine_transform(
        x, 0, 0, 0, shear, 1, 1, row_axis, col_axis, channel_axis, fill_mode, cval,
        interpolation_order,
    )  # fmt: skip


def random_zoom(
    x: Any, zoom_range: Sequence[float], row_axis: int = 1, col_axis: int = 2,
    channel_axis: int = 0, fill_mode: str = "nearest", cval: float = 0.0,
    interpolation_order: int = 1,
) -> np.ndarray:  # fmt: skip
    """The picture zoomed by factors within the range, one for each side."""
    least, most = _two("random_zoom", "zoom_range", zoom_range)
    zx, zy = (1, 1) if least == most == 1 else np.random.uniform(least, most, 2)
    return apply_affine_transform(
        x, 0, 0, 0, 0, zx, zy, row_axis, col_axis, channel_axis, fill_mode, cval,
        interpolation_order,
    )  # fmt: skip


def apply_channel_shift(x: Any, intensity: float, channel_axis: int = 0) -> np.ndarray:
    """The picture with all values moved, within the least and the largest of it."""
    x = np.asarray(x)
    return np.clip(x + intensity, x.min(), x.max())


def random_channel_shift(x: Any, intensity_range: float, channel_axis: int = 0) -> np.ndarray:
    """The picture with all values moved by up to the range, either way."""
    intensity = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, intensity, channel_axis)


def apply_brightness_shift(x: Any, brightness: float, scale: bool = True) -> np.ndarray:
    """The picture with its bytes times `brightness`. With `scale`, and where values are beyond 0 to
    255, the bytes reach from 0 for the least to 255 for the largest value."""
    x = np.asarray(x, np.float32)
    least, most = x.min(), x.max()
    beyond = bool(least < 0 or most > 255)
    if scale or beyond:
        x = (x - least) / (most - least or 1.0) * 255
    made = np.floor(np.clip(np.floor(x) * brightness, 0, 255))
    return made / 255 * (most - least) + least if beyond and not scale else made


def random_brightness(x: Any, brightness_range: Sequence[float], scale: bool = True) -> np.ndarray:
    """The picture with its bytes times a factor within the range."""
    least, most = _two("random_brightness", "brightness_range", brightness_range)
    return apply_brightness_shift(x, np.random.uniform(least, most), scale)


def _two(function: str, name: str, given: Sequence[float]) -> Sequence[float]:
    if len(given) != 2:
        raise ConfigError(
            f"{function}: {name} is two numbers, the least and the largest factor. Received: "
            f"{given!r}. Pass e.g. (0.8, 1.2)."
        )
    return given
