"""The driver that every rewriting pass shares: rebuild a graph node by node, inputs first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo_keras.graph import Graph, Node, Tensor

# rule(node, its rebuilt inputs) -> replacement for the node's outputs, or None to keep the node
Rule = Callable[[Node, tuple[Tensor, ...]], Sequence[Tensor] | None]

# what stands for tensors
Replacements = dict[Tensor, Tensor]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """The graph with every node replaced as the rule says; the same object when none was."""
    made: dict[Tensor, Tensor] = {}
    for node in graph.nodes():
        inputs = tuple([made[t] for t in node.inputs])
        replaced = rule(node, inputs)
        new = with_inputs(node, inputs).outputs if replaced is None else replaced
        made.update(zip(node.outputs, new, strict=True))
    outputs = [made[t] for t in graph.outputs]
    if all(new is old for new, old in zip(outputs, graph.outputs, strict=True)):
        return graph
    feeds = [made.get(t, t) for t in graph.inputs]
    return Graph(feeds, outputs)


def replace(graph: Graph, replacements: Replacements) -> Graph:
    """The graph with some tensors replaced; what replaces them may read any tensor but those that
    are computed from it."""
    made: dict[Tensor, Tensor] = {}

    def source(t: Tensor) -> Tensor:
        return replacements.get(t, t)

    stack = [source(t).node for t in reversed(graph.outputs)]
    while stack:
        node = stack[-1]
        if node.outputs[0] in made:
            stack.pop()
            continue
        sources = [source(t) for t in node.inputs]
        waiting = [t.node for t in sources if t not in made]
        if waiting:
            stack.extend(reversed(waiting))
            continue
        stack.pop()
        inputs = tuple([made[t] for t in sources])
        made.update(zip(node.outputs, with_inputs(node, inputs).outputs, strict=True))
    feeds = [made.get(t, t) for t in graph.inputs]
    return Graph(feeds, [made[s] for s in map(source, graph.outputs)])


def with_inputs(node: Node, inputs: tuple[Tensor, ...]) -> Node:
    """The node itself when the inputs are its own, else a copy that takes these."""
    for before, now in zip(node.inputs, inputs, strict=True):
        if before is not now:
            return Node(node.op, inputs, node.attrs, node.specs, node.scope)
    return node
