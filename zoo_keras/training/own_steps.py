"""Steps that a model's class defines itself: `train_step` and its kin, traced like everything else.

In: a model, its State and the shapes of a batch. Out: a Program of the whole step, with the updates
that its optimizers make, and the names of the logs that it writes. For ranks, which exchange
gradients before they update: the step with what it gives to optimizers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import ops
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
from zoo_keras.training.phases import Sharing

# kind of a step -> the methods of which a subclass may put its own in place
_METHODS = {
    "train": ("train_step", "compute_metrics"),
    "test": ("test_step", "compute_metrics"),
    "predict": ("predict_step",),
}


def defined(model: object, kind: str) -> list[str]:
    """The methods behind a step ("train", "test" or "predict") that are the model's own."""
    return [m for m in _METHODS[kind] if not getattr(getattr(model, m), "is_default", False)]


def synchronized_layers(model: TracedModel) -> list[Any]:
    """Layers that train by statistics of the rows of all ranks."""
    layers = model._flatten_layers()
    return [x for x in layers if getattr(x, "synchronized", False) and x.trainable]


def is_shared_whole(model: TracedModel) -> bool:
    """Whether a rank traces a training step as one function, with all that it shares: a step of a
    user's, or one whose layers share statistics."""
    return bool(defined(model, "train") or synchronized_layers(model))


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


def beside_float32(model: TracedModel) -> list[Any]:
    """Weights to train in other floats: the flat vectors of a step do not hold them."""
    return [v for v in model.trainable_variables if v.dtype in ("bfloat16", "float16", "float64")]


def refuse_beside_float32(model: TracedModel) -> None:
    """UnsupportedError where ranks would have to share gradients of other floats."""
    found = beside_float32(model)
    if found:
        raise UnsupportedError(
            f'Model "{model.name}": fit on Spark trains float32 weights. Received: '
            f"{[v.path for v in found[:4]]} of {found[0].dtype}. Give these layers the dtype "
            "float32 or a mixed policy, freeze them, or train on arrays."
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


def rank_step(
    model: TracedModel, kind: str, feeds: Sequence[Sequence[Tensor]], structure: Any
) -> Sharing:
    """A step as one of several ranks runs it, with what it shares with the others."""
    trace, logs = _traced(model, kind, feeds, structure, shared=True)
    sharing: Any = trace.exchange
    sharing.end_phase()
    known = {id(v) for metric in model._all_metrics() for v in metric.variables}
    if kind == "train":
        known |= {id(v) for v in [*model.weights, *model.carried]}
        _refuse_unshared(sharing)
    _refuse_others(model, trace, known | (sharing.alike() if kind == "train" else set()))
    sharing.logs = _rank_logs(model, kind, logs, sharing)
    return sharing


def _rank_logs(
    model: TracedModel, kind: str, logs: dict[str, Any], sharing: Sharing
) -> dict[str, Tensor]:
    """The numbers that a training step returns beside metrics, as they count in the mean over the
    global batch. Ranks add up metrics; what else a step returns is one rank's alone."""
    counted = {metric.name for metric in model._all_metrics()}
    rest = {name: as_tensors([value])[0] for name, value in logs.items() if name not in counted}
    numbers = {name: t for name, t in rest.items() if t.shape == () and kind == "train"}
    _name_lost_logs(model, kind, sorted(set(rest) - set(numbers)))
    with tracing(sharing.trace):
        return {name: as_tensors([ops.cast(t, "float32") * sharing.share])[0]
                for name, t in numbers.items()}  # fmt: skip


def _refuse_unshared(sharing: Sharing) -> None:
    """Weights that nothing moves, or that each rank would move by its own rows."""
    model, alike = sharing.model, sharing.alike()
    if not sharing.exchanges:
        raise UnsupportedError(
            f'Model "{model.name}": on Spark train_step must give gradients to an optimizer: that '
            "is where ranks share them. Received: no call of an optimizer's apply. Call it, or "
            "train on arrays."
        )
    own = sharing.of_a_rank()
    wrong = [v.path for each in sharing.writes for v, t in each if id(v) in alike and t.node in own]
    if wrong:
        raise UnsupportedError(
            f'Model "{model.name}": on Spark weights move by what ranks have shared, the gradients '
            f"that optimizers take. Received: {wrong[:4]}, assigned from the batch itself. Give "
            "optimizers their gradients, or use weights with trainable=False."
        )


def _name_lost_logs(model: TracedModel, kind: str, lost: Sequence[str]) -> None:
    if lost:
        warnings.warn(
            f'Model "{model.name}": on Spark logs are what metrics hold, and the numbers that '
            f"train_step returns. Received: {lost} of {kind}_step, which History will not have. "
            "Keep each in a keras.metrics.Mean of the same name.",
            stacklevel=2,
        )


def _refuse_others(model: TracedModel, trace: Trace, known: set[int]) -> None:
    """Variables that ranks neither share nor add up."""
    others = [v.path for key, (v, _) in trace.updates.items() if key not in known]
    if others:
        raise UnsupportedError(
            f'Model "{model.name}": on Spark a step may change metrics, in training also what '
            "layers keep and optimizers move. Received: updates of "
            f"{others[:4]}. Make them weights of the model, or train on arrays."
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
    model: TracedModel, kind: str, feeds: Sequence[Sequence[Tensor]], structure: Any,
    shared: bool = False,
) -> tuple[Trace, dict[str, Any]]:  # fmt: skip
    data = _data(model, feeds, structure)
    with tracing() as trace:
        trace.exchange = Sharing(model, trace) if shared else None
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
