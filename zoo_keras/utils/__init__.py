"""Helpers around models and data: `zoo_keras.utils` has the names of `keras.utils`."""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.paths import alias

_WHERE = {
    "zoo_keras.dtypes": ["standardize_dtype"],
    "zoo_keras.layers.preprocessing.feature_space": ["FeatureSpace"],
    "zoo_keras.naming": ["clear_session"],
    "zoo_keras.random": ["set_random_seed"],
    "zoo_keras.saving": [
        "CustomObjectScope", "custom_object_scope", "deserialize_keras_object",
        "get_custom_objects", "get_registered_name", "get_registered_object",
        "register_keras_serializable", "serialize_keras_object",
    ],
    "zoo_keras.switches": [
        "disable_interactive_logging", "enable_interactive_logging",
        "is_interactive_logging_enabled",
    ],
    "zoo_keras.utils.settings": ["Config"],
    "zoo_keras.training.data": ["PyDataset", "Sequence"],
    "zoo_keras.utils.arrays": [
        "normalize", "pack_x_y_sample_weight", "pad_sequences", "to_categorical",
        "unpack_x_y_sample_weight",
    ],
    "zoo_keras.utils.batches": [
        "audio_dataset_from_directory", "image_dataset_from_directory", "split_dataset",
        "text_dataset_from_directory", "timeseries_dataset_from_array",
    ],
    "zoo_keras.utils.files": ["get_file"],
    "zoo_keras.utils.drawing": ["model_to_dot", "plot_model"],
    "zoo_keras.utils.inspection": ["get_source_inputs", "is_keras_tensor"],
    "zoo_keras.utils.pictures": ["array_to_img", "img_to_array", "load_img", "save_img"],
    "zoo_keras.utils.progress": ["Progbar"],
}  # fmt: skip
_MODULES = {name: module for module, names in _WHERE.items() for name in names}
_RENAMED = {"standardize_dtype": "standardize", "Sequence": "PyDataset"}

_BELOW = ("bounding_boxes",)

__all__ = sorted([*_MODULES, *_BELOW])


def __getattr__(name: str) -> Any:
    if name in _BELOW:
        return importlib.import_module(f"zoo_keras.utils.{name}")
    if name not in _MODULES:
        return alias("zoo_keras.utils", name)
    return getattr(importlib.import_module(_MODULES[name]), _RENAMED.get(name, name))
