"""The driver's compiler for a fit on Spark: programs by name, and the model's flat state.

In: a compiled Model and the layouts of the records. Out: the plan for the ranks, the programs they
ask for (train:<rows>, phases:<rows>, test:<rows>, count:<rows>, test-count:<rows>, update:<rank>,
norm:<rank>, rows:<rows of all ranks>, settle, constraints), and blobs of weights and slots; takes
back what the ranks have trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.engine import spaces
from zoo_keras.engine.program import Program
from zoo_keras.errors import ConfigError
from zoo_keras.primitives.table_rows import STEPS
from zoo_keras.spark.data.records import Layout
from zoo_keras.spark.fit.layer_state import refuse_unshared
from zoo_keras.spark.fit.measures import Measured, merged_logs, metric_others
from zoo_keras.spark.fit.plan import FitPlan, Ring, SharedTables
from zoo_keras.spark.fit.tail import Tail
from zoo_keras.training import steps
from zoo_keras.training.constraints import constraint_program
from zoo_keras.training.data import Batch
from zoo_keras.training.interface import TrainedModel
from zoo_keras.training.label_counts import class_counts
from zoo_keras.training.own_steps import refuse_beside_float32
from zoo_keras.training.row_updates import RowTables
from zoo_keras.training.state import State
from zoo_keras.training.update import (
    Slice,
    clips_by_norm,
    norm_program,
    rows_update_program,
    update_program,
    whole_update_program,
)
from zoo_keras.variables import Variable


class Snapshot(NamedTuple):
    """All that a fit changes, copied."""

    arrays: dict[str, np.ndarray]
    iterations: int


class FitCompiler:
    """Compiles for one model and one layout of records.

    Args:
        layout, test_layout: of the records to train on and to validate on.
        class_weighted: whether class weights become sample weights.
        threads: of each rank.
        batch_size: rows of a global batch.
    """

    def __init__(
        self,
        model: TrainedModel,
        layout: Layout,
        test_layout: Layout,
        class_weighted: bool,
        threads: int,
        batch_size: int,
    ) -> None:
        self.model, self.threads = model, threads
        self.layout, self.test_layout = layout, test_layout
        batch = _weighted(layout.zeros(2), class_weighted)
        self._state = model._local().prepare(batch, training=True, ranks=True)
        refuse_beside_float32(model)
        self.whole = not model.optimizer.elementwise
        self.shapes, self.structure = steps.shapes_of(batch), batch.structure
        self._steps_done = _steps_done(model, self._state)
        tests = test_layout.zeros(2)
        self.test_shapes, self.test_structure = steps.shapes_of(tests), tests.structure
        self.tables, self._ids = self._shared_tables(batch_size)
        self._sharing = steps.sharing_of(model, self.shapes, self.structure)
        assigned = steps.updated_variables(model, self.shapes, self.structure, training=True)
        updated = [v for v in assigned if not v.trainable]  # weights come back with the others
        refuse_unshared(model, updated)
        self.tail = _tail(self._state, updated)
        self._compiled: dict[str, Any] = {}

    def _shared_tables(self, rows: int) -> tuple[RowTables | None, list[int]]:
        if self.whole or self._state.shared:
            return None, []
        shapes = self.shapes.with_rows(rows)
        return steps.shared_tables(self.model, self._state, shapes, self.structure)

    @property
    def state(self) -> State:
        """The model's State, which callbacks may have robbed of Variables: it takes them back."""
        self._state.reclaim()
        return self._state

    def plan(self, **given: Any) -> FitPlan:
        """The plan for one job."""
        state, optimizer, model = self.state, self.model.optimizer, self.model
        scale = getattr(optimizer, "dynamic_scale", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        compiled = model._require_compiled("fit")
        place = state.place(compiled.loss_tracker.total)
        constrained = any(v.constraint is not None for v in state.weights.variables)
        every = optimizer.ema_overwrite_frequency if optimizer.use_ema else None
        exchanges, rings = self._rings()
        return FitPlan(
            layout=self.layout, test_layout=self.test_layout, weights=state.weights.size,
            variables=len(state.weights.variables), outputs=compiled.outputs,
            state=state.state.size, metrics=state.metrics.size,
            tail=self.tail, metric_others=metric_others(model, state),
            slots=tuple(state.slots), iterations=int(self._steps_done),
            clips=clips_by_norm(optimizer) and not (self.whole or self.tables),
            tables=_plan_of(self.tables, self._ids), constrained=constrained,
            average_every=every, whole=self.whole, loss_scale=_index(scale, state.scalars),
            exchanges=exchanges, rings=rings, logs=len(self._log_names()),
            scalars=tuple(np.array(v.value) for v in state.scalars),
            counts=self.program("count:2") is not None,
            test_counts=self.program("test-count:2") is not None,
            loss_index=place.offset // 4,
            labels=class_counts(model, self.shapes, self.structure),
            test_labels=class_counts(model, self.test_shapes, self.test_structure),
            others=tuple(np.array(v.value) for v in state.others), **given,
        )  # fmt: skip

    def _rings(self) -> tuple[tuple[int, ...], tuple[Ring, ...]]:
        """(the ring of each exchange of a step in phases, the rings)."""
        if not self.state.shared:
            return (), ()
        found = self._sharing.exchanges if self._sharing else []
        keys = [tuple(id(v) for v in e.variables) or e.size for e in found]
        sizes = {key: Ring(e.size, e.optimizer is None)
                 for key, e in zip(keys, found, strict=True)}  # fmt: skip
        return tuple(list(sizes).index(key) for key in keys), tuple(sizes.values())

    # ---- programs ------------------------------------------------------------------------------

    def program(self, name: str, own: Sequence[int] = (0, 0)) -> Any:
        """The program of that name; a list for a step in phases; None when there is nothing to do.

        Args:
            own: [lo, hi) of the weights that the rank updates.
        """
        kind, _, number = name.partition(":")
        if kind in ("update", "norm"):
            with native.using_threads(self.threads):
                return self._slice_program(kind, own)
        if name not in self._compiled:
            with native.using_threads(self.threads):
                self._compiled[name] = self._batch_program(kind, int(number or 0))
        return self._compiled[name]

    def _batch_program(self, kind: str, rows: int) -> Any:
        model, state = self.model, self.state
        if kind == "constraints":
            return constraint_program(state)
        test = kind.startswith("test")
        shapes = (self.test_shapes if test else self.shapes).with_rows(rows)
        structure = self.test_structure if test else self.structure
        if kind == "phases":
            return steps.phase_programs(model, state, shapes, structure)
        if kind == "rows" and self.tables is not None:
            counts = [rows * ids for ids in self._ids]
            return rows_update_program(model.optimizer, state, self.tables, counts)
        if kind == "settle" and self.tables is not None:
            return self.tables.settle_program()
        if kind == "train":
            return steps.gradient_program(model, state, shapes, structure, True, self.tables)
        if kind == "count" and state.shared:
            return None  # a step that is traced whole knows its own rows alone
        if kind == "test":
            return steps.evaluate_program(model, state, shapes, structure, shared=True)
        return steps.counts_program(model, state, shapes, structure)

    def _slice_program(self, kind: str, own: Sequence[int]) -> Program | None:
        if self.state.shared or self.tables is not None:
            return None  # phases have it, and programs of all ranks' rows
        if self.whole:
            return whole_update_program(self.model.optimizer, self.state)
        part = Slice(own[0], own[1], tuple(self.state.weights.offsets))
        if part.size == 0:
            return None
        if kind == "norm":
            return norm_program(part)
        optimizer = self.model.optimizer
        decayed = [optimizer.decays(v) for v in self.state.weights.variables]
        return update_program(optimizer, part, decayed)

    # ---- state ---------------------------------------------------------------------------------

    def blobs(self) -> dict[str, np.ndarray]:
        """What the ranks load before the first step."""
        found = {spaces.SLOT(name): flat.array for name, flat in self.state.slots.items()}
        return {spaces.WEIGHTS: self.weights(), **found}

    def weights(self) -> np.ndarray:
        """Weights and state, end to end."""
        return np.concatenate([self.state.weights.array, self.state.state.array])

    def take(
        self, weights: np.ndarray, slots: dict[str, Any], scalars: Sequence[Any], iterations: int
    ) -> None:
        """Put what the ranks have trained into the model; `iterations` is their step count."""
        state = self.state
        state.weights.array[:] = weights[: state.weights.size]
        self.tail.take(weights, state.state.array)
        for name, parts in slots.items():
            for lo, hi, values in parts:
                state.slots[name].array[lo:hi] = values
        for variable, value in zip(state.scalars, scalars, strict=True):
            variable.assign(value)
        self.count(iterations)

    def steps_done(self) -> int:
        """The optimizer's step count."""
        return int(self._steps_done)

    def count(self, iterations: int) -> None:
        """Set the optimizer's step count."""
        if self.state.shared:
            self._steps_done.assign(iterations)
        else:
            self.model.optimizer.resume(iterations)

    def count_anew(self) -> None:
        """A callback may have loaded optimizers of a fit that was broken off."""
        if self.state.shared:
            self._steps_done.assign(_steps_of(self.model, self.state))

    def rates(self) -> list[tuple[int, float]]:
        """(number among the optimizer's Variables that are no slots, value) of learning rates."""
        optimizers = self.state.shared or (self.model.optimizer,)
        rates = [rate for optimizer in optimizers for rate in optimizer.rates()]
        places = [(_index(rate, self.state.scalars), rate) for rate in rates]
        return [(number, float(rate)) for number, rate in places if number is not None]

    def variables(self) -> list[Any]:
        """All Variables whose values the ranks hold while they train."""
        state = self.state
        flats = [state.weights, state.state, *state.slots.values()]
        counted = set(metric_others(self.model, state))
        others = [v for i, v in enumerate(state.others) if i not in counted]
        return [*(v for flat in flats for v in flat.variables), *state.scalars, *others]

    def logs(self, measured: Sequence[Measured]) -> dict[str, Any]:
        """Logs from what every rank has measured."""
        logs = merged_logs(self.model, self.state, measured)
        numbers = np.sum([m.logs for m in measured], axis=0)
        return logs | dict(zip(self._log_names(), numbers.tolist(), strict=False))

    def _log_names(self) -> list[str]:
        """Of the numbers that a step of a user's returns beside metrics."""
        return list(self._sharing.logs) if self._sharing else []

    def quick_logs(self, metrics: np.ndarray) -> dict[str, Any]:
        """Logs while an epoch runs; with only the head of the metrics, just the loss."""
        array = self.state.metrics.array
        array[: len(metrics)] = metrics
        if len(metrics) < len(array):
            return {"loss": float(self.model._require_compiled("fit").loss_tracker.result())}
        logs: dict[str, Any] = self.model._logs()
        return logs

    def snapshot(self, old: Snapshot | None = None) -> Snapshot:
        """A copy of everything that training changes, in the memory of an `old` one."""
        arrays = self.state.copies(old.arrays if old else None)
        return Snapshot(arrays, self.steps_done())

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a snapshot."""
        self.state.restore(snapshot.arrays)
        self._steps_done.assign(snapshot.iterations)


def _tail(state: State, updated: Sequence[Any]) -> Tail:
    """The Variables among `updated`, as they lie in the state."""
    flat, chosen = state.state, {id(v) for v in updated}
    found = [(v, lo, hi) for v, lo, hi in zip(flat.variables, flat.offsets, flat.offsets[1:])
             if id(v) in chosen]  # fmt: skip
    added = tuple(v.aggregation == "sum" for v, _, _ in found)
    return Tail(state.weights.size, tuple((lo, hi) for _, lo, hi in found), added)


def _steps_done(model: TrainedModel, state: State) -> Variable:
    """What counts the steps that ranks make: the optimizer, or for steps in phases, in which each
    optimizer counts its own, a Variable that goes on where the busiest of them has stopped."""
    if not state.shared:
        return model.optimizer.steps_done
    return Variable(np.int32(_steps_of(model, state)))


def _steps_of(model: TrainedModel, state: State) -> int:
    return max(int(o.steps_done) for o in (model.optimizer, *state.shared))


def _plan_of(tables: RowTables | None, ids: Sequence[int]) -> SharedTables | None:
    if tables is None:
        return None
    sizes = [int(np.prod(v.shape)) for v in tables.tables]
    widths = [size // v.shape[0] for size, v in zip(sizes, tables.tables, strict=True)]
    arrays = {name: (a.shape, a.dtype.name) for name, a in tables.arrays.items()}
    return SharedTables(tuple(ids), tuple(widths), sum(sizes), arrays, tables.any_replays, STEPS)


def _index(variable: Any, among: Sequence[Any]) -> int | None:
    return next((i for i, v in enumerate(among) if v is variable), None)


def _weighted(batch: Batch, class_weighted: bool) -> Batch:
    """The batch with the sample weights that class weights become."""
    if not class_weighted:
        return batch
    if len(batch.y) != 1:
        raise ConfigError(
            f"class_weight works for models with one output. Received: {len(batch.y)} arrays of "
            "targets. Put weights into the records instead."
        )
    labels = batch.y[0].shape[:-1] or batch.y[0].shape
    ones = np.ones(labels, np.float32)
    return batch._replace(weights=[ones], structure=(*batch.structure[:2], 0))
