"""zoo_keras.saving: the names of keras.saving."""

from zoo_keras.saving.api import load_model, load_weights, model_from_json, save_model, save_weights
from zoo_keras.saving.object_registration import (
    CustomObjectScope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from zoo_keras.saving.serialization import deserialize_keras_object, serialize_keras_object

custom_object_scope = CustomObjectScope

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "model_from_json",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
