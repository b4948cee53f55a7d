"""The programs of a model: gradient, update, evaluation and prediction, for given batch shapes.

In: a model with its State and the shapes and dtypes of a batch. Out: Programs over the spaces of a
batch, of State, and those by which a batch is part of a global one (`engine.spaces`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native, ops
from zoo_keras.engine import spaces
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Parts, Place, Program, nbytes
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.feed.feed import Feed
from zoo_keras.graph import Spec, Tensor, Trace, constant, current_trace, input_tensor, tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.ops.masks import mask_of
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.split import alike, rows_apart, rows_at_once
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.tile_choice import inference_dtype
from zoo_keras.training.compiled import Compiled
from zoo_keras.training.data import Batch
from zoo_keras.training.interface import TracedModel
from zoo_keras.training.own_steps import defined, is_shared_whole, rank_step, synchronized_layers
from zoo_keras.training.phases import Phases, Sharing, log_places
from zoo_keras.training.row_updates import RowTables, TablesChanged, Use, uses_by_rows
from zoo_keras.training.shares import Part, added, counted
from zoo_keras.training.state import State
from zoo_keras.training.update import clips_by_norm, gradient_places


class Shapes(NamedTuple):
    """What a program is compiled for: (shape, dtype) of each leaf, and how the leaves nest."""

    x: tuple[tuple[tuple[int, ...], str], ...]
    y: tuple[tuple[tuple[int, ...], str], ...]
    weights: tuple[tuple[tuple[int, ...], str], ...]
    structure: str

    def with_rows(self, rows: int) -> Shapes:
        """The same with another number of rows."""

        def resized(leaves: Any) -> Any:
            return tuple(((rows, *shape[1:]), dtype) for shape, dtype in leaves)

        return Shapes(resized(self.x), resized(self.y), resized(self.weights), self.structure)


def shapes_of(batch: Batch) -> Shapes:
    """The Shapes of a batch."""
    leaves = [tuple((a.shape, a.dtype.name) for a in group) for group in batch[:3]]
    return Shapes(leaves[0], leaves[1], leaves[2], repr(batch.structure))


def _call(model: TracedModel, xs: Sequence[Tensor], structure: Any, training: bool) -> list[Tensor]:
    return as_tensors(flatten(_outputs(model, xs, structure, training)))


def _outputs(model: TracedModel, xs: Sequence[Tensor], structure: Any, training: bool) -> Any:
    """The model's outputs for inputs nested like the structure, or behind a Feed."""
    if isinstance(structure, Feed):
        return structure.call(model, xs, training)
    found = model(pack_as(structure, xs), training=training)
    if isinstance(found, dict) and model._function is None:
        model._note(_output_keys=sorted(found))
    return found


def ensure_built(model: TracedModel, shapes: Shapes, structure: Any) -> list[Tensor]:
    """Make all weights by tracing a call; returns the outputs of that trace."""
    with tracing():
        return _call(model, _inputs(shapes), structure[0], training=False)


def _inputs(shapes: Shapes) -> list[Tensor]:
    """Symbolic inputs that no program feeds."""
    return [input_tensor(spaces.X(i), *spec) for i, spec in enumerate(shapes.x)]


def _trace_prediction(
    model: TracedModel, state: State, shapes: Shapes, structure: Any
) -> tuple[Builder, Any]:
    """A traced call of the model, and its outputs."""
    build = Builder(state.place, freeze=True, rounds=inference_dtype() == "bfloat16")
    with tracing() as trace:
        outputs = _predicted(model, build.feeds(spaces.X, shapes.x), structure[0])
        results = as_tensors(flatten(outputs))
    build.take_draws(trace)
    updates = _state_updates(model, trace)
    for variable, _ in updates:
        variable.carried = True
    build.write_out(results)
    build.assign(updates)
    return build, pack_as(outputs, results)


