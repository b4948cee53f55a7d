"""The arguments `<weight>_initializer`, `_regularizer` and `_constraint`, in one place.

In: names or objects that the user passed. Out: attributes of the layer, their configuration, and
weights made with them. Knows no computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import activations, constraints, initializers, regularizers
from zoo_keras.variables import Variable

_FAMILIES: dict[str, Any] = {
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}


def _family(option: str) -> Any:
    return _FAMILIES[option.rsplit("_", 1)[-1]]


def set_options(layer: Any, **identifiers: Any) -> None:
    """Set each as an attribute: `kernel_initializer="zeros"` becomes an initializer object."""
    for option, identifier in identifiers.items():
        setattr(layer, option, _family(option).get(identifier))


def options_config(layer: Any, *options: str) -> dict[str, Any]:
    """The configuration of these attributes."""
    return {option: _family(option).serialize(getattr(layer, option)) for option in options}


def add_weight(
    layer: Any, name: str, shape: Sequence[int], option: str | None = None, **more: Any
) -> Variable:
    """A weight with the layer's initializer, regularizer and constraint of that name, or of the
    name `option`."""
    option = option or name
    variable: Variable = layer.add_weight(
        name=name,
        shape=tuple(shape),
        initializer=getattr(layer, f"{option}_initializer"),
        regularizer=getattr(layer, f"{option}_regularizer", None),
        constraint=getattr(layer, f"{option}_constraint", None),
        **more,
    )
    return variable
