"""Nodes, graphs and traces: order, text, operators, and what is said when they are misused."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from graph_check import evaluate

from zoo_keras.dtypes import promote
from zoo_keras.errors import ShapeError
from zoo_keras.graph import (
    Graph,
    Tensor,
    constant,
    current_scope,
    current_trace,
    input_tensor,
    not_tracing,
    scope,
    topological,
    tracing,
)
from zoo_keras.primitives.op import registry as R
from zoo_keras.variables import Variable


def test_every_node_comes_after_its_inputs_and_once():
    x = input_tensor("x", (3,))
    a = R["exp"](x)
    b = R["add"](a, R["multiply"](a, x))
    order = Graph([x], [b, a, b]).nodes()
    assert [n.op.name for n in order] == ["input", "exp", "multiply", "add"]
    assert all(order.index(t.node) < i for i, n in enumerate(order) for t in n.inputs)


def test_the_order_of_nodes_is_the_same_each_time():
    x = input_tensor("x", (2,))
    outs = [R["sin"](R["add"](x, float(i))) for i in range(9)]
    graph = Graph([x], [R["add"](outs[i], outs[-i]) for i in range(5)])
    assert [id(n) for n in graph.nodes()] == [id(n) for n in graph.nodes()]


def test_a_graph_may_be_deeper_than_pythons_stack():
    y = x = input_tensor("x", ())
    for _ in range(5000):
        y = R["add"](y, x)
    assert len(topological([y.node])) == 5001


def test_a_graph_prints_one_line_a_node():
    x = input_tensor("x", (2, 3))
    gamma = constant(np.ones(3, np.float32))
    y, mean, _ = R["layer_norm"](x, gamma, constant(np.zeros((), np.float32)) + gamma, epsilon=0.1)
    text = str(Graph([x], [y, mean, R["reshape"](x, shape=(6,))]))
    assert text.splitlines() == [
        "%0 = input(name='x') float32[2, 3]",
        "%1 = constant(value=[1.0, 1.0, 1.0]) float32[3]",
        "%2 = constant(value=0.0) float32[]",
        "%3 = add(%2, %1) float32[3]",
        "%4 = layer_norm(%0, %1, %3, epsilon=0.1) float32[2, 3] float32[2] float32[2]",
        "%5 = reshape(%0, shape=(6,)) float32[6]",
        "return %4.0, %4.1, %5",
    ]


def test_long_constants_print_as_their_shape():
    assert "array[5]" in str(Graph([], [constant(np.zeros(5))]))


def test_a_constant_is_a_copy_that_nobody_can_change():
    array = np.zeros(3, np.float32)
    held = constant(array).node.attrs["value"]
    array[:] = 1
    assert held.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 1


OPERATORS = [
    (lambda x: x + 1, "add"), (lambda x: 1 - x, "subtract"), (lambda x: x * x, "multiply"),
    (lambda x: 2.0 / x, "divide"), (lambda x: x // 2, "floor_divide"), (lambda x: x % 2, "mod"),
    (lambda x: x**2, "power"), (lambda x: -x, "negative"), (lambda x: abs(x), "abs"),
    (lambda x: x < 1, "less"), (lambda x: x >= 1, "greater_equal"), (lambda x: x == 1, "equal"),
    (lambda x: x != 1, "not_equal"), (lambda x: x @ x, "matmul"),
    (lambda x: (x > 0) & (x < 1), "logical_and"), (lambda x: ~(x > 0), "logical_not"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "name"), OPERATORS, ids=[name for _, name in OPERATORS])
def test_pythons_operators_make_nodes_and_mean_what_numpy_means(act, name):
    y = act(input_tensor("x", (2, 2)))
    assert isinstance(y, Tensor)
    assert y.node.op.name == name
    value = np.array([[0.5, -1.5], [2.5, 1.0]], np.float32)
    (got,) = evaluate([y], {"x": value})
    np.testing.assert_allclose(got, act(value), 1e-6)


def test_a_number_takes_the_dtype_of_the_tensor_it_meets():
    assert (input_tensor("x", (2,), "int32") + 1).dtype == "int32"
    assert (input_tensor("x", (2,), "float16") * 2.5).dtype == "float16"
    assert (input_tensor("x", (2,), "int32") * 2.5).dtype == "float32"


def test_dtypes_promote_as_in_keras():
    rows = "float16 int64 float16, float16 float32 float32, int8 uint8 int16, bool int8 int8, "
    rows += "int64 uint64 float32, uint32 int32 int64, bool bool bool"
    for a, b, common in map(str.split, rows.split(", ")):
        assert (promote(a, b), promote(b, a)) == (common, common)


def test_tensors_can_be_keys_although_equality_is_elementwise():
    a, b = input_tensor("a", (2,)), input_tensor("b", (2,))
    places = {a: 1, b: 2}
    assert (places[a], places[b], len(places)) == (1, 2, 2)


MISUSES = [
    (lambda x: 1 if x > 0 else 2, "no truth value"),
    (lambda x: np.exp(x), "zoo_keras.ops"),
    (lambda x: len(x[0, 0]), "scalar"),
]


@pytest.mark.parametrize(("act", "message"), MISUSES, ids=["if", "numpy", "len"])
def test_misuse_of_a_symbolic_tensor_is_explained(act, message):
    with pytest.raises(TypeError, match=message):
        act(input_tensor("x", (1, 1)))


def test_iterating_a_tensor_gives_its_rows():
    rows = list(input_tensor("x", (3, 2)))
    assert [r.shape for r in rows] == [(2,)] * 3


def test_a_variable_is_one_parameter_of_a_trace():
    v = Variable(np.zeros(3, np.float32), name="v")
    with tracing() as trace:
        assert v.value is v.value
        assert (v + 1).node.inputs[0] is v.value
    assert [p.path for p, _ in trace.parameters.values()] == ["v"]


def test_what_is_assigned_in_a_trace_is_read_from_then_on():
    v = Variable(np.zeros(3, np.float32))
    with tracing() as trace:
        before = v.value
        v.assign(v + 1)
        v.assign_add(v)
        assert v.value is not before
    ((variable, last),) = trace.updates.values()
    assert variable is v
    assert [n.op.name for n in topological([last.node])].count("parameter") == 1
    assert v.numpy().tolist() == [0, 0, 0], "outside the trace nothing has changed"


def test_assigning_a_wrong_shape_names_the_variable():
    v = Variable(np.zeros((2, 3), np.float32), name="kernel")
    with tracing(), pytest.raises(ShapeError, match=r'"kernel" has shape \(2, 3\).*\(3,\)'):
        v.assign(np.zeros(3, np.float32))
    with pytest.raises(ShapeError, match=r'"kernel" has shape \(2, 3\).*\(3,\)'):
        v.assign(np.zeros(3, np.float32))


def test_an_assigned_value_gets_the_variables_dtype():
    v = Variable(0, dtype="int32")
    with tracing() as trace:
        v.assign(2.7)
    assert trace.updates[id(v)][1].dtype == "int32"


def test_traces_nest_and_the_innermost_is_current():
    v = Variable(1.0)
    with tracing() as outer:
        with tracing() as inner:
            v.assign(v + 1)
            with not_tracing():
                assert current_trace() is None
        assert current_trace() is outer
    assert (len(inner.updates), len(outer.updates)) == (1, 0)
    assert current_trace() is None


def test_a_trace_ends_when_its_block_fails():
    with pytest.raises(RuntimeError), tracing():
        raise RuntimeError
    assert current_trace() is None


def test_each_thread_has_its_own_trace():
    seen = []
    with tracing():
        thread = threading.Thread(target=lambda: seen.append(current_trace()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_nodes_carry_the_names_of_the_layers_they_were_made_in():
    x = input_tensor("x", (2,))
    with scope("model"), scope("dense"):
        y = R["exp"](x)
    assert (y.node.scope, current_scope()) == ("model/dense", "")
    with scope("fc1"), pytest.raises(ShapeError, match=r'add in layer "fc1".*\(2,\), \(3,\)'):
        R["add"](x, input_tensor("z", (3,)))


def test_the_random_source_is_made_when_it_is_asked_for():
    with tracing() as trace:
        assert trace.rng is None
        rng = trace.random_source()
        assert (trace.random_source() is rng, rng.shape, rng.dtype) == (True, (2,), "int64")
