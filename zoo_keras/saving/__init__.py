"""zoo_keras.saving: the names of keras.saving. They are loaded when first used, because layers
import the low-level modules of this package."""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "api": ["load_model", "load_weights", "model_from_json", "save_model", "save_weights"],
    "object_registration": [
        "CustomObjectScope",
        "get_custom_objects",
        "get_registered_name",
        "get_registered_object",
        "register_keras_serializable",
    ],
    "serialization": ["deserialize_keras_object", "serialize_keras_object"],
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}
_MODULES["custom_object_scope"] = "object_registration"

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'zoo_keras.saving' has no attribute {name!r}")
    module = importlib.import_module(f"zoo_keras.saving.{_MODULES[name]}")
    return getattr(module, "CustomObjectScope" if name == "custom_object_scope" else name)
