"""Layers that decode images and bring them to one size: DecodeImage, Resizing, CenterCrop.

In: bytes of files, images of many sizes (in a feed), or arrays of images of one size. Out: images
of one size. Both ways use the same weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.errors import ConfigError, DataError, ShapeError
from zoo_keras.layers.base.arguments import argument_error, data_format, one_of, positive
from zoo_keras.layers.base.layer import Layer, shape_error
from zoo_keras.layers.preprocessing.augmentation import moved_along
from zoo_keras.layers.preprocessing.bounding_boxes import scaled
from zoo_keras.ops.images import resize_axis
from zoo_keras.primitives.fed import OPEN
from zoo_keras.primitives.images import MODES, crop_images, decode_images, resize_images
from zoo_keras.primitives.resampling import INTERPOLATIONS, Box, crop_box, pad_box


class DecodeImage(Layer):
    """Bytes of JPEG, PNG, BMP or GIF files (first frame) to images, uint8: red, green, blue.

    Keras has no such layer. What comes out has rows of different sizes: Resizing or CenterCrop must
    follow. A DataFrame's column may also hold images in Spark's schema, as `read_images` and
    `spark.read.format("image")` give them. Needs Pillow (`pip install zoo_keras[images]`).

    >>> files = Input((), dtype="string")
    >>> images = Resizing(224, 224)(DecodeImage()(files))
    """

    on_columns = True
    input_dtype = "string"

    def __init__(self, channels: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if channels not in MODES:
            raise argument_error(
                self, "channels", "1 (grey), 3 (RGB) or 4 (RGBA)", channels, "Choose one."
            )
        self.channels = channels

    def call(self, inputs: Any) -> Any:
        """Images (rows, height, width, channels) of files (rows,) or (rows, 1)."""
        if inputs.dtype not in ("string", "bytes") or inputs.shape[1:] not in ((), (1,)):
            raise DataError(
                f'DecodeImage "{self.name}": expected one file a row, as bytes. Received: dtype '
                f'{inputs.dtype}, shape {inputs.shape}. Give the Input dtype="string".'
            )
        return decode_images(inputs, channels=self.channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "channels": self.channels}


class _Sized(Layer):
    """What Resizing and CenterCrop share: a size, and images in either data format."""

    def __init__(
        self, height: int, width: int, data_format_: Any, bounding_box_format: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.bounding_box_format = bounding_box_format
        self.height, self.width = positive(self, "height", height), positive(self, "width", width)
        self.data_format = data_format(self, data_format_)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def call(self, inputs: Any) -> Any:
        """The images in the new size; of a dict also segmentation masks and bounding boxes."""
        if not isinstance(inputs, dict):
            return self._images(inputs)
        shape = tuple(inputs["images"].shape)
        size = shape[-2:] if self.data_format == "channels_first" else shape[-3:-1]
        parts = {
            "images": self._images, "segmentation_masks": self._masks,
            "bounding_boxes": lambda boxes: moved_along(
                self, boxes, size, lambda b: (self._moved(b, *size), self.size)
            ),
        }  # fmt: skip
        return {k: parts[k](v) if k in parts else v for k, v in inputs.items()}

    def _images(self, images: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define _images(images).")

    def _masks(self, masks: Any) -> Any:
        return self._images(masks)

    def _moved(self, boxes: Any, height: int, width: int) -> Any:
        """Boxes (batch, boxes, 4) in pixels of the new size."""
        raise NotImplementedError(f"{type(self).__name__} must define _moved(boxes, ...).")

    def _checked(self, images: Any) -> Any:
        if OPEN in images.shape:
            if self.data_format == "channels_first":
                raise ShapeError(
                    f'{type(self).__name__} "{self.name}": images of different sizes have their '
                    "channels last. Received: data_format='channels_first'. Leave it out."
                )
        elif len(images.shape) not in (3, 4):
            raise shape_error(
                self, "expected images (height, width, channels), or a batch of them",
                f"shape {images.shape}", "Add or drop axes.",
            )  # fmt: skip
        return images

    def _in_one_size(self, images: Any, function: Any) -> Any:
        """function(batch of images with the channels last), in the layout of the images."""
        single = len(images.shape) == 3
        x = ops.expand_dims(images, 0) if single else images
        first = self.data_format == "channels_first"
        x = function(ops.transpose(x, (0, 2, 3, 1)) if first else x)
        x = ops.transpose(x, (0, 3, 1, 2)) if first else x
        return ops.squeeze(x, 0) if single else x

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "data_format": self.data_format,
        }


def _resized(x: Any, size: tuple[int, int], interpolation: str, antialias: bool) -> Any:
    """(batch, height, width, channels) in another size."""
    for axis, new in enumerate(size, 1):
        x = resize_axis(x, axis, new, interpolation, antialias)
    return x


class Resizing(_Sized):
    """Images in another size.

    https://keras.io/api/layers/preprocessing_layers/image_preprocessing/resizing/

    >>> Resizing(2, 2)(np.arange(16, dtype="float32").reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, data_format, **kwargs)
        self.interpolation = one_of(self, "interpolation", interpolation, INTERPOLATIONS)
        self.fill_mode = one_of(self, "fill_mode", fill_mode, ("constant",))
        self.fill_value, self.antialias = fill_value, bool(antialias)
        self.crop_to_aspect_ratio = bool(crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = bool(pad_to_aspect_ratio)
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ConfigError(
                f'Resizing "{self.name}": crop_to_aspect_ratio and pad_to_aspect_ratio exclude '
                "each other. Received: both. Drop one."
            )

    def _images(self, images: Any) -> Any:
        """The resized images, in the dtype of the inputs; whole numbers are rounded."""
        images = self._checked(images)
        if OPEN in images.shape:
            aspect = "crop" if self.crop_to_aspect_ratio else (
                "pad" if self.pad_to_aspect_ratio else None)  # fmt: skip
            return resize_images(
                images, size=self.size, interpolation=self.interpolation,
                antialias=self.antialias, aspect=aspect, fill=self.fill_value,
            )  # fmt: skip
        return self._in_one_size(images, self._batch)

    def _masks(self, masks: Any) -> Any:
        return self._in_one_size(self._checked(masks), lambda x: self._batch(x, "nearest"))

    def _moved(self, boxes: Any, height: int, width: int) -> Any:
        box = Box(0, 0, height, width)
        if self.crop_to_aspect_ratio:  # whole pixels of the new size are cut off, as in Keras
            scale = max(self.height / height, self.width / width)
            top = (height * scale - self.height) // 2 / scale
            left = (width * scale - self.width) // 2 / scale
            return scaled(boxes, top, left, scale, scale)
        if self.pad_to_aspect_ratio:
            frame = pad_box(height, width, self.size)
            box = frame._replace(top=-frame.top, left=-frame.left)
        down, across = self.height / box.height, self.width / box.width
        return scaled(boxes, box.top, box.left, down, across)

    def _batch(self, x: Any, interpolation: str | None = None) -> Any:
        dtype, how = str(x.dtype), interpolation or self.interpolation
        whole = not dtype.startswith("float") and how != "nearest"
        x = self._framed(ops.cast(x, "float32") if whole else x)
        x = _resized(x, self.size, how, self.antialias)
        if not whole:
            return x
        info = np.iinfo(dtype)
        return ops.cast(ops.clip(ops.round(x), info.min, info.max), dtype)

    def _framed(self, x: Any) -> Any:
        height, width = x.shape[1:3]
        if self.crop_to_aspect_ratio:
            box = crop_box(height, width, self.size)
            return x[:, box.top : box.top + box.height, box.left : box.left + box.width]
        if self.pad_to_aspect_ratio:
            box = pad_box(height, width, self.size)
            sides = ((0, 0), (box.top, box.top), (box.left, box.left), (0, 0))
            return ops.pad(x, sides, constant_values=self.fill_value)
        return x

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "interpolation": self.interpolation,
            "crop_to_aspect_ratio": self.crop_to_aspect_ratio,
            "pad_to_aspect_ratio": self.pad_to_aspect_ratio,
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "antialias": self.antialias,
        }


