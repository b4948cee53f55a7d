"""Weight constraints as a Program: run after every update, on whole weights."""

from __future__ import annotations

from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Program
from zoo_keras.graph import tracing
from zoo_keras.primitives.op import as_tensors
from zoo_keras.training.state import State


def constraint_program(state: State) -> Program | None:
    """Applies the constraint of every constrained weight in place; None when there is none."""
    bound = [v for v in state.weights.variables if v.constraint is not None]
    if not bound:
        return None
    with tracing() as trace:
        values = as_tensors([v.constraint(trace.read(v)) for v in bound])
    build = Builder(state.place)
    build.assign(zip(bound, values, strict=True))
    return build.program()
