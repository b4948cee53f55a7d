"""Models: `zoo_keras.models` has the names of `keras.models`."""

from __future__ import annotations

from typing import Any

from zoo_keras.missing import missing
from zoo_keras.models.cloning import clone_model
from zoo_keras.models.model import Functional, Model
from zoo_keras.models.sequential import Sequential

__all__ = [
    "Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json",
    "model_from_yaml", "save_model",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("load_model", "model_from_json", "model_from_yaml", "save_model"):
        from zoo_keras import saving  # files are needed by few programs

        return getattr(saving, name)
    raise missing("zoo_keras.models", name)
