"""Gathers elementwise nodes of one shape into chain instructions, so that they run tile by tile.

In: a Graph. Out: an equal Graph whose elementwise nodes are chains. A node joins the group of one
of its inputs when everything else it reads is there before the group runs. A group that no node
outside reads may run later than its first node stands: it moves down, or into another group.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_keras.graph import CONSTANT, Graph, Leaf, Node, Tensor
from zoo_keras.passes.fuse import frozen_nodes
from zoo_keras.passes.rewrite import with_inputs
from zoo_keras.primitives.chain import MAX_INPUTS, MAX_NODES, MAX_OUTPUTS, chain_of, chainable

Readers = dict[Tensor, list[Node | None]]


class _Group:
    """Nodes that will be one chain. `kind`: what its nodes have in common. `read`: a node outside
    reads it, so it must not run later than at `position`, the place of one of its nodes."""

    def __init__(self, position: int, kind: object) -> None:
        self.position, self.kind = position, kind
        self.nodes: dict[int, Node] = {}  # by place in the order
        self.members: set[int] = set()
        self.sources: set[Tensor] = set()
        self.read = False

    def outside(self, node: Node) -> set[Tensor]:
        """What the node reads that this group does not make; numbers are part of the code."""
        return {
            t for t in node.inputs
            if id(t.node) not in self.members and not (t.node.op is CONSTANT and t.size == 1)
        }  # fmt: skip

    def has_room(self, nodes: int, sources: set[Tensor]) -> bool:
        return len(self.nodes) + nodes <= MAX_NODES and len(self.sources | sources) <= MAX_INPUTS

    def add(self, place: int, node: Node) -> None:
        self.sources |= self.outside(node)
        self.nodes[place] = node
        self.members.add(id(node))

    def absorb(self, other: _Group) -> None:
        self.nodes |= other.nodes
        self.members |= other.members
        self.sources = {s for s in self.sources | other.sources if id(s.node) not in self.members}


class _Grouping:
    """The groups of a graph. The position of a grouped node is that of its group."""

    def __init__(self, order: Sequence[Node], frozen: set[int]) -> None:
        self.frozen = frozen
        self.positions: dict[int, int] = {}
        self.group_of: dict[int, _Group] = {}
        for i, node in enumerate(order):
            self.positions[id(node)] = -1 if isinstance(node.op, Leaf) else i
            if chainable(node):
                self._place(i, node)
            for t in node.inputs:
                group = self.group_of.get(id(t.node))
                if group is not None and group is not self.group_of.get(id(node)):
                    group.read = True

    def _place(self, i: int, node: Node) -> None:
        kind = node.specs[0].shape, id(node) in self.frozen
        # What is stored narrow must not become wide before it is read.
        inputs = () if node.op.name == "from_bfloat16" else node.inputs
        found = {id(g): g for t in inputs if (g := self.group_of.get(id(t.node)))}
        near = sorted((g for g in found.values() if g.kind == kind), key=lambda g: -g.position)
        group = next((g for g in near if self._joins(g, i, node)), None) or _Group(i, kind)
        group.add(i, node)
        for other in near:
            movable = not other.read and other.position < group.position
            if movable and group.has_room(len(other.nodes), other.sources):
                group.absorb(other)
        for member in group.members:
            self.group_of[member], self.positions[member] = group, group.position

    def _joins(self, group: _Group, i: int, node: Node) -> bool:
        """Whether the group can take the node; it moves down to it when it has to and may."""
        outside = group.outside(node)
        if not group.has_room(1, outside):
            return False
        in_time = all(self.positions[id(t.node)] < group.position for t in outside)
        if not in_time and not group.read:
            group.position, in_time = i, True
        return in_time


def gather_chains(graph: Graph, freeze: bool = False) -> Graph:
    """Replace elementwise nodes by chains; with `freeze`, frozen nodes stay by themselves."""
    order = graph.nodes()
    groups = _Grouping(order, frozen_nodes(graph) if freeze else set()).group_of
    readers = graph.readers()
    made = {t: t for n in order if isinstance(n.op, Leaf) for t in n.outputs}
    for i, node in enumerate(order):
        group = groups.get(id(node))
        if group is None:
            new = with_inputs(node, tuple(made[t] for t in node.inputs))
            made.update(zip(node.outputs, new.outputs, strict=True))
        elif group.position == i:
            _emit(group, readers, made)
    return Graph(graph.inputs, [made[t] for t in graph.outputs])


def _emit(group: _Group, readers: Readers, made: dict[Tensor, Tensor]) -> None:
    """Make the chain, in pieces when it has more outputs than one chain may have."""
    for nodes in _pieces([group.nodes[place] for place in sorted(group.nodes)], readers):
        members = {id(n) for n in nodes}
        renewed: dict[Tensor, Tensor] = {}
        fresh = []
        for node in nodes:
            inputs = tuple(renewed[t] if t in renewed else made[t] for t in node.inputs)
            new = with_inputs(node, inputs)
            renewed[node.outputs[0]] = new.outputs[0]
            fresh.append(new)
        wanted = [n for n in nodes if _read_outside(n, members, readers)]
        outputs = chain_of(fresh, [renewed[n.outputs[0]] for n in wanted])
        made.update({n.outputs[0]: t for n, t in zip(wanted, outputs, strict=True)})


def _read_outside(node: Node, members: set[int], readers: Readers) -> bool:
    return any(r is None or id(r) not in members for r in readers[node.outputs[0]])


def _pieces(nodes: Sequence[Node], readers: Readers) -> list[Sequence[Node]]:
    """Halve until no piece has too many outputs."""
    members = {id(n) for n in nodes}
    if sum(_read_outside(n, members, readers) for n in nodes) <= MAX_OUTPUTS:
        return [nodes]
    middle = len(nodes) // 2
    return [*_pieces(nodes[:middle], readers), *_pieces(nodes[middle:], readers)]
