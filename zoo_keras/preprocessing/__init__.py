"""`zoo_keras.preprocessing`: text, sequences and images as scripts for Keras 2 prepare them."""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.missing import missing
from zoo_keras.preprocessing import image, sequence, text

_OF_UTILS = (
    "image_dataset_from_directory", "text_dataset_from_directory", "timeseries_dataset_from_array",
)  # fmt: skip

__all__ = ["image", "sequence", "text", *_OF_UTILS]


def __getattr__(name: str) -> Any:
    if name in _OF_UTILS:
        return getattr(importlib.import_module("zoo_keras.utils"), name)
    raise missing("zoo_keras.preprocessing", name)
