"""Activation functions by name, with Keras' arguments.

In: tensors, KerasTensors or arrays. Out: the same shape. Source:
https://keras.io/api/layers/activations.
"""

from __future__ import annotations

import types
from typing import Any

from zoo_keras import ops
from zoo_keras.configs.registration import get_registered_name
from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    get_by_name,
    serialize_keras_object,
)
from zoo_keras.errors import ConfigError
from zoo_keras.missing import missing
from zoo_keras.ops.symbolic import public


@public
def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """x above the threshold, at most max_value; below it negative_slope * (x - threshold)."""
    if not threshold and max_value is None:
        return ops.leaky_relu(x, negative_slope) if negative_slope else ops.relu(x)
    y = ops.where(ops.greater(x, threshold), x, 0.0) if threshold else x
    if max_value is None and not threshold:
        y = ops.relu(x)
    if max_value == 6:
        y = ops.relu6(y)
    elif max_value is not None:
        y = ops.clip(y, 0.0, float(max_value))
    if not negative_slope:
        return y
    below = ops.relu(ops.subtract(threshold, x))
    return ops.subtract(y, ops.multiply(below, negative_slope))


@public
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x above 0, else negative_slope * x."""
    return ops.leaky_relu(x, negative_slope)


@public
def relu6(x: Any) -> Any:
    """max(x, 0), but at most 6."""
    return ops.relu6(x)


@public
def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) divided by its sum along the axis."""
    return ops.softmax(x, axis)


@public
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """log(softmax(x)) without underflow."""
    return ops.log_softmax(x, axis)


@public
def sparsemax(x: Any, axis: int = -1) -> Any:
    """Keras' sparsemax: like softmax, with exact zeros."""
    return ops.sparsemax(x, axis)


@public
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, else alpha * (exp(x) - 1)."""
    return ops.elu(x, alpha)


@public
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, else alpha * (exp(x / alpha) - 1)."""
    return ops.celu(x, alpha)


@public
def selu(x: Any) -> Any:
    """The self-normalising ELU."""
    return ops.selu(x)


@public
def gelu(x: Any, approximate: bool = False) -> Any:
    """x times the normal distribution function of x."""
    return ops.gelu(x, approximate)


@public
def glu(x: Any, axis: int = -1) -> Any:
    """The first half of an axis times the sigmoid of the second."""
    return ops.glu(x, axis)


@public
def silu(x: Any) -> Any:
    """x * sigmoid(x)."""
    return ops.silu(x)


@public
def mish(x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return ops.multiply(x, ops.tanh(ops.softplus(x)))


@public
def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return ops.softplus(x)


@public
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return ops.softsign(x)


@public
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved by the threshold towards 0, and 0 within it."""
    return ops.soft_shrink(x, threshold)


@public
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x, but 0 within the threshold around 0."""
    return ops.hard_shrink(x, threshold)


@public
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return ops.tanh_shrink(x)


@public
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x above the threshold, else default_value."""
    return ops.threshold(x, threshold, default_value)


@public
def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x * x + b)) / 2."""
    return ops.squareplus(x, b)


@public
def sparse_plus(x: Any) -> Any:
    """0 up to -1, (x + 1)**2 / 4 up to 1, x above."""
    return ops.sparse_plus(x)


@public
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return ops.tanh(x)


@public
def hard_tanh(x: Any) -> Any:
    """x cut to -1..1."""
    return ops.hard_tanh(x)


@public
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(x)


@public
def hard_sigmoid(x: Any) -> Any:
    """x / 6 + 1 / 2, cut to 0..1."""
    return ops.hard_sigmoid(x)


@public
def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x)."""
    return ops.hard_silu(x)


@public
def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2, cut to 0..1."""
    return ops.sparse_sigmoid(x)


@public
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) without underflow."""
    return ops.log_sigmoid(x)


@public
def exponential(x: Any) -> Any:
    """e to the power of x."""
    return ops.exp(x)


def linear(x: Any) -> Any:
    """x itself."""
    return x


_FUNCTIONS = (
    relu, leaky_relu, relu6, softmax, celu, elu, selu, softplus, softsign, squareplus, soft_shrink,
    sparse_plus, silu, gelu, glu, tanh, tanh_shrink, threshold, sigmoid, sparse_sigmoid,
    exponential, hard_sigmoid, hard_silu, hard_tanh, hard_shrink, linear, mish, log_softmax,
    log_sigmoid, sparsemax,
)  # fmt: skip
_KNOWN: dict[str, Any] = {f.__name__: f for f in _FUNCTIONS}
_KNOWN |= {"swish": silu, "hard_swish": hard_silu}
swish, hard_swish = silu, hard_silu


def serialize(activation: Any) -> Any:
    """The name of a built-in function, or the config of another function or object."""
    config = serialize_keras_object(activation)
    if not isinstance(activation, types.FunctionType) or "config" not in config:
        return config
    if _KNOWN.get(str(config["config"])) is activation:
        return config["config"]
    if config["class_name"] == "function":
        config["config"] = get_registered_name(activation)
    return config


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The activation that a name or config describes."""
    return deserialize_keras_object(config, custom_objects, module_objects=_KNOWN)


def get(identifier: Any) -> Any:
    """The activation that a name, config or function means; `linear` for None.

    Raises ConfigError, with the known names, for an unknown one.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, type):
        raise ConfigError(
            f"An activation must be a function, layer or name. Received: the class {identifier}. "
            "Pass an instance of it."
        )
    return get_by_name(identifier, _KNOWN, "activation")


__all__ = [*_KNOWN, "deserialize", "get", "serialize"]


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.activations", name)