class CenterCrop(_Sized):
    """The middle of images; images that are too small are cut to the proportions and resized.

    https://keras.io/api/layers/preprocessing_layers/image_preprocessing/center_crop/

    >>> CenterCrop(2, 2)(np.arange(16).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 5.,  6.],
           [ 9., 10.]], dtype=float32)
    """

    def __init__(self, height: int, width: int, data_format: Any = None, **kwargs: Any) -> None:
        super().__init__(height, width, data_format, **kwargs)

    def _images(self, images: Any) -> Any:
        """The cropped images, in floats."""
        images = self._checked(images)
        if OPEN in images.shape:
            return crop_images(images, size=self.size)
        return self._in_one_size(ops.cast(images, self.compute_dtype), self._batch)

    def _batch(self, x: Any) -> Any:
        height, width = x.shape[1:3]
        top, left = (height - self.height) // 2, (width - self.width) // 2
        if top >= 0 and left >= 0:
            return x[:, top : top + self.height, left : left + self.width]
        box = crop_box(height, width, self.size)
        part = x[:, box.top : box.top + box.height, box.left : box.left + box.width]
        return _resized(part, self.size, "bilinear", False)

    def _moved(self, boxes: Any, height: int, width: int) -> Any:
        top, left = (height - self.height) // 2, (width - self.width) // 2
        if top >= 0 and left >= 0:
            return scaled(boxes, top, left, 1.0, 1.0)
        box = crop_box(height, width, self.size)
        down, across = self.height / box.height, self.width / box.width
        return scaled(boxes, box.top, box.left, down, across)
