"""The optimizer's step as a Program over a slice of the flat vectors.

In: an optimizer, the flat weight layout, and the slice [lo, hi) that this rank owns (locally: all
of it). Out: a Program over the spaces weights and grads, slot:<name> (the slice only), lr,
iterations and, for clipping by norm, norms. A built-in optimizer becomes one instruction for each
run of weights that are treated alike; tables that are updated by rows (see training.sparse) are
left out of the runs, and out of grads. Any other optimizer is traced: on one flat Variable, which
is right when its update is elementwise, or on each weight (`whole_update_program`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import ops
from zoo_keras.engine.program import Place, Program, compile_graph, join
from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import Graph, Tensor, constant, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.update import optimizer_update
from zoo_keras.training.row_updates import RowTables
from zoo_keras.variables import Variable


class Slice(NamedTuple):
    """A rank's part [lo, hi) of the flat vectors, and where each weight begins and ends in them."""

    lo: int
    hi: int
    offsets: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.hi - self.lo

    def segments(self) -> list[tuple[int, int, int]]:
        """(number of the weight, begin, end within the slice) of each weight that it touches."""
        found = []
        for i, (a, b) in enumerate(pairwise(self.offsets)):
            begin, end = max(a, self.lo), min(b, self.hi)
            if begin < end:
                found.append((i, begin - self.lo, end - self.lo))
        return found

    def number_of_each(self) -> np.ndarray:
        """For every element of the slice the number of the weight it belongs to (int32)."""
        numbers = np.zeros(self.size, np.int32)
        for i, begin, end in self.segments():
            numbers[begin:end] = i
        return numbers


def gradient_places(offsets: Sequence[int], tables: RowTables | None) -> list[Place]:
    """Where each weight's gradient lies in `grads`; weights updated by rows take no room."""
    places, left_out = [], 0
    for i, (a, b) in enumerate(pairwise(offsets)):
        places.append(Place("grads", 4 * (a - left_out)))
        left_out += b - a if tables is not None and i in tables.numbers else 0
    return places


class _Run(NamedTuple):
    """Weights side by side that are treated alike: the first one's number, whether weight decay
    applies, begin and end within the slice, and the place of the gradient."""

    number: int
    decayed: bool
    begin: int
    end: int
    gradient: Place


def _runs(
    part: Slice, decayed: Sequence[bool], tables: RowTables | None, apart: bool
) -> list[_Run]:
    """The runs of a slice; `apart`: each weight by itself."""
    places = gradient_places(part.offsets, tables)
    runs: list[_Run] = []
    for i, begin, end in part.segments():
        if tables is not None and i in tables.numbers:
            continue
        inside = 4 * (part.lo + begin - part.offsets[i])
        place = Place("grads", places[i].offset + inside)
        before = runs[-1] if runs else None
        if before and before.end == begin and before.decayed == decayed[i] and not apart:
            runs[-1] = before._replace(end=end)
        else:
            runs.append(_Run(i, decayed[i], begin, end, place))
    return runs


def clips_by_norm(optimizer: Any) -> bool:
    """Whether the update needs the gradient's norms, which span ranks."""
    return bool(optimizer.clipnorm or optimizer.global_clipnorm)


def norm_program(part: Slice, tables: RowTables | None = None) -> Program:
    """Sums of squares of the gradient within the slice, one for each weight, into out0; 0 for
    weights updated by rows."""
    sums: list[Any] = [constant(np.float32(0))] * (len(part.offsets) - 1)
    feeds: dict[Tensor, Place] = {}
    for run in _runs(part, [False] * len(sums), tables, apart=True):
        piece = input_tensor("grads", (run.end - run.begin,))
        feeds[piece] = run.gradient
        sums[run.number] = ops.sum(piece * piece)
    graph = optimise(Graph(feeds, [as_tensors([ops.stack(sums)])[0]]))
    return compile_graph(graph, feeds, [Place("out0")], _no_variable)


