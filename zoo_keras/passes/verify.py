"""Whether a graph is what its ops promise. Run after every pass when ZK_DEBUG=1.

In: a Graph. Out: nothing, or a ProgramError that names the pass and the node.
"""

from __future__ import annotations

from zoo_keras.errors import ProgramError, ShapeError
from zoo_keras.graph import Graph, Leaf, Node


def verify(graph: Graph, after: str = "tracing") -> None:
    """Every node has the outputs that its op's shape rule gives for its inputs."""
    for node in graph.nodes():
        problem = "" if isinstance(node.op, Leaf) else _broken_promise(node)
        if problem:
            raise ProgramError(
                f"The graph is wrong after {after}. Received: {node}: {problem}. This is a fault "
                "of zoo_keras; please report it with the model."
            )


def _broken_promise(node: Node) -> str:
    try:
        promised = node.op.infer(*[t.spec for t in node.inputs], **node.attrs)
    except ShapeError as error:
        return str(error)
    return "" if promised == node.specs else f"its op gives {promised}"
