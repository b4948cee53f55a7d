"""Transposes move down through the graph until they meet their inverse, and padding into windows.

In: a Graph. Out: an equal Graph. Layers with data_format="channels_first" compute with
channels last between two transposes; here the pairs cancel, so that a chain of such layers keeps
one transpose at its start and one at its end. Zeros around an image become padding of the
convolution or pooling that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.graph import Graph, Node, Tensor, scope
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.passes.simplify import cancelled_transpose
from zoo_keras.primitives.op import registry

Perm = tuple[int, ...]
Sides = Sequence[tuple[int, int]]
Outputs = Sequence[Tensor] | None


def arrange(graph: Graph) -> Graph:
    """Both rewrites, where there is something to do."""
    names = {node.op.name for node in graph.nodes()}
    if "transpose" in names:
        graph = rewrite(graph, _sink)
    if "pad" in names and names & {"conv", "max_pool", "round_int8"}:
        graph = _pad_windows(graph)
    return graph


# ---- transposes --------------------------------------------------------------------------------


def _sink(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    """op(transpose(x)) -> transpose(op(x)), for ops that do not care about the order of axes."""
    if node.op.name == "transpose":
        return cancelled_transpose(node, inputs) or _through_broadcast(node, inputs)
    perm = next((_perm(t) for t in inputs if _perm(t)), None)
    if perm is None or len(node.specs) != 1:
        return None
    with scope(node.scope):
        if node.op.elementwise:
            return _elementwise(node, inputs, perm)
        if node.op.axes is None:
            return None
        rule = _reduce if node.op.axes.reduced else _along_axes
        return rule(node, inputs, perm)


def _perm(tensor: Tensor) -> Perm | None:
    name, attrs = tensor.node.op.name, tensor.node.attrs
    return tuple(attrs["perm"]) if name == "transpose" else None


def _source(tensor: Tensor) -> Tensor:
    return tensor.node.inputs[0]


def _turned(tensor: Tensor, perm: Perm) -> Tensor:
    result: Tensor = registry["transpose"](tensor, perm=perm)
    return result


def _elementwise(node: Node, inputs: tuple[Tensor, ...], perm: Perm) -> Outputs:
    shape = node.specs[0].shape
    sources = [_before(t, perm, shape) for t in inputs]
    if any(s is None for s in sources):
        return None
    return [_turned(node.op(*sources, **node.attrs), perm)]


def _before(tensor: Tensor, perm: Perm, shape: tuple[int, ...]) -> Tensor | None:
    """What broadcasts to the operand once it is transposed; None when that needs a copy."""
    if _perm(tensor) == perm and tensor.shape == shape:
        return _source(tensor)
    if tensor.size == 1 and tensor.ndim <= len(shape):
        return tensor
    full = (1,) * (len(perm) - tensor.ndim) + tensor.shape
    if len(full) != len(perm) or sum(d != 1 for d in full) > 1:
        return None
    turned = tuple(full[perm.index(axis)] for axis in range(len(perm)))
    result: Tensor = registry["reshape"](tensor, shape=turned)
    return result


def _reduce(node: Node, inputs: tuple[Tensor, ...], perm: Perm) -> Outputs:
    name, keepdims = node.op.axes.reduced, node.attrs["keepdims"]
    axes, source = node.attrs[name], _source(inputs[0])
    y = node.op(source, **{**node.attrs, name: tuple(sorted(perm[a] for a in axes))})
    if keepdims:
        return [_turned(y, perm)]
    kept = [p for i, p in enumerate(perm) if i not in axes]
    order = tuple(sorted(kept).index(p) for p in kept)
    return [y if order == tuple(range(len(order))) else _turned(y, order)]


def _along_axes(node: Node, inputs: tuple[Tensor, ...], perm: Perm) -> Outputs:
    """One axis that an attribute names, or attributes that list something for each axis."""
    if any(_perm(t) != perm for t in inputs):
        return None
    attrs, axes = dict(node.attrs), node.op.axes
    if axes.one:
        attrs[axes.one] = perm[attrs[axes.one]]
    for name in axes.listed:
        attrs[name] = tuple(attrs[name][perm.index(axis)] for axis in range(len(perm)))
    return [_turned(node.op(*[_source(t) for t in inputs], **attrs), perm)]


def _through_broadcast(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    """transpose(broadcast_to(x)) -> broadcast_to(transpose(x)): less to move."""
    spread = inputs[0].node
    if spread.op.name != "broadcast_to" or spread.inputs[0].size == inputs[0].size:
        return None
    small = spread.inputs[0]
    with scope(node.scope):
        full = (1,) * (inputs[0].ndim - small.ndim) + small.shape
        aligned = registry["reshape"](small, shape=full) if full != small.shape else small
        turned = _turned(aligned, tuple(node.attrs["perm"]))
        return [registry["broadcast_to"](turned, shape=node.specs[0].shape)]


# ---- padding -----------------------------------------------------------------------------------


def _pad_windows(graph: Graph) -> Graph:
    """Zeros around x become padding of conv and of its gradients, of int8 convolutions, and of
    max_pool when x >= 0. Rounding, which keeps zeros, comes before them."""
    readers = graph.readers()

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        if node.op.name in ("conv", "conv_grad_kernel", "max_pool"):
            return _padded_window(node, inputs)
        if inputs and inputs[0].node.op.name == "round_int8" and "padding" in node.attrs:
            return _padded_int8(node, inputs)
        if node.op.name == "round_bfloat16" and _sides_of_pad(inputs[0].node):
            return [registry["pad"](node.op(_source(inputs[0])), **inputs[0].node.attrs)]
        if node.op.name == "strided_slice" and len(readers[node.inputs[0]]) == 1:
            return _unpadded_gradient(node, inputs[0].node)
        return None

    return rewrite(graph, rule)


def _padded_window(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    sides = _sides_of_pad(inputs[0].node)
    attrs = None if sides is None else _widened(node, _source(inputs[0]), sides)
    if attrs is None:
        return None
    x = _source(inputs[0])
    return Node(node.op, (x, *inputs[1:]), attrs, node.specs, node.scope).outputs


def _padded_int8(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    """An int8 convolution of a rounded pad: zeros stay zeros, and are no image's largest number."""
    rounding = inputs[0].node
    sides = _sides_of_pad(rounding.inputs[0].node)
    attrs = None if sides is None else _widened(node, None, sides)
    if attrs is None:
        return None
    q, step = rounding.op(_source(rounding.inputs[0]), **rounding.attrs)
    return Node(node.op, (q, step, *inputs[2:]), attrs, node.specs, node.scope).outputs


