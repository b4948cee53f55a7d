"""Configurations of classes without a get_config: the arguments that their __init__ was given.

In: a layer. Out: its arguments by name, when they are plain data. Knows nothing else of layers.
"""

from __future__ import annotations

import inspect
from typing import Any

from zoo_keras.nest import flatten

_BASE_ARGUMENTS = ("name", "trainable", "dtype", "activity_regularizer")


def accepted(cls: type, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without base arguments that the class's __init__ does not take."""
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return config
    known = {p.name for p in parameters}
    return {k: v for k, v in config.items() if k in known or k not in _BASE_ARGUMENTS}


def all_arguments(operation: Any) -> dict[str, Any]:
    """Every __init__ argument, defaults included; NotImplementedError for `*args`, or no "
    "plain data."""
    args, kwargs = operation._init_arguments
    signature = inspect.signature(type(operation).__init__)
    bound = signature.bind(operation, *args, **kwargs)
    bound.apply_defaults()
    found = dict(list(bound.arguments.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found.update(found.pop(name))
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise _no_config(operation, name, found[name])
    for key, value in found.items():
        _check_plain(operation, key, value)
    return found


def _check_plain(layer: Any, key: str, value: Any) -> None:
    if not all(isinstance(v, (str, int, float, type(None))) for v in flatten(value)):
        raise _no_config(layer, key, value)


def _no_config(layer: Any, key: str, value: Any) -> NotImplementedError:
    return NotImplementedError(
        f"{type(layer).__name__} does not define get_config and its argument {key} is no "
        f"plain value. Received: {value!r}. Define get_config in the class."
    )


def captured_arguments(layer: Any, base: type) -> dict[str, Any]:
    """__init__ arguments of a class that does not define get_config, when they are plain data."""
    args, kwargs = layer._init_arguments
    if type(layer).__init__ is base.__init__:  # type: ignore[misc]
        return {}
    names = list(inspect.signature(type(layer).__init__).parameters)[1:]
    found = {**dict(zip(names, args, strict=False)), **kwargs}
    found = {k: v for k, v in found.items() if k not in _BASE_ARGUMENTS}
    for key, value in found.items():
        _check_plain(layer, key, value)
    return found
