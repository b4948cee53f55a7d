"""Products of rounded numbers become products of bfloat16, and what they read lies so in memory.

In: a Graph whose products have taken in bias, residual and activation. Out: a Graph with pack_bf16
and dense_bf16 where the tile registers of this machine pay. `tile_products` rounds the other
operand of a product too, a gradient; `narrow_between` changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from zoo_keras.graph import Graph, Leaf, Node, Tensor, constant
from zoo_keras.passes.rewrite import rewrite, with_inputs
from zoo_keras.primitives.chain import chainable
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded
from zoo_keras.primitives.tile_choice import tiles_pay

SMALL = 1 << 12  # numbers; less stays in the first cache either way
MADE = ("dense_bf16", "dense_bf16_add", "conv_bf16", "conv_bf16_add", "depthwise_bf16")
ROUNDING = ("pack_bf16", "conv_grad_kernel_bf16")  # round all that they read
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
    op = registry[MADE[len(more) - 1]]
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


class _Uses(NamedTuple):
    """How a tensor is read: by products, which round it; by what sees no rounding; otherwise."""

    products: int
    roundings: int
    others: int


def _is_rounding_reader(node: Node, tensor: Tensor) -> bool:
    """Whether the node rounds the tensor and does nothing else with it."""
    if node.op.name in ROUNDING:
        return True
    added = any(t is tensor for t in node.inputs[1:])
    return node.op.name in MADE and node.inputs[0] is tensor and not added


def _uses(tensor: Tensor, readers: dict[Tensor, list[Node | None]]) -> _Uses:
    found = [0, 0, 0]
    for node in readers[tensor]:
        if node is not None and node.op.name == "reshape":
            found = [a + b for a, b in zip(found, _uses(node.outputs[0], readers), strict=True)]
        elif node is not None and _is_rounding_reader(node, tensor):
            found[0] += 1
        else:
            found[1 if node is not None and _sees_no_rounding(node, tensor) else 2] += 1
    return _Uses(*found)


def _sees_no_rounding(node: Node, tensor: Tensor) -> bool:
    """Whether a reader gives the same once the tensor has been rounded: another rounding, or the
    gradient of ReLU, which asks for signs only."""
    mask = node.op.name == "relu_grad" and node.inputs[0] is not tensor
    return mask or node.op.name == "round_bfloat16"


def narrow_between(graph: Graph) -> Graph:
    """What products read lies in memory as bfloat16, written so by whatever makes it."""
    chosen = _narrow(graph)
    if not chosen:
        return graph
    stored: dict[Tensor, Tensor] = {}  # the bits that stand for a rebuilt tensor
    widened: dict[Tensor, Tensor] = {}  # bits by what was read of them

    def bits(old: Tensor, new: Tensor) -> Tensor | None:
        """The bits of a tensor that is stored narrow, through reshapes."""
        if old in chosen:
            if new not in stored:
                stored[new] = registry["to_bfloat16"](new)
            return stored[new]
        if old.node.op.name == "reshape":
            below = bits(old.node.inputs[0], new.node.inputs[0])
            return None if below is None else registry["reshape"](below, shape=old.shape)
        return None

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        if node.op.name in MADE:
            added = [widened.get(t, t) for t in inputs[3:]]
            inputs = (_first(node, inputs, bits), *inputs[1:3], *added)
        if node.op.name in MADE and node.outputs[0] in chosen:
            attrs = {**node.attrs, "narrow": True}
            made = registry[node.op.name](*inputs, **attrs)
            result: Tensor = registry["from_bfloat16"](made)
            stored[result] = widened[result] = made
            return [result]
        if node.op.name == "round_bfloat16" and inputs[0] in stored and _from(inputs[0]):
            wide = registry["from_bfloat16"](stored[inputs[0]])
            widened[wide] = stored[inputs[0]]
            return [wide]
        if node.op.name in ROUNDING:
            found = [bits(old, new) for old, new in zip(node.inputs, inputs, strict=True)]
            inputs = tuple(t if b is None else b for t, b in zip(inputs, found, strict=True))
        if node.op.name in (*MADE, *ROUNDING):
            return with_inputs(node, inputs).outputs
        if chainable(node) and any(t in widened for t in inputs):  # each reader widens for itself
            own = [registry["from_bfloat16"](widened[t]) if t in widened else t for t in inputs]
            return with_inputs(node, tuple(own)).outputs
        return None

    return rewrite(graph, rule)


def _from(tensor: Tensor) -> bool:
    return tensor.node.op.name == "from_bfloat16"


def _first(node: Node, inputs: Sequence[Tensor], bits: Callable[..., Tensor | None]) -> Tensor:
    """The first operand of a product as bits when it has some."""
    if not _is_rounding_reader(node, node.inputs[0]):
        return inputs[0]
    found = bits(node.inputs[0], inputs[0])
    return inputs[0] if found is None else found


def _narrow(graph: Graph) -> set[Tensor]:
    """The tensors that are stored narrow: results of products that nobody reads as they are, and
    elementwise ones that products alone read, or several."""
    readers = graph.readers()
    found: set[Tensor] = set()
    for node in graph.nodes():
        tensor = node.outputs[0]
        if isinstance(node.op, Leaf) or tensor.size < SMALL or tensor.dtype != "float32":
            continue
        uses = _uses(tensor, readers)
        if node.op.name in MADE:
            narrow = not uses.others and uses.products + uses.roundings > 0
        else:
            narrow = chainable(node) and uses.products > (1 if uses.others else 0)
        if narrow:
            found.add(tensor)
    return found