def _sides_of_pad(node: Node) -> Sides | None:
    """The zeros that a pad puts around the spatial axes; None for other nodes."""
    if node.op.name != "pad" or node.attrs.get("value", 0) != 0:
        return None
    paddings = node.attrs["paddings"]
    return None if any(paddings[0]) or any(paddings[-1]) else tuple(paddings[1:-1])


def _widened(node: Node, x: Tensor | None, sides: Sides) -> dict[str, Any] | None:
    """The attributes with more padding; None when a window would lie on padding alone, or when
    padding by nothing (as pooling does) is not the same as zeros around x.

    Where all cells are 0 the gradient of max_pool then goes to another cell, but the ReLU before
    it sends none of it on.
    """
    padding = tuple(
        (a + c, b + d) for (a, b), (c, d) in zip(node.attrs["padding"], sides, strict=True)
    )
    reaches = _reaches(node)
    if any(max(side) >= reach for side, reach in zip(padding, reaches, strict=True)):
        return None
    if x is not None and "pool" in node.attrs and not _is_positive(x):
        return None
    return {**node.attrs, "padding": padding}


def _is_positive(x: Tensor) -> bool:
    while x.node.op.name == "round_bfloat16":
        x = _source(x)
    return x.node.op.name == "relu"


def _reaches(node: Node) -> list[int]:
    """Cells that a window covers along each axis."""
    if "pool" in node.attrs:
        return list(node.attrs["pool"])
    kernel = node.attrs.get("kernel_shape") or node.inputs[1].shape
    return [(k - 1) * d + 1 for k, d in zip(kernel, node.attrs["dilation"], strict=False)]


def _unpadded_gradient(node: Node, gradient: Node) -> Outputs:
    """The gradient by x of a window on pad(x), which was cut out of that by pad(x)."""
    cuts = zip(node.attrs["begin"], node.attrs["end"], gradient.specs[0].shape, strict=True)
    ends = [(begin, size - end) for begin, end, size in cuts]
    sides, inputs = tuple(ends[1:-1]), gradient.inputs
    if any(s != 1 for s in node.attrs["strides"]) or any(ends[0]) or any(ends[-1]):
        return None
    if gradient.op.name == "conv_grad_input":
        attrs = _widened(gradient, None, sides)
    elif gradient.op.name == "max_pool_grad" and _sides_of_pad(inputs[1].node) == sides:
        inputs = (inputs[0], _source(inputs[1]), inputs[2])
        attrs = _widened(gradient, inputs[1], sides)
    else:
        return None
    if attrs is None:
        return None
    if "input_shape" in attrs:
        attrs["input_shape"] = node.specs[0].shape
    return Node(gradient.op, inputs, attrs, node.specs, gradient.scope).outputs
