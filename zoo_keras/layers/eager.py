"""A layer called on arrays: traced, compiled, run once, and its variable updates written back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import interpret
from zoo_keras.execute import run_graph
from zoo_keras.feed.columns import narrowed
from zoo_keras.graph import Graph, Node, Tensor, Trace, input_tensor, tracing
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.fed import is_plain, standing_in
from zoo_keras.ops.op import as_tensors
from zoo_keras.passes.pipeline import optimise
from zoo_keras.program import Place, compile_graph

_calls = iter(range(1 << 62))


def call_on_arrays(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """layer(*args, **kwargs) with arrays in and arrays out."""
    given = _Given()
    args, kwargs = _lists_as_arrays(layer, args), dict(kwargs)
    with tracing() as trace, standing_in(given.computed):
        args = map_structure(given.symbolic, args)
        kwargs = map_structure(given.symbolic, kwargs)
        structure = layer._call_traced(*args, **kwargs)
        results = as_tensors(flatten(structure))
    if trace.rng is not None:
        given.feeds[trace.rng] = np.array([next(_calls), 0], np.int64)
    return pack_as(structure, given.results(trace, results))


class _Given:
    """The arrays of a call, and what ops on columns make of them while it is traced."""

    def __init__(self) -> None:
        self.feeds: dict[Tensor, np.ndarray] = {}
        self._values: interpret.Values = {}
        self._whole: dict[int, np.ndarray] = {}  # what a column op gave, before it was narrowed

    def symbolic(self, leaf: Any) -> Any:
        """The tensor that stands for an array; other leaves as they are."""
        if not isinstance(leaf, (np.ndarray, np.generic)):
            return leaf
        array = np.asarray(leaf)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        if array.dtype.kind in "OUS":
            array = array.astype(object)
            tensor = input_tensor(f"text{len(self._values)}", array.shape, "string")
            self._values[id(tensor.node)] = (array,)
            return tensor
        return self._fed(np.ascontiguousarray(array))

    def _fed(self, array: np.ndarray) -> Tensor:
        tensor = input_tensor(f"x{len(self.feeds)}", array.shape, array.dtype.name)
        self.feeds[tensor] = array
        self._values[id(tensor.node)] = (array,)
        return tensor

    def computed(self, node: Node) -> Sequence[Tensor]:
        """The outputs of a node over columns, computed at once."""
        arrays = interpret.evaluate(node.outputs, self._values)
        if not all(is_plain(t.spec) for t in node.outputs):
            return node.outputs
        found = [self._fed(np.ascontiguousarray(narrowed(a))) for a in arrays]
        self._whole.update((id(t.node), a) for t, a in zip(found, arrays, strict=True))
        return found

    def results(self, trace: Trace, results: Sequence[Tensor]) -> list[np.ndarray]:
        """The values of the results; a Program computes those that are not known yet."""
        known = {}
        for i, t in enumerate(results):
            if id(t.node) in self._whole:
                known[i] = self._whole[id(t.node)]
            elif not is_plain(t.spec):
                known[i] = interpret.evaluate([t], self._values)[0]
        left = [t for i, t in enumerate(results) if i not in known]
        made = iter(_run(trace, self.feeds, left) if left or trace.updates else [])
        return [known[i] if i in known else next(made) for i in range(len(results))]


def _lists_as_arrays(layer: Any, args: tuple) -> tuple:
    """A plain list of numbers or text is one array; a list of arrays is several inputs."""
    first = args[0] if args else None
    plain = isinstance(first, (list, tuple, int, float, str, bytes))
    if plain and not any(isinstance(leaf, np.ndarray) for leaf in flatten(first)):
        text = any(isinstance(leaf, (str, bytes)) for leaf in flatten(first))
        dtype = object if text else getattr(layer, "list_dtype", np.float32)
        return (np.asarray(first, dtype), *args[1:])
    return args


def _run(trace: Trace, feeds: dict[Any, np.ndarray], results: list[Any]) -> list[np.ndarray]:
    updates = list(trace.updates.values())
    graph = optimise(Graph(feeds, [*results, *[value for _, value in updates]]))
    spaces = {t: f"in{i}" for i, t in enumerate(feeds)}
    names = {id(v): f"var{i}" for i, (v, _) in enumerate(trace.parameters.values())}
    arrays = [np.empty(t.shape, t.dtype) for t in graph.outputs]
    program = compile_graph(
        graph,
        {t: Place(name) for t, name in spaces.items()},
        [Place(f"out{i}") for i in range(len(arrays))],
        lambda variable: Place(names[id(variable)]),
    )
    given = {name: feeds[t] for t, name in spaces.items()}
    given.update({names[id(v)]: np.asarray(v) for v, _ in trace.parameters.values()})
    run_graph(program, given, arrays)
    for (variable, _), value in zip(updates, arrays[len(results) :], strict=True):
        variable.assign(value)
    return arrays[: len(results)]
