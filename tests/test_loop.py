"""The op `scan`: equal to the loop written out, gradients included; compiled once for all steps."""

from __future__ import annotations

import numpy as np
import pytest
from traced import in_program, value_and_grad

import zoo_keras
from zoo_keras import interpret, layers, ops, random
from zoo_keras.engine.program import Place, compile_graph
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Graph, constant, input_tensor, topological, tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.scan import scan_steps
from zoo_keras.variables import Variable

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
    (want,) = interpret.run(Graph([h, x], [value]), given)
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


def test_a_loop_runs_without_the_host():
    program = compiled(4)
    assert program.host == {}
    assert [len(body.instrs) > 0 for body in program.bodies] == [True] * len(program.bodies)
    assert program.bodies


def test_a_body_that_needs_the_host_runs_step_by_step_with_equal_results():
    def run(loop):
        def fn(h, x):
            host = lambda x: ops.tanh(x * ops.stop_gradient(ops.i0(x)))  # noqa: E731
            step = lambda s, xs: ([host(s[0] * 0.5 + xs[0])], [s[0]])  # noqa: E731
            (last,), (rows,) = loop(step, [h], [x], False)
            return ops.sum(last) + ops.sum(rows * rows)

        return value_and_grad(fn, given, [])

    given = arrays()
    got, want = run(scanned), run(looped)
    np.testing.assert_allclose(got[0], want[0], 1e-5)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


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


def test_a_step_must_not_assign_again_what_was_assigned_before():
    h, count = input_tensor("h", (2, 3)), Variable(0.0)

    def step(carry, _):
        count.assign(count + 1.0)
        return carry, None

    with tracing(), pytest.raises(UnsupportedError, match="must not assign"):
        count.assign(2.0)
        ops.scan(step, h, length=4)


# --- ops.scan

W = RNG.uniform(-1, 1, (WIDTH, WIDTH)).astype("f4")
H, X = arrays()
N = np.arange(LENGTH, dtype="int32")

# (f, init, xs, length)
SCANS = {
    "nested": (lambda c, x: ({"a": c["b"], "b": ops.tanh(c["a"] @ W + x[0])},
                             [c["a"] * x[1]["k"], (None, c["b"])]),
               {"a": H, "b": H * 2}, (X, {"k": X * 2}), None),
    "no outputs": (lambda c, x: (c + x, None), H, X, None),
    "whole numbers": (lambda c, x: (c + x, c * x), np.int32(1), N, None),
    "truth values": (lambda c, x: (ops.logical_xor(c, x > 2), c), np.array(True), N, None),
    "Python numbers": (lambda c, x: ((c[0] + 1, c[1] * 0.5), c), (0, 1.0), X, None),
    "no rows": (lambda c, x: (c * 0.9, ops.sum(c)), H, None, LENGTH),
    "no carry": (lambda c, x: (None, x * 2), None, X, None),
    "a constant": (lambda c, x: (c, np.float32([1, 2])), H, X, LENGTH),
    "the row itself": (lambda c, x: (x, [x, x, c, c]), H, X, None),
    "a number beside nothing": (lambda c, x: (c + x[0], 1.5), H, (X, None), None),
}  # fmt: skip


OPTIONS = [{}, {"reverse": True}, {"unroll": True}, {"unroll": 2}, {"unroll": 3, "reverse": True}]


def leaves(structure):
    return [leaf for leaf in flatten(structure) if leaf is not None]


def traced_scan(f, init, xs, length, **options):
    """The leaves of ops.scan in a program, which is fed all arrays of init and xs."""
    given = flatten((init, xs))

    def run(*tensors):
        left = iter(tensors)
        now = [next(left) if isinstance(g, np.ndarray) else g for g in given]
        return leaves(ops.scan(f, *pack_as((init, xs), now), length=length, **options))

    return in_program(run, *[g for g in given if isinstance(g, np.ndarray)])


