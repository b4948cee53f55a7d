"""Functions of `keras.backend` whose arguments or defaults `zoo_keras.ops` has otherwise.

In and out: as in Keras 2; along which axis, and what is cut off. `zoo_keras.backend` has the names.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops, random


def argmax(x: Any, axis: int = -1) -> Any:
    """The place of the largest element along an axis, the last one if none is named."""
    return ops.argmax(x, axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """The place of the smallest element along an axis, the last one if none is named."""
    return ops.argmin(x, axis)


def cumsum(x: Any, axis: int = 0) -> Any:
    """The running sum along an axis, the first one if none is named."""
    return ops.cumsum(x, axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """The running product along an axis, the first one if none is named."""
    return ops.cumprod(x, axis)


def expand_dims(x: Any, axis: int = -1) -> Any:
    """x with a new axis of size 1, the last one if none is named."""
    return ops.expand_dims(x, axis)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """Numbers from start (0 when stop is None) up to stop."""
    return ops.arange(start, stop, step, dtype)


def relu(x: Any, alpha: float = 0.0, max_value: Any = None, threshold: float = 0.0) -> Any:
    """x above the threshold, cut at max_value; alpha * (x - threshold) below."""
    below = alpha * (x - threshold) if alpha else ops.zeros_like(x)
    above = x if max_value is None else ops.minimum(x, max_value)
    return ops.where(x >= threshold, above, below) if alpha or threshold else ops.maximum(above, 0)


def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x with a share of its elements set to 0, the others scaled up."""
    return random.dropout(x, level, noise_shape, seed)
