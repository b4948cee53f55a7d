"""Activations that the recurrent kernels know: by name, numpy reference, and slope.

In: a name, arrays. Out: arrays, or the number in C. What is listed here has a derivative that
follows from its result, so that backward needs nothing more. Knows no layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.native import lib


class _Activation(NamedTuple):
    """The function of x, and its derivative as a function of its result y."""

    function: Callable[[Any], Any]
    slope: Callable[[Any], Any]


def _softplus(x: Any) -> Any:
    return np.logaddexp(x, 0)


def _inside(low: float, high: float, slope: float = 1.0) -> Callable[[Any], Any]:
    return lambda y: np.where((y > low) & (y < high), slope, 0.0)


def _line(slope: float) -> _Activation:
    """slope * x + 1 / 2, cut to 0..1."""
    return _Activation(lambda x: np.clip(slope * x + 0.5, 0, 1), _inside(0, 1, slope))


def _exponential_unit(scale: float, alpha: float) -> _Activation:
    """scale * (x, or alpha * (exp(x) - 1) below 0)."""
    return _Activation(
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda y: np.where(y > 0, scale, y + scale * alpha),
    )


def _sparse_plus(x: Any) -> Any:
    return np.where(x < 1, 0.25 * (np.maximum(x, -1) + 1) ** 2, x)


_KNOWN: dict[str, _Activation] = {
    "linear": _Activation(lambda x: x, np.ones_like),
    "tanh": _Activation(np.tanh, lambda y: 1 - y * y),
    "sigmoid": _Activation(lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "relu": _Activation(lambda x: np.maximum(x, 0), lambda y: np.where(y > 0, 1.0, 0.0)),
    "relu6": _Activation(lambda x: np.clip(x, 0, 6), _inside(0, 6)),
    "leaky_relu": _Activation(
        lambda x: np.where(x > 0, x, 0.2 * x), lambda y: np.where(y > 0, 1.0, 0.2)
    ),
    "hard_sigmoid": _line(1 / 6),
    "hard_sigmoid_fifth": _line(0.2),  # Keras 2's
    "sparse_sigmoid": _line(0.5),
    "hard_tanh": _Activation(lambda x: np.clip(x, -1, 1), _inside(-1, 1)),
    "elu": _exponential_unit(1.0, 1.0),
    "celu": _exponential_unit(1.0, 1.0),
    "selu": _exponential_unit(1.0507009873554805, 1.6732632423543772),
    "softplus": _Activation(_softplus, lambda y: -np.expm1(-y)),
    "log_sigmoid": _Activation(lambda x: -_softplus(-x), lambda y: -np.expm1(y)),
    "softsign": _Activation(lambda x: x / (1 + np.abs(x)), lambda y: (1 - np.abs(y)) ** 2),
    "sparse_plus": _Activation(_sparse_plus, lambda y: np.minimum(np.sqrt(y), 1)),
    "exponential": _Activation(np.exp, lambda y: y),
}
_SAME = {"celu": "elu"}  # with alpha = 1
NAMES = tuple(_KNOWN)


def code(name: str) -> int:
    """The number by which C knows an activation; ConfigError for any other name."""
    if name not in _KNOWN:
        raise ConfigError(
            f"This activation has no recurrent kernel. Received: {name!r}. "
            f"Use one of {', '.join(NAMES)}."
        )
    found: int = getattr(lib, f"ZK_{_SAME.get(name, name).upper()}")
    return found


def activate(x: np.ndarray, name: str) -> np.ndarray:
    """The activation of an array (reference)."""
    return _KNOWN[name].function(x).astype(x.dtype, copy=False)


def slope(y: np.ndarray, name: str) -> np.ndarray:
    """The activation's derivative where its result is y (reference)."""
    return _KNOWN[name].slope(y).astype(y.dtype, copy=False)
