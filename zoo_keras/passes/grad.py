"""Reverse-mode differentiation: walks the graph backwards over the ops' gradient rules.

In: a scalar loss tensor and the tensors to differentiate by. Out: gradient tensors made of
ordinary ops, so that later passes clean and fuse them like any others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo_keras.dtypes import is_float
from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import Node, Tensor, constant, scope, topological
from zoo_keras.primitives.arrays import sum_to
from zoo_keras.primitives.composed import COMPOSED
from zoo_keras.primitives.op import registry

Cotangents = dict[Tensor, Tensor]


def gradients(loss: Tensor, wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """d loss / d t for every t in `wrt`; None where the loss does not depend on it."""
    return pullback([loss], [_ones(loss)], wrt)


def pullback(
    outputs: Sequence[Tensor], given: Sequence[Tensor], wrt: Sequence[Tensor]
) -> list[Tensor | None]:
    """Gradients by `wrt` of something whose gradients by the outputs are given."""
    order = topological(t.node for t in outputs)
    active = _depends_on(order, {id(t.node) for t in wrt})
    cotangents: Cotangents = {}
    for tensor, gradient in zip(outputs, given, strict=True):
        _accumulate(cotangents, tensor, gradient)
    for node in reversed(order):
        if any(id(t.node) in active for t in node.inputs):
            _through(node, active, cotangents)
    return [cotangents.get(t) for t in wrt]


def _ones(loss: Tensor) -> Tensor:
    return constant(np.ones(loss.shape, loss.dtype))


def _depends_on(order: Sequence[Node], sources: set[int]) -> set[int]:
    active = set(sources)
    for node in order:
        if any(id(t.node) in active for t in node.inputs):
            active.add(id(node))
    return active


def _through(node: Node, active: set[int], cotangents: Cotangents) -> None:
    """Add what this node sends back to the cotangents of its inputs."""
    outs = [cotangents.get(t) for t in node.outputs]
    if all(g is None for g in outs):
        return
    if node.op.grad is None and node.op.name in COMPOSED:
        sent = _through_composed(node, outs)
    else:
        sent = _sent(node, outs)
    for tensor, gradient in zip(node.inputs, sent, strict=True):
        if gradient is not None and id(tensor.node) in active and is_float(tensor.dtype):
            _accumulate(cotangents, tensor, sum_to(gradient, tensor.shape))


def _through_composed(node: Node, outs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """The same by ops that have gradients, as far back as the node's own inputs."""
    leaves = [registry["stop_gradient"](t) for t in node.inputs]
    made = COMPOSED[node.op.name](*leaves, **node.attrs)
    results = made if isinstance(made, tuple) else (made,)
    pairs = [(t, g) for t, g in zip(results, outs, strict=True) if g is not None]
    return pullback([t for t, _ in pairs], [g for _, g in pairs], leaves)


def _sent(node: Node, outs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """What the op's rule sends back to each input."""
    if node.op.grad is None:
        where = f' in layer "{node.scope}"' if node.scope else ""
        raise UnsupportedError(
            f"The op {node.op.name}{where} has no gradient. Received: a loss that depends on "
            "weights through it. Use another op, or ops.stop_gradient before it."
        )
    single = len(outs) == 1
    g, y = (outs[0], node.outputs[0]) if single else (tuple(outs), node.outputs)
    # an op with a body differentiates that in turn
    inner = {"pullback": pullback} if "body" in node.attrs else {}
    with scope(node.scope):
        sent: Sequence[Tensor | None] = node.op.grad(g, y, *node.inputs, **node.attrs, **inner)
    return sent


def _accumulate(cotangents: Cotangents, tensor: Tensor, gradient: Tensor) -> None:
    before = cotangents.get(tensor)
    cotangents[tensor] = gradient if before is None else registry["add"](before, gradient)
