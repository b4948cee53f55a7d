"""Smooth relatives of relu: gelu in its two forms, and silu, with their gradients as single ops.

In: tensors of any shape. Out: the same shape. Each is one tile function of the engine, and a dense
layer can apply it as it stores its result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras.primitives.elementwise import erf, floating
from zoo_keras.primitives.op import Sample, elementwise

_SAMPLES = [Sample([(4, 5)], low=-3, high=3), Sample([(70,)], low=-12, high=12), Sample([()])]
_PAIRS = [Sample([s, s], low=-4, high=4) for s in ((4, 5), (70,), ())]
_CUBE = 0.044715
_SLOPE = 2.0 * math.sqrt(2.0 / math.pi)  # tanh(u) + 1 = 2 * sigmoid(2 * u)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@elementwise(
    tile="gelu",
    activation="gelu",
    shape=floating,
    grad=lambda g, y, x: (gelu_grad(g, x),),
    samples=_SAMPLES,
)
def gelu(x: Any) -> Any:
    """x times the normal distribution function of x. Hendrycks and Gimpel 2016."""
    return 0.5 * x * (1 + np.asarray(erf(np.asarray(x * math.sqrt(0.5)))))


@elementwise(tile="gelu_grad", shape=floating, samples=_PAIRS)
def gelu_grad(g: Any, x: Any) -> Any:
    """Gradient of gelu by its input x."""
    share = 0.5 * (1 + np.asarray(erf(np.asarray(x * math.sqrt(0.5)))))
    return g * (share + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


@elementwise(
    tile="gelu_tanh",
    activation="gelu_tanh",
    shape=floating,
    grad=lambda g, y, x: (gelu_tanh_grad(g, x),),
    samples=_SAMPLES,
)
def gelu_tanh(x: Any) -> Any:
    """gelu's approximation x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))."""
    return x * _sigmoid(_SLOPE * (x + _CUBE * x * x * x))


@elementwise(tile="gelu_tanh_grad", shape=floating, samples=_PAIRS)
def gelu_tanh_grad(g: Any, x: Any) -> Any:
    """Gradient of gelu_tanh by its input x."""
    s = _sigmoid(_SLOPE * (x + _CUBE * x * x * x))
    return g * (s + x * s * (1 - s) * _SLOPE * (1 + 3 * _CUBE * x * x))


@elementwise(
    tile="silu",
    activation="silu",
    shape=floating,
    grad=lambda g, y, x: (silu_grad(g, x),),
    samples=_SAMPLES,
)
def silu(x: Any) -> Any:
    """x * sigmoid(x)."""
    return x * _sigmoid(x)


@elementwise(tile="silu_grad", shape=floating, samples=_PAIRS)
def silu_grad(g: Any, x: Any) -> Any:
    """Gradient of silu by its input x."""
    s = _sigmoid(x)
    return g * (s + x * s * (1 - s))
