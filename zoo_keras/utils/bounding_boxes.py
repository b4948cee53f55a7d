"""`zoo_keras.utils.bounding_boxes` has the names of `keras.utils.bounding_boxes`."""

from __future__ import annotations

from typing import Any

from zoo_keras.layers.preprocessing.bounding_boxes import (
    affine_transform,
    clip_to_image_size,
    compute_ciou,
    compute_iou,
    convert_format,
    crop,
    decode_deltas_to_boxes,
    encode_box_to_deltas,
    pad,
)
from zoo_keras.missing import missing

__all__ = [
    "affine_transform", "clip_to_image_size", "compute_ciou", "compute_iou", "convert_format",
    "crop", "decode_deltas_to_boxes", "encode_box_to_deltas", "pad",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.utils.bounding_boxes", name)
