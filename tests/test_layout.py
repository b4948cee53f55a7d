"""The layout pass: pairs of transposes cancel, padding moves into windows, values stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from graph_check import assert_close, evaluate, op_names, run

import zoo_keras as zk
from zoo_keras.graph import Graph, Tensor, constant, input_tensor, tracing
from zoo_keras.layers.base.call_context import calling
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.layout import arrange
from zoo_keras.passes.simplify import simplify
from zoo_keras.passes.verify import verify
from zoo_keras.primitives.op import registry as R

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
SHAPE = (2, 3, 4, 5)  # channels first


def turned(x: Tensor, perm=LAST) -> Tensor:
    return R["transpose"](x, perm=perm)


def checked(build: Callable[[Tensor], Tensor], shape=SHAPE) -> list[str]:
    """Names of the ops that are left, once the values were seen to be the same."""
    x = input_tensor("x", shape)
    before = Graph([x], [build(x)])
    after = simplify(arrange(before))
    verify(after)
    feeds = {"x": np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")}
    want = evaluate(before.outputs, feeds)
    assert_close(evaluate(after.outputs, feeds), want)
    assert_close(run(after, feeds), want)
    return op_names(after)


def column(x: Tensor) -> Tensor:
    return constant(np.arange(3, dtype="float32").reshape(3, 1, 1))


SINKING = {
    "a function": lambda x: R["tanh"](turned(x)),
    "a number": lambda x: R["multiply"](turned(x), 2.0),
    "a vector of channels": lambda x: R["add"](turned(x), np.arange(3, dtype="float32")),
    "a vector of columns": lambda x: R["add"](
        turned(x), np.arange(5, dtype="float32").reshape(5, 1)
    ),
    "two of a kind": lambda x: R["add"](turned(x), turned(R["exp"](x))),
    "a mean": lambda x: R["reduce_mean"](turned(x), axes=(1, 2), keepdims=True),
    "a sum": lambda x: R["reduce_sum"](turned(x), axes=(3,), keepdims=True),
    "joined": lambda x: R["concatenate"](turned(x), turned(R["exp"](x)), axis=3),
    "padded": lambda x: R["pad"](turned(x), paddings=((0, 0), (1, 2), (0, 1), (0, 0)), value=1.5),
    "cut": lambda x: R["strided_slice"](
        turned(x), begin=(0, 3, 1, 0), end=(2, 0, 4, 2), strides=(1, -2, 1, 1)
    ),
    "spread": lambda x: R["strided_slice_grad"](
        turned(x), shape=(2, 6, 5, 4), begin=(0, 1, 0, 0), end=(2, 5, 5, 3), strides=(1, 1, 1, 1)
    ),
    "repeated": lambda x: R["repeat"](turned(x), repeats=2, axis=1),
}


@pytest.mark.parametrize("build", SINKING.values(), ids=SINKING)
def test_transposes_sink_and_meet_their_inverse(build):
    assert "transpose" not in checked(lambda x: turned(build(x), FIRST))


KEEPING = {
    "one transpose": (lambda x: R["tanh"](turned(x)), 1),
    "a full tensor": (lambda x: R["add"](turned(x), np.ones((2, 4, 5, 3), "float32")), 1),
    "a softmax": (lambda x: R["softmax"](turned(x), axis=-1), 1),
    "a sum that turns the rest": (
        lambda x: R["reduce_sum"](turned(x), axes=(1,), keepdims=False), 1,
    ),
    "a sum that leaves the order": (
        lambda x: R["reduce_sum"](turned(x), axes=(1, 2), keepdims=False), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "left"), KEEPING.values(), ids=KEEPING)
def test_transposes_that_move_data_stay(build, left):
    assert checked(build).count("transpose") == left


def test_transposes_in_two_orders_stay():
    names = checked(lambda x: R["add"](turned(x), turned(x, (0, 3, 2, 1))), (2, 3, 3, 3))
    assert names.count("transpose") == 2


def test_a_transpose_of_axes_of_length_one_is_a_reshape():
    assert checked(lambda x: turned(x), (2, 3, 1, 1)) == ["reshape"]


def test_a_broadcast_tensor_is_transposed_before_it_is_spread():
    def build(x):
        mean = R["reduce_mean"](x, axes=(2,), keepdims=True)
        return turned(R["broadcast_to"](mean, shape=SHAPE))

    names = checked(build)
    assert names.index("transpose") < names.index("broadcast_to")


def test_a_chain_of_channels_first_layers_has_one_transpose_at_each_end():
    layers, first = zk.layers, {"data_format": "channels_first"}
    block = [
        layers.Conv2D(4, 3, padding="same", activation="relu", **first),
        layers.BatchNormalization(axis=1),
        layers.LeakyReLU(),
        layers.ZeroPadding2D(1, **first),
        layers.MaxPooling2D(2, **first),
        layers.DepthwiseConv2D(3, padding="same", **first),
        layers.PReLU(shared_axes=[2, 3]),
        layers.UpSampling2D(2, **first),
        layers.Cropping2D(1, **first),
        layers.AveragePooling2D(2, **first),
    ]
    x = input_tensor("x", (2, 3, 8, 8))
    with tracing() as trace, calling(True):
        y = x
        for layer in block:
            y = layer(y)
        loss = zk.ops.sum(zk.ops.square(y))
    weights = [t for _, t in trace.parameters.values() if _.trainable]
    forward = op_names(simplify(arrange(Graph([x], [y]))))
    step = op_names(simplify(arrange(Graph([x], [loss, *gradients(loss, weights)]))))
    assert forward.count("transpose") == 2
    assert step.count("transpose") == 1


# --- padding


def conv_on_pad(padding, kernel=(3, 3), strides=(1, 1), more=((0, 0), (0, 0))):
    def build(x):
        padded = R["pad"](x, paddings=((0, 0), *padding, (0, 0)), value=0.0)
        w = constant(np.random.default_rng(1).normal(size=(*kernel, 3, 2)).astype("float32"))
        how = {"strides": strides, "padding": more, "dilation": (1, 1), "groups": 1}
        return R["conv"](padded, w, **how)

    return build


PADS = [
    ({"padding": ((1, 1), (1, 1))}, True),
    ({"padding": ((0, 1), (2, 0)), "strides": (2, 2)}, True),
    ({"padding": ((1, 1), (0, 1)), "more": ((1, 0), (1, 1))}, True),
    ({"padding": ((1, 1), (1, 1)), "kernel": (1, 1)}, False),
    ({"padding": ((3, 0), (0, 0))}, False),
]


@pytest.mark.parametrize(("case", "moved"), PADS)
def test_zeros_around_an_image_become_padding_of_the_convolution(case, moved):
    names = checked(conv_on_pad(**case), (2, 6, 7, 3))
    assert ("pad" not in names) == moved


@pytest.mark.parametrize(("case", "moved"), PADS)
def test_the_gradients_of_a_padded_convolution_need_no_pad(case, moved):
    x = input_tensor("x", (2, 6, 7, 3))
    y = R["reduce_sum"](R["square"](conv_on_pad(**case)(x)), axes=(0, 1, 2, 3), keepdims=False)
    before = Graph([x], gradients(y, [x]))
    after = simplify(arrange(before))
    feeds = {"x": np.random.default_rng(0).normal(size=x.shape).astype("float32")}
    assert_close(evaluate(after.outputs, feeds), evaluate(before.outputs, feeds))
    assert ("strided_slice" not in op_names(after)) == moved


@pytest.mark.parametrize(("before", "moved"), [("relu", True), ("tanh", False)])
def test_zeros_around_what_is_not_negative_become_padding_of_the_pooling(before, moved):
    x = input_tensor("x", (2, 7, 6, 3))
    pads = ((0, 0), (1, 1), (0, 1), (0, 0))
    padded = R["pad"](R[before](x), paddings=pads, value=0.0)
    none = ((0, 0), (0, 0))
    y = R["max_pool"](padded, pool=(3, 3), strides=(2, 2), padding=none)
    loss = R["reduce_sum"](R["square"](y), axes=(0, 1, 2, 3), keepdims=False)
    graph = Graph([x], [y, *gradients(loss, [x])])
    after = simplify(arrange(graph))
    feeds = {"x": np.random.default_rng(0).normal(size=x.shape).astype("float32")}
    assert_close(evaluate(after.outputs, feeds), evaluate(graph.outputs, feeds))
    names = op_names(after)
    assert ("pad" not in names) == ("strided_slice" not in names) == moved
