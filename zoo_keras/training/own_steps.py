"""Steps that a model's class defines itself: `train_step` and its kin, traced like everything else.

In: a model, its State and the shapes of a batch. Out: a Program of the whole step, with the updates
that its optimizers make, and the names of the logs that it writes. On one machine only: ranks
exchange gradients between two programs, which a step of a user's does not tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.engine import spaces
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Program
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.feed.feed import Feed
from zoo_keras.graph import EagerTrace, Spec, Tensor, Trace, constant, input_tensor, tracing
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.primitives.op import as_tensors
from zoo_keras.training.data import Batch
from zoo_keras.training.interface import TracedModel

# kind of a step -> the methods of which a subclass may put its own in place
_METHODS = {
    "train": ("train_step", "compute_loss", "compute_metrics"),
    "test": ("test_step", "compute_loss", "compute_metrics"),
    "predict": ("predict_step",),
}


def defined(model: TracedModel, kind: str) -> list[str]:
    """The methods behind a step ("train", "test" or "predict") that are the model's own."""
    return [m for m in _METHODS[kind] if not getattr(getattr(model, m), "is_default", False)]


def refuse_on_spark(model: TracedModel, kind: str, method: str) -> None:
    """Steps of the model's own run on one machine: UnsupportedError for others."""
    if model._eagerly():
        raise UnsupportedError(
            f'Model "{model.name}": {method} on Spark runs compiled steps. Received: a model '
            "compiled with run_eagerly=True. Compile it without, or pass arrays."
        )
    if found := defined(model, kind):
        raise UnsupportedError(
            f'Model "{model.name}": {method} on Spark compiles its steps from `call`, and takes '
            f"none of your own. Received: {type(model).__name__} defines {found}. Put the "
            "computation into `call`, add_loss, a Loss or a Metric, or pass arrays."
        )


class StepProgram(NamedTuple):
    """A step of a user's, compiled. Log number i is named names[i] and lies in `out<i>`."""

    program: Program
    names: list[str]
    specs: list[Spec]


def step_program(
    model: TracedModel, state: Any, kind: str, shapes: Any, structure: Any
) -> StepProgram:
    """The "train" or "test" step for batches of these shapes."""
    build = Builder(state.adopt)
    feeds = [build.feeds(space, given) for space, given in
             zip((spaces.X, spaces.Y, spaces.W), shapes[:3], strict=True)]  # fmt: skip
    trace, logs = _traced(model, kind, feeds, structure)
    results = as_tensors(list(logs.values()))
    build.take_draws(trace)
    build.write_out(results)
    build.assign(trace.updates.values())
    return StepProgram(build.program(), list(logs), [t.spec for t in results])


def make_variables(model: TracedModel, kind: str, shapes: Any, structure: Any) -> list[Tensor]:
    """Build layers, metrics and optimizers as a step of these shapes does. Returns the outputs of a
    prediction, nothing for other steps."""
    feeds = [[input_tensor(space(i), *spec) for i, spec in enumerate(given)] for space, given in
             zip((spaces.X, spaces.Y, spaces.W), shapes[:3], strict=True)]  # fmt: skip
    if kind == "predict":
        with tracing():
            return as_tensors(flatten(model.predict_step(pack_as(structure[0], feeds[0]))))
    _traced(model, kind, feeds, structure)
    return []


def eager_step(model: TracedModel, kind: str, batch: Batch) -> Any:
    """A step op by op on arrays, so that users can print and stop in it. Returns the logs, or the
    outputs of a prediction."""
    trace = EagerTrace()
    with tracing(trace):
        feeds = [[constant(array) for array in group] for group in batch[:3]]
        data = _data(model, feeds, batch.structure)
        made = getattr(model, f"{kind}_step")(data)
    trace.write()
    return map_structure(lambda value: np.asarray(as_tensors([value])[0]), made)


def _traced(
    model: TracedModel, kind: str, feeds: Sequence[Sequence[Tensor]], structure: Any
) -> tuple[Trace, dict[str, Any]]:
    data = _data(model, feeds, structure)
    with tracing() as trace:
        trace.detaches = True  # one optimizer's update is no part of what the next differentiates
        logs = model.train_step(data) if kind == "train" else model.test_step(data)
    if logs is not None and not isinstance(logs, dict):
        raise ConfigError(
            f"{type(model).__name__}.{kind}_step must return a dict of logs. Received: "
            f"{type(logs).__name__}. Return, for example, {{'loss': loss}}."
        )
    return trace, dict(logs or {})


def _data(model: TracedModel, feeds: Sequence[Sequence[Tensor]], structure: Any) -> Any:
    """x, (x,), (x, y) or (x, y, sample_weight), as Keras hands a batch to a step."""
    if isinstance(structure[0], Feed):
        raise UnsupportedError(
            f'Model "{model.name}": steps of your own take numbers of one shape. Received: text or '
            "columns that layers in front turn into numbers. Do that before fit, by a model of "
            "those layers."
        )
    x, y, weights = (pack_as(s, f) if f else None for s, f in zip(structure, feeds, strict=True))
    if weights is not None:
        return x, y, weights
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x
