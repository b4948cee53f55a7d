"""The optimizer's step as a Program over a slice of the flat vectors.

In: an optimizer, the flat weight layout, and the slice [lo, hi) that this rank owns (locally: all
of it). Out: a Program over weights, gradients, slots (the slice only), rate, iterations and, for
clipping by norm, norms. A built-in optimizer becomes one instruction for each run of weights that
are treated alike; tables that are updated by rows (see `row_updates`) are left out of the runs, and
out of the gradients. Any other optimizer is traced: on one flat Variable, which
is right when its update is elementwise, or on each weight (`whole_update_program`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import ops
from zoo_keras.engine import spaces
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Place, Program, join
from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import Tensor, constant, tracing
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.update import optimizer_update
from zoo_keras.training.row_updates import RowTables
from zoo_keras.training.state import State
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
        places.append(Place(spaces.GRADS, 4 * (a - left_out)))
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
        place = Place(spaces.GRADS, places[i].offset + inside)
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
    build = Builder(_no_variable)
    for run in _runs(part, [False] * len(sums), tables, apart=True):
        piece = build.feed(run.gradient, (run.end - run.begin,))
        sums[run.number] = ops.sum(piece * piece)
    build.write_out(as_tensors([ops.stack(sums)]))
    return build.program()


def _no_variable(variable: Any) -> Place:
    raise UnsupportedError(f'The optimizer reads the Variable "{variable.path}" of its own.')


def _scale_program(optimizer: Any, count: int, tables: RowTables | None) -> Program:
    """norms (and row_norms) become the factors by which the gradients are scaled: one for each
    weight with clipnorm, the first one for all with global_clipnorm."""
    sizes = {spaces.NORMS: count, **({spaces.ROW_NORMS: len(tables.tables)} if tables else {})}
    build = Builder(_no_variable)
    feeds = {name: build.feed(name, (n,)) for name, n in sizes.items()}
    if optimizer.global_clipnorm:
        squares: Any = sum(ops.sum(t) for t in feeds.values())
        results = {spaces.NORMS: _scale(squares, float(optimizer.global_clipnorm))}
    else:
        results = {name: _scale(t, float(optimizer.clipnorm)) for name, t in feeds.items()}
    build.write(as_tensors(list(results.values())), results)
    return build.program()


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
        self.clone = optimizer.twin()
        self.tables, self.counts = tables, counts
        self.build = Builder(self._scalar)

    def program(self, part: Slice, decayed: Sequence[bool]) -> Program:
        clone = self.clone
        with tracing():
            rate = as_tensors([clone.current_learning_rate()])[0]
            step = as_tensors([ops.cast(ops.add(clone.steps_done, 1), "float32")])[0]
            for run in _runs(part, decayed, self.tables, apart=bool(clone.clipnorm)):
                self._add_run(run, part, rate, step)
            if self.tables is not None:
                self.build.outputs += self.tables.updates(
                    clone, self.build.feed, self.counts, rate, step, self._scale
                )
        return self.build.program()

    def _scalar(self, variable: Any) -> Place:
        return Place(spaces.ITERATIONS if variable is self.clone.steps_done else spaces.RATE)

    def _scale(self, space: str, number: int) -> Tensor:
        """The factor of a weight's gradient, which lies at this place of `norms` or `row_norms`."""
        if self.clone.global_clipnorm:
            return self.build.feed(spaces.NORMS)
        return self.build.feed(Place(space, 4 * number)) if self.clone.clipnorm else _ONE

    def _add_run(self, run: _Run, part: Slice, rate: Tensor, step: Tensor) -> None:
        clone, fused = self.clone, self.clone.flat_step()
        names = [*fused.slots, *(["average"] if clone.use_ema else [])]
        places = [Place(spaces.WEIGHTS, 4 * (part.lo + run.begin))]
        places += [Place(spaces.SLOT(name), 4 * run.begin) for name in names]
        size = (run.end - run.begin,)
        feed = self.build.feed
        w, *slots = (feed(place, size) for place in places)
        made = optimizer_update(
            w, feed(run.gradient, size), *slots, rate, step, self._scale(spaces.NORMS, run.number),
            kind=fused.kind, how=fused.how, clip=float(clone.clipvalue or 0),
            decay=float(clone.weight_decay or 0) if run.decayed else 0.0,
            ema=float(clone.ema_momentum) if clone.use_ema else None,
        )  # fmt: skip
        results = as_tensors(made if isinstance(made, tuple) else [made])
        self.build.write(results, places)


_ONE = constant(np.float32(1))


def _traced_update(optimizer: Any, part: Slice, decayed: Sequence[bool]) -> Program:
    """An elementwise optimizer of a user, traced on one flat Variable."""
    clone = optimizer.twin()
    flat = Variable(np.zeros(part.size, np.float32), name="weights")
    clone.build([flat])
    places = _places(clone, flat, part)
    build = Builder(lambda variable: places[id(variable)])
    gradient = build.feed(Place(spaces.GRADS, 4 * part.lo), (part.size,))
    norms = build.feed(spaces.NORMS, (len(part.offsets) - 1,))
    with tracing() as trace:
        clipped = _clip(optimizer, gradient, norms, part)
        _decay(clone, flat, part, decayed)
        clone.update_step(clipped, flat, clone.current_learning_rate())
        if clone.use_ema:
            clone.update_model_variables_moving_average([flat])
        build.assign((v, t) for v, t in trace.updates.values() if v is not clone.steps_done)
    return build.program()


def _places(clone: Any, flat: Variable, part: Slice) -> dict[int, Place]:
    places = {id(flat): Place(spaces.WEIGHTS, 4 * part.lo)}
    places[id(clone.steps_done)] = Place(spaces.ITERATIONS)
    for name, variables in clone.slots().items():
        places[id(variables[0])] = Place(spaces.SLOT(name))
    for variable in [*clone.variables, clone.learning_rate]:
        places.setdefault(id(variable), Place(spaces.RATE))
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


def rows_update_program(
    optimizer: Any, state: State, tables: RowTables, counts: Sequence[int]
) -> Program:
    """One step of a built-in optimizer on all weights, by the gradients that ranks have shared: in
    `grads`, and as rows and ids of tables, so many of each."""
    part = Slice(0, state.weights.size, tuple(state.weights.offsets))
    decayed = [optimizer.decays(v) for v in state.weights.variables]
    clips = clips_by_norm(optimizer)
    before = tables.sorting_program(counts, clips)
    if clips:
        before = join(before, norm_program(part, tables), {spaces.OUT(0): spaces.NORMS})
    return join(before, update_program(optimizer, part, decayed, tables, counts))


def whole_update_program(optimizer: Any, state: State) -> Program:
    """One step of an optimizer that must see each weight as a whole, for a local State."""
    flat = state.weights
    build, places = Builder(state.place), gradient_places(flat.offsets, None)
    grads = [build.feed(place, v.shape) for v, place in zip(flat.variables, places, strict=True)]
    with tracing() as trace:
        optimizer.step(grads, flat.variables)
        build.assign(trace.updates.values())
    return build.program()
