"""How int8 layers round: depthwise weights to 16 bits, what is never negative to 0..255, and after
a sample weights so that outputs keep their means."""

from __future__ import annotations

import numpy as np
import pytest
from test_int8 import build_again, force, relative

import zoo_keras as zk
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise
from zoo_keras.quantizers import AbsMaxQuantizer, Int8QuantizationConfig

layers = zk.layers


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_a_depthwise_layer_rounds_weights_to_16_bits_and_what_is_never_negative_to_0_255(rng):
    """Nine weights of a channel that nearly cancel leave little of errors of 8 bits but errors."""
    layer = layers.DepthwiseConv2D(3, use_bias=False)
    model = zk.Sequential([layers.Input((12, 12, 8)), layers.ReLU(), layer])
    w = rng.uniform(-1, 1, (3, 3, 8, 1)).astype(np.float32)
    w -= w.mean((0, 1)) - 0.001
    layer.set_weights([w])
    x = rng.uniform(3, 4, (16, 12, 12, 8)).astype(np.float32)
    want = model.predict(x, verbose=0)
    force(model, x)
    assert layer.kernel.dtype == "int16" and np.abs(layer.kernel).max() == 2**24 // (255 * 9)
    with tracing():
        given = input_tensor("x", (2, 12, 12, 8), "float32")
        graph = optimise(Graph([given], [model(given, training=False)]), freeze=True)
    assert "uint8" in {t.dtype for n in graph.nodes() for t in n.outputs}
    assert relative(model.predict(x, verbose=0), want) < 0.02


def test_a_shortcut_beside_a_depthwise_layer_reads_bits(rng):
    """It cannot read the bytes of 0..255 that the depthwise layer does."""
    inputs = layers.Input((12, 12, 8))
    x = layers.Conv2D(16, 1, activation="relu")(inputs)
    y = layers.Conv2D(16, 1)(layers.DepthwiseConv2D(3, padding="same", activation="relu")(x))
    model = zk.Model(inputs, layers.Conv2D(8, 1)(layers.Add()([x, y])))
    x = rng.normal(size=(4, 12, 12, 8)).astype(np.float32)
    want = model.predict(x, verbose=0)
    force(model, x)
    assert relative(model.predict(x, verbose=0), want) < 0.05


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_after_a_sample_outputs_keep_their_means(kind, rng):
    """Positive inputs would turn errors of rounding into a shift of every output."""
    layer = layers.Dense(20) if kind == "dense" else layers.Conv2D(20, 1)
    x = (rng.uniform(0, 1, (64, 2, 2, 100)) * rng.uniform(0, 2, 100)).astype(np.float32)
    model = zk.Sequential([layers.Input((2, 2, 100)), layer])
    want = model.predict(x, verbose=0).mean((0, 1, 2))
    kernel = np.asarray(layer.kernel)
    shifts = []
    for sample in (None, x):
        other = build_again(model)
        force(other, sample)
        shifts.append(np.abs(other.predict(x, verbose=0).mean((0, 1, 2)) - want).max())
        now = other.layers[-1]
        moved = np.asarray(now.kernel) / np.asarray(now.kernel_scale) - kernel
        assert np.abs(moved * np.asarray(now.kernel_scale)).max() < 1
    assert shifts[1] < shifts[0] / 2


def test_without_a_sample_a_convolution_keeps_the_sums_of_its_weights(rng):
    layer = layers.Conv2D(20, 1)
    layer.build((None, 4, 4, 100))
    kernel = np.asarray(layer.kernel)
    nearest, scale = AbsMaxQuantizer()(kernel, axis=(0, 1, 2))
    layer.quantize("int8")
    errors = [np.abs((q / scale - kernel).sum((0, 1, 2))).max() for q in (layer.kernel, nearest)]
    assert errors[0] < errors[1] / 5
    assert np.abs(np.asarray(layer.kernel) - kernel * scale).max() < 1


def test_a_quantizer_of_the_user_decides_alone(rng):
    config = Int8QuantizationConfig(AbsMaxQuantizer(value_range=(-7, 7)))
    model = zk.Sequential([layers.Input((50,)), layers.Dense(20)])
    kernel = np.asarray(model.layers[-1].kernel)
    model.quantize(config=config, sample=rng.uniform(0, 1, (9, 50)).astype(np.float32))
    want = AbsMaxQuantizer(value_range=(-7, 7))(kernel, axis=0)[0]
    assert np.array_equal(model.layers[-1].kernel, want)
