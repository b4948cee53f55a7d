"""Arguments of optimizers as objects, in real Keras and here, of what the tables say in JSON.

In: a Keras module and the keyword arguments of a case. Out: them with schedules, inner optimizers
and maps of optimizers.
"""

from __future__ import annotations

from typing import Any


def arguments(keras: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    found = dict(kwargs)
    if isinstance(found.get("learning_rate"), dict):
        found["learning_rate"] = keras.optimizers.schedules.deserialize(found["learning_rate"])
    if "inner_optimizer" in found:
        found["inner_optimizer"] = keras.optimizers.deserialize(found["inner_optimizer"])
    if "optimizer_map" in found:
        found["optimizer_map"] = chosen(keras, found["optimizer_map"])
    return found


def chosen(keras: Any, by_pattern: dict[str, Any]) -> Any:
    """An OptimizerMap of {pattern: serialized optimizer}, "" being the pattern of the others."""
    made = {p: keras.optimizers.deserialize(o) for p, o in by_pattern.items()}
    return keras.optimizers.OptimizerMap(made.pop(""), made)
