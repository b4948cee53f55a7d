"""Batch normalization + residual sum + ReLU or ReLU6 as one instruction, forward and backward.

In: a Graph of a training step. Out: the same with batch_norm_relu and batch_norm_relu_grad, which
read and write memory half as often. Nodes are found by the ReLU that ends them.
"""

from __future__ import annotations

import math
from typing import Any

from zoo_keras.graph import Graph, Node, Tensor, topological
from zoo_keras.passes.rewrite import Replacements, replace
from zoo_keras.primitives.op import registry

_GRADIENTS = ("relu_grad", "relu6_grad")
MOST = {"relu": math.inf, "relu6": 6.0, "relu_grad": math.inf, "relu6_grad": 6.0}
Readers = dict[Tensor, list[Node | None]]


def fuse_norms(graph: Graph) -> Graph:
    """relu(batch_norm(x) [+ residual]) -> batch_norm_relu, then its gradient likewise."""
    return _fuse_backward(_fuse_forward(graph))


def _fuse_forward(graph: Graph) -> Graph:
    readers, position = graph.readers(), {id(n): i for i, n in enumerate(graph.nodes())}
    found: Replacements = {}
    for node in graph.nodes():
        if node.op.name in ("relu", "relu6") and node.specs[0].dtype == "float32":
            norm, residual = _normed(node, readers, position)
            if norm is not None:
                fused = _fused(norm, residual, MOST[node.op.name])
                found[node.outputs[0]] = fused.outputs[0]
                found.update({norm.outputs[i]: fused.outputs[i] for i in (1, 2)})
    return replace(graph, found) if found else graph


def _normed(
    relu: Node, readers: Readers, position: dict[int, int]
) -> tuple[Node | None, Tensor | None]:
    """The batch_norm that only this relu reads, and what is added between the two."""
    tensor = relu.inputs[0]
    if _is_norm(tensor, readers):
        return tensor.node, None
    if tensor.node.op.name != "add" or len(readers[tensor]) != 1:
        return None, None
    a, b = tensor.node.inputs
    for norm, other in ((a, b), (b, a)):
        fits = _is_norm(norm, readers) and other.spec == norm.spec
        if fits and not _depends(other, norm.node, position):
            return norm.node, other
    return None, None


def _is_norm(tensor: Tensor, readers: Readers) -> bool:
    alone = len(readers[tensor]) == 1
    return tensor.node.op.name == "batch_norm" and tensor.index == 0 and alone


def _depends(tensor: Tensor, node: Node, position: dict[int, int]) -> bool:
    """Whether a tensor is computed from the node: nodes that come earlier are not."""
    if position[id(tensor.node)] < position[id(node)]:
        return False
    return any(n is node for n in topological([tensor.node]))


def _fused(norm: Node, residual: Tensor | None, most: float) -> Node:
    inputs = [*norm.inputs, *([] if residual is None else [residual])]
    attrs = {"epsilon": norm.attrs["epsilon"], "most": most}
    return Node(registry["batch_norm_relu"], inputs, attrs, norm.specs, norm.scope)


def _fuse_backward(graph: Graph) -> Graph:
    readers, found = graph.readers(), {}
    taken: set[int] = set()  # relu_grads that a fused gradient stands for
    for node in graph.nodes():
        mask = node.inputs[0].node if node.op.name == "batch_norm_grad" else None
        if mask is None or mask.op.name not in _GRADIENTS or id(mask) in taken:
            continue
        forward = _unrounded(mask.inputs[1]).node
        if _belongs(node, forward) and forward.attrs["most"] == MOST[mask.op.name]:
            taken.add(id(mask))
            found.update(_fused_gradient(node, mask, len(readers[mask.outputs[0]]) > 1))
    return replace(graph, found) if found else graph


def _unrounded(tensor: Tensor) -> Tensor:
    return tensor.node.inputs[0] if tensor.node.op.name == "round_bfloat16" else tensor


def _belongs(gradient: Node, forward: Node) -> bool:
    """Whether a batch_norm_grad is that of a batch_norm_relu: both have the same x."""
    mine, theirs = gradient.inputs[1], forward.inputs[:1]
    return forward.op.name == "batch_norm_relu" and mine is theirs[0]


def _fused_gradient(node: Node, mask: Node, residual: bool) -> Replacements:
    g, y = mask.inputs
    specs = [*node.specs, *([mask.specs[0]] if residual else [])]
    attrs: dict[str, Any] = {**node.attrs, "residual": residual, "most": MOST[mask.op.name]}
    fused = Node(registry["batch_norm_relu_grad"], [g, y, *node.inputs[1:]], attrs, specs,
                 node.scope)  # fmt: skip
    found: Replacements = {node.outputs[i]: fused.outputs[i] for i in range(3)}
    return found | ({mask.outputs[0]: fused.outputs[3]} if residual else {})