def _predicted(model: TracedModel, xs: Sequence[Tensor], structure: Any) -> Any:
    if isinstance(structure, Feed) or not defined(model, "predict"):
        return _outputs(model, xs, structure, training=False)
    return model.predict_step(pack_as(structure, xs))


def _state_updates(model: TracedModel, trace: Trace) -> list[tuple[Any, Tensor]]:
    """(Variable, its new value) of all that layers assign but the state of metrics."""
    own = {id(v) for v in [*model.weights, *model.carried]}
    return [(variable, new) for variable, new in trace.updates.values() if id(variable) in own]


def predict_program(
    model: TracedModel, state: State, shapes: Shapes, structure: Any
) -> tuple[Program, Any]:
    """(program, structure of the outputs); outputs go to out0, out1, ..."""
    whole, outputs = _trace_prediction(model, state, shapes, structure)
    graph = whole.graph()
    counts = {shape[:1] for shape, _ in shapes.x}
    rows = max(counts.pop(), default=0) if len(counts) == 1 else 0
    each = rows_at_once(graph, rows)
    if each < rows and len(whole.outputs) == len(flatten(outputs)):  # layers assign nothing
        part, _ = _trace_prediction(model, state, shapes.with_rows(each), structure)
        if rows_apart(part.graph()) and alike(graph, part.graph()):
            program = _in_parts(part, Parts(rows, each, _row_bytes(shapes.x, outputs)))
            if not program.host:
                return program, outputs
    return whole.program(), outputs


def _in_parts(part: Builder, parts: Parts) -> Program:
    """With two parts or more for each thread, every thread computes parts of its own: threads then
    need not wait for each other after each layer (measured: MobileNetV2, 1.15 times as fast)."""
    threads = native.threads()
    lanes = threads if len(parts.firsts()) >= 2 * threads else 1
    with native.using_threads(threads if lanes == 1 else 1):
        program = part.program()
    program.parts = parts._replace(lanes=lanes)
    return program


