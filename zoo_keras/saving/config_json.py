"""The JSON that describes a model, read with care: whatever is wrong with it is a typed error.

In: text from a file or a user. Out: parsed configurations, and objects made from them. Foreign code
is never run here, except that of classes the caller registered. Knows no file format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from zoo_keras import activations, losses, metrics
from zoo_keras.configs.registration import CustomObjectScope, scoped_objects
from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    in_safe_mode,
    object_sharing,
    raise_if_unknown,
    safe_mode_scope,
    unknown_objects,
)
from zoo_keras.errors import ConfigError, FileError, ZooKerasError
from zoo_keras.variables import awaited_weights

# Weights that layers may make for a moment beside those that a file holds, as with shared ones.
_SLACK = 1 << 16
_MOST_COUNTED = 1_000_000
# Names of metrics that compile resolves when it sees the shapes.
_CHOSEN_BY_SHAPE = frozenset({"accuracy", "acc", "crossentropy", "ce"})


def parse(text: str | bytes, label: str, what: str) -> Any:
    """The value of a JSON text. FileError naming the file `label` and its part `what`."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise FileError(
            f"{label}: {what} is no JSON that can be read. Received: {error}. The file is damaged; "
            "get a fresh copy."
        ) from None


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Inside, any failure to make sense of a configuration is a ConfigError that names it."""
    try:
        yield
    except ZooKerasError as error:
        raise _labelled(error, label) from error
    except Warning:
        raise
    except Exception as error:
        kind = "it is nested too deeply" if isinstance(error, RecursionError) else repr(error)
        raise ConfigError(
            f"{label}: nothing can be made from the configuration. Received: {kind[:300]}. "
            "The file is damaged, or __init__ or from_config of a custom class fails."
        ) from error


def _labelled(error: ZooKerasError, label: str) -> ZooKerasError:
    try:
        return type(error)(f"{label}: {error}")
    except TypeError:  # a subclass with other arguments
        return ConfigError(f"{label}: {error}")


@contextmanager
def custom_names(custom_objects: dict[str, Any] | None, safe_mode: bool) -> Iterator[None]:
    """Inside, configurations may name these objects too; code by value only if not safe_mode."""
    known = {**scoped_objects(), **(custom_objects or {})}
    said = in_safe_mode()  # by an enclosing scope or enable_unsafe_deserialization
    with CustomObjectScope(known), safe_mode_scope(safe_mode if said is None else said):
        yield


def check_names(config: Any, training: dict[str, Any] | None = None) -> None:
    """UnknownObjectError listing every class and function that is known nowhere.

    Args:
        training: arguments of compile, whose losses and metrics may be bare names.
    """
    training = training or {}
    _check_counts([config, training])
    found = [*unknown_objects(config), *unknown_objects(list(training.values()))]
    measured = _bare_names([training.get("metrics"), training.get("weighted_metrics")])
    found += _unknown("activation", _activations(config), activations)
    found += _unknown("loss", _bare_names(training.get("loss")), losses)
    found += _unknown("metric", set(measured) - _CHOSEN_BY_SHAPE, metrics)
    raise_if_unknown(found)


def _check_counts(value: Any) -> None:
    """ConfigError for a metric that keeps so many numbers that listing them takes seconds."""
    if isinstance(value, dict):
        for key in ("num_thresholds", "num_classes"):
            if isinstance(value.get(key), int) and value[key] > _MOST_COUNTED:
                raise ConfigError(
                    f"A metric's {key} may be {_MOST_COUNTED} at most. Received: {value[key]}. "
                    "The file is damaged or hostile."
                )
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        _check_counts(item)


def _unknown(kind: str, names: Iterable[str], family: Any) -> list[str]:
    return [f"{kind} {name!r}" for name in sorted(set(names)) if not _is_known(name, family)]


def _bare_names(value: Any) -> list[str]:
    if isinstance(value, dict) and "class_name" in value:
        return []
    if isinstance(value, dict):
        value = list(value.values())
    items = value if isinstance(value, list) else [value]
    nested = [n for item in items if isinstance(item, (list, dict)) for n in _bare_names(item)]
    return nested + [item for item in items if isinstance(item, str)]


def _activations(value: Any) -> Iterator[str]:
    """Names of activations of built-in layers; what custom ones keep there is their own affair."""
    if isinstance(value, dict):
        inner = value.get("config")
        if str(value.get("module")).startswith("keras.") and isinstance(inner, dict):
            given = (v for k, v in inner.items() if k.endswith("activation"))
            yield from (name for name in given if isinstance(name, str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _activations(item)


def _is_known(name: str, family: Any) -> bool:
    if name in scoped_objects():
        return True
    try:
        family.get(name)
    except ConfigError:
        return False
    return True


def make(config: Any) -> Any:
    """The object of a configuration; objects it names twice are made once."""
    with object_sharing():
        return deserialize_keras_object(config)


def make_model(config: Any, numbers: int | None = None) -> Any:
    """The model of a configuration. ConfigError when it describes something else.

    Args:
        numbers: how many numbers the file has for its weights; it may ask for no more.
    """
    from zoo_keras.layers import Layer

    with nullcontext() if numbers is None else awaited_weights(_SLACK + 2 * numbers):
        made = make(config)
    if not isinstance(made, Layer) or not hasattr(made, "save"):
        raise ConfigError(
            f"The configuration describes no model. Received: {str(made)[:80]}. "
            "Pass what to_json() of a model, or a file of Keras, holds."
        )
    return made
