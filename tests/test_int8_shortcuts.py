"""What shortcuts and pooling between int8 convolutions read: bytes, or bits of bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_int8 import force, relative

import zoo_keras as zk
from zoo_keras import layers, native
from zoo_keras.graph import Graph, Node, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def int8_nodes(model: Any, x: np.ndarray) -> list[Node]:
    given = input_tensor("x", x.shape, "float32")
    with tracing():
        y = model(given, training=False)
    graph = Graph([given], y if isinstance(y, list) else [y])
    return [n for n in optimise(graph, freeze=True).nodes() if "int8" in n.op.name]


def residuals(nodes: list[Node]) -> list[list[str]]:
    return [[t.dtype for t in n.inputs[5:]] for n in nodes if n.op.name == "conv_int8_add"]


def shortcuts() -> Any:
    """A block whose shortcut is a convolution, one whose shortcut is what came before, and pooling
    in front."""
    zk.utils.set_random_seed(2)
    x = inputs = layers.Input((12, 12, 8))
    x = layers.MaxPooling2D(2)(layers.Conv2D(24, 3, activation="relu", padding="same")(x))
    for filters in (20, None):
        short = layers.Conv2D(filters, 1)(x) if filters else x
        y = layers.Conv2D(20, 3, padding="same", activation="relu")(x)
        x = layers.ReLU()(layers.Add()([short, layers.Conv2D(20, 1)(y)]))
    return zk.Model(inputs, layers.Conv2D(3, 1)(x))


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, 12, 12, 8)).astype(np.float32)


def test_shortcuts_and_pooling_read_bytes_or_bits(x: np.ndarray) -> None:
    model = shortcuts()
    force(model, x)
    nodes = int8_nodes(model, x)
    assert [n.op.name for n in nodes].count("max_pool_int8") == 1
    assert residuals(nodes) == [["uint16"], ["int8", "float32"]]
    maps = [s.dtype for n in nodes for s in n.specs if len(s.shape) == 4 and n.inputs[1:]]
    assert maps.count("float32") == 1  # the result


def test_without_a_sample_shortcuts_read_what_is_rounded_later(x: np.ndarray) -> None:
    model = shortcuts()
    force(model)
    nodes = int8_nodes(model, x)
    assert residuals(nodes) == [["uint16"], ["float32"]]
    assert "max_pool_int8" not in [n.op.name for n in nodes]


@pytest.mark.parametrize("calibrated", [True, False])
def test_results_are_near_and_an_image_is_the_same_alone(calibrated: bool, x: np.ndarray) -> None:
    model = shortcuts()
    want = model.predict(x, verbose=0)
    force(model, x if calibrated else None)
    got = model.predict_on_batch(x)
    assert 0 < relative(got, want) < 0.06
    with native.using_threads(3):
        assert np.array_equal(model.predict_on_batch(x[2:4]), got[2:4])
    x[1, 5, 5, 3] = np.nan
    bad = model.predict_on_batch(x)
    assert np.isnan(bad[1]).all() and np.array_equal(np.delete(bad, 1, 0), np.delete(got, 1, 0))


def test_a_shortcut_that_something_else_reads_stays_float32(rng: np.random.Generator) -> None:
    inputs = layers.Input((6, 6, 8))
    first = layers.Conv2D(16, 1)(inputs)
    both = layers.Add()([first, layers.Conv2D(16, 1)(first)])
    model = zk.Model(inputs, [both, layers.GlobalAveragePooling2D()(first)])
    x = rng.normal(size=(2, 6, 6, 8)).astype(np.float32)
    force(model, x)
    assert residuals(int8_nodes(model, x)) == [["float32"]]
