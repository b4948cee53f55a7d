"""Ops on columns of images: encoded files to pixels, and pixels of many sizes to one size.

In: columns of bytes (files, or pixels that `as_file` has wrapped), or of images (height, width,
channels) of different sizes. Out: images. Pillow is imported where a file is decoded; what is wrong
with a file is a DataError with its row.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, UnsupportedError
from zoo_keras.graph import Spec
from zoo_keras.primitives.column import column_op, rows_of
from zoo_keras.primitives.fed import OPEN
from zoo_keras.primitives.op import Sample
from zoo_keras.primitives.resampling import crop_box, pad_box, short_side, taps

FORMATS = ("JPEG", "PNG", "BMP", "GIF")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
LARGEST = 1 << 28  # pixels of one image; more is taken for an attack
_RAW = struct.Struct("<8s3i")  # what wrapped pixels begin with: this mark, and their sizes
_MARK = b"\0zkimage"


def _decoded_spec(x: Spec, *, channels: int) -> Spec:
    return Spec((x.shape[0], OPEN, OPEN, channels), "uint8")


def _files(rng: Any) -> list[np.ndarray]:
    from PIL import Image

    found = []
    for kind, size in (("PNG", (3, 2)), ("BMP", (1, 4)), ("GIF", (2, 2))):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(file, kind)
        found.append(file.getvalue())
    return [rows_of(found)]


@column_op(shape=_decoded_spec, samples=[Sample([], {"channels": c}, make=_files) for c in (1, 3)])
def decode_images(x, *, channels):
    """Pixels of JPEG, PNG, BMP and GIF files (its first frame) and of Spark's images, uint8."""
    return rows_of([_decoded(file, row, channels) for row, file in enumerate(x.reshape(-1))])


def as_file(height: int, width: int, channels: int, data: bytes) -> bytes:
    """Pixels as Spark stores them (blue, green, red), as bytes that decode_images reads."""
    return _RAW.pack(_MARK, height, width, channels) + data


def _unwrapped(file: bytes, row: int, channels: int) -> np.ndarray:
    """The pixels of as_file (red, green, blue)."""
    _, *size = _RAW.unpack_from(file.ljust(_RAW.size, b"\0"))
    if min(size) < 1 or size[2] not in MODES or len(file) != _RAW.size + np.prod(size):
        raise DataError(
            f"decode_image, row {row}: expected an image of 1, 3 or 4 channels. Received: "
            f"{' x '.join(map(str, size))} in {len(file)} bytes. Drop it."
        )
    pixels = np.frombuffer(file, np.uint8, offset=_RAW.size).reshape(size)
    if size[2] > 1:
        pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)
    if size[2] == channels:
        return pixels
    flat = pixels if size[2] > 1 else pixels[..., 0]
    return pixels_of(pillow().fromarray(flat), channels)