@pytest.mark.parametrize(
    "options", [{}, {"reverse": True}, {"unroll": True}, {"unroll": 2}], ids=str
)
@pytest.mark.parametrize("name", SCANS)
def test_a_traced_scan_is_the_python_loop(name, options):
    f, init, xs, length = SCANS[name]
    want = leaves(ops.scan(f, init, xs, length=length, **options))
    for a, b in zip(traced_scan(f, init, xs, length, **options), want, strict=True):
        assert (a.shape, a.dtype) == (np.shape(b), np.asarray(b).dtype)
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_scan_is_that_of_numpy_for_every_length(length, reverse):
    x = RNG.uniform(-1, 1, (length, 3)).astype("f4")
    rows = x[::-1] if reverse else x
    sums = np.cumsum(rows, axis=0, dtype="f4")
    want = [rows.sum(0), sums[::-1] if reverse else sums]
    zero = np.zeros(3, "f4")
    f = lambda c, x: (c + x, c + x)  # noqa: E731
    for got in (
        traced_scan(f, zero, x, None, reverse=reverse),
        ops.scan(f, zero, x, None, reverse),
    ):
        for a, b in zip(got, want, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def mixed_scan(weight, **options):
    """A number that depends on all results of a scan that reads a weight and an outer tensor."""

    def fn(h, x, outer):
        def f(carry, row):
            h, n = carry["h"], carry["n"]
            new = ops.tanh(ops.matmul(h, weight) + row[0] * ops.cast(n, "float32") + outer * 2.0)
            return {"h": new, "n": n + 1}, (new * row[0], ops.sum(new * weight[0], axis=-1), None)

        last, (first, second, _) = ops.scan(f, {"h": h, "n": 1}, (x, N), **options)
        total = ops.sum(last["h"] * ops.cast(last["n"], "float32")) + ops.sum(second * 0.7)
        return total + ops.sum(first * first)

    return fn


@pytest.mark.parametrize("unroll", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_a_scan_reach_carry_rows_outer_tensors_and_weights(reverse, unroll):
    weight, given = Variable(W), [H, X, H[:1] * 0.5]
    want = value_and_grad(mixed_scan(weight, reverse=reverse, unroll=True), given, [weight])
    got = value_and_grad(mixed_scan(weight, reverse=reverse, unroll=unroll), given, [weight])
    np.testing.assert_allclose(got[0], want[0], 1e-5)
    for a, b in zip([*got[1], *got[2]], [*want[1], *want[2]], strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_the_gradient_of_a_product_is_the_product_of_the_others():
    x = np.float32([2, 3, 5, 7])
    fn = lambda x: ops.scan(lambda c, row: (c * row, None), 1.0, x)[0]  # noqa: E731
    value, (gradient,), _ = value_and_grad(fn, [x], [])
    np.testing.assert_allclose(value, 210)
    np.testing.assert_allclose(gradient, 210 / x)


def test_a_captured_tensor_made_from_another_is_not_counted_twice():
    weight = Variable(np.float32(3))
    fn = lambda x: ops.scan(lambda c, row: (c + weight * 2 + weight + row, None), 0.0, x)[0]  # noqa: E731
    _, _, (gradient,) = value_and_grad(fn, [np.zeros(7, "f4")], [weight])
    assert gradient == 7 * 3


def test_a_scan_in_a_scan_is_two_loops():
    def fn(unroll):
        def run(h, x):
            def row(c, x):
                inner = lambda c, i: (ops.tanh(c + x * c), c * x)  # noqa: E731
                c, y = ops.scan(inner, c, length=3, unroll=unroll)
                return c, ops.sum(y, axis=0)

            c, y = ops.scan(row, h, x, unroll=unroll)
            return ops.sum(c) + ops.sum(y * y)

        return run

    want, got = (value_and_grad(fn(unroll), [H, X], []) for unroll in (True, 1))
    np.testing.assert_allclose(got[0], want[0], 1e-5)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_steps_of_loops_in_loops_draw_numbers_of_their_own():
    source = random.SeedGenerator(7)

    def fn(x):
        draw = lambda c, _: (c, random.uniform((2, 3), seed=source))  # noqa: E731
        outer = lambda c, _: (c, ops.scan(draw, c, length=4)[1])  # noqa: E731
        return ops.scan(outer, x, length=5)[1]

    drawn = in_program(fn, H)
    assert drawn.shape == (5, 4, 2, 3) and np.unique(drawn).size == drawn.size
    with tracing(), pytest.raises(UnsupportedError, match="two loops within each other"):
        ops.scan(lambda c, _: (c, fn(c)), input_tensor("x", (2, 3)), length=4)


@pytest.mark.parametrize("seed", [None, random.SeedGenerator(7)], ids=["calm", "random"])
def test_a_scan_in_a_time_distributed_layer_is_that_of_each_step(seed):
    class Sums(layers.Layer):
        def call(self, x):
            noise = (lambda: random.uniform((4,), seed=seed)) if seed else (lambda: 0.0)
            f = lambda c, row: (c + row, c + row + 0.01 * noise())  # noqa: E731
            return ops.transpose(
                ops.scan(f, x[:, 0] * 0, ops.transpose(x, (1, 0, 2)))[1], (1, 0, 2)
            )

    x = RNG.uniform(size=(2, 3, LENGTH, WIDTH)).astype("f4")
    got = in_program(layers.TimeDistributed(Sums()), x)
    np.testing.assert_allclose(got, np.cumsum(x, axis=2), rtol=1e-5, atol=0.01 if seed else 1e-6)


def instructions(length, **options):
    h, x = input_tensor("h", (2, WIDTH)), input_tensor("x", (length, 2, WIDTH))
    with tracing():
        f = lambda c, x: (ops.tanh(ops.matmul(c, W) + x), c)  # noqa: E731
        last, rows = ops.scan(f, h, x, **options)
        outputs = [rows, *gradients(ops.sum(last) + ops.sum(rows * rows), [h, x])]
    graph = optimise(Graph([h, x], outputs))
    places = {t: Place(t.node.attrs["name"]) for t in (h, x)}
    outs = [Place(f"out{i}") for i in range(3)]
    return len(compile_graph(graph, places, outs, lambda v: Place("weights")).instrs)


def test_the_program_of_a_scan_does_not_grow_with_the_length():
    assert instructions(2) == instructions(2000)
    assert instructions(8, unroll=4) == instructions(2000, unroll=4)
    assert instructions(3, unroll=True) < instructions(6, unroll=True)


class Smooth(layers.Layer):
    """Running averages over the steps, with a rate for each feature that is learned."""

    def __init__(self, unroll=1, **kwargs):
        super().__init__(**kwargs)
        self.unroll = unroll

    def build(self, shape):
        self.rate = self.add_weight(shape=(shape[-1],), initializer="zeros", name="rate")

    def call(self, x):
        rate, rows = ops.sigmoid(self.rate), ops.transpose(x, (1, 0, 2))
        step = lambda c, row: (c + rate * (row - c), None)  # noqa: E731
        return ops.scan(step, ops.zeros_like(rows[0]), rows, unroll=self.unroll)[0]


def trained(unroll):
    zoo_keras.random.set_random_seed(1)
    model = zoo_keras.Sequential(
        [layers.Input((None, WIDTH)), Smooth(unroll), layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(20, 6, WIDTH)).astype("f4")
    y = 2 * x[:, -1].sum(1, keepdims=True)
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights(), model.predict(x[:3, :4], verbose=0)


def test_a_layer_with_a_scan_trains_as_with_the_steps_written_out():
    (loss, weights, preds), (want_loss, want_weights, want_preds) = trained(1), trained(True)
    assert loss[-1] < loss[0] and np.abs(weights[0]).min() > 1e-3
    np.testing.assert_allclose(loss, want_loss, 1e-4)
    np.testing.assert_allclose(preds, want_preds, 1e-4, 1e-5)
    for a, b in zip(weights, want_weights, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_a_scan_of_a_functional_model_is_a_loop():
    x = layers.Input(batch_shape=(ROWS, LENGTH, WIDTH))
    rows = ops.transpose(x, (1, 0, 2))
    last, sums = ops.scan(lambda c, row: (c + row, {"sum": c + row}), rows[0] * 0, rows)
    model = zoo_keras.Model(x, [last, sums["sum"]])
    given = RNG.uniform(size=(ROWS, LENGTH, WIDTH)).astype("f4")
    got = model.predict(given, verbose=0)
    np.testing.assert_allclose(got[0], given.sum(1), 1e-5)
    np.testing.assert_allclose(got[1], np.cumsum(given, 1).transpose(1, 0, 2), 1e-5)


def test_steps_written_out_may_do_what_a_loop_cannot():
    count = Variable(0.0)

    def f(carry, _):
        count.assign_add(1.0)
        return ops.concatenate([carry, carry]), None

    got = in_program(lambda h: ops.scan(f, h, length=3, unroll=True)[0], H)
    assert got.shape == (8 * ROWS, WIDTH) and count.numpy() == 3
    one = in_program(lambda h: ops.scan(f, h, length=1)[0], H)
    assert one.shape == (2 * ROWS, WIDTH)


BAD_SCANS = [
    (lambda t: ops.scan(lambda c, x: (ops.concatenate([c, c]), x), t, t), ShapeError, "keep the"),
    (lambda t: ops.scan(lambda c, x: (c + x, x), 0, t), ShapeError, "keep the"),
    (lambda t: ops.scan(lambda c, x: ((c, c), x), t, t), ShapeError, "keep the"),
    (lambda t: ops.scan(lambda c, x: c, t, t), ConfigError, "two things"),
    (lambda t: ops.scan(lambda c, x: (c, x), t, t, length=9), ShapeError, "as many rows"),
    (lambda t: ops.scan(lambda c, x: (c, x), t, ops.sum(t)), ShapeError, "as many rows"),
    (lambda t: ops.scan(lambda c, x: (c, x), t), ConfigError, "how many steps"),
    (lambda t: ops.scan(lambda c, x: (c, x), t, length=-1), ShapeError, "as many rows"),
    (lambda t: ops.scan(lambda c, x: (c, x), t, t, unroll=0), ConfigError, "unroll"),
    (lambda t: ops.scan(None, t, t), ConfigError, "function"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "error", "words"), BAD_SCANS)
def test_scans_that_cannot_run_are_refused(function, error, words):
    with tracing(), pytest.raises(error, match=words) as found:
        function(input_tensor("t", (3, 4)))
    assert "Received" in str(found.value)


def test_a_scan_is_one_node():
    with tracing():
        x = input_tensor("x", (9, 2))
        last, _ = ops.scan(lambda c, x: (c + x, None), x[0] * 0, x)
    assert [n.op.name for n in topological([last.node])].count("scan") == 1
