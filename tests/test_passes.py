"""Passes: a small graph in, the expected graph out; and on random graphs every pass keeps every
value, and gradients equal finite differences. (Chains have a file of their own.)"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from graph_check import RandomGraph, assert_close, evaluate, op_names

from zoo_keras.errors import ProgramError, UnsupportedError
from zoo_keras.graph import (
    CONSTANT,
    Graph,
    Node,
    Spec,
    Tensor,
    constant,
    input_tensor,
    scope,
    tracing,
)
from zoo_keras.passes.chains import gather_chains
from zoo_keras.passes.fuse import fold_scales, fuse_bias, fuse_epilogues, pack_weights
from zoo_keras.passes.fuse_norm import fuse_norms
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.passes.simplify import FOLD_LIMIT, simplify
from zoo_keras.passes.verify import verify
from zoo_keras.primitives.arrays import sum_to
from zoo_keras.primitives.op import registry as R
from zoo_keras.variables import Variable

Build = Callable[[Tensor], Tensor | tuple[Tensor, ...]]


def through(build: Build, by: Callable[[Graph], Graph], shape=(2, 3), dtype="float32") -> Graph:
    """What a pass makes of what `build` makes of an input x."""
    x = input_tensor("x", shape, dtype)
    outputs = build(x)
    return by(Graph([x], outputs if isinstance(outputs, tuple) else (outputs,)))


def fuse_products(graph: Graph) -> Graph:
    return fuse_epilogues(fuse_bias(graph))


def parameter(*shape: int, name: str = "w") -> Tensor:
    """The tensor of a new Variable."""
    with tracing() as trace:
        return trace.read(Variable(np.full(shape, 0.5, np.float32), name=name))


def full(shape, number, dtype="float32"):
    return constant(np.full(shape, number, dtype))


# --- simplify


def test_a_simplified_graph_reads_like_this():
    def build(x: Tensor) -> Tensor:
        a = R["multiply"](R["add"](x, 0.0), R["exp"](constant(np.zeros(3, np.float32))))
        half = R["divide"](constant(np.float32(1)), constant(np.float32(2)))
        return R["add"](R["sin"](R["multiply"](a, half)), R["sin"](R["multiply"](x, half)))

    assert str(through(build, simplify)).splitlines() == [
        "%0 = input(name='x') float32[2, 3]",
        "%1 = constant(value=0.5) float32[]",
        "%2 = multiply(%0, %1) float32[2, 3]",
        "%3 = sin(%2) float32[2, 3]",
        "%4 = add(%3, %3) float32[2, 3]",
        "return %4",
    ]


GONE: dict[str, Build] = {
    "x + 0": lambda x: R["add"](x, 0.0),
    "0 + x": lambda x: R["add"](full((3,), 0), x),
    "x - 0": lambda x: R["subtract"](x, full((1, 1), 0)),
    "x * 1": lambda x: R["multiply"](x, full((2, 3), 1)),
    "x / 1": lambda x: R["divide"](x, 1.0),
    "x ** 1": lambda x: R["power"](x, 1.0),
    "same shape": lambda x: R["reshape"](x, shape=(2, 3)),
    "there and back": lambda x: R["reshape"](R["reshape"](x, shape=(6,)), shape=(2, 3)),
    "turned twice": lambda x: R["transpose"](R["transpose"](x, perm=(1, 0)), perm=(1, 0)),
    "not turned": lambda x: R["transpose"](x, perm=(0, 1)),
    "same dtype": lambda x: R["cast"](x, dtype="float32"),
    "not spread": lambda x: R["broadcast_to"](x, shape=(2, 3)),
    "stop_gradient": lambda x: R["stop_gradient"](x),
}


@pytest.mark.parametrize("build", GONE.values(), ids=GONE)
def test_what_computes_nothing_goes_away(build):
    graph = through(build, simplify)
    assert graph.outputs == graph.inputs


KEPT: dict[str, tuple[Build, str]] = {
    "x * 0 is NaN for NaN": (lambda x: R["multiply"](x, 0.0), "multiply"),
    "x - x is NaN for inf": (lambda x: R["subtract"](x, x), "subtract"),
    "x / x is NaN for 0": (lambda x: R["divide"](x, x), "divide"),
    "1 / x": (lambda x: R["divide"](1.0, x), "divide"),
    "0 - x": (lambda x: R["subtract"](0.0, x), "subtract"),
    "1 ** x": (lambda x: R["power"](1.0, x), "power"),
    "x * 1 that broadcasts": (lambda x: R["multiply"](x, full((4, 2, 3), 1)), "multiply"),
    "x + 0 that stretches": (
        lambda x: R["add"](R["strided_slice"](x, begin=(0, 0), end=(1, 3), strides=(1, 1)),
                           full((2, 1), 0)),
        "strided_slice add",
    ),
    "almost 1": (lambda x: R["multiply"](x, constant(np.array([1, 1, 2], "f"))), "multiply"),
    "cast": (lambda x: R["cast"](R["cast"](x, dtype="int32"), dtype="float32"), "cast cast"),
}  # fmt: skip


@pytest.mark.parametrize(("build", "names"), KEPT.values(), ids=KEPT)
def test_what_may_change_a_value_stays(build, names):
    assert op_names(through(build, simplify)) == names.split()


def test_dividing_integers_by_one_still_gives_floats():
    graph = through(lambda x: R["divide"](x, constant(np.int32(1))), simplify, dtype="int32")
    assert (graph.outputs[0].dtype, op_names(graph)) == ("float32", ["divide"])


def test_reshapes_and_transposes_in_a_row_become_one():
    flat = through(lambda x: R["reshape"](R["reshape"](x, shape=(6,)), shape=(3, 2)), simplify)
    assert str(flat).splitlines()[1:] == [
        "%1 = reshape(%0, shape=(3, 2)) float32[3, 2]",
        "return %1",
    ]

    def build(x: Tensor) -> Tensor:
        return R["transpose"](R["transpose"](x, perm=(2, 0, 1)), perm=(1, 0, 2))

    graph = through(build, simplify, shape=(2, 3, 4))
    assert graph.outputs[0].node.attrs["perm"] == (0, 2, 1)
    assert graph.outputs[0].node.inputs == graph.inputs


def test_what_depends_on_constants_only_becomes_a_constant():
    def build(x: Tensor) -> Tensor:
        mask = R["greater"](constant(np.arange(6, dtype="f").reshape(2, 3)), 2.5)
        return R["where"](R["logical_not"](mask), x, 0.0)

    graph = through(build, simplify)
    assert op_names(graph) == ["where"]
    assert graph.outputs[0].node.inputs[0].node.attrs["value"].tolist() == [[True] * 3, [False] * 3]


def test_large_constants_are_not_unrolled_into_the_program():
    side = int(FOLD_LIMIT**0.5) + 1
    graph = through(lambda x: R["broadcast_to"](full((), 1), shape=(side, side)), simplify)
    assert op_names(graph) == ["broadcast_to"]


def test_equal_calls_become_one():
    def build(x: Tensor) -> tuple[Tensor, ...]:
        a, b = (R["reduce_sum"](R["exp"](x), axes=(1,), keepdims=False) for _ in range(2))
        c = R["reduce_sum"](R["exp"](x), axes=(0,), keepdims=False)
        return a, b, c

    graph = through(build, simplify)
    assert op_names(graph) == ["exp", "reduce_sum", "reduce_sum"]
    assert graph.outputs[0] is graph.outputs[1]


def test_equal_calls_of_random_ops_stay_two():
    rng = input_tensor("rng", (2,), "int64")

    def build(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(R["random_uniform"](rng, shape=(2,), seed=1, low=0.0, high=1.0) for _ in "ab")

    assert op_names(through(build, simplify)) == ["random_uniform"] * 2
    seeds = constant(np.zeros(2, np.int64))
    dropped = through(lambda x: R["dropout"](full((4,), 1), seeds, rate=0.5, seed=1), simplify)
    assert op_names(dropped) == ["dropout"], "and are not folded"


def test_attributes_that_differ_in_the_middle_of_an_array_differ():
    x, long = input_tensor("x", (2,)), np.zeros(5000)
    other = long.copy()
    other[2500] = 1
    from zoo_keras.graph import Node

    nodes = [Node(R["bessel_i0"], [x], {"table": t}, [x.spec]) for t in (long, other, long.copy())]
    made = simplify(Graph([x], [n.outputs[0] for n in nodes])).outputs
    assert (made[0] is made[1], made[0] is made[2]) == (False, True)


def test_zeros_of_both_signs_are_different_constants():
    a, b = simplify(Graph([], [full((), 0.0), full((), -0.0)])).outputs
    assert a is not b


def test_a_pass_with_nothing_to_do_gives_the_graph_itself():
    graph = through(lambda x: R["exp"](R["tanh"](x)), lambda g: g)
    assert simplify(graph) is graph
    assert optimise(graph) is not graph


@pytest.mark.parametrize(("axes", "zero"), [((0, 1, 2), True), ((0, 1), False)])
def test_a_bias_before_batch_normalization_has_no_gradient(axes, zero):
    def build(x):
        one = full(3, 1.0)
        dx, dgamma, _ = R["batch_norm_grad"](R["exp"](x), x, one, one, one, epsilon=0.1)
        return R["reduce_sum"](dx, axes=axes, keepdims=False), R["multiply"](dgamma, 2.0)

    graph = through(build, simplify, (2, 4, 4, 3))
    total = graph.outputs[0]
    assert (total.node.op is CONSTANT) == zero
    if zero:
        assert not total.node.attrs["value"].any()


# --- fuse


def biased(x: Tensor, product: Tensor | None = None) -> Tensor:
    product = R["matmul"](x, parameter(3, 4)) if product is None else product
    return R["add"](product, parameter(4, name="b"))


def test_product_bias_and_activation_become_one_node():
    graph = through(lambda x: R["relu"](biased(x)), fuse_products)
    assert str(graph).splitlines()[-2:] == [
        "%3 = dense(%0, %1, %2, activation='relu') float32[2, 4]",
        "return %3",
    ]


def convolved(x: Tensor) -> Tensor:
    attrs = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    return R["conv"](x, parameter(1, 1, 3, 4), **attrs)


def test_a_convolution_takes_its_bias_and_activation_too():
    def build(x: Tensor) -> Tensor:
        return R["sigmoid"](R["add"](parameter(1, 1, 1, 4), convolved(x)))

    graph = through(build, fuse_products, shape=(1, 2, 2, 3))
    assert op_names(graph) == ["reshape", "conv_fused"]
    assert graph.outputs[0].node.attrs["activation"] == "sigmoid"


def test_a_residual_and_the_activation_after_it_are_taken_in():
    def dense(x: Tensor) -> Tensor:
        return R["clip"](R["add"](parameter(2, 4, name="r"), biased(x)), low=0.0, high=6.0)

    def conv(x: Tensor) -> Tensor:
        y = R["add"](convolved(x), parameter(4, name="b"))
        return R["relu"](R["add"](y, parameter(1, 2, 2, 4, name="r")))

    for build, shape, name, kind in (
        (dense, (2, 3), "dense_add", "relu6"),
        (conv, (1, 2, 2, 3), "conv_fused_add", "relu"),
    ):
        graph = through(build, fuse_products, shape=shape)
        assert op_names(graph) == [name]
        assert graph.outputs[0].node.attrs["activation"] == kind
        frozen = through(build, lambda g: optimise(g, freeze=True), shape=shape)
        assert op_names(frozen)[-1] == name.replace("_fused", "").replace("_add", "_packed_add")


def both(x: Tensor) -> tuple[Tensor, ...]:
    product = R["matmul"](x, parameter(3, 4))
    return biased(x, product), product


UNFUSED: dict[str, tuple[Build, str]] = {
    "the product is an output": (both, "matmul add"),
    "the product is read twice": (
        lambda x: R["add"](*both(x)), "matmul add add"),
    "the sum is read twice": (
        lambda x: (lambda s: R["multiply"](R["relu"](s), s))(biased(x)), "dense relu multiply"),
    "the sum is an output": (
        lambda x: (lambda s: (R["relu"](s), s))(biased(x)), "dense relu"),
    "the bias is a matrix": (
        lambda x: R["add"](R["matmul"](x, parameter(3, 4)), parameter(2, 4)), "matmul add"),
    "the bias is a column": (
        lambda x: R["add"](R["matmul"](x, parameter(3, 4)), parameter(2, 1)), "matmul add"),
    "the bias is a number": (
        lambda x: R["add"](R["matmul"](x, parameter(3, 4)), parameter()), "matmul add"),
    "the bias stretches the product": (
        lambda x: R["add"](R["matmul"](x, parameter(3, 4)), parameter(5, 1, 4)), "matmul add"),
    "the matrix is turned": (
        lambda x: biased(x, R["matmul"](x, parameter(4, 3), transpose_b=True)), "matmul add"),
    "another activation": (lambda x: R["exp"](biased(x)), "dense exp"),
    "a second activation": (lambda x: R["tanh"](R["relu"](biased(x))), "dense tanh"),
    "the product added to itself": (
        lambda x: (lambda p: R["add"](p, p))(R["matmul"](x, parameter(3, 1))), "matmul add"),
}  # fmt: skip


@pytest.mark.parametrize(("build", "names"), UNFUSED.values(), ids=UNFUSED)
def test_nothing_is_fused_that_somebody_else_reads_or_that_does_not_fit(build, names):
    assert op_names(through(build, fuse_products)) == names.split()


def test_frozen_scales_and_offsets_move_into_the_weights():
    def build(x: Tensor) -> Tensor:
        scale = R["rsqrt"](R["add"](parameter(4, name="variance"), 0.1))
        y = R["subtract"](biased(x), parameter(4, name="mean"))
        return R["relu"](R["add"](R["multiply"](y, scale), parameter(4, name="beta")))

    def folded(graph: Graph) -> Graph:
        return fold_scales(fuse_products(graph))

    graph = through(build, folded)
    x = graph.inputs[0]
    reads_x = [n.op.name for n in graph.nodes() if any(t is x for t in n.inputs)]
    assert reads_x == ["dense"]
    after = [n.op.name for n in graph.nodes() if any(t.node.op.name == "dense" for t in n.inputs)]
    assert after == ["relu"]


def test_a_product_taken_from_frozen_numbers_keeps_its_sign():
    def build(x: Tensor) -> Tensor:
        return R["subtract"](parameter(4), biased(x))

    value = np.arange(6, dtype="f").reshape(2, 3)
    before, after = through(build, lambda g: g), through(build, lambda g: optimise(g, freeze=True))
    assert_close(evaluate(after.outputs, {"x": value}), evaluate(before.outputs, {"x": value}))


def test_scales_that_are_fed_are_not_folded():
    fed = input_tensor("scale", (4,))
    graph = through(
        lambda x: R["multiply"](biased(x), fed), lambda g: fold_scales(fuse_products(g))
    )
    assert op_names(graph) == ["dense", "multiply"]


def test_training_folds_and_packs_nothing():
    graph = through(lambda x: R["multiply"](biased(x), parameter(4)), optimise)
    assert op_names(graph) == ["dense", "chain"]
    frozen = through(lambda x: R["multiply"](biased(x), parameter(4)), lambda g: optimise(g, True))
    assert op_names(frozen)[-1] == "dense_packed"


def test_weights_that_are_computed_from_inputs_are_not_packed():
    graph = through(lambda x: R["matmul"](x, R["transpose"](x, perm=(1, 0))), pack_weights)
    assert op_names(graph) == ["transpose", "matmul"]


# --- every pass keeps every value

PASSES: dict[str, Callable[[Graph], Graph]] = {
    "simplify": simplify,
    "fuse": lambda g: fuse_products(simplify(g)),
    "fold": lambda g: fold_scales(fuse_products(g)),
    "pack": lambda g: pack_weights(fold_scales(fuse_products(simplify(g)))),
    "chains": gather_chains,
    "training": optimise,
    "inference": lambda g: optimise(g, freeze=True),
    "fuse_norms": fuse_norms,
}


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_keeps_every_value_shape_and_dtype(name):
    for seed in range(12):
        made = RandomGraph(seed, sizes=(0, 1, 2, 3) if seed % 4 == 0 else (1, 2, 3, 4))
        graph = made.graph()
        after = PASSES[name](graph)
        verify(after)
        want = evaluate(graph.outputs, made.feeds)
        assert_close(evaluate(after.outputs, made.feeds), want, f"{name}, seed {seed}")


@pytest.mark.parametrize("name", PASSES)
def test_infinite_values_and_nan_go_through_every_pass(name):
    def build(x: Tensor) -> tuple[Tensor, ...]:
        y = R["multiply"](R["add"](x, 0.0), 0.0)
        return y, R["subtract"](x, x), R["relu"](biased(x)), R["where"](R["isnan"](y), y, x)

    values = np.array([[np.nan, 1, np.inf], [-np.inf, 0, -0.0]], np.float32)
    before, after = through(build, lambda g: g), through(build, PASSES[name])
    want = evaluate(before.outputs, {"x": values})
    for a, b in zip(evaluate(after.outputs, {"x": values}), want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", PASSES)
def test_a_graph_without_work_stays_without_work(name):
    x, w = input_tensor("x", (2,)), parameter(3)
    after = PASSES[name](Graph([x], [x, w, x, full((2,), 7)]))
    assert op_names(after) == []
    assert after.outputs[:3] == (x, w, x)
    assert PASSES[name](Graph([], [])).outputs == ()


# --- gradients


@pytest.mark.parametrize("seed", range(25))
def test_gradients_of_random_graphs_equal_finite_differences(seed):
    made = RandomGraph(seed, 12, RandomGraph.SMOOTH, dtype="float64")
    parts = [R["sin"](t) for t in made.tensors[-4:-1]] + [made.tensors[-1]]
    sums = [R["reduce_sum"](t, axes=tuple(range(t.ndim)), keepdims=False) for t in parts]
    loss = sums[0]
    for term in sums[1:]:
        loss = R["add"](loss, term)
    arrays = [made.feeds[t.node.attrs["name"]] for t in made.inputs]
    arrays += [v._value for v in made.variables]
    wrt = [*made.inputs, *map(made.trace.read, made.variables)]
    for array, tensor, gradient in zip(arrays, wrt, gradients(loss, wrt), strict=True):
        if tensor.dtype == "float64":
            _check_slope(loss, made.feeds, array, gradient, np.random.default_rng(seed))


def _check_slope(loss, feeds, array, gradient, rng, step=1e-6):
    """The gradient times a random direction is the slope of the loss in that direction."""
    direction, kept, ends = rng.normal(size=array.shape), array.copy(), []
    analytic = 0.0 if gradient is None else (evaluate([gradient], feeds)[0] * direction).sum()
    for sign in (1, -1):
        array[...] = kept + sign * step * direction
        ends += evaluate([loss], feeds)
        array[...] = kept
    numeric = (ends[0] - ends[1]) / (2 * step)
    assert abs(numeric - analytic) <= 1e-5 * max(1, abs(numeric))
    assert gradient is None or gradient.shape == array.shape


def loss_of(y: Tensor) -> Tensor:
    return R["reduce_sum"](y, axes=tuple(range(y.ndim)), keepdims=False)


def test_nothing_flows_through_stop_gradient():
    x = input_tensor("x", (3,))
    loss = loss_of(R["multiply"](x, R["stop_gradient"](R["exp"](x))))
    (gradient,) = gradients(loss, [x])
    value = np.array([0.0, 1.0, 2.0], np.float32)
    np.testing.assert_allclose(evaluate([gradient], {"x": value})[0], np.exp(value), 1e-6)


def test_what_the_loss_does_not_depend_on_has_no_gradient():
    x, other = input_tensor("x", (3,)), input_tensor("y", (3,))
    ids = R["cast"](other, dtype="int32")
    loss = loss_of(R["multiply"](x, R["cast"](ids, dtype="float32")))
    assert gradients(loss, [other, ids])[0] is None
    assert gradients(loss_of(R["stop_gradient"](x)), [x]) == [None]


def test_the_loss_by_itself_is_one_and_inner_tensors_have_gradients():
    x = input_tensor("x", (2,))
    inner = R["square"](x)
    loss = loss_of(R["multiply"](inner, 3.0))
    found = evaluate(gradients(loss, [loss, inner]), {"x": np.ones(2, np.float32)})
    assert [g.tolist() for g in found] == [1.0, [3.0, 3.0]]


def test_an_op_without_gradient_is_named_with_its_layer():
    x = input_tensor("x", (3, 3))
    with scope("head"), scope("spectrum"):
        y = R["bessel_i1"](x)
    with pytest.raises(
        UnsupportedError, match=re.escape('op bessel_i1 in layer "head/spectrum" has no')
    ):
        gradients(loss_of(y), [x])
    assert evaluate(gradients(loss_of(y), [y]), {})[0].sum() == 9, "it ends at y"
    assert gradients(loss_of(R["stop_gradient"](y)), [x]) == [None]


SUMS = [
    ((2, 3), (2, 3), 1), ((2, 3), (3,), 2), ((2, 3), (2, 1), 3), ((2, 3), (1, 3), 2),
    ((2, 3), (), 6), ((4, 2, 3), (1, 3), 8), ((1, 3), (3,), 1), ((), (2, 2), 1),
    ((1, 3), (2, 3), 1),
    ((0, 3), (3,), 0), ((0, 3), (1, 3), 0), ((2, 0), (2, 1), 0), ((0,), (), 0), ((1, 1), (), 1),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted", "count"), SUMS, ids=str)
def test_broadcasting_is_undone_by_sums(given, wanted, count):
    g = input_tensor("g", given)
    made = sum_to(g, wanted)
    (value,) = evaluate([made], {"g": np.ones(given, np.float32)})
    np.testing.assert_array_equal(value, np.full(wanted, count, np.float32))


def test_an_empty_batch_has_gradients_of_zero():
    x, w, b = input_tensor("x", (0, 3)), parameter(3, 4), parameter(4, name="b")
    loss = loss_of(R["relu"](R["add"](R["matmul"](x, w), b)))
    for graph in (lambda g: g), optimise:
        after = graph(Graph([x], gradients(loss, [w, b])))
        for value, t in zip(evaluate(after.outputs, {"x": np.zeros((0, 3), "f")}), (w, b)):
            np.testing.assert_array_equal(value, np.zeros(t.shape))


def test_a_pass_that_breaks_a_shape_is_named():
    x = input_tensor("x", (2, 3))
    wrong = Node(R["relu"], [x], {}, [Spec((3, 2), "float32")]).outputs[0]
    with pytest.raises(ProgramError, match=r"after simplify.*relu.*its op gives"):
        verify(Graph([x], [wrong]), "simplify")