def _decoded(file: Any, row: int, channels: int) -> np.ndarray:
    image_module = pillow()
    if not isinstance(file, bytes):
        raise DataError(
            f"decode_image, row {row}: expected the bytes of a file. Received: text "
            f"({str(file)[:40]!r}). Read the file, or use a binary column."
        )
    if file.startswith(_MARK):
        return _unwrapped(file, row, channels)
    try:
        with image_module.open(io.BytesIO(file), formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise DataError(
                    f"decode_image, row {row}: images may have {LARGEST} pixels. Received: one of "
                    f"{image.width} x {image.height}. Drop it."
                )
            return pixels_of(image, channels)
    except DataError:
        raise
    except Exception as error:  # Pillow lets errors of all its readers through
        raise DataError(
            f"decode_image, row {row}: not a readable {', '.join(FORMATS)} file. Received: "
            f"{len(file)} bytes ({type(error).__name__}: {str(error)[:80]}). Drop or mend it."
        ) from None


def pixels_of(image: Any, channels: int) -> np.ndarray:
    """(height, width, channels) uint8 of a Pillow image."""
    if image.mode.startswith("I;16"):  # 16 bits of grey: the upper ones, as TensorFlow takes them
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        full = np.repeat(grey[:, :, None], 3 if channels > 1 else 1, axis=2)
        return full if channels < 4 else np.concatenate([full, np.full_like(full[..., :1], 255)], 2)
    made = np.asarray(image.convert(MODES[channels]))
    return made.reshape(image.height, image.width, channels)


def pillow() -> Any:
    """Pillow's Image module; UnsupportedError where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedError(
            "Images are decoded by Pillow, which is not installed here. Received: a column of "
            "files. Install it where the data are read: pip install zoo_keras[images]."
        ) from None
    return Image


# ---- one size ------------------------------------------------------------------------------------


def _resized_spec(x: Spec, *, size: tuple[int, int], **attrs: Any) -> Spec:
    return Spec((x.shape[0], *size, x.shape[-1]), x.dtype)


def _images(rng: Any) -> list[np.ndarray]:
    sizes = ((5, 4, 3), (2, 7, 3))
    return [rows_of([rng.integers(0, 256, s).astype(np.uint8) for s in sizes])]


_PLAIN = {"interpolation": "bilinear", "antialias": False, "aspect": None, "fill": 0.0}


@column_op(
    shape=_resized_spec,
    samples=[
        Sample([], {"size": (3, 6), **_PLAIN}, make=_images),
        Sample([], {"size": (3, 6), **_PLAIN, "aspect": "crop"}, make=_images),
        Sample([], {"size": (4, 2), **_PLAIN, "aspect": "pad", "fill": 7.0}, make=_images),
    ],
)
def resize_images(x, *, size, interpolation, antialias, aspect, fill):
    """Images of any sizes in one size; whole numbers are rounded and kept in their range."""
    channels = x[0].shape[-1] if len(x) else 0
    made = np.empty((len(x), *size, channels), x[0].dtype if len(x) else np.uint8)
    for row, image in enumerate(x):
        made[row] = as_pixels(resized(_framed(image, size, aspect, fill), size, interpolation,
                                      antialias), made.dtype)  # fmt: skip
    return made


def _scaled_spec(x: Spec, *, how: tuple[int, int, int]) -> Spec:
    return Spec((x.shape[0], OPEN, OPEN, x.shape[-1]), x.dtype)


@column_op(shape=_scaled_spec, samples=[Sample([], {"how": (6, 1, 9)}, make=_images)])
def scale_images(x, *, how):
    """Images whose shorter side gets a size (`short_side`), in their proportions."""
    return rows_of([
        as_pixels(
            resized(image, short_side(*image.shape[:2], *how), "bilinear", False), image.dtype
        ).astype(image.dtype, copy=False)
        for image in x
    ])  # fmt: skip


def as_pixels(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Floats in the dtype of pixels."""
    if np.dtype(dtype).kind == "f" or values.dtype == dtype:
        return values
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), info.min, info.max)


def _framed(image: np.ndarray, size: tuple[int, int], aspect: str | None, fill: float) -> Any:
    """The image cut or extended to the proportions of the new size."""
    height, width = image.shape[:2]
    if aspect == "crop":
        box = crop_box(height, width, size)
        return image[box.top : box.top + box.height, box.left : box.left + box.width]
    if aspect == "pad":
        box = pad_box(height, width, size)
        sides = ((box.top, box.top), (box.left, box.left), (0, 0))
        return np.pad(image, sides, constant_values=fill)
    return image


def resized(image: np.ndarray, size: tuple[int, int], interpolation: str, antialias: bool) -> Any:
    """One image (height, width, channels) in another size, float32; nearest keeps the dtype."""
    for axis, new in enumerate(size):
        first, weights = taps(image.shape[axis], new, interpolation, antialias)
        if interpolation == "nearest":
            image = image.take(first, axis=axis)
            continue
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        total = image.take(first, axis=axis) * weights[:, 0].reshape(shape)
        for k in range(1, weights.shape[1]):
            total += image.take(first + k, axis=axis) * weights[:, k].reshape(shape)
        image = total
    return image


def _cropped_spec(x: Spec, *, size: tuple[int, int]) -> Spec:
    return Spec((x.shape[0], *size, x.shape[-1]), "float32")


@column_op(shape=_cropped_spec, samples=[Sample([], {"size": (2, 3)}, make=_images)])
def crop_images(x, *, size):
    """The middle of every image; one that is too small is cut to the proportions and resized."""
    channels = x[0].shape[-1] if len(x) else 0
    made = np.empty((len(x), *size, channels), np.float32)
    for row, image in enumerate(x):
        top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
        if top >= 0 and left >= 0:
            made[row] = image[top : top + size[0], left : left + size[1]]
        else:
            made[row] = resized(_framed(image, size, "crop", 0.0), size, "bilinear", False)
    return made


def _rescaled_spec(x: Spec, **attrs: Any) -> Spec:
    return Spec(x.shape, "float32")


@column_op(
    shape=_rescaled_spec,
    samples=[Sample([], {"scale": np.float32(0.5), "offset": np.float32(1)}, make=_images)],
)
def rescale_images(x, *, scale, offset):
    """Every image times `scale` plus `offset`, float32."""
    return rows_of([image.astype(np.float32) * scale + offset for image in x])
