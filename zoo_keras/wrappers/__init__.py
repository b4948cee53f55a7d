"""`zoo_keras.wrappers` has the names of `keras.wrappers`: models as estimators of scikit-learn."""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.paths import alias

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # scikit-learn is imported where it is used
        return getattr(importlib.import_module("zoo_keras.wrappers.sklearn"), name)
    if name == "scikit_learn":
        return importlib.import_module("zoo_keras.wrappers.scikit_learn")
    return alias("zoo_keras.wrappers", name)
