"""The driver that every rewriting pass shares: rebuild a graph node by node, inputs first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo_keras.graph import Graph, Node, Tensor

# rule(node, its rebuilt inputs) -> replacement for the node's outputs, or None to keep the node
Rule = Callable[[Node, tuple[Tensor, ...]], Sequence[Tensor] | None]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """The graph with every node replaced as the rule says. Untouched nodes are shared."""
    made: dict[tuple[int, int], Tensor] = {}

    def now(tensor: Tensor) -> Tensor:
        return made[id(tensor.node), tensor.index]

    for node in graph.nodes():
        inputs = tuple(now(t) for t in node.inputs)
        replaced = rule(node, inputs)
        outputs = list(with_inputs(node, inputs).outputs if replaced is None else replaced)
        for i, tensor in enumerate(outputs):
            made[id(node), i] = tensor
    feeds = [made.get((id(t.node), t.index), t) for t in graph.inputs]
    return Graph(feeds, [now(t) for t in graph.outputs])


def with_inputs(node: Node, inputs: tuple[Tensor, ...]) -> Node:
    """The node itself when the inputs are its own, else a copy that takes these."""
    if all(a is b for a, b in zip(node.inputs, inputs, strict=True)):
        return node
    return Node(node.op, inputs, node.attrs, node.specs, node.scope)


def consumers(graph: Graph) -> dict[tuple[int, int], list[Node | None]]:
    """Who reads each tensor, by (id of node, index); None stands for being a graph output."""
    readers: dict[tuple[int, int], list[Node | None]] = {}
    for node in graph.nodes():
        for t in node.inputs:
            readers.setdefault((id(t.node), t.index), []).append(node)
    for t in graph.outputs:
        readers.setdefault((id(t.node), t.index), []).append(None)
    return readers
