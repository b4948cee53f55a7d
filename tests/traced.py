"""Runs a function of tensors as a compiled program, so that a test can compare it with numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras.engine.program import Place, compile_graph
from zoo_keras.engine.runner import run_graph
from zoo_keras.graph import Graph, Trace, input_tensor, tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import as_tensors


def in_program(function: Callable[..., Any], *arrays: Any, rng: tuple[int, int] = (0, 0)) -> Any:
    """function(*arrays), traced and run by the engine; assigned Variables get their new values."""
    given = [np.asarray(a, order="C") for a in arrays]
    inputs = [input_tensor(f"in{i}", a.shape, a.dtype.name) for i, a in enumerate(given)]
    with tracing() as trace:
        structure = function(*inputs)
    feeds = dict(zip(inputs, given, strict=True))
    if trace.rng is not None:
        feeds[trace.rng] = np.array(rng, np.int64)
    return _run(trace, feeds, structure)


def _run(trace: Trace, feeds: dict[Any, np.ndarray], structure: Any) -> Any:
    results = as_tensors(flatten(structure)) if structure is not None else []
    updates = list(trace.updates.values())
    graph = optimise(Graph(feeds, [*results, *[value for _, value in updates]]))
    names = {id(v): f"var{i}" for i, (v, _) in enumerate(trace.parameters.values())}
    outs = [np.empty(t.shape, t.dtype) for t in graph.outputs]
    program = compile_graph(
        graph,
        {t: Place(f"in{i}") for i, t in enumerate(feeds)},
        [Place(f"out{i}") for i in range(len(outs))],
        lambda variable: Place(names[id(variable)]),
    )
    spaces = {f"in{i}": a for i, a in enumerate(feeds.values())}
    spaces |= {names[id(v)]: np.asarray(v) for v, _ in trace.parameters.values()}
    run_graph(program, spaces, outs)
    for (variable, _), value in zip(updates, outs[len(results) :], strict=True):
        variable.assign(value)
    return pack_as(structure, outs[: len(results)]) if results else None
