"""Rounded numbers lie in memory as bfloat16, written so by what makes them.

In: a Graph in which products and convolutions have become those of tile registers. Out: one in
which they, normalization, pooling and sums of gradients read and write bits where all that read a
result round it. Numbers stay what they were, except that gradients of bfloat16 numbers are such
numbers, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from zoo_keras import native
from zoo_keras.graph import Graph, Leaf, Node, Tensor
from zoo_keras.passes.rewrite import rewrite, with_inputs
from zoo_keras.primitives.chain import chainable
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded

SMALL = 1 << 12  # numbers; less stays in the first cache either way
MADE = ("dense_bf16", "dense_bf16_add", "conv_bf16", "conv_bf16_add", "depthwise_bf16")
ROUNDING = ("pack_bf16", "conv_grad_kernel_bf16")  # round all that they read
NORMS = ("batch_norm", "batch_norm_relu")
NORM_GRADIENTS = ("batch_norm_grad", "batch_norm_relu_grad")
POOLS = {"max_pool": "max_pool_bf16", "max_pool_grad": "max_pool_grad_bf16"}
MOVES = ("reshape", "strided_slice", "strided_slice_grad")  # numbers go elsewhere as they are
Readers = dict[Tensor, list[Node | None]]
Outputs = Sequence[Tensor] | None


def narrow_between(graph: Graph) -> Graph:
    """What products and normalization read lies in memory as bfloat16."""
    plan = _Plan(graph)
    return rewrite(graph, _Rule(plan).rule) if plan.norms or plan.chosen else graph


# ---- what a tensor's readers see -----------------------------------------------------------------


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


def _uses(tensor: Tensor, readers: Readers) -> _Uses:
    found = [0, 0, 0]
    for node in readers[tensor]:
        if node is not None and node.op.name in ("reshape", "max_pool"):
            found = [a + b for a, b in zip(found, _uses(node.outputs[0], readers), strict=True)]
        elif node is not None and _is_rounding_reader(node, tensor):
            found[0] += 1
        else:
            found[1 if node is not None and _sees_no_rounding(node, tensor) else 2] += 1
    return _Uses(*found)


def _sees_no_rounding(node: Node, tensor: Tensor) -> bool:
    """Whether a reader gives the same once the tensor has been rounded: another rounding, or the
    gradient of ReLU, which asks for signs only."""
    unbounded = node.op.name == "batch_norm_relu_grad" and node.attrs.get("most") == math.inf
    masks = node.op.name == "relu_grad" or unbounded
    mask = masks and [i for i, t in enumerate(node.inputs) if t is tensor] == [1]
    return mask or node.op.name == "round_bfloat16"


class _Plan:
    """Which normalizations round, which tensors are gradients of bfloat16 numbers, and which are
    stored narrow."""

    def __init__(self, graph: Graph) -> None:
        self.readers = graph.readers()
        self.norms: set[int] = set()  # ids of those of rounded numbers, and of their gradients
        self.gradients: set[Tensor] = set()
        self.chosen: set[Tensor] = set()
        order = graph.nodes()
        for node in order:
            forward = node.inputs[-2].node if node.op.name in NORM_GRADIENTS else None
            if self._rounds(node) or (forward is not None and id(forward) in self.norms):
                self.norms.add(id(node))
        for node in reversed(order):
            for tensor in node.outputs if native.has_tiles() else ():
                self._choose(tensor)

    def _rounds(self, node: Node) -> bool:
        """Whether a normalization reads rounded numbers, and all that read it round it."""
        if node.op.name not in NORMS or node.outputs[0].size < SMALL:
            return False
        uses = _uses(node.outputs[0], self.readers)
        rounded = all(map(is_rounded, (node.inputs[0], *node.inputs[3:])))
        return rounded and not uses.others and uses.products + uses.roundings > 0

    def _choose(self, tensor: Tensor) -> None:
        node = tensor.node
        if isinstance(node.op, Leaf) or tensor.size < SMALL or tensor.dtype != "float32":
            return
        if self._is_gradient(tensor):
            self.gradients.add(tensor)
        if self._stays_narrow(node, tensor):
            self.chosen.add(tensor)

    def _is_gradient(self, tensor: Tensor) -> bool:
        """Whether it is read as the gradient of bfloat16 numbers, or besides by what rounds it."""
        readers = self.readers[tensor]
        found = [r is not None and self._takes_gradient(r, tensor) for r in readers]
        rest = (r for r, takes in zip(readers, found, strict=True) if not takes)
        return any(found) and all(r is not None and _is_rounding_reader(r, tensor) for r in rest)

    def _takes_gradient(self, reader: Node, tensor: Tensor) -> bool:
        if reader.op.name != "add" and any(t is tensor for t in reader.inputs[1:]):
            return False
        if reader.op.name in NORM_GRADIENTS:
            return id(reader) in self.norms
        if reader.op.name == "max_pool_grad":
            return is_rounded(reader.inputs[1])
        through = reader.op.name in (*MOVES, "add", "relu_grad", "relu6_grad")
        return through and reader.outputs[0] in self.gradients

    def _stays_narrow(self, node: Node, tensor: Tensor) -> bool:
        """Results that nobody reads as they are, and elementwise ones that products alone read, or
        several."""
        uses = _uses(tensor, self.readers)
        read = uses.products + uses.roundings > 0 and not uses.others
        if id(node) in self.norms:
            if tensor.index or node.op.name in NORM_GRADIENTS:
                return tensor.index == 0 and read
            return self._takes_bits(tensor)
        if node.op.name in MADE:
            return read or tensor in self.gradients
        return chainable(node) and uses.products > (1 if uses.others else 0)

    def _takes_bits(self, tensor: Tensor) -> bool:
        """Whether all readers can read bits: for one that cannot, float32 is written at once."""
        return all(r is not None and self._reads_bits(r) for r in self.readers[tensor])

    def _reads_bits(self, node: Node) -> bool:
        if node.op.name in ("round_bfloat16", "max_pool", *MOVES):
            return self._takes_bits(node.outputs[0])
        named = node.op.name in (*MADE, *ROUNDING, "max_pool_grad")
        return named or id(node) in self.norms or chainable(node)


# ---- rewriting -----------------------------------------------------------------------------------


def _is_bits(tensor: Tensor) -> bool:
    return tensor.node.op.name == "from_bfloat16"


def _widened(bits: Tensor) -> Tensor:
    result: Tensor = registry["from_bfloat16"](bits)
    return result


class _Rule:
    """Stored tensors are rebuilt as from_bfloat16(bits), which readers of bits look through."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.rounded: set[Tensor] = set()  # rebuilt float32 tensors that are rounded already
        self.copies: dict[Tensor, Tensor | None] = {}  # bits beside a tensor, made for products

    def rule(self, node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        name = node.op.name
        if id(node) in self.plan.norms:
            return self._norm(node, inputs)
        if name == "round_bfloat16" and (_is_bits(inputs[0]) or inputs[0] in self.rounded):
            return inputs
        if name in MOVES:
            return self._moved(node, inputs)
        if name in POOLS and any(map(_is_bits, inputs)):
            pooled = registry[POOLS[name]](*map(_bits_or_self, inputs), **node.attrs)
            return [_widened(pooled) if pooled.dtype == "uint16" else pooled]
        if name in MADE or name in ROUNDING:
            return self._product(node, inputs)
        if name == "add" and node.outputs[0] in self.plan.gradients:
            alone = [self._alone(t) for t in node.inputs]
            return [_widened(_sum(list(map(_bits_or_self, inputs)), alone))]
        return self._elementwise(node, inputs) if chainable(node) else None

    def _norm(self, node: Node, inputs: Sequence[Tensor]) -> Outputs:
        """Takes bits where they are, or what is to be rounded."""
        narrow = node.outputs[0] in self.plan.chosen
        given = [_bits_or_self(t) if t.ndim > 1 else t for t in inputs]
        forward = node.op.name in NORMS
        for i in (0, *range(3, len(given))) if forward else (len(given) - 4,):
            given[i] = given[i].node.inputs[0] if _rounds(given[i]) else given[i]
        made = registry[node.op.name](*given, **node.attrs, rounds=True, narrow=narrow)
        outputs = [_widened(t) if t.dtype == "uint16" else t for t in made]
        if forward and not narrow:
            self.rounded.add(outputs[0])
        return outputs

    def _moved(self, node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        """The same move of bits, or of the bits beside a tensor."""
        if _is_bits(inputs[0]):
            return [_widened(registry[node.op.name](inputs[0].node.inputs[0], **node.attrs))]
        made = with_inputs(node, inputs).outputs
        if inputs[0] in self.rounded:
            self.rounded.add(made[0])
        if inputs[0] in self.copies and node.op.name == "reshape":
            bits = self._bits(inputs[0])
            self.copies[made[0]] = registry["reshape"](bits, shape=made[0].shape)
        return made

    def _product(self, node: Node, inputs: Sequence[Tensor]) -> Outputs:
        rounds = node.op.name in ROUNDING
        given = [
            self._bits(t) if rounds or i == 0 else _bits_or_self(t) for i, t in enumerate(inputs)
        ]
        if rounds or node.outputs[0] not in self.plan.chosen:
            return with_inputs(node, tuple(given)).outputs
        return [_widened(registry[node.op.name](*given, **{**node.attrs, "narrow": True}))]

    def _bits(self, tensor: Tensor) -> Tensor:
        """The bits of a tensor where it has some; made at the first call for those beside it."""
        if tensor in self.copies:
            bits = self.copies[tensor]
            bits = registry["to_bfloat16"](tensor) if bits is None else bits
            self.copies[tensor] = bits
            return bits
        return _bits_or_self(tensor)

    def _elementwise(self, node: Node, inputs: Sequence[Tensor]) -> Outputs:
        """Each reader widens for itself."""
        own = [_widened(t.node.inputs[0]) if _is_bits(t) else t for t in inputs]
        made = with_inputs(node, tuple(own)).outputs
        if node.outputs[0] in self.plan.gradients:
            return [_widened(registry["to_bfloat16"](made[0]))]
        if node.outputs[0] in self.plan.chosen:
            self.copies[made[0]] = None
        return made

    def _alone(self, tensor: Tensor) -> bool:
        """Whether nothing else reads a tensor, nor what it is a move of."""
        below = tensor.node.op.name not in MOVES or self._alone(tensor.node.inputs[0])
        return len(self.plan.readers[tensor]) == 1 and below


def _rounds(tensor: Tensor) -> bool:
    return tensor.node.op.name == "round_bfloat16"


def _bits_or_self(tensor: Tensor) -> Tensor:
    return tensor.node.inputs[0] if _is_bits(tensor) else tensor


def _sum(terms: list[Tensor], alone: list[bool]) -> Tensor:
    """The bits of a sum of two gradients, which are bits or float32. A product that nothing else
    reads adds the other as it is stored; two that are scattered alike are added before."""
    a, b = terms
    for mine, other, free in ((a, b, alone[0]), (b, a, alone[1])):
        free &= a.shape == b.shape
        if free and mine.node.op.name == "reshape" and _can_add(mine.node.inputs[0]):
            flat = registry["reshape"](other, shape=mine.node.inputs[0].shape)
            return registry["reshape"](_added(mine.node.inputs[0], flat), shape=mine.shape)
        if free and _can_add(mine):
            return _added(mine, other)
    if a.node.op.name == b.node.op.name == "strided_slice_grad" and a.node.attrs == b.node.attrs:
        inner = _sum([a.node.inputs[0], b.node.inputs[0]], alone)
        result: Tensor = registry["strided_slice_grad"](inner, **a.node.attrs)
        return result
    wide = [_widened(t) if t.dtype == "uint16" else t for t in terms]
    bits: Tensor = registry["to_bfloat16"](registry["add"](*wide))
    return bits


def _can_add(tensor: Tensor) -> bool:
    node = tensor.node
    return node.op.name in ("dense_bf16", "conv_bf16") and node.attrs["activation"] == "linear"


def _added(tensor: Tensor, residual: Tensor) -> Tensor:
    node = tensor.node
    op = registry[f"{node.op.name}_add"]
    result: Tensor = op(*node.inputs, residual, **{**node.attrs, "narrow": True})
    return result