def _no_variable(variable: Any) -> Place:
    raise UnsupportedError(f'The optimizer reads the Variable "{variable.path}" of its own.')


def _scale_program(optimizer: Any, count: int, tables: RowTables | None) -> Program:
    """norms (and row_norms) become the factors by which the gradients are scaled: one for each
    weight with clipnorm, the first one for all with global_clipnorm."""
    sizes = {"norms": count, **({"row_norms": len(tables.tables)} if tables else {})}
    feeds = {input_tensor(name, (n,)): Place(name) for name, n in sizes.items()}
    if optimizer.global_clipnorm:
        squares: Any = sum(ops.sum(t) for t in feeds)
        results, places = [_scale(squares, float(optimizer.global_clipnorm))], [Place("norms")]
    else:
        results = [_scale(t, float(optimizer.clipnorm)) for t in feeds]
        places = list(feeds.values())
    return compile_graph(optimise(Graph(feeds, as_tensors(results))), feeds, places, _no_variable)


def _scale(squares: Any, limit: float) -> Any:
    return limit / ops.maximum(ops.sqrt(squares), limit)


def update_program(
    optimizer: Any, part: Slice, decayed: Sequence[bool], tables: RowTables | None = None,
    counts: Sequence[int] = (),
) -> Program:  # fmt: skip
    """One step of the optimizer on the slice.

    Args:
        decayed: for each weight, whether weight decay applies to it.
        tables: the weights that are updated by rows (only with a built-in optimizer).
        counts: how many ids a step looks up in each of them.
    """
    program = (
        _traced_update(optimizer, part, decayed)
        if optimizer.flat_step() is None
        else _Fused(optimizer, tables, counts).program(part, decayed)
    )
    if not clips_by_norm(optimizer):
        return program
    return join(_scale_program(optimizer, len(part.offsets) - 1, tables), program)


class _Fused:
    """The update of a built-in optimizer, as instructions that read and write each vector once."""

    def __init__(self, optimizer: Any, tables: RowTables | None, counts: Sequence[int]) -> None:
        self.clone = type(optimizer).from_config(optimizer.get_config())
        self.tables, self.counts = tables, counts
        self.feeds: dict[Tensor, Place] = {}
        self.outputs: list[tuple[Tensor, Place]] = []

    def feed(self, place: Place, shape: Sequence[int] = (), dtype: str = "float32") -> Tensor:
        tensor = input_tensor(place.space, shape, dtype)
        self.feeds[tensor] = place
        return tensor

    def program(self, part: Slice, decayed: Sequence[bool]) -> Program:
        clone = self.clone
        with tracing():
            rate = as_tensors([clone.current_learning_rate()])[0]
            step = as_tensors([ops.cast(ops.add(clone.iterations, 1), "float32")])[0]
            for run in _runs(part, decayed, self.tables, apart=bool(clone.clipnorm)):
                self._add_run(run, part, rate, step)
            if self.tables is not None:
                self.outputs += self.tables.updates(
                    clone, self.feed, self.counts, rate, step, self._scale
                )
        graph = optimise(Graph(self.feeds, [t for t, _ in self.outputs]))
        places = [place for _, place in self.outputs]
        return compile_graph(graph, self.feeds, places, self._scalar)

    def _scalar(self, variable: Any) -> Place:
        return Place("iterations" if variable is self.clone.iterations else "lr")

    def _scale(self, space: str, number: int) -> Tensor:
        """The factor of a weight's gradient, which lies at this place of `norms` or `row_norms`."""
        if self.clone.global_clipnorm:
            return self.feed(Place("norms"))
        return self.feed(Place(space, 4 * number)) if self.clone.clipnorm else _ONE

    def _add_run(self, run: _Run, part: Slice, rate: Tensor, step: Tensor) -> None:
        clone, fused = self.clone, self.clone.flat_step()
        names = [*fused.slots, *(["average"] if clone.use_ema else [])]
        places = [Place("weights", 4 * (part.lo + run.begin))]
        places += [Place(f"slot:{name}", 4 * run.begin) for name in names]
        size = (run.end - run.begin,)
        w, *slots = (self.feed(place, size) for place in places)
        made = optimizer_update(
            w, self.feed(run.gradient, size), *slots, rate, step, self._scale("norms", run.number),
            kind=fused.kind, how=fused.how, clip=float(clone.clipvalue or 0),
            decay=float(clone.weight_decay or 0) if run.decayed else 0.0,
            ema=float(clone.ema_momentum) if clone.use_ema else None,
        )  # fmt: skip
        self.outputs += zip(as_tensors(made if isinstance(made, tuple) else [made]), places)


