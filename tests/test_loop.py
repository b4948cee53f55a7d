"""The op `scan`: equal to the loop written out, gradients included; compiled once for all steps."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import ops
from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.execute import value_and_grad
from zoo_keras.graph import Graph, constant, input_tensor, tracing
from zoo_keras.ops.loop import evaluate, scan_steps
from zoo_keras.ops.op import registry
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.program import Place, compile_graph
from zoo_keras.weights import Variable

RNG = np.random.default_rng(3)
LENGTH, ROWS, WIDTH = 5, 3, 4


def arrays():
    shapes = [(ROWS, WIDTH), (LENGTH, ROWS, WIDTH)]
    return [RNG.uniform(-1, 1, s).astype("f4") for s in shapes]


def cell(weight):
    """A step with two states, one of them whole numbers, and two outputs."""

    def step(states, xs):
        h, count = states
        new = ops.tanh(ops.matmul(h, weight) + xs[0] * ops.cast(count + 1, "float32"))
        return [new, count + 1], [new * xs[0], ops.sum(new, axis=-1)]

    return step


def looped(step, states, xs, reverse):
    """The same, written out in the graph."""
    outputs = {}
    for t in range(LENGTH)[::-1] if reverse else range(LENGTH):
        states, outputs[t] = step(states, [x[t] for x in xs])
    columns = zip(*[outputs[t] for t in range(LENGTH)], strict=True)
    return states, [ops.stack(list(c)) for c in columns]


def score(loop, reverse, weight, second=False):
    """A number that depends on all results."""

    def fn(h, x):
        count = constant(np.zeros((ROWS, 1), "int32"))
        states, outputs = loop(cell(weight), [h, count], [x], reverse)
        total = ops.sum(states[0] * ops.cast(states[1], "float32") * 0.3)
        return total + ops.sum(outputs[0] * outputs[0]) + ops.sum(outputs[1] * 0.7)

    return fn


def scanned(step, states, xs, reverse):
    return scan_steps(step, states, xs, LENGTH, reverse)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_loop_written_out_with_its_gradients(reverse):
    weight = Variable(RNG.uniform(-1, 1, (WIDTH, WIDTH)).astype("f4"))
    given = arrays()
    want = value_and_grad(score(looped, reverse, weight), given, [weight])
    got = value_and_grad(score(scanned, reverse, weight), given, [weight])
    np.testing.assert_allclose(got[0], want[0], 1e-5)
    for a, b in zip([*got[1], *got[2]], [*want[1], *want[2]], strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_reference_is_what_the_engine_runs(reverse):
    weight = RNG.uniform(-1, 1, (WIDTH, WIDTH)).astype("f4")
    given = arrays()
    with tracing():
        h, x = (input_tensor(f"in{i}", a.shape) for i, a in enumerate(given))
        value = score(scanned, reverse, weight)(h, x)
    (want,) = evaluate(Graph([h, x], [value]), given)
    got, _, _ = value_and_grad(score(scanned, reverse, weight), given, [])
    np.testing.assert_allclose(got, want, 1e-5)


def test_scan_of_a_scan_and_a_second_gradient():
    def slope(loop):
        def fn(h, x):
            value = score(loop, False, constant(np.eye(WIDTH, dtype="f4")))(h, x)
            (g,) = gradients(value, [x])
            return ops.sum(g * g)

        return fn

    given = arrays()
    want, got = (value_and_grad(slope(loop), given, []) for loop in (looped, scanned))
    np.testing.assert_allclose(got[0], want[0], 1e-4)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-4)


def compiled(length):
    h, x = input_tensor("h", (2, 3)), input_tensor("x", (length, 2, 3))
    with tracing():
        (state,), _ = scan_steps(lambda s, xs: ([ops.tanh(s[0] + xs[0])], []), [h], [x], length)
        (g,) = gradients(ops.sum(state), [x])
    graph = optimise(Graph([h, x], [g]))
    places = {t: Place(t.node.attrs["name"]) for t in (h, x)}
    return compile_graph(graph, places, [Place("out0")], lambda v: Place("weights"))


def test_the_program_does_not_grow_with_the_length():
    short, long = compiled(3), compiled(3000)
    assert len(short.instrs) == len(long.instrs)
    assert short.labels == long.labels


def test_what_nobody_reads_is_not_saved():
    graph_of = {}
    for name, index in (("state", 0), ("outputs", 1)):
        with tracing():
            h, x = input_tensor("h", (2, 3)), input_tensor("x", (4, 2, 3))
            found = scan_steps(lambda s, xs: ([s[0] + xs[0]], [s[0]]), [h], [x], 4)
        graph_of[name] = optimise(Graph([h, x], [found[index][0]]))
    kept = {
        name: [n.attrs["kept"] for n in graph.nodes() if n.op is registry["scan"]]
        for name, graph in graph_of.items()
    }
    assert kept == {"state": [(True, False, False)], "outputs": [(False, True, False)]}


def test_each_step_draws_random_numbers_of_its_own():
    from zoo_keras import random

    source = random.SeedGenerator(7)

    def fn(h, x):
        def step(states, xs):
            return [states[0]], [random.uniform((ROWS, WIDTH), seed=source)]

        _, (drawn,) = scan_steps(step, [h], [x], LENGTH)
        flat = ops.reshape(drawn, (LENGTH, -1))
        distance = ops.sum(ops.abs(flat[:1] - flat), axis=1)
        return ops.min(distance[1:])

    assert value_and_grad(fn, arrays(), [])[0] > 0.5


def test_no_steps_keep_the_states():
    h, x = np.ones((2, 3), "f4"), np.ones((0, 2, 3), "f4")

    def fn(h, x):
        (state,), _ = scan_steps(lambda s, xs: ([s[0] * xs[0]], []), [h], [x], 0)
        return ops.sum(state)

    value, (dh, _), _ = value_and_grad(fn, [h, x], [])
    assert value == 6 and (dh == 1).all()


def test_a_state_must_keep_its_shape():
    h, x = input_tensor("h", (2, 3)), input_tensor("x", (4, 2, 3))
    with tracing(), pytest.raises(ShapeError, match="keep the shapes"):
        scan_steps(lambda s, xs: ([s[0][:1]], []), [h], [x], 4)


def test_a_step_must_not_assign_variables():
    h, x, count = input_tensor("h", (2, 3)), input_tensor("x", (4, 2, 3)), Variable(0.0)

    def step(states, xs):
        count.assign(count + 1.0)
        return states, []

    with tracing(), pytest.raises(UnsupportedError, match="must not assign"):
        scan_steps(step, [h], [x], 4)
