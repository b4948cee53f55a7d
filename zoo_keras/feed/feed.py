"""Feed: what turns raw columns into the arrays that a model's Programs take.

In (driver): a model and the kinds of its raw columns. Out: a Feed, or None when the model takes
numbers as they are. It travels as names, attributes and arrays, and runs on whole columns with
numpy, in this process, in the ranks of a fit and in scoring workers alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo_keras import interpret
from zoo_keras.errors import DataError, UnsupportedError
from zoo_keras.feed.columns import narrowed
from zoo_keras.feed.cut import TRIALS, cut
from zoo_keras.graph import CONSTANT, INPUT, Graph, Node, Spec, Tensor, input_tensor, tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.primitives.column import column_ops
from zoo_keras.primitives.fed import OPEN, standing_in
from zoo_keras.primitives.op import as_tensors, registry

if TYPE_CHECKING:
    from zoo_keras.training.interface import TracedModel

ROWS = 1 << 62  # rows that run together: all
IMAGES = 16  # the same where decoded images of many sizes wait in memory


class Source(NamedTuple):
    """A raw column: the shape of a row, and the dtype."""

    shape: tuple[int, ...]
    dtype: str


class Feed:
    """The part of a model before its Programs. It stands where the nesting of inputs would:
    `call` calls the model with tensors that stand for the feed's outputs.

    Attributes:
        nest: how the raw columns nest.
        sources: what they are.
        graph: from raw columns, in order, to what Programs take.
    """

    def __init__(self, nest: Any, sources: Sequence[Source], graph: Graph, uid: str) -> None:
        self.nest, self.sources, self.graph, self.uid = nest, tuple(sources), graph, uid
        images = any(s.shape.count(OPEN) > 1 for n in graph.nodes() for s in n.specs)
        self._piece = IMAGES if images and not self._is_open() else ROWS

    def __repr__(self) -> str:  # part of the key of compiled programs
        return f"<Feed {self.uid}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self.nest, self.sources, _plain(self.graph), self.uid)

    def _is_open(self) -> bool:
        """Whether the size of an output is decided by all rows that run together."""
        return any(OPEN in t.shape[1:] for t in self.graph.outputs)

    def check_travels(self) -> None:
        """UnsupportedError when functions of the user are part of it, or sizes are open."""
        for node in self.graph.nodes():
            for name, value in node.attrs.items():
                if callable(value):
                    raise UnsupportedError(
                        f'Layer "{node.scope}": functions of your own do not travel to a cluster. '
                        f"Received: {name}={getattr(value, '__name__', value)!r}. Use a built-in "
                        "choice, or apply the function to the records before."
                    )
        for t, spec in zip(self.graph.outputs, self.specs(), strict=True):
            if OPEN in spec.shape:
                raise UnsupportedError(
                    f'Layer "{t.node.scope}": on Spark the rows must come to one size. Received: '
                    f"an output of shape {spec.shape} ({OPEN}: differs). Give "
                    "output_sequence_length."
                )

    def specs(self) -> list[Spec]:
        """Shape of a row and dtype of each output; OPEN sizes are known when it runs."""
        narrow = {"int64": "int32", "float64": "float32", "uint32": "int32", "uint64": "int32"}
        found = [t.spec for t in self.graph.outputs]
        return [Spec(s.shape[1:], narrow.get(s.dtype, s.dtype)) for s in found]

    def run(self, columns: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays that Programs take, for columns as the sources say."""
        rows, step = len(columns[0]), self._piece
        if rows <= step:
            return self._run(columns)
        pieces = [self._run([c[i : i + step] for c in columns]) for i in range(0, rows, step)]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _run(self, columns: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows = len(columns[0])
        made = interpret.run(self.graph, columns, rows)
        for array in made:
            if len(array) != rows:
                raise UnsupportedError(
                    "What is done to columns must keep one row for each row. Received: "
                    f"{len(array)} rows for {rows}. Use ops that treat each row by itself."
                )
        return [np.ascontiguousarray(narrowed(array)) for array in made]

    def call(self, model: TracedModel, xs: Sequence[Tensor], training: bool) -> Any:
        """The model's outputs when xs stand for the feed's outputs."""
        rows = xs[0].shape[0]
        keys = _Keys()
        filled = _filled(self.graph, rows)
        known = {keys.of(t): x for t, x in zip(filled.outputs, xs, strict=True)}
        raws = []
        for t, source in zip(self.graph.inputs, self.sources, strict=True):
            key = keys.of(t)
            name = t.node.attrs["name"]
            raw = known.get(key)
            if raw is None:
                raw = input_tensor(name, (rows, *source.shape), source.dtype)
            keys.note(raw, key)
            raws.append(raw)
        for key, x in known.items():
            keys.note(x, key)

        def stand_in(node: Node) -> Sequence[Tensor]:
            return [known.get(keys.of(t), t) for t in node.outputs]

        with standing_in(stand_in):
            return model(pack_as(self.nest, raws), training=training)


def make_feed(model: TracedModel, sources: Sequence[Source], nest: Any) -> Feed | None:
    """The Feed of a model for such columns, nested like `nest`; None when it needs none."""
    graphs = [_traced(model, sources, nest, rows) for rows in TRIALS]
    graph = cut(*graphs)
    if graph is None:
        return None
    if not graph.outputs:
        raise DataError(f'Model "{model.name}" reads none of its inputs. Received: {sources}.')
    return Feed(nest, sources, graph, uuid.uuid4().hex)


def _traced(model: TracedModel, sources: Sequence[Source], nest: Any, rows: int) -> Graph:
    inputs = [input_tensor(f"raw{i}", (rows, *s.shape), s.dtype) for i, s in enumerate(sources)]
    with tracing() as trace:
        results = as_tensors(flatten(model(pack_as(nest, inputs), training=False)))
        noted = [*[value for _, value in trace.updates.values()], *trace.losses]
    return Graph(inputs, [*results, *as_tensors(noted)])


# ---- keys: the same computation in another trace -------------------------------------------------


class _Keys:
    """What a tensor is computed from and how, as a hashable key, for tensors of several traces."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], Any] = {}
        self._kept: list[Tensor] = []  # ids stay taken as long as their objects live

    def note(self, tensor: Tensor, key: Any) -> None:
        """Let a tensor stand for what has this key."""
        self._found[id(tensor.node), tensor.index] = key
        self._kept.append(tensor)

    def of(self, tensor: Tensor) -> Any:
        """The key of a tensor."""
        place = id(tensor.node), tensor.index
        if place not in self._found:
            self.note(tensor, self._made(tensor))
        return self._found[place]

    def _made(self, tensor: Tensor) -> Any:
        node = tensor.node
        if node.op is INPUT:
            return "input", node.attrs["name"]
        attrs = tuple((k, _attribute_key(v)) for k, v in sorted(node.attrs.items()))
        return node.op.name, attrs, tuple(map(self.of, node.inputs)), tensor.index


def _attribute_key(value: Any) -> Any:
    """Plain values by themselves, arrays by their bytes, tables and functions by identity."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, (list, tuple)):
        return tuple(map(_attribute_key, value))
    plain = value is None or isinstance(value, (str, bytes, bool, int, float))
    return (type(value).__name__, value) if plain else id(value)


def _filled(graph: Graph, rows: int) -> Graph:
    """The graph for that many rows: attributes as a trace would have them."""
    made = {id(t.node): t.node for t in graph.inputs}
    for node in graph.nodes():
        if node.op is not INPUT:
            ins = [made[id(t.node)].outputs[t.index] for t in node.inputs]
            attrs = interpret.filled(node.attrs, rows)
            made[id(node)] = Node(node.op, ins, attrs, node.specs, node.scope)
    return Graph(graph.inputs, [made[id(t.node)].outputs[t.index] for t in graph.outputs])


# ---- plain data ----------------------------------------------------------------------------------

Plain = tuple[list[Any], list[tuple[int, int]], list[tuple[int, int]]]


def _plain(graph: Graph) -> Plain:
    """Nodes as (name of the op, attributes, places of inputs, Specs), and places of the ends."""
    nodes = [*[t.node for t in graph.inputs]]
    nodes += [n for n in graph.nodes() if n.op is not INPUT]
    number = {id(n): i for i, n in enumerate(nodes)}
    place: Callable[[Tensor], tuple[int, int]] = lambda t: (number[id(t.node)], t.index)  # noqa: E731
    rows = [(n.op.name, n.attrs, list(map(place, n.inputs)), n.specs, n.scope) for n in nodes]
    return rows, list(map(place, graph.inputs)), list(map(place, graph.outputs))


_LEAVES = {op.name: op for op in (INPUT, CONSTANT)}


def _unpacked(nest: Any, sources: Sequence[Source], plain: Plain, uid: str) -> Feed:
    rows, inputs, outputs = plain
    nodes: list[Node] = []
    for name, attrs, ins, specs, scope in rows:
        op = _LEAVES.get(name) or column_ops.get(name) or registry[name]
        nodes.append(Node(op, [nodes[i].outputs[k] for i, k in ins], attrs, specs, scope))
    graph = Graph([nodes[i].outputs[k] for i, k in inputs],
                  [nodes[i].outputs[k] for i, k in outputs])  # fmt: skip
    return Feed(nest, sources, graph, uid)
