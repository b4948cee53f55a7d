"""Recurrent layers and attention multiply in bfloat16 where that pays.

In: a Graph. Out: a Graph in which recurrent ops whose matrix is rounded (mixed_bfloat16), or all of
them where products may round, have `rounds` set, forward and backward; and the states that the
gradient of the matrix reads are rounded, as they were when the step multiplied them. So have
attention and its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo_keras.graph import Graph, Node, Tensor
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.primitives.recurrent import MATRICES
from zoo_keras.primitives.rounding import is_rounded, round_bfloat16
from zoo_keras.primitives.tile_choice import attention_pays, tiles_pay

ATTENTION = {"attention": 0, "attention_grad": 3}  # where q stands among the inputs


def tile_recurrent(rounds: bool = False) -> Callable[[Graph], Graph]:
    """The pass. rounds: every product may round its operands, not only what is rounded already."""

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.name == "matmul":
            return _of_rounded_states(node, inputs)
        if node.op.name in ATTENTION:
            return _attention(node, inputs, rounds)
        if node.op.name not in MATRICES or node.attrs.get("rounds"):
            return None
        at = MATRICES[node.op.name]
        u = node.inputs[at]
        if not (rounds or is_rounded(u)) or not tiles_pay(*u.shape):
            return None
        own = inputs[at].node
        bare = own.inputs[0] if own.op.name == "round_bfloat16" else inputs[at]
        given = (*inputs[:at], bare, *inputs[at + 1 :])
        return Node(node.op, given, {**node.attrs, "rounds": True}, node.specs, node.scope).outputs

    def run(graph: Graph) -> Graph:
        return rewrite(graph, rule)

    run.__name__ = "tile_recurrent"
    return run


def _attention(node: Node, inputs: tuple[Tensor, ...], rounds: bool) -> Sequence[Tensor] | None:
    at = ATTENTION[node.op.name]
    q, k, v = node.inputs[at : at + 3]
    if node.attrs.get("rounds") or not (rounds or any(map(is_rounded, (q, k, v)))):
        return None
    if not attention_pays(k.shape[1], min(q.shape[3], v.shape[3])):
        return None
    multiplied = {0, at, at + 1, at + 2}  # its gradient's first input is that by y
    bare = [i in multiplied and t.node.op.name == "round_bfloat16" for i, t in enumerate(inputs)]
    given = [t.node.inputs[0] if is_bare else t for is_bare, t in zip(bare, inputs, strict=True)]
    return Node(node.op, given, {**node.attrs, "rounds": True}, node.specs, node.scope).outputs


def _of_rounded_states(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    """The gradient of a recurrent matrix: states turned, times gradients of gates."""
    states = inputs[0]
    if states.node.op.name != "reshape" or not node.attrs.get("transpose_a"):
        return None
    made = states.node.inputs[0]
    if not made.node.attrs.get("rounds"):
        return None
    rounded = round_bfloat16(states)
    return Node(node.op, (rounded, *inputs[1:]), node.attrs, node.specs, node.scope).outputs
