"""What weights are put back to after each update, with Keras' names and configs.

In: a tensor, Variable or array. Out: one of the same shape. Source:
https://keras.io/api/layers/constraints.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    get_by_name,
    serialize_keras_object,
)
from zoo_keras.naming import to_snake_case
from zoo_keras.ops.convert import fuzz_factor
from zoo_keras.paths import alias


class Constraint:
    """Base of constraints: override `__call__(w)` and `get_config`."""

    keras_module = "keras.constraints"

    def __call__(self, w: Any) -> Any:
        """The weights that are kept instead of w."""
        return w

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """Makes one of what get_config gave."""
        return cls(**config)


def _norms(w: Any, axis: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


def _scaled(w: Any, norms: Any, wanted: Any) -> Any:
    return ops.multiply(w, ops.divide(wanted, ops.add(norms, fuzz_factor())))


class MaxNorm(Constraint):
    """The norm along `axis` at most max_value. Srivastava et al. 2014."""

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        return _scaled(w, norms, ops.clip(norms, 0, self.max_value))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """No weight below 0."""

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0)


class UnitNorm(Constraint):
    """The norm along `axis` is 1."""

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return ops.divide(w, ops.add(_norms(w, self.axis), fuzz_factor()))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """The norm along `axis` moved by `rate` of the way into min_value..max_value."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0
    ) -> None:
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        inside = ops.multiply(ops.clip(norms, self.min_value, self.max_value), self.rate)
        return _scaled(w, norms, ops.add(inside, ops.multiply(norms, 1 - self.rate)))

    def get_config(self) -> dict[str, Any]:
        own = ("min_value", "max_value", "rate", "axis")
        return {key: getattr(self, key) for key in own}


_CLASSES = (Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm)
_KNOWN: dict[str, Any] = {cls.__name__: cls for cls in _CLASSES}
_KNOWN |= {to_snake_case(cls.__name__): cls for cls in _CLASSES}
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm


def serialize(constraint: Any) -> Any:
    """The config of a constraint."""
    return serialize_keras_object(constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The constraint that a config describes."""
    return deserialize_keras_object(config, custom_objects, module_objects=_KNOWN)


def get(identifier: Any) -> Any:
    """The constraint that a name, config, class or function means; None for None."""
    return get_by_name(identifier, _KNOWN, "constraint")


__all__ = [
    "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "deserialize", "get", "max_norm",
    "min_max_norm", "non_neg", "serialize", "unit_norm",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.constraints", name)
