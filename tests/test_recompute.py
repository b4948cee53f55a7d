"""Cheap results that backward reads: made again or kept, and always with the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graph_check import assert_close, evaluate, run

from zoo_keras.graph import Graph, Tensor, input_tensor, tracing
from zoo_keras.passes import recompute as module
from zoo_keras.passes.chains import gather_chains
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.recompute import recompute
from zoo_keras.passes.simplify import simplify
from zoo_keras.primitives.op import registry as R

ROWS, WIDTH = 160, 128
rng = np.random.default_rng(0)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    return R["matmul"](a, b, transpose_a=False, transpose_b=False)


def training_graph(activation: Any) -> Graph:
    """Loss and gradients of two products with an activation between them."""
    x = input_tensor("in0", (ROWS, WIDTH))
    w, v = input_tensor("in1", (WIDTH, WIDTH)), input_tensor("in2", (WIDTH, WIDTH))
    with tracing():
        hidden = activation(matmul(x, w))
        loss = R["reduce_sum"](R["square"](matmul(hidden, v)), axes=(0, 1), keepdims=False)
        found = gradients(loss, [w, v])
    return simplify(Graph([x, w, v], [loss, *[g for g in found if g is not None]]))


def hard_swish(x: Tensor) -> Tensor:
    return R["multiply"](x, R["clip"](R["add"](x, 3.0), low=0.0, high=6.0))


def with_tanh(x: Tensor) -> Tensor:
    return R["multiply"](x, R["tanh"](x))


def stored(graph: Graph) -> int:
    """Arrays of the hidden layer's size that forward leaves behind."""
    nodes = [n for n in graph.nodes() if n.op.name == "chain"]
    return len(nodes[0].specs)


def check_values(before: Graph, after: Graph) -> None:
    feeds = {t.node.attrs["name"]: rng.uniform(-1, 1, t.shape).astype("f4") for t in before.inputs}
    want = evaluate(before.outputs, feeds)
    assert_close(evaluate(after.outputs, feeds), want)
    assert_close(run(gather_chains(after), feeds), want)


def test_a_cheap_result_is_made_again_for_backward():
    before = training_graph(hard_swish)
    after = recompute(before)
    assert stored(gather_chains(before)) == 3  # x + 3, the gate, and x times the gate
    assert stored(gather_chains(after)) == 1
    check_values(before, after)


def test_a_costly_result_is_kept():
    graph = training_graph(with_tanh)
    assert recompute(graph) is graph


def test_a_small_result_is_kept(monkeypatch):
    monkeypatch.setattr(module, "SMALL", ROWS * WIDTH + 1)
    graph = training_graph(hard_swish)
    assert recompute(graph) is graph


def test_what_comes_from_more_operations_than_pay_is_kept(monkeypatch):
    monkeypatch.setattr(module, "MOST", 1)
    assert stored(gather_chains(recompute(training_graph(hard_swish)))) == 2  # but for x + 3


def test_what_another_kind_of_op_reads_later_is_kept():
    x, w = input_tensor("in0", (ROWS, WIDTH)), input_tensor("in1", (WIDTH, WIDTH))
    product = matmul(x, w)
    doubled = R["multiply"](product, 2.0)
    later = matmul(matmul(doubled, w), w)
    graph = Graph([x, w], [matmul(R["add"](product, later), w), matmul(doubled, w)])
    assert recompute(graph) is graph


@pytest.mark.parametrize("keeps_source", [True, False])
def test_it_depends_on_what_stays_alive_anyway(keeps_source):
    x, w = input_tensor("in0", (ROWS, WIDTH)), input_tensor("in1", (WIDTH, WIDTH))
    product = matmul(x, w)
    doubled = R["multiply"](product, 2.0)
    later = matmul(matmul(doubled, w), w)
    outputs = [R["add"](doubled, later)]
    if keeps_source:
        outputs.append(matmul(R["tanh"](R["multiply"](product, outputs[0])), w))
    graph = Graph([x, w], outputs)
    after = recompute(graph)
    assert (after is not graph) == keeps_source
    check_values(graph, after)
