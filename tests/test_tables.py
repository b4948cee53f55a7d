"""Products of table rows at inference, and outputs that nobody reads."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise


def names_for(words, steps, layer, freeze=True):
    with tracing():
        ids = input_tensor("ids", (2, steps), "int32")
        made = layer(layers.Embedding(words, 4)(ids))
    graph = optimise(Graph([ids], [made]), freeze)
    return graph, [n.op.name for n in graph.nodes()]


def test_the_product_of_an_embedding_runs_over_the_table():
    graph, names = names_for(10, 9, layers.LSTM(3))
    assert names.index("gather") > names.index("dense_packed")
    gather = next(n for n in graph.nodes() if n.op.name == "gather")
    assert gather.specs[0].shape == (2, 9, 12) and gather.scope


@pytest.mark.parametrize("words, freeze", [(100, True), (10, False)])
def test_not_where_it_does_not_pay_or_weights_change(words, freeze):
    graph, _ = names_for(words, 9, layers.LSTM(3), freeze)
    gather = next(n for n in graph.nodes() if n.op.name == "gather")
    assert gather.specs[0].shape == (2, 9, 4)


@pytest.mark.parametrize("layer", [layers.Dense(5, activation="tanh"), layers.GRU(6)])
def test_predictions_stay_and_follow_the_weights(layer):
    model = zk.Sequential([zk.Input((9,), dtype="int32"), layers.Embedding(10, 4), layer])
    ids = np.random.default_rng(1).integers(0, 10, (6, 9)).astype("i4")
    for _ in range(2):
        want = np.asarray(layer(model.layers[0](ids)))
        np.testing.assert_allclose(model.predict_on_batch(ids), want, 1e-5, 1e-6)
        model.set_weights([w * 0.5 for w in model.get_weights()])


def test_an_op_without_the_flag_keeps_all_outputs():
    x = input_tensor("x", (3, 4))
    _, places = ops.top_k(x, 2)
    graph = optimise(Graph([x], [places]))
    (node,) = [n for n in graph.nodes() if n.op.name == "top_k"]
    assert node.specs[0].shape == (3, 2)
