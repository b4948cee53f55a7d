"""Gathers elementwise nodes of one shape into chain instructions, so that they run tile by tile.

In: a Graph. Out: an equal Graph whose elementwise nodes are chains. A node joins the group of one
of its inputs when everything else it reads exists before that group's place in the order, so a
group never waits for itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_keras.graph import CONSTANT, Graph, Node, Tensor
from zoo_keras.ops.chain import MAX_INPUTS, MAX_NODES, MAX_OUTPUTS, chain_of, chainable
from zoo_keras.passes.rewrite import consumers, with_inputs

Key = tuple[int, int]


class _Group:
    """Nodes that will be one chain, and the position at which it runs."""

    def __init__(self, position: int, shape: tuple[int, ...]) -> None:
        self.position, self.shape = position, shape
        self.nodes: list[Node] = []
        self.sources: set[Key] = set()

    def accepts(self, node: Node, positions: dict[int, int]) -> bool:
        members = {id(n) for n in self.nodes}
        outside = {_key(t) for t in node.inputs if id(t.node) not in members}
        if len(self.nodes) >= MAX_NODES or len(self.sources | outside) > MAX_INPUTS:
            return False
        return all(positions[key[0]] < self.position for key in outside)

    def add(self, node: Node) -> None:
        members = {id(n) for n in self.nodes}
        self.sources |= {
            _key(t) for t in node.inputs
            if id(t.node) not in members and not (t.node.op is CONSTANT and t.size == 1)
        }  # fmt: skip
        self.nodes.append(node)


def _key(tensor: Tensor) -> Key:
    return id(tensor.node), tensor.index


def gather_chains(graph: Graph) -> Graph:
    """Replace elementwise nodes by chains."""
    order = graph.nodes()
    groups = _groups(order)
    readers = consumers(graph)
    made: dict[Key, Tensor] = {}
    of_node = {id(n): g for g in groups for n in g.nodes}
    done: set[int] = set()
    for node in order:
        group = of_node.get(id(node))
        if group is None:
            new = with_inputs(node, tuple(made[_key(t)] for t in node.inputs))
            made.update({(id(node), i): t for i, t in enumerate(new.outputs)})
        elif id(group) not in done:
            done.add(id(group))
            _emit(group, readers, made)
    return Graph(graph.inputs, [made[_key(t)] for t in graph.outputs])


def _groups(order: Sequence[Node]) -> list[_Group]:
    """Groups in order of position. The position of a grouped node is that of its group."""
    positions: dict[int, int] = {}
    group_of: dict[int, _Group] = {}
    groups: list[_Group] = []
    for i, node in enumerate(order):
        positions[id(node)] = i
        if not chainable(node):
            continue
        group = _best(node, group_of, positions)
        if group is None:
            group = _Group(i, node.specs[0].shape)
            groups.append(group)
        group.add(node)
        group_of[id(node)] = group
        positions[id(node)] = group.position
    return groups


def _best(node: Node, group_of: dict[int, _Group], positions: dict[int, int]) -> _Group | None:
    """The latest group among the node's inputs that can take it."""
    found = {id(g): g for t in node.inputs if (g := group_of.get(id(t.node)))}
    for group in sorted(found.values(), key=lambda g: -g.position):
        if group.shape == node.specs[0].shape and group.accepts(node, positions):
            return group
    return None


def _emit(group: _Group, readers: dict[Key, list[Node | None]], made: dict[Key, Tensor]) -> None:
    """Make the chain, in pieces when it has more outputs than one chain may have."""
    for nodes in _pieces(group.nodes, readers):
        members = {id(n) for n in nodes}
        renewed: dict[Key, Tensor] = {}
        fresh = []
        for node in nodes:
            inputs = tuple(
                renewed[_key(t)] if _key(t) in renewed else made[_key(t)] for t in node.inputs
            )
            new = with_inputs(node, inputs)
            renewed[id(node), 0] = new.outputs[0]
            fresh.append(new)
        wanted = [n for n in nodes if _read_outside(n, members, readers)]
        outputs = chain_of(fresh, [renewed[id(n), 0] for n in wanted])
        made.update({(id(n), 0): t for n, t in zip(wanted, outputs, strict=True)})


def _read_outside(node: Node, members: set[int], readers: dict[Key, list[Node | None]]) -> bool:
    return any(r is None or id(r) not in members for r in readers.get((id(node), 0), []))


def _pieces(nodes: Sequence[Node], readers: dict[Key, list[Node | None]]) -> list[Sequence[Node]]:
    """Halve until no piece has too many outputs."""
    members = {id(n) for n in nodes}
    if sum(_read_outside(n, members, readers) for n in nodes) <= MAX_OUTPUTS:
        return [nodes]
    middle = len(nodes) // 2
    return [*_pieces(nodes[:middle], readers), *_pieces(nodes[middle:], readers)]
