"""The programs of a model: gradient, update, evaluation and prediction, for given batch shapes.

In: a model with its State and the shapes and dtypes of a batch. Out: Programs over the spaces
x0.., y0.., w0.. (the batch), rng (step, first row), share and counts (of a batch that is part of
a global one), out0.., and those of State.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native, ops
from zoo_keras.engine.program import Parts, Place, Program, compile_graph, nbytes
from zoo_keras.errors import ConfigError, DataError, ShapeError
from zoo_keras.feed.feed import Feed
from zoo_keras.graph import Graph, Spec, Tensor, Trace, constant, input_tensor, tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.ops.masks import mask_of
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.passes.split import alike, rows_apart, rows_at_once
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.tile_choice import inference_dtype
from zoo_keras.training.data import Batch
from zoo_keras.training.row_updates import RowTables, TablesChanged, Use, uses_by_rows
from zoo_keras.training.shares import Part, added, counted
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


class _Feeds:
    """Input tensors of a program and their places."""

    def __init__(self) -> None:
        self.places: dict[Tensor, Place] = {}

    def add(self, space: str, shape: Sequence[int], dtype: str = "float32") -> Tensor:
        tensor = input_tensor(space, shape, dtype)
        self.places[tensor] = Place(space)
        return tensor

    def at(self, place: Place, shape: Sequence[int] = (), dtype: str = "float32") -> Tensor:
        """A tensor that is read at a place of some space."""
        tensor = input_tensor(place.space, shape, dtype)
        self.places[tensor] = place
        return tensor

    def leaves(self, letter: str, specs: Any) -> list[Tensor]:
        return [self.add(f"{letter}{i}", *spec) for i, spec in enumerate(specs)]


def _call(model: Any, xs: Sequence[Tensor], structure: Any, training: bool) -> list[Tensor]:
    return as_tensors(flatten(_outputs(model, xs, structure, training)))


def _outputs(model: Any, xs: Sequence[Tensor], structure: Any, training: bool) -> Any:
    """The model's outputs for inputs nested like the structure, or behind a Feed."""
    if isinstance(structure, Feed):
        return structure.call(model, xs, training)
    return model(pack_as(structure, xs), training=training)


def ensure_built(model: Any, shapes: Shapes, structure: Any) -> list[Tensor]:
    """Make all weights by tracing a call; returns the outputs of that trace."""
    with tracing():
        return _call(model, _Feeds().leaves("x", shapes.x), structure[0], training=False)


class _Prediction(NamedTuple):
    """A traced call of the model: its graph, where that reads and writes, and the outputs."""

    graph: Graph
    inputs: dict[Tensor, Place]
    places: list[Place]
    outputs: Any

    def compile(self, state: Any) -> Program:
        graph = optimise(self.graph, freeze=True, rounds=inference_dtype() == "bfloat16")
        return compile_graph(graph, self.inputs, self.places, state.place, freeze=True)


def _trace_prediction(model: Any, state: Any, shapes: Shapes, structure: Any) -> _Prediction:
    feeds = _Feeds()
    with tracing() as trace:
        outputs = _outputs(model, feeds.leaves("x", shapes.x), structure[0], training=False)
        results = as_tensors(flatten(outputs))
    _add_rng(feeds, trace)
    updates = _state_updates(model, trace)
    for variable, _ in updates:
        variable.carried = True
    graph = Graph(feeds.places, [*results, *[value for _, value in updates]])
    places = [Place(f"out{i}") for i in range(len(results))]
    places += [state.place(variable) for variable, _ in updates]
    return _Prediction(graph, feeds.places, places, outputs)


def _state_updates(model: Any, trace: Trace) -> list[tuple[Any, Tensor]]:
    """(Variable, its new value) of all that layers assign but the state of metrics."""
    own = {id(v) for v in [*model.weights, *model.carried]}
    return [(variable, new) for variable, new in trace.updates.values() if id(variable) in own]


