"""What the next int8 convolution reads is rounded where it is made.

In: a Graph of inference. Out: the same with round_int8 taken into the int8 convolution before it,
which then writes bytes in place of floats, or both where something else reads the floats. Only a
scale that is known (calibration) can be used there: an image's own needs the whole image.
"""

from __future__ import annotations

from zoo_keras.graph import Graph, Node
from zoo_keras.passes.rewrite import Replacements, replace

_ROUNDING = frozenset({"conv_int8", "conv_int8_add", "depthwise_int8"})


def round_where_made(graph: Graph) -> Graph:
    """round_int8(convolution) -> a convolution with int8 results."""
    readers, taken = graph.readers(), set[int]()
    found: Replacements = {}
    for node in graph.nodes():
        if node.op.name != "round_int8" or not node.attrs["scale"]:
            continue
        made = node.inputs[0].node
        if made.op.name in _ROUNDING and not made.attrs["scale"] and id(made) not in taken:
            taken.add(id(made))
            found.update(_rounding(made, node, len(readers[made.outputs[0]]) > 1))
    return replace(graph, found) if found else graph


def _rounding(made: Node, node: Node, both: bool) -> Replacements:
    attrs = {**made.attrs, "scale": node.attrs["scale"], "both": both}
    specs = [*(made.specs if both else ()), *node.specs]
    outputs = Node(made.op, made.inputs, attrs, specs, made.scope).outputs
    found: Replacements = dict(zip(node.outputs, outputs[-2:], strict=True))
    return found | ({made.outputs[0]: outputs[0]} if both else {})
