"""Helpers around models and data: `zoo_keras.utils` has the names of `keras.utils`."""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.missing import missing

_WHERE = {
    "zoo_keras.dtypes": ["standardize_dtype"],
    "zoo_keras.naming": ["clear_session"],
    "zoo_keras.random": ["set_random_seed"],
    "zoo_keras.saving": [
        "CustomObjectScope", "custom_object_scope", "deserialize_keras_object",
        "get_custom_objects", "get_registered_name", "get_registered_object",
        "register_keras_serializable", "serialize_keras_object",
    ],
    "zoo_keras.training.data": ["PyDataset", "Sequence"],
    "zoo_keras.utils.arrays": ["normalize", "pad_sequences", "to_categorical"],
    "zoo_keras.utils.inspection": [
        "get_source_inputs", "is_keras_tensor", "model_to_dot", "plot_model",
    ],
}  # fmt: skip
_MODULES = {name: module for module, names in _WHERE.items() for name in names}
_RENAMED = {"standardize_dtype": "standardize", "Sequence": "PyDataset"}

__all__ = [
    "CustomObjectScope", "PyDataset", "Sequence", "clear_session", "custom_object_scope",
    "deserialize_keras_object", "get_custom_objects", "get_registered_name",
    "get_registered_object", "get_source_inputs", "is_keras_tensor", "model_to_dot", "normalize",
    "pad_sequences", "plot_model", "register_keras_serializable", "serialize_keras_object",
    "set_random_seed", "standardize_dtype", "to_categorical",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise missing("zoo_keras.utils", name)
    return getattr(importlib.import_module(_MODULES[name]), _RENAMED.get(name, name))