def predict_program(model: Any, state: Any, shapes: Shapes, structure: Any) -> tuple[Program, Any]:
    """(program, structure of the outputs); outputs go to out0, out1, ..."""
    whole = _trace_prediction(model, state, shapes, structure)
    counts = {shape[:1] for shape, _ in shapes.x}
    rows = max(counts.pop(), default=0) if len(counts) == 1 else 0
    each = rows_at_once(whole.graph, rows)
    if each < rows and len(whole.places) == len(flatten(whole.outputs)):  # layers assign nothing
        part = _trace_prediction(model, state, shapes.with_rows(each), structure)
        if rows_apart(part.graph) and alike(whole.graph, part.graph):
            program = _in_parts(part, state, Parts(rows, each, _row_bytes(shapes.x, whole.outputs)))
            if not program.host:
                return program, whole.outputs
    return whole.compile(state), whole.outputs


def _in_parts(part: _Prediction, state: Any, parts: Parts) -> Program:
    """With two parts or more for each thread, every thread computes parts of its own: threads then
    need not wait for each other after each layer (measured: MobileNetV2, 1.15 times as fast)."""
    threads = native.threads()
    lanes = threads if len(parts.firsts()) >= 2 * threads else 1
    with native.using_threads(threads if lanes == 1 else 1):
        program = part.compile(state)
    program.parts = parts._replace(lanes=lanes)
    return program


