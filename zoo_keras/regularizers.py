"""Penalties on weights or activities, added to the loss, with Keras' names and configs.

In: a tensor, Variable or array. Out: a scalar. Source: https://keras.io/api/layers/regularizers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    get_by_name,
    serialize_keras_object,
)
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.missing import missing
from zoo_keras.naming import to_snake_case


class Regularizer:
    """Base of regularizers: override `__call__(x)` and `get_config`."""

    keras_module = "keras.regularizers"

    def __call__(self, x: Any) -> Any:
        """The penalty for x."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config(self).")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """Makes one of what get_config gave."""
        return cls(**config)


def _factor(cls: type, name: str, given: Any) -> float:
    good = isinstance(given, (int, float)) and math.isfinite(given) and given >= 0
    if not good:
        raise ConfigError(
            f"{cls.__name__}: {name} must be a number of 0 or more. Received: {name}={given!r}. "
            "Pass a finite factor."
        )
    return float(given)


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x * x)."""

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor(type(self), "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor(type(self), "l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        penalty: Any = np.zeros((), "float32")
        if self.l1:
            penalty = ops.add(ops.multiply(ops.sum(ops.absolute(x)), self.l1), penalty)
        if self.l2:
            penalty = ops.add(penalty, ops.multiply(ops.sum(ops.square(x)), self.l2))
        return penalty

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """l1 * sum(|x|)."""

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _factor(type(self), "l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Any) -> Any:
        return ops.multiply(ops.sum(ops.absolute(x)), self.l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": float(np.float32(self.l1))}  # Keras holds it as a float32 tensor


class L2(Regularizer):
    """l2 * sum(x * x)."""

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = _factor(type(self), "l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        return ops.multiply(ops.sum(ops.square(x)), self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """factor * the mean absolute cosine of the rows (or columns) of a matrix with each other."""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _factor(type(self), "factor", factor)
        if mode not in ("rows", "columns"):
            raise ConfigError(
                'Invalid value for argument `mode`. Expected one of {"rows", "columns"}. Received: '
                f"mode={mode}"
            )
        self.mode = mode

    def __call__(self, x: Any) -> Any:
        if len(x.shape) != 2:
            raise ShapeError(
                "Inputs to OrthogonalRegularizer must have rank 2. Received: inputs.shape="
                f"{tuple(x.shape)}"
            )
        rows = ops.normalize(x if self.mode == "rows" else ops.transpose(x), axis=1)
        size = rows.shape[0]
        cosines = ops.matmul(rows, ops.transpose(rows))
        others = ops.multiply(cosines, 1.0 - np.eye(size, dtype="float32"))
        pairs = size * (size - 1.0) / 2.0
        return ops.multiply(ops.sum(ops.absolute(others)), self.factor * 0.5 / pairs)

    def get_config(self) -> dict[str, Any]:
        return {"factor": float(np.float32(self.factor)), "mode": self.mode}


_CLASSES = (Regularizer, L1, L2, L1L2, OrthogonalRegularizer)
_KNOWN: dict[str, Any] = {cls.__name__: cls for cls in _CLASSES}
_KNOWN |= {to_snake_case(cls.__name__): cls for cls in _CLASSES}
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
_KNOWN["l1_l2"] = L1L2


def serialize(regularizer: Any) -> Any:
    """The config of a regularizer."""
    return serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer that a config describes."""
    return deserialize_keras_object(config, custom_objects, module_objects=_KNOWN)


def get(identifier: Any) -> Any:
    """The regularizer that a name, config, class or function means; None for None."""
    return get_by_name(identifier, _KNOWN, "regularizer")


__all__ = [
    "L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer", "deserialize", "get", "l1",
    "l1_l2", "l2", "orthogonal_regularizer", "serialize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.regularizers", name)
