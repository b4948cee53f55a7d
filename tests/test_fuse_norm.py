"""Batch normalization, residual sum and ReLU become one instruction; values and gradients stay."""

from __future__ import annotations

import numpy as np
import pytest
from graph_check import assert_close, evaluate, op_names, run

from zoo_keras.graph import Graph, Tensor, constant, input_tensor
from zoo_keras.passes.fuse_norm import fuse_norms
from zoo_keras.passes.grad import gradients
from zoo_keras.primitives.op import registry as R

RNG = np.random.default_rng(3)
SHAPE = (6, 5)


def norm(x: Tensor, seed: int) -> tuple[Tensor, ...]:
    scale = np.linspace(0.5, 1.5, SHAPE[-1]) + seed
    gamma, beta = (constant(a.astype(np.float32)) for a in (scale, scale - 1))
    return R["batch_norm"](x, gamma, beta, epsilon=1e-3, axis=-1)


def alone(x, r):
    y, mean, _ = norm(x, 0)
    return R["relu"](y), mean


def up_to_six(x, r):
    y, mean, _ = norm(x, 4)  # some above 6
    return R["relu6"](R["add"](y, r)), mean


def with_residual(x, r):
    y, mean, variance = norm(x, 0)
    return R["relu"](R["add"](r, y)), mean, variance


def with_normed_shortcut(x, r):
    y, z = norm(x, 0), norm(r, 1)
    return R["relu"](R["add"](y[0], z[0])), y[1], z[2]


def block_after_block(x, r):
    for seed in range(2):
        y = R["relu"](norm(x, seed)[0])
        x = R["relu"](R["add"](norm(y, seed)[0], x))
    return x, r


CASES = {
    alone: ["batch_norm_relu", "batch_norm_relu_grad"],
    up_to_six: ["batch_norm_relu", "batch_norm_relu_grad"],
    with_residual: ["batch_norm_relu", "batch_norm_relu_grad"],
    with_normed_shortcut: ["batch_norm", "batch_norm_grad", "batch_norm_relu",
                           "batch_norm_relu_grad"],
    block_after_block: ["batch_norm_relu"] * 4 + ["batch_norm_relu_grad"] * 4,
}  # fmt: skip


def step(build) -> Graph:
    """Outputs of `build` and the gradients of a sum over the first one by both inputs."""
    x, r = input_tensor("x", SHAPE), input_tensor("r", SHAPE)
    outputs = build(x, r)
    weights = constant(np.arange(30, dtype=np.float32).reshape(SHAPE))
    loss = R["reduce_sum"](R["multiply"](outputs[0], weights), axes=(0, 1), keepdims=False)
    return Graph([x, r], [*outputs, *[g for g in gradients(loss, [x, r]) if g is not None]])


@pytest.mark.parametrize("build", CASES, ids=lambda f: f.__name__)
def test_norm_residual_and_relu_are_one_instruction(build):
    before = step(build)
    after = fuse_norms(before)
    names = op_names(after)
    assert sorted(n for n in names if n.startswith("batch_norm")) == sorted(CASES[build])
    assert not {"relu", "relu_grad", "relu6", "relu6_grad"} & set(names)
    feeds = {name: RNG.standard_normal(SHAPE).astype(np.float32) for name in "xr"}
    want = evaluate(before.outputs, feeds)
    assert_close(evaluate(after.outputs, feeds), want)
    assert_close(run(after, feeds), want)


def test_a_norm_that_others_read_stays():
    x, r = input_tensor("x", SHAPE), input_tensor("r", SHAPE)
    y = norm(x, 0)[0]
    names = op_names(fuse_norms(Graph([x, r], [R["relu"](y), R["exp"](y)])))
    assert "batch_norm" in names and "relu" in names


def test_a_residual_that_needs_the_statistics_is_added_apart():
    x, r = input_tensor("x", SHAPE), input_tensor("r", SHAPE)
    y, mean, _ = norm(x, 0)
    graph = Graph([x, r], [R["relu"](R["add"](y, R["subtract"](r, mean)))])
    assert op_names(fuse_norms(graph)).count("relu") == 1
