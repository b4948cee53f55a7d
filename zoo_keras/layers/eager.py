"""A layer called on arrays: traced, compiled, run once, and its variable updates written back."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.execute import run_graph
from zoo_keras.graph import Graph, Trace, input_tensor, tracing
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.convert import value
from zoo_keras.ops.op import as_tensors
from zoo_keras.passes.pipeline import optimise
from zoo_keras.program import Place, compile_graph


def call_on_arrays(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """layer(*args, **kwargs) with arrays in and arrays out."""
    feeds: dict[Any, np.ndarray] = {}

    def symbolic(leaf: Any) -> Any:
        if not isinstance(leaf, (np.ndarray, np.generic)):
            return leaf
        array = value(np.asarray(leaf))
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        tensor = input_tensor(f"x{len(feeds)}", array.shape, array.dtype.name)
        feeds[tensor] = np.ascontiguousarray(array)
        return tensor

    args, kwargs = _lists_as_arrays(args), dict(kwargs)
    with tracing() as trace:
        trace.once = True
        args, kwargs = map_structure(symbolic, args), map_structure(symbolic, kwargs)
        structure = layer._call_traced(*args, **kwargs)
        results = as_tensors(flatten(structure))
    if trace.rng is not None:
        calls = layer.__dict__["_random_calls"] = layer.__dict__.get("_random_calls", -1) + 1
        feeds[trace.rng] = np.array([calls, 0], np.int64)
    return pack_as(structure, _run(trace, feeds, results))


def _lists_as_arrays(args: tuple) -> tuple:
    """A plain list of numbers is one array; a list of arrays is several inputs."""
    first = args[0] if args else None
    plain = isinstance(first, (list, tuple, int, float))
    if plain and not any(isinstance(leaf, np.ndarray) for leaf in flatten(first)):
        return (np.asarray(first, np.float32), *args[1:])
    return args


def _run(trace: Trace, feeds: dict[Any, np.ndarray], results: list[Any]) -> list[np.ndarray]:
    updates = list(trace.updates.values())
    graph = optimise(Graph(feeds, [*results, *[new for _, new in updates]]))
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
    for (variable, _), new in zip(updates, arrays[len(results) :], strict=True):
        variable.assign(new)
    return arrays[: len(results)]
