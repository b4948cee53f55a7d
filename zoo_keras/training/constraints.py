"""Weight constraints as a Program: run after every update, on whole weights."""

from __future__ import annotations

from typing import Any

from zoo_keras.engine.program import Program, compile_graph
from zoo_keras.graph import Graph, tracing
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import as_tensors


def constraint_program(state: Any) -> Program | None:
    """Applies the constraint of every constrained weight in place; None when there is none."""
    bound = [v for v in state.weights.variables if v.constraint is not None]
    if not bound:
        return None
    with tracing() as trace:
        values = as_tensors([v.constraint(trace.read(v)) for v in bound])
    graph = optimise(Graph([], values))
    return compile_graph(graph, {}, [state.place(v) for v in bound], state.place)
