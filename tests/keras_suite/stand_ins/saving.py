"""Names of `keras.src.saving` and `keras.src.legacy.saving` that zoo_keras keeps elsewhere."""

from __future__ import annotations

from typing import Any

from zoo_keras.configs import registration
from zoo_keras.configs.serialization import object_sharing as ObjectSharingScope
from zoo_keras.configs.serialization import safe_mode_scope as SafeModeScope
from zoo_keras.saving import load_model

_CONFIG_FILENAME, _METADATA_FILENAME = "config.json", "metadata.json"
GLOBAL_CUSTOM_OBJECTS, GLOBAL_CUSTOM_NAMES = registration._objects, registration._names


def save_model_to_hdf5(
    model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """A model in the `.h5` format of Keras 2."""
    model.save(filepath, overwrite=overwrite, include_optimizer=include_optimizer)


def load_model_from_hdf5(filepath: Any, custom_objects: Any = None, **options: Any) -> Any:
    """A model from an `.h5` file."""
    return load_model(filepath, custom_objects=custom_objects, **options)


def save_weights_only(model: Any, filepath: Any, **options: Any) -> None:
    """The weights alone."""
    model.save_weights(filepath, **options)


def load_weights_only(model: Any, filepath: Any, **options: Any) -> None:
    """Weights from a file of weights, or of a model."""
    model.load_weights(filepath, **options)


__all__ = ["ObjectSharingScope", "SafeModeScope"]