def _row_bytes(inputs: Any, outputs: Any) -> dict[str, int]:
    """Bytes of one row of each input and output."""
    specs = spaces.X.named(Spec(*spec) for spec in inputs)
    specs |= spaces.OUT.named(tensor.spec for tensor in flatten(outputs))
    return {name: nbytes(spec) // spec.shape[0] for name, spec in specs.items()}


def target_tensors(shapes: Shapes) -> list[Tensor]:
    """Symbolic targets of these shapes."""
    return [input_tensor(spaces.Y(i), *spec) for i, spec in enumerate(shapes.y)]


class _Traced(NamedTuple):
    """A call of the model and what its outputs are compared with, one entry for each output."""

    targets: list[Any]
    preds: list[Tensor]
    weights: list[Any]
    masks: list[Any]
    whole: tuple[Any, ...] = ()  # tensors of inputs, targets and weights, and the nested outputs


def _trace_call(
    model: TracedModel, build: Builder, shapes: Shapes, structure: Any, training: bool
) -> _Traced:
    xs, ys = build.feeds(spaces.X, shapes.x), build.feeds(spaces.Y, shapes.y)
    outputs = _outputs(model, xs, structure[0], training)
    preds = as_tensors(flatten(outputs))
    losses, given = _compiled(model).losses, build.feeds(spaces.W, shapes.weights)
    masks = [mask_of(p) for p in preds]
    whole = (xs, ys, given, outputs)
    return _Traced(losses.targets(ys), preds, losses.sample_weights(given), masks, whole)


def _compiled(model: TracedModel) -> Compiled:
    found: Compiled = model._require_compiled("a step")
    return found


def _trace_losses(
    model: TracedModel, build: Builder, shapes: Shapes, structure: Any, trace: Trace,
    training: bool, part: Part | None,
) -> Tensor:  # fmt: skip
    """Trace the call, the losses and the metrics; returns what is differentiated.

    Args:
        part: how this batch counts in the global one; None when it is all of it.
    """
    found = _trace_call(model, build, shapes, structure, training)
    compiled, rows = _compiled(model), float(shapes.x[0][0][0])
    total = _own_loss(model, found.whole, structure, training, part)
    if total is None:
        total = _total(model, found, rows, trace.losses, part)
    compiled.loss_tracker.update_state(_whole(total, part), sample_weight=rows)
    compiled.update_metrics(found.targets, found.preds, found.weights)
    return total


_parts: ContextVar[Part | None] = ContextVar("_parts", default=None)  # while a loss is traced


def _own_loss(
    model: TracedModel, given: Sequence[Any], structure: Any, training: bool, part: Part | None
) -> Tensor | None:
    """What a user's `compute_loss` adds to the loss of the global batch; None without one."""
    own = model._own_loss()
    if own is None:
        return None
    xs, ys, weights, outputs = given
    nests = [tuple(range(len(xs))) if isinstance(structure[0], Feed) and len(xs) > 1 else
             structure[0], *structure[1:]]  # fmt: skip
    x, y, weight = (pack_as(nest, group) if group else None
                    for nest, group in zip(nests, (xs, ys, weights), strict=True))  # fmt: skip
    known = inspect.signature(own).parameters
    takes = "training" in known or any(p.kind is p.VAR_KEYWORD for p in known.values())
    more = {"training": training} if takes else {}
    before = _parts.set(part)
    try:
        loss = as_tensors([own(x=x, y=y, y_pred=outputs, sample_weight=weight, **more)])[0]
    finally:
        _parts.reset(before)
    if loss.shape != ():
        raise _not_one_number(loss)
    return loss if part is None else loss * part.share


def _not_one_number(loss: Tensor) -> ShapeError:
    return ShapeError(
        f"The loss must be one number for the whole batch. Received: a loss of shape {loss.shape}. "
        "Use a reduction other than 'none'."
    )


def compiled_loss(model: TracedModel, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    """The loss of a batch by what the model is compiled for, for a `compute_loss` to build on. Of
    a part of a global batch it is what that adds, divided by its share."""
    trace, losses, part = current_trace(), _compiled(model).losses, _parts.get()
    preds = as_tensors(flatten(y_pred))
    found = _Traced(
        losses.targets([] if y is None else as_tensors(flatten(y))), preds,
        losses.sample_weights([] if sample_weight is None else as_tensors(flatten(sample_weight))),
        [mask_of(p) for p in preds],
    )  # fmt: skip
    rows = float(preds[0].shape[0])
    return _whole(_total(model, found, rows, trace.losses if trace else (), part), part)


def _refuse_beside_statistics(model: TracedModel, output: int, count: Any) -> None:
    """Where a rank traces a step whole, its gradients count by its rows: a loss must be a mean over
    these."""
    own = defined(model, "train") or not getattr(current_trace(), "exchange", None)
    losses = _compiled(model).losses
    if own or (losses.losses[output].reduction != "sum" and not isinstance(count, Tensor)):
        return
    shared, name = [x.name for x in synchronized_layers(model)], losses.names[output]
    raise UnsupportedError(
        f'Model "{model.name}": beside layers that share statistics, ranks share losses that are '
        f'means over rows. Received: synchronized=True in {shared}, and for "{name}" a loss that is'
        " a sum, or divided by a mask or by sample weights. Use another reduction, "
        "end the mask before the output, or take synchronized=False."
    )


def _total(
    model: TracedModel, found: _Traced, rows: float, more: Iterable[Any], part: Part | None
) -> Tensor:
    """The weighted sum of all losses, of outputs and `more`; also feeds the outputs' trackers."""
    total: Any = None
    compiled = _compiled(model)
    losses = compiled.losses
    given = [t for t, loss in zip(found.targets, losses.losses, strict=True) if loss is not None]
    parts = losses.parts(given, found.preds, found.weights, found.masks)
    trackers = iter(compiled.output_trackers)
    for i, item in enumerate(parts):
        if item is None:
            continue
        _, weight, value, count = item
        loss = value if count is None else value / count
        _refuse_beside_statistics(model, i, count)
        if part is not None:
            loss = added(compiled.losses.losses[i], value, count, part, i)
        if compiled.output_trackers:
            next(trackers).update_state(_whole(loss, part), sample_weight=rows)
        total = _plus(total, loss * weight if weight != 1.0 else loss)
    for loss in [*more, *model.regularization_losses()]:
        loss = ops.sum(loss) if len(getattr(loss, "shape", ())) else loss
        total = _plus(total, loss if part is None else loss * part.share)
    if total is None:
        raise ConfigError(
            f'Model "{model.name}" has no loss to train with. Received: loss=None and no '
            "add_loss. Pass a loss to compile."
        )
    result: Tensor = as_tensors([total])[0]
    return result


def _whole(loss: Any, part: Part | None) -> Any:
    """A part's loss, scaled so that the mean over all rows is the loss of the global batch."""
    return loss if part is None else loss / part.share


def _plus(a: Any, b: Any) -> Any:
    return b if a is None else a + b


def _finish(
    build: Builder, trace: Trace, outputs: Sequence[Tensor] = (), places: Sequence[Place] = (),
    tables: RowTables | None = None,
) -> Program:  # fmt: skip
    """Compile outputs plus every Variable update of the trace; rows of `tables` are caught up.

    Gradients are listed last layer first: a program computes its outputs in that order, so that
    what a layer kept for backward is free again as soon as backward has passed it.
    """
    build.take_draws(trace)
    build.assign(trace.updates.values())
    build.write(reversed(outputs), reversed(places))
    if tables is not None:
        build.outputs = tables.replay(build.feed, build.outputs)
    return build.program()


def updated_variables(
    model: TracedModel, shapes: Shapes, structure: Any, training: bool
) -> list[Any]:
    """Variables of layers that a call assigns (in training moving averages and the like)."""
    sharing = sharing_of(model, shapes, structure) if training else None
    if sharing is not None:
        alike = sharing.alike()
        return [v for v, _ in _state_updates(model, sharing.trace) if id(v) not in alike]
    if defined(model, "train"):
        return []  # what test_step assigns, beside metrics, is refused when it is compiled
    with tracing() as trace:
        _call(model, _inputs(shapes), structure[0], training)
    return [variable for variable, _ in _state_updates(model, trace)]


def _part(build: Builder, model: TracedModel, counted: bool = True) -> Part:
    """How a batch counts that is part of a global one."""
    counts = build.feed(spaces.COUNTS, (len(_compiled(model).losses.names),)) if counted else None
    return Part(build.feed(spaces.SHARE), counts)


def evaluate_program(
    model: TracedModel, state: State, shapes: Shapes, structure: Any, shared: bool = False,
    counted: bool = True,
) -> Program:  # fmt: skip
    """Adds a batch to loss trackers and metrics.

    Args:
        shared: the batch is a part of a global one, see `gradient_program`.
        counted: somebody has counted what losses are divided by over the global batch; else the
            part's own count serves.
    """
    build = Builder(state.place)
    if shared and defined(model, "test"):
        return _finish(build, rank_step(model, "test", _feeds(build, shapes), structure).trace)
    with tracing() as trace:
        part = _part(build, model, counted) if shared else None
        _trace_losses(model, build, shapes, structure, trace, False, part)
    return _finish(build, trace)


def counts_program(
    model: TracedModel, state: State, shapes: Shapes, structure: Any
) -> Program | None:
    """What this part's rows add to each output's denominator, into out0 (float32, one for each
    output). None when no loss needs it: the number of rows says all."""
    if defined(model, "train"):
        return None
    build = Builder(state.place)
    with tracing() as trace:
        found = _trace_call(model, build, shapes, structure, False)
        counts = [
            None if loss is None else counted(loss, *each)
            for loss, *each in zip(_compiled(model).losses.losses, *found[:4], strict=True)
        ]
        if all(count is None for count in counts):
            return None
        zero = constant(np.float32(0))
        result = ops.stack([zero if c is None else ops.cast(c, "float32") for c in counts])
    build.take_draws(trace)
    build.write_out(as_tensors([result]))
    return build.program()


def gradient_program(
    model: TracedModel, state: State, shapes: Shapes, structure: Any, shared: bool = False,
    tables: RowTables | None = None,
) -> Program:  # fmt: skip
    """Forward and backward: fills the space grads, updates metrics and layer state.

    A local step leaves the gradients of tables as rows where it can (see `row_updates`); may raise
    TablesChanged then.

    Args:
        tables: those whose gradients ranks share as rows (see `shared_tables`).
        shared: the batch is one of several parts of a global batch. How it counts is read from the
            spaces `share` and `counts`: see `shares.Part`.
    """
    build = Builder(state.place)
    if shared and defined(model, "train"):
        return _own_gradient_program(model, state, build, shapes, structure)
    with tracing() as trace:
        part = _part(build, model) if shared else None
        total = _trace_losses(model, build, shapes, structure, trace, True, part)
        if total.shape != ():
            raise _not_one_number(total)
        uses = []
        if not shared:
            uses = _uses(model, state, trace, total)
            tables = state.tables if uses else None
        elif tables is not None:
            uses = _chosen(tables, _possible(model, state, trace, total))
        scaled = as_tensors([model.optimizer.scale_for_step(total)])[0]
        results, places = _gradients(model.optimizer, state, trace, scaled, uses, tables, shared)
    return _finish(build, trace, results, places, tables)


def shared_tables(
    model: TracedModel, state: State, shapes: Shapes, structure: Any
) -> tuple[RowTables | None, list[int]]:
    """The weights whose gradients ranks share as rows in global batches of these shapes, and how
    many ids of each a row of a batch has."""
    rows = shapes.x[0][0][0]
    if is_shared_whole(model) or all(v.shape[:1] < (2 * rows,) for v in state.weights.variables):
        return None, []
    whole = [use for use in _uses_of(model, state, shapes, structure) if use.pays()]
    few = {
        id(use.variable): use
        for use in (_uses_of(model, state, shapes.with_rows(2), structure) if whole else ())
    }
    found = [use for use in whole if id(use.variable) in few
             and use.grows_with_rows(rows, few[id(use.variable)], 2)]  # fmt: skip
    tables = RowTables(state, model.optimizer, [use.variable for use in found]) if found else None
    return tables, [use.ids_count() // rows for use in found]


def _own_gradient_program(
    model: TracedModel, state: State, build: Builder, shapes: Shapes, structure: Any
) -> Program:
    """The step of a user's that gives all gradients to the model's optimizer, once."""
    sharing = rank_step(model, "train", _feeds(build, shapes), structure)
    build.take(sharing.share, spaces.SHARE)
    found = sharing.exchanges[0]
    given = {id(v): g for v, g in zip(found.variables, found.grads, strict=True)}
    results = [_gradient(v, given.get(id(v))) for v in state.weights.variables]
    logs = list(sharing.logs.values())
    build.write(logs, log_places(logs))
    alike, trace = sharing.alike(), sharing.trace
    trace.updates = {key: w for key, w in trace.updates.items() if key not in alike}
    return _finish(build, trace, results, gradient_places(state.weights.offsets, None))


def phase_programs(
    model: TracedModel, state: State, shapes: Shapes, structure: Any
) -> list[Program | None]:
    """A rank's step in phases: see `training.phases`. Shapes of no rows: what a rank runs that has
    none."""
    rows = shapes.x[0][0][0]
    build = Builder(state.place)
    feeds = _feeds(build, shapes if rows else shapes.with_rows(2))
    sharing = rank_step(model, "train", feeds, structure)
    places = {t: place.space for t, place in build.inputs.items()} | {sharing.share: spaces.SHARE}
    if sharing.trace.rng is not None:
        places[sharing.trace.rng] = spaces.RNG
    return Phases(sharing, rows=bool(rows)).programs(state.place, places if rows else {})


def sharing_of(model: TracedModel, shapes: Shapes, structure: Any) -> Sharing | None:
    """What ranks share in a step of a user's, or of layers that share statistics; None for any
    other step."""
    if not is_shared_whole(model):
        return None
    inputs = _feeds(Builder(lambda variable: Place(spaces.STATE)), shapes)
    return rank_step(model, "train", inputs, structure)


def _feeds(build: Builder, shapes: Shapes) -> list[list[Tensor]]:
    kinds = (spaces.X, spaces.Y, spaces.W)
    return [build.feeds(kind, given) for kind, given in zip(kinds, shapes[:3], strict=True)]


def _uses_of(model: TracedModel, state: State, shapes: Shapes, structure: Any) -> list[Use]:
    """The weights that ranks could update by rows in such batches."""
    build = Builder(state.place)
    with tracing() as trace:
        part = _part(build, model)
        total = _trace_losses(model, build, shapes, structure, trace, True, part)
    return _possible(model, state, trace, total)


def _uses(model: TracedModel, state: State, trace: Trace, total: Tensor) -> list[Use]:
    """The weights that this step updates by rows. The first program of a State decides which."""
    found = _possible(model, state, trace, total)
    if state.tables is None:
        found = [use for use in found if use.pays()]
        state.tables = RowTables(state, model.optimizer, [use.variable for use in found])
    return _chosen(state.tables, found)


def _possible(model: TracedModel, state: State, trace: Trace, total: Tensor) -> list[Use]:
    read = [total, *[value for _, value in trace.updates.values()]]
    return uses_by_rows(model.optimizer, state.weights.variables, trace, read)


def _chosen(tables: RowTables, found: Sequence[Use]) -> list[Use]:
    by_variable = {id(use.variable): use for use in found}
    if any(id(v) not in by_variable for v in tables.tables):
        raise TablesChanged
    return [by_variable[id(v)] for v in tables.tables]


def _gradients(
    optimizer: Any, state: State, trace: Trace, total: Tensor, uses: Sequence[Use],
    tables: RowTables | None, shared: bool,
) -> tuple[list[Tensor], list[Place]]:  # fmt: skip
    """Gradients and their places: of whole weights in `grads`, of tables as rows and ids."""
    flat, by_rows = state.weights, {id(use.variable) for use in uses}
    read = [trace.parameters.get(id(v)) for v in flat.variables]
    whole = [r[1] for v, r in zip(flat.variables, read, strict=True)
             if r is not None and id(v) not in by_rows]  # fmt: skip
    gathered = [node.outputs[0] for use in uses for node in use.gathers]
    wrt = [*whole, *gathered]
    found = {id(t): g for t, g in zip(wrt, gradients(total, wrt), strict=True)}
    where = gradient_places(flat.offsets, tables)
    results, places = [], []
    for variable, parameter, place in zip(flat.variables, read, where, strict=True):
        if id(variable) not in by_rows:
            results.append(_gradient(variable, found.get(id(parameter[1])) if parameter else None))
            places.append(place)
    if tables is not None:
        clips = clips_by_norm(optimizer)
        rows = tables.gradient_outputs(uses, lambda t: found[id(t)], clips, shared)
        results += [tensor for tensor, _ in rows]
        places += [place for _, place in rows]
    return results, places


def _gradient(variable: Any, gradient: Tensor | None) -> Tensor:
    return constant(np.zeros(variable.shape, np.float32)) if gradient is None else gradient
