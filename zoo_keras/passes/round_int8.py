"""What the next int8 convolution reads is rounded where it is made, and what a shortcut adds is
read in the fewest bytes.

In: a Graph of inference. Out: the same with round_int8 taken into the int8 convolution before it,
which then writes bytes in place of floats, or both where something else reads the floats. Only a
scale that is known (calibration) can be used there: an image's own needs the whole image. A
shortcut then adds those bytes; where none were made, bits of bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_keras.graph import Graph, Node, Tensor
from zoo_keras.passes.rewrite import Replacements, replace, rewrite
from zoo_keras.primitives.op import registry

_ROUNDING = frozenset({"conv_int8", "conv_int8_add", "depthwise_int8"})
_SHORT = frozenset({"conv_int8", "conv_int8_add"})
_RESIDUAL = 5  # which input of conv_int8_add


def round_where_made(graph: Graph) -> Graph:
    """round_int8(convolution) -> a convolution with int8 results, which shortcuts read too."""
    graph = _pooled_in_bytes(graph)
    readers, taken = graph.readers(), set[int]()
    found: Replacements = {}
    for node in graph.nodes():
        if node.op.name != "round_int8" or not node.attrs["scale"]:
            continue
        made = node.inputs[0].node
        if made.op.name in _ROUNDING and not made.attrs["scale"] and id(made) not in taken:
            taken.add(id(made))
            found.update(_rounding(made, node, len(readers[made.outputs[0]]) > 1))
    return _narrow_shortcuts(replace(graph, found) if found else graph)


def _rounding(made: Node, node: Node, both: bool) -> Replacements:
    attrs = {**made.attrs, **node.attrs, "both": both}
    specs = [*(made.specs if both else ()), *node.specs]
    outputs = Node(made.op, made.inputs, attrs, specs, made.scope).outputs
    found: Replacements = dict(zip(node.outputs, outputs[-2:], strict=True))
    return found | ({made.outputs[0]: outputs[0]} if both else {})


def _pooled_in_bytes(graph: Graph) -> Graph:
    """round_int8(max_pool(convolution)) -> max_pool_int8(round_int8(convolution)): rounding keeps
    the order of numbers."""
    readers = graph.readers()

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.name != "round_int8" or not node.attrs["scale"] or node.attrs.get("unsigned"):
            return None
        pool = inputs[0].node
        lone = pool.op.name == "max_pool" and len(readers[node.inputs[0]]) == 1
        if not lone or pool.inputs[0].node.op.name not in _ROUNDING:
            return None
        q, step = registry["round_int8"](*pool.inputs, **node.attrs)
        return [registry["max_pool_int8"](q, **pool.attrs), step]

    return rewrite(graph, rule)


# ---- shortcuts -----------------------------------------------------------------------------------


def _narrow_shortcuts(graph: Graph) -> Graph:
    """Float results that shortcuts alone read are not made: shortcuts read the rounded results, or,
    where there are none, bits of bfloat16."""
    readers = graph.readers()

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        adds_bytes = node.op.name == "conv_int8_add" and inputs[_RESIDUAL].dtype == "int8"
        if adds_bytes:
            inputs = (*inputs, inputs[_RESIDUAL].node.outputs[1])
        y = node.outputs[0]
        if node.op.name not in _SHORT or y.dtype != "float32" or not _is_shortcut(y, readers[y]):
            return _again(node, inputs) if adds_bytes else None
        if not node.attrs["both"] or node.attrs.get("unsigned"):
            return _again(node, inputs, narrow=True)
        q, step = _again(node, inputs, both=False)
        return [q, q, step]

    return rewrite(graph, rule)


def _again(node: Node, inputs: Sequence[Tensor], **changes: bool) -> Sequence[Tensor]:
    attrs = {**node.attrs, **changes}
    specs = node.op.infer(*[t.spec for t in inputs], **attrs)
    return Node(node.op, inputs, attrs, specs, node.scope).outputs


def _is_shortcut(tensor: Tensor, readers: Sequence[Node | None]) -> bool:
    """Whether a tensor is read as a residual and not otherwise."""
    return all(
        node is not None
        and node.op.name == "conv_int8_add"
        and [i for i, t in enumerate(node.inputs) if t is tensor] == [_RESIDUAL]
        for node in readers
    )
