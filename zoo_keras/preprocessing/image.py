"""`zoo_keras.preprocessing.image`: pictures to arrays and back, under their older names."""

from __future__ import annotations

from typing import Any

from zoo_keras.missing import missing
from zoo_keras.preprocessing.changes import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
)
from zoo_keras.preprocessing.generators import ImageBatches, ImageDataGenerator
from zoo_keras.utils.pictures import array_to_img, img_to_array, load_img, save_img, smart_resize

DirectoryIterator = DataFrameIterator = NumpyArrayIterator = Iterator = ImageBatches

__all__ = [
    "DataFrameIterator", "DirectoryIterator", "ImageDataGenerator", "Iterator",
    "NumpyArrayIterator", "apply_affine_transform", "apply_brightness_shift",
    "apply_channel_shift", "array_to_img", "img_to_array", "load_img", "random_brightness",
    "random_channel_shift", "random_rotation", "random_shear", "random_shift", "random_zoom",
    "save_img", "smart_resize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.preprocessing.image", name)
