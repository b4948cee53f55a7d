"""Products take in their bias, a residual and an activation; inference folds and packs weights.

In: a simplified Graph. Out: a Graph with dense, conv_fused (and _add) and, for frozen weights,
scales folded into weights and weights packed. `passes.chains` gathers elementwise nodes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zoo_keras.graph import CONSTANT, PARAMETER, Graph, Leaf, Node, Tensor, constant
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.primitives.op import registry

Outputs = Sequence[Tensor] | None


def fuse_bias(graph: Graph) -> Graph:
    """add(product, bias) -> product with bias."""
    return rewrite(graph, _single_use(graph, _bias))


def fuse_epilogues(graph: Graph) -> Graph:
    """A residual sum and an activation after a product with bias move into its kernel."""
    graph = rewrite(graph, _single_use(graph, _residual))
    return rewrite(graph, _single_use(graph, _activation))


def fold_scales(graph: Graph) -> Graph:
    """A frozen scale or offset of each channel after a product moves into its weights."""
    frozen = frozen_nodes(graph)

    def rule(node: Node, inputs: tuple[Tensor, ...], alone: Callable[[int], bool]) -> Outputs:
        name = node.op.name
        if name not in ("multiply", "add", "subtract"):
            return None
        for i in (0,) if name == "subtract" else (0, 1):
            if alone(i) and id(node.inputs[1 - i].node) in frozen:
                folded = _folded(node, inputs[i], inputs[1 - i])
                if folded is not None:
                    return [folded]
        return None

    return rewrite(graph, _single_use(graph, rule))


def pack_weights(graph: Graph) -> Graph:
    """Products with frozen weights read them packed; the packing itself runs in the prologue."""
    frozen = frozen_nodes(graph)

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        if len(inputs) < 2 or id(node.inputs[1].node) not in frozen:
            return None
        if _is_product(node.outputs[0]):
            node = _with_bias(node, inputs, None).node
            inputs = node.inputs
        return _pack(node, inputs) if node.op.packed else None

    return rewrite(graph, rule)


def frozen_nodes(graph: Graph) -> set[int]:
    """ids of nodes that depend on parameters and constants only."""
    found: set[int] = set()
    for node in graph.nodes():
        leaf = node.op is CONSTANT or _steady(node)
        inner = not isinstance(node.op, Leaf) and not node.op.random
        if leaf or (inner and all(id(t.node) in found for t in node.inputs)):
            found.add(id(node))
    return found


def _steady(node: Node) -> bool:
    """Whether a node is a parameter that prediction does not change."""
    return node.op is PARAMETER and not getattr(node.attrs["variable"], "carried", False)


def _single_use(graph: Graph, rule: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """Gives the rule `alone(i)`: input i of the node is read by this node only."""
    readers = graph.readers()

    def wrapped(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        def alone(i: int) -> bool:
            t = node.inputs[i]
            return len(readers[t]) == 1

        return rule(node, inputs, alone) if inputs else None

    return wrapped


def _channels(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def _vector(tensor: Tensor, channels: int, ndim: int) -> Tensor | None:
    """The tensor as (channels,), when it is a vector along the last of `ndim` axes."""
    ok = tensor.ndim <= ndim and tensor.shape and tensor.shape[-1] == channels == tensor.size
    if not ok:
        return None
    if tensor.ndim == 1:
        return tensor
    result: Tensor = registry["reshape"](tensor, shape=(channels,))
    return result


def _is_product(tensor: Tensor) -> bool:
    """Whether the tensor is a product that may get a bias, an activation and packed weights."""
    op = tensor.node.op
    return tensor.dtype == "float32" and bool(op.with_bias and op.with_bias(tensor.node))


def _with_bias(product: Node, inputs: Sequence[Tensor], bias: Tensor | None) -> Tensor:
    if bias is None:
        bias = constant(np.zeros(_channels(product.outputs[0]), np.float32))
    name, attrs = product.op.with_bias(product)
    attrs = {**attrs, "activation": "linear"}
    given = [*inputs[:2], bias]
    return Node(registry[name], given, attrs, product.specs, product.scope).outputs[0]


def _bias(node: Node, inputs: tuple[Tensor, ...], alone: Callable[[int], bool]) -> Outputs:
    if node.op.name != "add":
        return None
    for i in (0, 1):
        product, other = inputs[i], inputs[1 - i]
        if _is_product(product) and alone(i) and product.spec == node.specs[0]:
            bias = _vector(other, _channels(product), product.ndim)
            if bias is not None and bias.dtype == "float32":
                return [_with_bias(product.node, product.node.inputs, bias)]
    return None


def _residual(node: Node, inputs: tuple[Tensor, ...], alone: Callable[[int], bool]) -> Outputs:
    if node.op.name != "add":
        return None
    for i in (0, 1):
        before, other = inputs[i].node, inputs[1 - i]
        fits = before.op.with_residual and other.spec == before.specs[0] == node.specs[0]
        if fits and alone(i) and before.attrs["activation"] == "linear":
            op = registry[before.op.with_residual]
            return Node(op, [*before.inputs, other], before.attrs, node.specs, before.scope).outputs
    return None


def _activation(node: Node, inputs: tuple[Tensor, ...], alone: Callable[[int], bool]) -> Outputs:
    before, name = inputs[0].node, _activation_name(node)
    if name not in before.op.epilogue or not alone(0) or before.attrs["activation"] != "linear":
        return None
    attrs = {**before.attrs, "activation": name}
    return Node(before.op, before.inputs, attrs, before.specs, before.scope).outputs


def _activation_name(node: Node) -> str | None:
    """The fused activation that a node is, if any."""
    known = node.op.activation
    return known(node.attrs) if callable(known) else known


def _folded(node: Node, product: Tensor, vector: Tensor) -> Tensor | None:
    """The product with the frozen vector multiplied into its weights or added to its bias."""
    fused = product.node.op.takes_scale is not None
    if not (fused or _is_product(product)) or product.spec != node.specs[0]:
        return None
    if fused and product.node.attrs["activation"] != "linear":
        return None
    flat = _vector(vector, _channels(product), product.ndim)
    if flat is None:
        return None
    base = product.node if fused else _with_bias(product.node, product.node.inputs, None).node
    inputs = list(base.inputs)
    name, (scaled, bias) = node.op.name, base.op.takes_scale
    for i in (scaled, bias) if name == "multiply" else (bias,):
        inputs[i] = registry[name](inputs[i], flat)
    return Node(base.op, inputs, base.attrs, base.specs, base.scope).outputs[0]


def _pack(node: Node, inputs: Sequence[Tensor]) -> Outputs:
    x, w, *rest = inputs
    name, pack = node.op.packed
    weights, more = pack(w, node.attrs, node.specs[0])
    attrs = {**node.attrs, **more}
    return Node(registry[name], [x, weights, *rest], attrs, node.specs, node.scope).outputs
