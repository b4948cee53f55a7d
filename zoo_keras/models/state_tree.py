"""The Variables of a model as nested dicts by their paths, and values for them from such dicts.

In: a model, or dicts of values. Out: dicts of values, or Variables assigned anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError

FORMATS = ("backend_tensor", "numpy_array")


def _groups(model: Any) -> dict[str, list[Any]]:
    optimizer = getattr(model, "optimizer", None)
    return {
        "trainable_variables": list(model.trainable_variables),
        "non_trainable_variables": list(model.non_trainable_variables),
        "optimizer_variables": list(optimizer.variables) if optimizer is not None else [],
        "metrics_variables": list(model.metrics_variables),
    }


def state_tree(model: Any, value_format: str) -> dict[str, Any]:
    """Four dicts: trainable, non-trainable, optimizer and metrics variables."""
    if value_format not in FORMATS:
        raise ConfigError(
            f"get_state_tree: value_format must be one of {FORMATS}. Received: {value_format!r}."
        )
    plain = value_format == "numpy_array"
    return {group: _nested(variables, plain) for group, variables in _groups(model).items()}


def _nested(variables: Iterable[Any], plain: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in variables:
        *above, last = variable.path.split("/")
        place = found
        for part in above:
            place = place.setdefault(part, {})
        if last in place:
            raise ConfigError(
                "The following variable path is found twice in the model: "
                f"{variable.path!r}. Received: get_state_tree(). Give layers names of their own."
            )
        place[last] = variable.numpy().copy() if plain else variable.value
    return found


def set_state_tree(model: Any, tree: dict[str, Any]) -> None:
    """Assign the values; what a tree leaves out stays. ConfigError for what the model has not."""
    groups = _groups(model)
    unknown = sorted(set(tree) - set(groups))
    if unknown:
        raise ConfigError(
            f"set_state_tree: unknown groups. Received: {unknown}. The groups are {list(groups)}."
        )
    known = {name: {v.path: v for v in variables} for name, variables in groups.items()}
    given = {name: dict(_flat(below)) for name, below in tree.items()}
    missing = [path for name, values in given.items() for path in values if path not in known[name]]
    if missing:
        raise ConfigError(
            f"set_state_tree: the model has no such variables. Received: {missing[:8]}. Pass what "
            "get_state_tree gave for a model with the same names."
        )
    pairs = [(known[name][path], v) for name, values in given.items() for path, v in values.items()]
    for variable, value in pairs:
        if np.shape(value) != variable.shape:
            raise ShapeError(
                f"set_state_tree: {variable.path} has shape {variable.shape}. Received: a value of "
                f"shape {np.shape(value)}. Pass what get_state_tree gave."
            )
    for variable, value in pairs:
        variable.assign(value)


def _flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}/")
        else:
            yield f"{above}{key}", value
