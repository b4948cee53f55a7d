"""Models: `zoo_keras.models` has the names of `keras.models`."""

from __future__ import annotations

from typing import Any

from zoo_keras.missing import missing
from zoo_keras.models.cloning import clone_model
from zoo_keras.models.model import Functional, Model
from zoo_keras.models.sequential import Sequential

__all__ = [
    "Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json",
    "save_model",
]  # fmt: skip


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """The model of a configuration that `Model.to_json` returned; its weights are new.

    Raises ConfigError for text that is no model's configuration.
    Source: keras.models.model_from_json.
    """
    import json

    from zoo_keras.errors import ConfigError
    from zoo_keras.saving.serialization import deserialize_keras_object

    try:
        config = json.loads(json_string)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"model_from_json: not JSON ({error}). Received: {str(json_string)[:60]!r}. "
            "Pass what Model.to_json returned."
        ) from error
    made = deserialize_keras_object(config, custom_objects=custom_objects)
    if not isinstance(made, Model):
        raise ConfigError(
            f"model_from_json: the configuration is not a model's. Received: "
            f"{type(made).__name__}. Pass what Model.to_json returned."
        )
    return made


def __getattr__(name: str) -> Any:
    if name in ("load_model", "save_model"):
        from zoo_keras import saving

        return getattr(saving, name)
    raise missing("zoo_keras.models", name)
