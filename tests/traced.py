"""Runs a function of tensors as a compiled program, so that a test can compare it with numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras.dtypes import native
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Place, compile_graph
from zoo_keras.engine.runner import run_graph
from zoo_keras.engine.spaces import IN, RNG, VAR
from zoo_keras.graph import Graph, Tensor, Trace, input_tensor, tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.passes.grad import gradients
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


def value_and_grad(
    fn: Callable[..., Tensor], arrays: Sequence[np.ndarray], variables: Sequence[Any]
) -> tuple[np.ndarray, list[np.ndarray | None], list[np.ndarray | None]]:
    """fn's value on arrays, and its gradients by the arrays and by the Variables that it reads.

    Args:
        fn: maps symbolic tensors to one scalar tensor, with zoo_keras.ops and layers.

    Returns: (value, gradients by arrays, gradients by variables); None where fn does not depend.

    >>> value_and_grad(lambda x: ops.sum(layer(x) ** 2), [x], layer.trainable_variables)
    """
    names: dict[int, str] = {}
    build = Builder(lambda variable: Place(names[id(variable)]))
    inputs = build.feeds(IN, [(a.shape, a.dtype.name) for a in arrays])
    with tracing() as trace:
        value = as_tensors([fn(*inputs)])[0]
        read = [trace.parameters.get(id(v)) for v in variables]
        wrt = [*inputs, *[r[1] for r in read if r is not None]]
        found = gradients(value, wrt)
    build.take_draws(trace)
    build.write_out([value, *[g for g in found if g is not None]])
    held = VAR.named([v for v, _ in trace.parameters.values()])
    names.update((id(v), name) for name, v in held.items())
    feeds = IN.named([np.ascontiguousarray(native(a)) for a in arrays])
    feeds |= {RNG: np.zeros(2, np.int64), **{name: np.asarray(v) for name, v in held.items()}}
    results = [np.empty(t.shape, t.dtype) for t, _ in build.outputs]
    run_graph(build.program(), feeds, results)
    left = iter(results[1:])
    grads = [None if g is None else next(left) for g in found]
    by_variable = iter(grads[len(inputs) :])
    return (
        results[0], grads[: len(inputs)],
        [None if r is None else next(by_variable) for r in read],
    )  # fmt: skip
