"""Gathering elementwise nodes into chains: which nodes come together, which may not, and that the
values stay. What C makes of one chain is tested in test_chain.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph_check import assert_close, evaluate, op_names, run

from zoo_keras.graph import Graph, Node, Tensor, constant, input_tensor, tracing
from zoo_keras.passes.chains import gather_chains
from zoo_keras.primitives.chain import MAX_INPUTS, MAX_NODES, MAX_OUTPUTS
from zoo_keras.primitives.op import registry as R
from zoo_keras.variables import Variable

rng = np.random.default_rng(0)


def gathered(build: Callable[..., Any], *shapes: tuple[int, ...]) -> Graph:
    """The graph after the pass; its values are those before, by numpy and by the engine."""
    inputs = [input_tensor(f"in{i}", s) for i, s in enumerate(shapes)]
    outputs = build(*inputs)
    before = Graph(inputs, outputs if isinstance(outputs, tuple) else (outputs,))
    feeds = {f"in{i}": rng.uniform(0.5, 1.5, s).astype("f") for i, s in enumerate(shapes)}
    after, want = gather_chains(before), evaluate(before.outputs, feeds)
    assert_close(evaluate(after.outputs, feeds), want)
    assert_close(run(after, feeds), want)
    return after


def chains(graph: Graph) -> list[list[str]]:
    """The rows of each chain, in order."""
    found = [n for n in graph.nodes() if n.op.name == "chain"]
    return [[row[0] for row in n.attrs["code"] if row[0] != "literal"] for n in found]


def total(x: Tensor) -> Tensor:
    return R["reduce_sum"](x, axes=(0,), keepdims=True)


def test_elementwise_nodes_of_one_shape_are_one_chain():
    def build(x: Tensor, y: Tensor) -> Tensor:
        return R["tanh"](R["add"](R["multiply"](x, y), R["exp"](R["multiply"](x, 0.5))))

    graph = gathered(build, (4, 5), (5,))
    assert op_names(graph) == ["chain"]
    assert sorted(chains(graph)[0]) == ["add", "exp", "multiply", "multiply", "tanh"]


def test_a_lone_elementwise_node_is_a_chain_of_one():
    assert chains(gathered(lambda x: R["exp"](x), (3,))) == [["exp"]]


def test_other_shapes_are_other_chains():
    def build(x: Tensor) -> Tensor:
        return R["add"](R["exp"](x), R["sin"](R["exp"](total(x))))

    assert chains(gathered(build, (4, 5))) == [["exp", "sin"], ["exp", "add"]]


def test_a_chain_does_not_wait_for_itself():
    def build(x: Tensor) -> Tensor:
        y = R["exp"](x)
        return R["divide"](y, total(y))

    assert op_names(gathered(build, (4, 5))) == ["chain", "reduce_sum", "chain"]


def test_a_chain_that_is_read_does_not_wait_for_what_comes_later():
    def build(x: Tensor) -> tuple[Tensor, ...]:
        a = R["exp"](x)
        late = total(R["multiply"](R["reshape"](total(a), shape=(5, 1)), 2.0))
        return R["add"](a, late), R["cos"](a)

    assert chains(gathered(build, (4, 5))) == [["exp", "cos"], ["multiply"], ["add"]]


def test_a_chain_that_nobody_reads_yet_waits_for_what_comes_later():
    def build(x: Tensor) -> Tensor:
        return R["add"](R["exp"](x), total(R["matmul"](x, R["transpose"](x, perm=(1, 0)))))

    graph = gathered(build, (5, 5))
    assert op_names(graph) == ["transpose", "matmul", "reduce_sum", "chain"]


def test_branches_of_one_formula_become_one_chain():
    def gelu(x: Tensor) -> Tensor:
        x = R["matmul"](x, x)
        half = R["multiply"](x, 0.5)
        return R["multiply"](half, R["add"](R["erf"](R["multiply"](x, 0.7)), 1.0))

    assert op_names(gathered(gelu, (4, 4))) == ["matmul", "chain"]


def test_chains_of_weights_alone_stay_apart_when_weights_are_frozen():
    x = input_tensor("x", (4,))
    with tracing() as trace:
        w = trace.read(Variable(np.ones(4, np.float32), name="w"))
    graph = Graph([x], [R["add"](R["exp"](w), R["sin"](x))])
    assert len(chains(gather_chains(graph))) == 1
    assert chains(gather_chains(graph, freeze=True)) == [["exp"], ["sin", "add"]]


def test_what_is_read_outside_a_chain_comes_out_of_it():
    def build(x: Tensor) -> tuple[Tensor, ...]:
        a = R["exp"](x)
        b = R["multiply"](a, a)
        return R["add"](b, 1.0), b, total(a)

    graph = gathered(build, (4, 5))
    (node,) = [n for n in graph.nodes() if n.op.name == "chain"]
    assert len(node.specs) == 3


def test_an_output_returned_twice_is_computed_once():
    graph = gathered(lambda x: (R["exp"](x),) * 2, (3,))
    assert graph.outputs[0] is graph.outputs[1]


def test_a_chain_may_end_in_several_dtypes():
    def build(x: Tensor) -> tuple[Tensor, ...]:
        above = R["greater"](x, 1.0)
        return above, R["cast"](above, dtype="int32"), R["where"](above, x, 0.0)

    assert op_names(gathered(build, (40,))) == ["chain"]


def test_ops_and_dtypes_without_tiles_stay_as_they_are():
    def build(x: Tensor) -> Tensor:
        wide = R["cast"](R["bessel_i0"](R["exp"](x)), dtype="float64")
        return R["cast"](R["exp"](wide), dtype="float32")

    names = op_names(gathered(build, (3,)))
    assert names == ["chain", "bessel_i0", "cast", "exp", "cast"]


def long(x: Tensor, count: int) -> Tensor:
    for i in range(count):
        x = R["sin"](R["add"](x, float(i)))
    return x


@pytest.mark.parametrize("count", [MAX_NODES // 2, MAX_NODES // 2 + 1, 3 * MAX_NODES])
def test_long_runs_are_cut_into_chains_of_bounded_length(count):
    found = chains(gathered(lambda x: long(x, count), (7,)))
    assert len(found) == -(-2 * count // MAX_NODES)
    assert max(map(len, found)) <= MAX_NODES


def test_a_chain_reads_a_bounded_number_of_inputs():
    def build(*xs: Tensor) -> Tensor:
        y = xs[0]
        for x in xs[1:]:
            y = R["add"](R["multiply"](y, 0.5), x)
        return y

    graph = gathered(build, *[(6,)] * (2 * MAX_INPUTS))
    sizes = [len(n.inputs) for n in graph.nodes() if n.op.name == "chain"]
    assert (len(sizes) > 1, max(sizes) <= MAX_INPUTS) == (True, True)


def test_a_chain_has_a_bounded_number_of_outputs():
    def build(x: Tensor) -> tuple[Tensor, ...]:
        y, found = x, []
        for _ in range(2 * MAX_OUTPUTS + 1):
            y = R["sin"](R["add"](y, 0.1))
            found.append(total(y))
        return tuple(found)

    graph = gathered(build, (5, 3))
    counts = [len(n.specs) for n in graph.nodes() if n.op.name == "chain"]
    assert (len(counts) > 1, max(counts) <= MAX_OUTPUTS) == (True, True)


def test_small_constants_cost_no_input():
    def build(x: Tensor) -> Tensor:
        for i in range(15):
            x = R["add"](R["multiply"](x, 0.9), constant(np.full((1, 1), i, np.float32)))
        return x

    graph = gathered(build, (4, 4))
    (node,) = [n for n in graph.nodes() if n.op.name == "chain"]
    assert len(node.inputs) == 1


def test_a_chain_carries_the_scope_of_its_last_node():
    x = input_tensor("x", (3,))
    a = Node(R["exp"], [x], {}, [x.spec], "one").outputs[0]
    b = Node(R["sin"], [a], {}, [x.spec], "two").outputs[0]
    assert gather_chains(Graph([x], [b])).outputs[0].node.scope == "two"
