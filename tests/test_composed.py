"""Gradients of gradients, where a kernel computes the first in one go."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.interpret import run
from zoo_keras.primitives.composed import COMPOSED
from zoo_keras.primitives.op import as_tensors, registry


@pytest.mark.parametrize("name", COMPOSED)
def test_a_composed_gradient_has_the_values_of_the_kernel_s(name):
    op = registry[name]
    for sample in op.samples:
        arrays = sample.inputs(np.random.default_rng(0))
        inputs = [input_tensor(f"x{i}", a.shape, a.dtype.name) for i, a in enumerate(arrays)]
        with tracing():
            made = COMPOSED[name](*inputs, **sample.attrs)
        outputs = as_tensors(made if isinstance(made, tuple) else [made])
        expected = op.reference(*arrays, **sample.attrs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for found, right in zip(run(Graph(inputs, outputs), arrays), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-4)


LAYERS = {
    "softmax": lambda: layers.Dense(3, activation="softmax"),
    "log_softmax": lambda: layers.Dense(3, activation="log_softmax"),
    "silu": lambda: layers.Dense(3, activation="silu"),
    "gelu": lambda: layers.Dense(3, activation="gelu"),
    "layer norm": layers.LayerNormalization,
    "rms norm": layers.RMSNormalization,
    "batch norm": layers.BatchNormalization,
}


def penalty(layer, x):
    """The sum of squares of the gradient of a layer's weighted outputs by its inputs."""
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True) if "batch" in layer.name else layer(x)
        scores = ops.sum(y * np.linspace(-1, 1, y.size, dtype="float32").reshape(y.shape))
        slope = tape.gradient(scores, x)
        total = ops.sum(slope * slope)
    return tape, total


@pytest.mark.parametrize("name", LAYERS)
def test_a_penalty_on_a_gradient_has_the_slope_of_its_values(name):
    layer, rng = LAYERS[name](), np.random.default_rng(1)
    x, way = (rng.normal(size=(4, 5)).astype("float32") for _ in range(2))
    layer(x)
    with keras.GradientTape() as outer:
        outer.watch(x)
        total = penalty(layer, x)[1]
    slope = float(np.sum(outer.gradient(total, x) * way))
    step = np.float32(1e-2)
    ends = [float(penalty(layer, x + side * step * way)[1]) for side in (1, -1)]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=2e-2)
