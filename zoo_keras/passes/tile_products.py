"""Products of rounded numbers become products of bfloat16 in tile registers.

In: a Graph whose products have taken in bias, residual and activation. Out: a Graph with pack_bf16
and dense_bf16 where the tile registers of this machine pay. The other operand of a product, a
gradient, is rounded too. `passes.narrow` then lets what they read lie in memory as bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from zoo_keras.graph import Graph, Node, Tensor, constant
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded
from zoo_keras.primitives.tile_choice import tiles_pay

Outputs = Sequence[Tensor] | None


class _Product(NamedTuple):
    """A product x w that tiles can make: the operands' places, turns, and what is added."""

    turn_x: bool
    turn_w: bool
    steps: int
    columns: int
    more: tuple[int, ...]  # inputs behind w: bias, residual


def tile_products(rounds: bool = False) -> Callable[[Graph], Graph]:
    """The pass. rounds: every product may round its operands, not only what is rounded already."""

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        product = _product(node)
        if product is None or not tiles_pay(product.steps, product.columns):
            return None
        if not (rounds or is_rounded(node.inputs[0]) or is_rounded(node.inputs[1])):
            return None
        return [_made(node, inputs, product)]

    def run(graph: Graph) -> Graph:
        return rewrite(graph, rule)

    run.__name__ = "tile_products"
    return run


def _product(node: Node) -> _Product | None:
    name = node.op.name
    if name not in ("dense", "dense_add", "matmul") or node.specs[0].dtype != "float32":
        return None
    x, w = node.inputs[:2]
    turn_x = bool(node.attrs.get("transpose_a"))
    turn_w = bool(node.attrs.get("transpose_b"))
    if w.ndim != 2 or (turn_x and x.ndim != 2) or {x.dtype, w.dtype} != {"float32"}:
        return None
    steps, columns = w.shape[::-1] if turn_w else w.shape
    return _Product(turn_x, turn_w, steps, columns, tuple(range(2, len(node.inputs))))


def _made(node: Node, inputs: Sequence[Tensor], product: _Product) -> Tensor:
    x, w = unrounded(inputs[0]), unrounded(inputs[1])
    more = [inputs[i] for i in product.more]
    more = more or [constant(np.zeros(product.columns, np.float32))]
    packed = registry["pack_bf16"](w, transpose=product.turn_w)
    attrs = {
        "units": product.columns,
        "activation": node.attrs.get("activation", "linear"),
        "transpose_a": product.turn_x,
        "narrow": False,
    }
    op = registry["dense_bf16_add" if len(more) > 1 else "dense_bf16"]
    return Node(op, [x, packed, *more], attrs, node.specs, node.scope).outputs[0]


def unrounded(tensor: Tensor) -> Tensor:
    """What the tensor was before it was rounded, which the product does itself."""
    node = tensor.node
    if node.op.name == "round_bfloat16":
        return node.inputs[0]
    if node.op.name == "reshape" and is_rounded(tensor):
        result: Tensor = registry["reshape"](unrounded(node.inputs[0]), shape=tensor.shape)
        return result
    return tensor
