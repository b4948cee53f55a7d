"""zoo_keras.saving: the names of keras.saving, loaded when first used.

Here are files of models; how objects become configs is in zoo_keras.configs.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.missing import missing

_WHERE = {
    "saving.file_editor": ["KerasFileEditor"],
    "saving.api": [
        "load_model",
        "load_weights",
        "model_from_json",
        "model_from_yaml",
        "save_model",
        "save_weights",
    ],
    "saving.caffe.net": ["from_caffe"],
    "saving.live": ["from_keras", "to_keras"],
    "saving.onnx.graph": ["from_onnx"],
    "saving.tensorflow.graph": ["from_graph_def"],
    "saving.tfjs": ["from_tfjs"],
    "saving.torch.load": ["from_torch"],
    "configs.registration": [
        "CustomObjectScope",
        "get_custom_objects",
        "get_registered_name",
        "get_registered_object",
        "register_keras_serializable",
    ],
    "configs.serialization": ["deserialize_keras_object", "serialize_keras_object"],
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}
_MODULES["custom_object_scope"] = "configs.registration"

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise missing("zoo_keras.saving", name)
    module = importlib.import_module(f"zoo_keras.{_MODULES[name]}")
    return getattr(module, "CustomObjectScope" if name == "custom_object_scope" else name)
