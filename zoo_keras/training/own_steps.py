"""Steps that a model's class defines itself: `train_step` and its kin, traced like everything else.

In: a model, its State and the shapes of a batch. Out: a Program of the whole step, with the updates
that its optimizers make, and the names of the logs that it writes. For ranks, which exchange
gradients before they update: what the step gives to the model's optimizer.
"""

from __future__ import annotations

import warnings
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
    "train": ("train_step", "compute_metrics"),
    "test": ("test_step", "compute_metrics"),
    "predict": ("predict_step",),
}


def defined(model: object, kind: str) -> list[str]:
    """The methods behind a step ("train", "test" or "predict") that are the model's own."""
    return [m for m in _METHODS[kind] if not getattr(getattr(model, m), "is_default", False)]


def refuse_on_spark(model: TracedModel, kind: str, method: str) -> None:
    """UnsupportedError for what ranks and scoring tasks cannot run."""
    if model._eagerly():
        raise UnsupportedError(
            f'Model "{model.name}": {method} on Spark runs compiled steps. Received: a model '
            "compiled with run_eagerly=True. Compile it without, or pass arrays."
        )
    found = defined(model, kind)
    if found and kind == "predict":
        raise UnsupportedError(
            f'Model "{model.name}": {method} on Spark runs `call`. Received: '
            f"{type(model).__name__} defines {found}. Put the computation into `call`."
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


class _Recorder:
    """Stands for the model's optimizer while a step is traced for a rank, and keeps what the step
    gives it to apply."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self.given: list[tuple[list[Any], list[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_optimizer"], name)

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Note gradients and their Variables."""
        variables = self._optimizer._trainable_variables
        given = variables if trainable_variables is None else trainable_variables
        self.given.append((self._optimizer.unscaled(grads), list(given)))

    def apply_gradients(self, grads_and_vars: Any) -> None:
        """The same, in pairs."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)


def rank_step(
    model: TracedModel, kind: str, feeds: Sequence[Sequence[Tensor]], structure: Any
) -> tuple[Trace, dict[int, Any]]:
    """A step as one of several ranks runs it: its trace, and by id of each Variable the gradient
    that it gives to the model's optimizer, which ranks then share."""
    compiled = model._require_compiled(f"{kind}_step")
    recorder = _Recorder(compiled.optimizer)
    try:
        compiled.optimizer = recorder
        trace, logs = _traced(model, kind, feeds, structure)
    finally:
        compiled.optimizer = recorder._optimizer
    counted = {id(v) for metric in model._all_metrics() for v in metric.variables}
    if kind == "test":
        _refuse_others(model, trace, counted)
        _name_lost_logs(model, kind, logs)
        return trace, {}
    wanted = {id(v) for v in model.trainable_variables}
    given = [{id(v) for v in variables} for _, variables in recorder.given]
    if given != [wanted]:
        raise UnsupportedError(
            f'Model "{model.name}": on Spark train_step must give the gradients of all trainable '
            "weights to the model's own optimizer, once: that is where ranks share them. Received: "
            f"calls with {[len(g) for g in given]} of {len(wanted)} weights. Set trainable = False "
            "where weights stay as they are."
        )
    _refuse_others(model, trace, counted.union(id(v) for v in [*model.weights, *model.carried]))
    _name_lost_logs(model, kind, logs)
    grads, variables = recorder.given[0]
    return trace, {id(v): g for v, g in zip(variables, grads, strict=True)}


def _name_lost_logs(model: TracedModel, kind: str, logs: dict[str, Any]) -> None:
    """Ranks add up metrics; a number that a step returns beside them is one rank's alone."""
    if lost := sorted(set(logs) - {metric.name for metric in model._all_metrics()}):
        warnings.warn(
            f'Model "{model.name}": on Spark logs are what metrics hold. Received: {lost}, which '
            f"{kind}_step returns as plain numbers and History will not have. Keep each in a "
            "keras.metrics.Mean of the same name.",
            stacklevel=2,
        )


def _refuse_others(model: TracedModel, trace: Trace, known: set[int]) -> None:
    """Variables that ranks neither share nor add up, such as those of a second optimizer."""
    others = [v.path for key, (v, _) in trace.updates.items() if key not in known]
    if others:
        raise UnsupportedError(
            f'Model "{model.name}": on Spark a step may change metrics, in training also what '
            "layers keep and the model's own optimizer moves. Received: updates of "
            f"{others[:4]}. Train with several optimizers on arrays."
        )


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
