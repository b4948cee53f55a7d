"""What lies in memory as bfloat16 between convolutions that train, and that numbers stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_tile_products import interpreted

from zoo_keras import native
from zoo_keras.graph import Graph, Node, Tensor, constant, input_tensor
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.narrow import MADE, NORM_GRADIENTS, NORMS, SMALL
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import registry as R

HOW = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
POOL = {"pool": (3, 3), "strides": (2, 2), "padding": ((0, 0), (0, 0))}


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: True)


def rounded(x: Any) -> Any:
    return R["round_bfloat16"](x)


def convolved(x: Any, w: Any) -> Any:
    return rounded(R["conv"](x, rounded(w), **HOW))


def normed(x: Any, gamma: Any) -> Any:
    return R["batch_norm"](x, gamma, gamma, epsilon=1e-3, axis=-1)[0]


def chained(x: Any, v: Any, w: Any, gamma: Any) -> Any:
    for kernel in (v, w):
        x = rounded(R["relu"](rounded(normed(convolved(x, kernel), gamma))))
    return x


def residual(x: Any, v: Any, w: Any, gamma: Any) -> Any:
    y = rounded(R["relu"](rounded(normed(convolved(x, v), gamma))))
    z = rounded(normed(convolved(y, w), gamma))
    return rounded(R["relu"](rounded(R["add"](z, y))))


def projected(x: Any, v: Any, w: Any, gamma: Any) -> Any:
    y, z = (rounded(normed(convolved(x, kernel), gamma)) for kernel in (v, w))
    return rounded(R["relu"](rounded(R["add"](z, y))))


def pooled(x: Any, v: Any, w: Any, gamma: Any) -> Any:
    y = rounded(R["relu"](rounded(normed(convolved(x, v), gamma))))
    y = rounded(R["pad"](y, paddings=((0, 0), (1, 1), (1, 1), (0, 0)), value=0.0))
    return convolved(rounded(R["max_pool"](y, **POOL)), w)


def norm_in_float32(x: Any, v: Any, w: Any, gamma: Any) -> Any:
    return R["tanh"](normed(convolved(x, v), gamma))


NETS = (chained, residual, projected, pooled, norm_in_float32)


def step(net: Any, channels: int = 32) -> Graph:
    """A weighted sum of the net's results, and its gradients by weights."""
    shapes = ((4, 12, 12, channels), *[(3, 3, channels, channels)] * 2, (channels,))
    inputs = [input_tensor(f"x{i}", s) for i, s in enumerate(shapes)]
    y = net(rounded(inputs[0]), *inputs[1:])
    weights = np.random.default_rng(1).normal(size=y.shape).astype("f")
    weights = R["round_bfloat16"].reference(weights)
    loss = R["reduce_sum"](R["multiply"](y, constant(weights)), axes=(0, 1, 2, 3), keepdims=False)
    found = [g for g in gradients(loss, inputs[1:]) if g is not None]
    return Graph(inputs, [loss, *found])


def norms(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes() if n.op.name in (*NORMS, *NORM_GRADIENTS)]


def with_rows(tensors: Any) -> list[Tensor]:
    return [t for t in tensors if t.size >= SMALL and t.ndim == 4]


@pytest.mark.parametrize("net", NETS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("channels", [32, 16])
def test_gradients_are_those_of_the_ops_up_to_rounding(net: Any, channels: int) -> None:
    graph = step(net, channels)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=t.shape).astype("f") for t in graph.inputs]
    for i in (1, 2):
        arrays[i] *= np.float32((9 * channels) ** -0.5)
    wanted = interpreted(graph, arrays)
    found = interpreted(optimise(graph), arrays)
    for got, want in zip(found[1:], wanted[1:], strict=True):
        assert np.sqrt(np.mean((got - want) ** 2)) < 0.02 * np.sqrt(np.mean(want**2))


@pytest.mark.parametrize("net", [chained, residual, projected], ids=lambda f: f.__name__)
def test_normalization_reads_and_writes_bits_between_convolutions(net: Any) -> None:
    graph = optimise(step(net))
    for node in norms(graph):
        gradient = node.op.name in NORM_GRADIENTS  # the first comes from the loss, in float32
        read = with_rows(node.inputs)[gradient:]
        assert node.attrs["rounds"] and {t.dtype for t in read} == {"uint16"}
        assert node.outputs[0].dtype == "uint16" or not gradient
    made = [n for n in graph.nodes() if n.op.name in MADE]
    assert made and {n.specs[0].dtype for n in made} == {"uint16"}


def test_a_product_adds_the_gradient_of_the_shortcut() -> None:
    names = [n.op.name for n in optimise(step(residual)).nodes()]
    assert names.count("conv_bf16_add") == 1


def test_beside_float32_convolutions_normalization_rounds_what_it_reads_and_writes() -> None:
    graph = optimise(step(chained, channels=16))
    assert all(n.attrs["rounds"] for n in norms(graph))
    read = [t for n in norms(graph) if n.op.name in NORMS for t in with_rows(n.inputs)]
    assert {t.dtype for t in read} == {"float32"}
    chains = [n for n in graph.nodes() if n.op.name == "chain" and with_rows(n.outputs)]
    rows = [row[0] for n in chains[1:] for row in n.attrs["code"]]  # the first rounds the images
    assert "round_bfloat16" not in rows and "to_bfloat16" not in rows


def test_a_norm_whose_results_are_not_rounded_stays_as_it_was() -> None:
    for node in norms(optimise(step(norm_in_float32))):
        assert not node.attrs.get("rounds", False)


def test_pooling_takes_padding_in_and_reads_bits() -> None:
    graph = optimise(step(pooled))
    names = [n.op.name for n in graph.nodes()]
    assert "pad" not in names and "strided_slice" not in names
    assert names.count("max_pool_bf16") == names.count("max_pool_grad_bf16") == 1


def test_without_tiles_nothing_is_stored_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    for net in NETS:
        graph = optimise(step(net))
        assert not any(s.dtype == "uint16" for n in graph.nodes() for s in n.specs)
