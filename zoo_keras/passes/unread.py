"""Outputs that nobody reads are not computed, where an op can leave them out.

In: a Graph. Out: an equal Graph in which every op with an attribute `kept`, one flag for each
output, keeps only what is read: a recurrent layer saves nothing for a backward pass that is not
there.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_keras.graph import Graph, Node, Tensor
from zoo_keras.passes.rewrite import rewrite


def drop_unread(graph: Graph) -> Graph:
    """Clear the `kept` flags of outputs without readers."""
    readers = graph.readers()

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if "kept" not in node.attrs:
            return None
        kept = tuple(bool(readers[t]) for t in node.outputs)
        if kept == node.attrs["kept"]:
            return None
        attrs = {**node.attrs, "kept": kept}
        specs = node.op.infer(*[t.spec for t in inputs], **attrs)
        return Node(node.op, inputs, attrs, specs, node.scope).outputs

    return rewrite(graph, rule)