_ONE = constant(np.float32(1))


def _traced_update(optimizer: Any, part: Slice, decayed: Sequence[bool]) -> Program:
    """An elementwise optimizer of a user, traced on one flat Variable."""
    clone = type(optimizer).from_config(optimizer.get_config())
    flat = Variable(np.zeros(part.size, np.float32), name="weights")
    clone.build([flat])
    gradient = input_tensor("grads", (part.size,))
    norms = input_tensor("norms", (len(part.offsets) - 1,))
    with tracing() as trace:
        clipped = _clip(optimizer, gradient, norms, part)
        _decay(clone, flat, part, decayed)
        clone.update_step(clipped, flat, clone.current_learning_rate())
        if clone.use_ema:
            clone.update_model_variables_moving_average([flat])
        updates = [(v, t) for v, t in trace.updates.values() if v is not clone.iterations]
    places = _places(clone, flat, part)
    graph = optimise(Graph([gradient, norms], [t for _, t in updates]))
    feeds = {gradient: Place("grads", 4 * part.lo), norms: Place("norms")}
    return compile_graph(graph, feeds, [places[id(v)] for v, _ in updates], lambda v: places[id(v)])


def _places(clone: Any, flat: Variable, part: Slice) -> dict[int, Place]:
    places = {id(flat): Place("weights", 4 * part.lo), id(clone.iterations): Place("iterations")}
    for name, variables in clone.slots().items():
        places[id(variables[0])] = Place(f"slot:{name}")
    for variable in clone.variables:
        places.setdefault(id(variable), Place("lr"))
    return places


def _clip(optimizer: Any, gradient: Tensor, scales: Tensor, part: Slice) -> Any:
    """The gradient clipped as the optimizer says; scales as `_scale_program` leaves them."""
    if optimizer.clipvalue:
        return ops.clip(gradient, -optimizer.clipvalue, optimizer.clipvalue)
    if optimizer.global_clipnorm:
        return gradient * scales[0]
    if optimizer.clipnorm:
        return gradient * ops.take(scales, constant(part.number_of_each()))
    return gradient


def _decay(clone: Any, flat: Variable, part: Slice, decayed: Sequence[bool]) -> None:
    """Weight decay, on the weights that are not excluded from it."""
    if not clone.weight_decay:
        return
    if all(decayed):
        clone.apply_weight_decay([flat])
        return
    mask = np.asarray(decayed, np.float32)[part.number_of_each()]
    rate = clone.current_learning_rate()
    flat.assign(flat - flat * constant(mask) * (clone.weight_decay * rate))


def whole_update_program(optimizer: Any, state: Any) -> Program:
    """One step of an optimizer that must see each weight as a whole, for a local State."""
    flat = state.weights
    places = gradient_places(flat.offsets, None)
    grads = [input_tensor("grads", v.shape) for v in flat.variables]
    feeds = dict(zip(grads, places, strict=True))
    with tracing() as trace:
        optimizer.step(grads, flat.variables)
        updates = list(trace.updates.values())
    graph = optimise(Graph(feeds, [t for _, t in updates]))
    return compile_graph(graph, feeds, [state.place(v) for v, _ in updates], state.place)
