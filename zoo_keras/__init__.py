"""zoo_keras: the Keras 3 API, trained and run on Spark clusters of CPUs.

`import zoo_keras as keras` runs ordinary Keras code; `model.fit` also takes RDDs and DataFrames.
Modules are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.paths import ALIASES, OLDER, install_aliases

__version__ = "0.1.0"

# name -> the module that holds it
_OBJECTS = {
    "DTypePolicy": "policies",
    "Function": "models.function",
    "FloatDTypePolicy": "dtype_policies",
    "GradientTape": "training.gradient_tape",
    "Initializer": "initializers",
    "Input": "layers",
    "InputSpec": "layers",
    "KerasTensor": "layers.base.op_layer",  # with which ops take it
    "Layer": "layers",
    "Loss": "losses",
    "Metric": "metrics",
    "Model": "models",
    "Operation": "models.function",
    "Optimizer": "optimizers",
    "Quantizer": "quantizers",
    "Regularizer": "regularizers",
    "RematScope": "scopes",
    "Sequential": "models",
    "StatelessScope": "stateless",
    "SymbolicScope": "scopes",
    "Variable": "variables",
    "device": "scopes",
    "install_as_keras": "paths",
    "name_scope": "backend",
    "remat": "scopes",
    "show_config": "config",
}
_MODULES = (
    "activations", "applications", "backend", "callbacks", "config", "constraints", "datasets",
    "distillation", "dtype_policies", "initializers", "layers", "losses", "metrics",
    "mixed_precision", "models", "ops", "optimizers", "preprocessing", "quantizers", "random",
    "regularizers", "saving", "spark", "tree", "utils", "visualization", "wrappers",
)  # fmt: skip

__all__ = [*sorted(_OBJECTS), *_MODULES, "__version__", "version"]


def version() -> str:
    """The version of zoo_keras. Source: keras.version."""
    return __version__


install_aliases()


def __getattr__(name: str) -> Any:
    if name in _MODULES or name in ALIASES or name in OLDER:
        return importlib.import_module(f"zoo_keras.{name}")
    if name in _OBJECTS:
        found = getattr(importlib.import_module(f"zoo_keras.{_OBJECTS[name]}"), name)
        globals()[name] = found
        return found
    from zoo_keras.missing import missing

    raise missing("zoo_keras", name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
