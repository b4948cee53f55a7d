"""Optimizers by class and name, as in `keras.optimizers`.

In: names, configs, objects. Out: Optimizer objects. Source: https://keras.io/api/optimizers.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    get_by_name,
    serialize_keras_object,
)
from zoo_keras.errors import ConfigError
from zoo_keras.optimizers import schedules
from zoo_keras.optimizers.adafactor import Adafactor
from zoo_keras.optimizers.adagrad import Adadelta, Adagrad
from zoo_keras.optimizers.adam import Adam, Adamax, AdamW
from zoo_keras.optimizers.ftrl import Ftrl
from zoo_keras.optimizers.lamb import Lamb
from zoo_keras.optimizers.lion import Lion
from zoo_keras.optimizers.loss_scale import LossScaleOptimizer
from zoo_keras.optimizers.multi import MultiOptimizer, OptimizerMap
from zoo_keras.optimizers.muon import Muon
from zoo_keras.optimizers.nadam import Nadam
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.optimizers.rmsprop import RMSprop
from zoo_keras.optimizers.schedule_free import ScheduleFreeAdamW
from zoo_keras.optimizers.sgd import SGD
from zoo_keras.paths import alias

_CLASSES = (
    Optimizer, SGD, RMSprop, Adam, AdamW, Adagrad, Adadelta, Adafactor, Adamax, Ftrl, Lamb, Lion,
    LossScaleOptimizer, MultiOptimizer, Muon, Nadam, ScheduleFreeAdamW,
)  # fmt: skip
_KNOWN: dict[str, Any] = {cls.__name__.lower(): cls for cls in _CLASSES}
_NAMED = _KNOWN | {cls.__name__: cls for cls in _CLASSES}


def serialize(optimizer: Optimizer) -> Any:
    """The config of an optimizer."""
    return serialize_keras_object(optimizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The optimizer that a config describes; the case of the class name does not matter."""
    if isinstance(config, dict) and (cls := _KNOWN.get(str(config.get("class_name")).lower())):
        config = {**config, "class_name": cls.__name__}
    return deserialize_keras_object(config, custom_objects, module_objects=_NAMED)


def get(identifier: Any) -> Any:
    """The optimizer that a name (in any case), config or object means; None for None.

    Raises ConfigError, with the known names, for an unknown one.

    >>> get("adam")
    """
    if isinstance(identifier, Optimizer) or identifier is None:
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if not isinstance(identifier, str):
        raise ConfigError(
            f"An optimizer must be a name, a config or an Optimizer. Received: {identifier!r}. "
            f"Use one of {', '.join(sorted(_KNOWN))}, or an object of zoo_keras.optimizers."
        )
    name = identifier.lower()
    if name in _KNOWN:
        return _KNOWN[name]()
    return get_by_name(identifier, _NAMED, "optimizer")


__all__ = [
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion",
    "LossScaleOptimizer", "MultiOptimizer", "Muon", "Nadam", "Optimizer", "OptimizerMap", "RMSprop",
    "SGD", "ScheduleFreeAdamW", "deserialize", "get", "schedules", "serialize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.optimizers", name)
