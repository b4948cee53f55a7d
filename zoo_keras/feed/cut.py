"""The pass that cuts a traced model where its tensors become numbers of one shape.

In: the graph of a call, traced for two numbers of rows. Out: the graph before the cut, for any
number of rows; its outputs are what the rest of the model reads. The two traces show which numbers
in attributes stand for rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import CONSTANT, INPUT, Graph, Node, Spec, Tensor
from zoo_keras.interpret import Rows
from zoo_keras.primitives.fed import OPEN, is_plain

TRIALS = (89, 97)  # numbers of rows; their multiples are told apart from sizes of a model


def cut(first: Graph, second: Graph) -> Graph | None:
    """The part of a model over columns, or None when it has none.

    Its inputs are all inputs of the model; its outputs first the inputs that the rest of the model
    reads, then what is made of columns, each in order.

    Args:
        first, second: the same call, traced for as many rows as TRIALS says.
    """
    ends = _ends(first)
    if all(t.node.op is INPUT for t in ends):
        return None
    return _merged(Graph(first.inputs, ends), Graph(second.inputs, _ends(second)))


def _over_columns(node: Node) -> bool:
    on_columns = getattr(node.op, "on_columns", False)
    return on_columns or not all(is_plain(t.spec) for t in node.inputs)


def _ends(graph: Graph) -> list[Tensor]:
    """What the rest of the model reads, looking back from its outputs."""
    known, found = _Known(graph), {}
    stack = list(reversed(graph.outputs))
    seen: set[int] = set()
    while stack:
        t = stack.pop()
        if t.node.op is INPUT or _over_columns(t.node):
            if not known(t.node):
                if t.node.op is INPUT:
                    continue  # the source of random numbers
                raise _not_before(t.node)
            if not is_plain(t.spec):
                raise _not_numbers(t)
            found[id(t.node), t.index] = t
        elif id(t.node) not in seen:
            seen.add(id(t.node))
            stack.extend(reversed(t.node.inputs))
    places = {id(t.node): i for i, t in enumerate(graph.inputs)}
    places.update((id(n), len(places) + i) for i, n in enumerate(graph.nodes())
                  if n.op is not INPUT)  # fmt: skip
    return sorted(found.values(), key=lambda t: (places[id(t.node)], t.index))


class _Known:
    """Whether a node depends on the inputs alone: on no weights and no random numbers."""

    def __init__(self, graph: Graph) -> None:
        self._found = {id(t.node): True for t in graph.inputs}
        for node in graph.nodes():
            if id(node) not in self._found:
                random = getattr(node.op, "random", False)
                fixed = node.op is CONSTANT or (bool(node.inputs) and not random)
                self._found[id(node)] = fixed and all(self._found[id(t.node)] for t in node.inputs)

    def __call__(self, node: Node) -> bool:
        return self._found.get(id(node), False)


def _not_before(node: Node) -> UnsupportedError:
    return UnsupportedError(
        f'Layer "{node.scope}": lookups, hashes and other ops on columns run before the model '
        f"proper. Received: {node.op.name} of something that depends on weights or random "
        "numbers. Apply it to inputs of the model."
    )


def _not_numbers(t: Tensor) -> UnsupportedError:
    kind = f"{t.dtype}{list(t.shape)}"
    return UnsupportedError(
        f'Layer "{t.node.scope or t.node.attrs.get("name", "")}": outputs of a model and inputs of '
        f"its layers must be numbers of one shape for all rows. Received: {kind} (-1: differs from "
        "row to row). Look text up or decode it first, resize images, or give "
        "output_sequence_length."
    )


def _merged(first: Graph, second: Graph) -> Graph:
    """One graph of two that differ in the number of rows only."""
    made: dict[int, Node] = {id(t.node): t.node for t in first.inputs}
    for a, b in zip(first.nodes(), second.nodes(), strict=True):
        if a.op is INPUT:
            continue
        if a.op is not b.op:
            raise _depends(a)
        ins = [made[id(t.node)].outputs[t.index] for t in a.inputs]
        specs = [_common(*pair) for pair in zip(a.specs, b.specs, strict=True)]
        made[id(a)] = Node(a.op, ins, _attributes(a, b), specs, a.scope)
    return Graph(first.inputs, [made[id(t.node)].outputs[t.index] for t in first.outputs])


def _common(a: Spec, b: Spec) -> Spec:
    """OPEN where sizes beside that of the rows differ: data decide them."""
    shape = (m if m == n else OPEN for m, n in zip(a.shape[1:], b.shape[1:], strict=True))
    return Spec((*a.shape[:1], *shape), a.dtype)


def _attributes(a: Node, b: Node) -> Any:
    try:
        return {k: _joined(a.attrs[k], b.attrs[k]) for k in a.attrs}
    except ValueError:
        raise _depends(a) from None


def _joined(a: Any, b: Any) -> Any:
    """a, with Rows where a and b are multiples of the two numbers of rows."""
    if isinstance(a, (list, tuple)):
        return type(a)(_joined(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        if a.shape != b.shape or not np.array_equal(a, b):
            raise ValueError
        return a
    if a is b or a == b:
        return a
    (one, two), whole = TRIALS, isinstance(a, int) and isinstance(b, int)
    if whole and a % one == 0 and b % two == 0 and a // one == b // two:
        return Rows(a // one)
    raise ValueError


def _depends(node: Node) -> UnsupportedError:
    return UnsupportedError(
        f'Layer "{node.scope}": what is done to columns must not depend on how many rows there '
        f"are. Received: {node.op.name} with another meaning for other rows. Use ops that treat "
        "each row by itself."
    )
