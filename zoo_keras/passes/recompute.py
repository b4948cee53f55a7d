"""Recompute or keep: what backward reads of cheap elementwise results is computed again there.

In: the Graph of a training step, just before chains are gathered. Out: an equal Graph in which such
a result is made twice, so that forward need not store it nor memory hold it until backward. That
is done where it costs less than storing: all readers that are far are elementwise themselves, a few
cheap operations give it, and they read one array, which stays alive for another reader anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from zoo_keras.graph import Graph, Leaf, Node, Tensor
from zoo_keras.passes.rewrite import rewrite, with_inputs
from zoo_keras.primitives.chain import chainable

MOST = 4  # operations: about the time of storing and loading a number once
SMALL = 1 << 14  # elements; less stays in the cache until backward


class _Costs:
    """Which tensors of a graph are cheaper to make again than to keep."""

    def __init__(self, graph: Graph) -> None:
        order = graph.nodes()
        self.readers = graph.readers()
        self.position = {id(n): i for i, n in enumerate(order)}
        heavy = (not isinstance(n.op, Leaf) and not chainable(n) for n in order)
        self.heavy_before = [0, *accumulate(heavy)]  # of ops that are not elementwise

    def far(self, node: Node) -> list[Node]:
        """The readers that come after the next op that is not elementwise; [] when a result is an
        output of the graph."""
        readers = self.readers[node.outputs[0]]
        here = self.heavy_before[self.position[id(node)]]
        found = [r for r in readers if r is not None]
        if len(found) != len(readers):
            return []
        return [r for r in found if self.heavy_before[self.position[id(r)]] > here]

    def again(self, node: Node) -> bool:
        """Whether far readers should compute the node themselves."""
        far = self.far(node)
        if not far or node.outputs[0].size < SMALL or not _cheap(node):
            return False
        if not all(chainable(r) and r.specs[0].shape == node.specs[0].shape for r in far):
            return False
        operations, leaves = _tree(node)
        last = max(self.position[id(r)] for r in far)
        arrays = {t for t in leaves if t.size >= SMALL}
        alive = all(self._alive(t, last) for t in leaves)
        return operations <= MOST and len(arrays) == 1 and alive

    def _alive(self, tensor: Tensor, until: int) -> bool:
        """Whether it is needed as late as that in any case."""
        readers = self.readers[tensor]
        late = (r is None or self.position[id(r)] >= until for r in readers)
        return isinstance(tensor.node.op, Leaf) or any(late)


def _cheap(node: Node) -> bool:
    return node.op.cheap and chainable(node)


def _tree(node: Node) -> tuple[int, list[Tensor]]:
    """How many cheap operations give the node, and what they read. One that is not cheap would be
    computed again as well, so it counts as too many."""
    operations, leaves = 1, list[Tensor]()
    for tensor in node.inputs:
        if _cheap(tensor.node) and operations <= MOST:
            below, read = _tree(tensor.node)
            operations, leaves = operations + below, leaves + read
        elif chainable(tensor.node):
            operations += MOST
        else:
            leaves.append(tensor)
    return operations, leaves


def recompute(graph: Graph) -> Graph:
    """Give far readers of cheap results their own copy of the computation."""
    costs = _Costs(graph)
    chosen = {id(n): {id(r) for r in costs.far(n)} for n in graph.nodes() if costs.again(n)}
    if not chosen:
        return graph
    twins: dict[int, Tensor] = {}
    renewed: dict[Tensor, Tensor] = {}

    def twin(node: Node) -> Tensor:
        """The node made again from what is kept."""
        if id(node) not in twins:
            inputs = [twin(t.node) if _cheap(t.node) else renewed[t] for t in node.inputs]
            made = Node(node.op, inputs, node.attrs, node.specs, node.scope)
            twins[id(node)] = made.outputs[0]
        return twins[id(node)]

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor]:
        given = tuple(
            twin(t.node) if id(node) in chosen.get(id(t.node), ()) else new
            for t, new in zip(node.inputs, inputs, strict=True)
        )
        made = with_inputs(node, given).outputs
        renewed.update(zip(node.outputs, made, strict=True))
        return made

    return rewrite(graph, rule)