def _row_bytes(inputs: Any, outputs: Any) -> dict[str, int]:
    """Bytes of one row of each input and output."""
    specs = {f"x{i}": Spec(*spec) for i, spec in enumerate(inputs)}
    specs.update((f"out{i}", tensor.spec) for i, tensor in enumerate(flatten(outputs)))
    return {name: nbytes(spec) // spec.shape[0] for name, spec in specs.items()}


def _add_rng(feeds: _Feeds, trace: Trace) -> None:
    if trace.rng is not None:
        feeds.places[trace.rng] = Place("rng")


def _weights_for(losses: Any, given: Sequence[Tensor]) -> list[Any]:
    """A sample-weight tensor for every output; one given weight serves all."""
    count = len(losses.names)
    if len(given) == 1:
        return list(given) * count
    if not given:
        return [None] * count
    if len(given) != count:
        raise DataError(
            f"sample_weight must be one array or one for each of the {count} outputs. "
            f"Received: {len(given)}."
        )
    return list(given)


def targets_for(losses: Any, y: Sequence[Tensor]) -> list[Any]:
    """A target tensor for every output; outputs without loss may have none."""
    count = len(losses.names)
    with_loss = [i for i, loss in enumerate(losses.losses) if loss is not None]
    if len(y) == count:
        return list(y)
    if len(y) == len(with_loss):
        found: list[Any] = [None] * count
        for i, tensor in zip(with_loss, y, strict=True):
            found[i] = tensor
        return found
    raise DataError(
        f"The model has {count} outputs ({losses.names}), {len(with_loss)} of them with a loss. "
        f"Received: {len(y)} arrays of targets. Pass one for each."
    )


def target_tensors(shapes: Shapes) -> list[Tensor]:
    """Symbolic targets of these shapes."""
    return _Feeds().leaves("y", shapes.y)


class _Traced(NamedTuple):
    """A call of the model and what its outputs are compared with, one entry for each output."""

    targets: list[Any]
    preds: list[Tensor]
    weights: list[Any]
    masks: list[Any]


def _trace_call(
    model: Any, feeds: _Feeds, shapes: Shapes, structure: Any, training: bool
) -> _Traced:
    xs, ys = feeds.leaves("x", shapes.x), feeds.leaves("y", shapes.y)
    preds = _call(model, xs, structure[0], training)
    weights = _weights_for(model._losses, feeds.leaves("w", shapes.weights))
    return _Traced(targets_for(model._losses, ys), preds, weights, [mask_of(p) for p in preds])


def _trace_losses(
    model: Any, feeds: _Feeds, shapes: Shapes, structure: Any, trace: Trace, training: bool,
    part: Part | None,
) -> Tensor:  # fmt: skip
    """Trace the call, the losses and the metrics; returns what is differentiated.

    Args:
        part: how this batch counts in the global one; None when it is all of it.
    """
    found = _trace_call(model, feeds, shapes, structure, training)
    losses, metrics = model._losses, model._metrics_of_outputs
    given = [t for t, loss in zip(found.targets, losses.losses, strict=True) if loss is not None]
    parts = losses.parts(given, found.preds, found.weights, found.masks)
    total = _total(model, parts, shapes.x[0][0][0], trace, part)
    metrics.update(found.targets, found.preds, found.weights)
    return total


def _total(model: Any, parts: Sequence[Any], rows: int, trace: Trace, part: Part | None) -> Tensor:
    """The weighted sum of all losses; also feeds the loss trackers."""
    total: Any = None
    trackers = iter(model._output_trackers)
    for i, item in enumerate(parts):
        if item is None:
            continue
        _, weight, value, count = item
        loss = value if count is None else value / count
        if part is not None:
            loss = added(model._losses.losses[i], value, count, part, i)
        if model._output_trackers:
            next(trackers).update_state(_whole(loss, part), sample_weight=float(rows))
        total = _plus(total, loss * weight if weight != 1.0 else loss)
    for loss in [*trace.losses, *model.regularization_losses()]:
        loss = ops.sum(loss) if len(getattr(loss, "shape", ())) else loss
        total = _plus(total, loss if part is None else loss * part.share)
    if total is None:
        raise ConfigError(
            f'Model "{model.name}" has no loss to train with. Received: loss=None and no '
            "add_loss. Pass a loss to compile."
        )
    model._loss_tracker.update_state(_whole(total, part), sample_weight=float(rows))
    result: Tensor = as_tensors([total])[0]
    return result


def _whole(loss: Any, part: Part | None) -> Any:
    """A part's loss, scaled so that the mean over all rows is the loss of the global batch."""
    return loss if part is None else loss / part.share


def _plus(a: Any, b: Any) -> Any:
    return b if a is None else a + b


def _finish(
    state: Any, feeds: _Feeds, trace: Trace, outputs: Sequence[Tensor], places: Sequence[Place],
    tables: RowTables | None = None,
) -> Program:  # fmt: skip
    """Compile outputs plus every Variable update of the trace; rows of `tables` are caught up.

    Gradients are listed last layer first: a program computes its outputs in that order, so that
    what a layer kept for backward is free again as soon as backward has passed it.
    """
    _add_rng(feeds, trace)
    updates = list(trace.updates.values())
    results = [*[value for _, value in updates], *reversed(outputs)]
    targets = [*[state.place(variable) for variable, _ in updates], *reversed(places)]
    if tables is not None:
        results, more = tables.replay(feeds.at, results)
        results += [tensor for tensor, _ in more]
        targets += [place for _, place in more]
    graph = optimise(Graph(feeds.places, results))
    return compile_graph(graph, feeds.places, targets, state.place)


def updated_variables(model: Any, shapes: Shapes, structure: Any, training: bool) -> list[Any]:
    """Variables of layers that a call assigns (in training moving averages and the like)."""
    with tracing() as trace:
        _call(model, _Feeds().leaves("x", shapes.x), structure[0], training)
    return [variable for variable, _ in _state_updates(model, trace)]


def _part(feeds: _Feeds, model: Any, counted: bool = True) -> Part:
    """The spaces `share` and `counts`, for a batch that is part of a global one."""
    counts = feeds.add("counts", (len(model._losses.names),)) if counted else None
    return Part(feeds.add("share", ()), counts)


def evaluate_program(
    model: Any, state: Any, shapes: Shapes, structure: Any, shared: bool = False,
    counted: bool = True,
) -> Program:  # fmt: skip
    """Adds a batch to loss trackers and metrics.

    Args:
        shared: the batch is a part of a global one, see `gradient_program`.
        counted: somebody has counted what losses are divided by over the global batch; else the
            part's own count serves.
    """
    feeds = _Feeds()
    with tracing() as trace:
        part = _part(feeds, model, counted) if shared else None
        _trace_losses(model, feeds, shapes, structure, trace, False, part)
    return _finish(state, feeds, trace, [], [])


def counts_program(model: Any, state: Any, shapes: Shapes, structure: Any) -> Program | None:
    """What this part's rows add to each output's denominator, into out0 (float32, one for each
    output). None when no loss needs it: the number of rows says all."""
    feeds = _Feeds()
    with tracing() as trace:
        found = _trace_call(model, feeds, shapes, structure, False)
        counts = [
            None if loss is None else counted(loss, *each)
            for loss, *each in zip(model._losses.losses, *found, strict=True)
        ]
        if all(count is None for count in counts):
            return None
        zero = constant(np.float32(0))
        result = ops.stack([zero if c is None else ops.cast(c, "float32") for c in counts])
    _add_rng(feeds, trace)
    graph = optimise(Graph(feeds.places, as_tensors([result])))
    return compile_graph(graph, feeds.places, [Place("out0")], state.place)


def gradient_program(
    model: Any, state: Any, shapes: Shapes, structure: Any, shared: bool = False
) -> Program:
    """Forward and backward: fills the space grads, updates metrics and layer state.

    A local step leaves the gradients of tables as rows where it can (see `training.sparse`); may
    raise TablesChanged then. The exchange on Spark wants all gradients in one vector.

    Args:
        shared: the batch is one of several parts of a global batch. How it counts is read from the
            spaces `share` and `counts`: see `shares.Part`.
    """
    feeds = _Feeds()
    with tracing() as trace:
        part = _part(feeds, model) if shared else None
        total = _trace_losses(model, feeds, shapes, structure, trace, True, part)
        if total.shape != ():
            raise ShapeError(
                f"The loss must be one number for the whole batch. Received: a loss of shape "
                f"{total.shape}. Use a reduction other than 'none'."
            )
        uses = [] if shared else _uses(model, state, trace, total)
        scaled = as_tensors([model.optimizer.scale_loss(total)])[0]
        results, places = _gradients(model.optimizer, state, trace, scaled, uses)
    return _finish(state, feeds, trace, results, places, state.tables if uses else None)


def _uses(model: Any, state: Any, trace: Trace, total: Tensor) -> list[Use]:
    """The weights that this step updates by rows. The first program of a State decides which."""
    read = [total, *[value for _, value in trace.updates.values()]]
    found = uses_by_rows(model.optimizer, state.weights.variables, trace, read)
    if state.tables is None:
        found = [use for use in found if use.pays()]
        state.tables = RowTables(state, model.optimizer, [use.variable for use in found])
    by_variable = {id(use.variable): use for use in found}
    if any(id(v) not in by_variable for v in state.tables.tables):
        raise TablesChanged
    return [by_variable[id(v)] for v in state.tables.tables]


def _gradients(
    optimizer: Any, state: Any, trace: Trace, total: Tensor, uses: Sequence[Use]
) -> tuple[list[Tensor], list[Place]]:
    """Gradients and their places: of whole weights in `grads`, of tables as rows and ids."""
    flat, by_rows = state.weights, {id(use.variable) for use in uses}
    read = [trace.parameters.get(id(v)) for v in flat.variables]
    whole = [r[1] for v, r in zip(flat.variables, read, strict=True)
             if r is not None and id(v) not in by_rows]  # fmt: skip
    gathered = [node.outputs[0] for use in uses for node in use.gathers]
    wrt = [*whole, *gathered]
    found = {id(t): g for t, g in zip(wrt, gradients(total, wrt), strict=True)}
    where = gradient_places(flat.offsets, state.tables if uses else None)
    results, places = [], []
    for variable, parameter, place in zip(flat.variables, read, where, strict=True):
        if id(variable) not in by_rows:
            results.append(_gradient(variable, found.get(id(parameter[1])) if parameter else None))
            places.append(place)
    if uses:
        rows = state.tables.gradient_outputs(uses, lambda t: found[id(t)], clips_by_norm(optimizer))
        results += [tensor for tensor, _ in rows]
        places += [place for _, place in rows]
    return results, places


def _gradient(variable: Any, gradient: Tensor | None) -> Tensor:
    return constant(np.zeros(variable.shape, np.float32)) if gradient is None else gradient
