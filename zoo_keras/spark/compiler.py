"""The driver's compiler for a fit on Spark: programs by name, and the model's flat state.

In: a compiled Model and the layout of the records. Out: the plan for the ranks, the programs they
ask for (train:<rows>, test:<rows>, update:<rank>, norm:<rank>, constraints), and blobs of weights
and slots; takes back what the ranks have trained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.errors import UnsupportedError
from zoo_keras.program import Program
from zoo_keras.spark.plan import FitPlan
from zoo_keras.spark.rows import Layout
from zoo_keras.training import steps
from zoo_keras.training.constraints import constraint_program
from zoo_keras.training.data import Batch
from zoo_keras.training.labels import class_counts
from zoo_keras.training.update import Slice, clips_by_norm, norm_program, update_program


class Snapshot(NamedTuple):
    """All that a fit changes, copied."""

    arrays: dict[str, np.ndarray]
    iterations: int


class FitCompiler:
    """Compiles for one model and one layout of records."""

    def __init__(self, model: Any, layout: Layout, class_weighted: bool, threads: int) -> None:
        self.model, self.layout, self.threads = model, layout, threads
        self.weighted = class_weighted
        batch = self._sample(2)
        self.state = model._local().prepare(batch, training=True)
        _require_flat(model.optimizer)
        self.shapes, self.structure = steps.shapes_of(batch), batch.structure
        self.updated = steps.updated_variables(model, self.shapes, self.structure)
        self.weights_count = len(self.state.weights.variables)

    def _sample(self, rows: int) -> Batch:
        """A batch of zeros in the layout's shapes."""
        columns = [np.zeros((rows, *leaf.shape), leaf.dtype) for leaf in self.layout.leaves]
        xs, ys, ws = self.layout.split(columns)
        structure = self.layout.structure
        if self.weighted:
            ws, structure = [np.ones(rows, np.float32)], (*structure[:2], 0)
        return self.model._arranged(Batch(xs, ys, ws, structure))

    def plan(self, checks_loss: bool, **given: Any) -> FitPlan:
        """The plan for one job."""
        state, optimizer = self.state, self.model.optimizer
        place = state.place(self.model._loss_tracker.total)
        constrained = any(v.constraint is not None for v in state.weights.variables)
        every = optimizer.ema_overwrite_frequency if optimizer.use_ema else None
        return FitPlan(
            layout=self.layout, weights=state.weights.size, state=state.state.size,
            metrics=state.metrics.size, averaged=self._averaged(), slots=tuple(state.slots),
            iterations=int(optimizer.iterations), clips=clips_by_norm(optimizer),
            constrained=constrained, average_every=every,
            loss_index=place.offset // 4 if checks_loss else -1,
            labels=class_counts(self.model, self.shapes, self.structure),
            others=tuple(np.array(v.value) for v in state.others), **given,
        )  # fmt: skip

    def _averaged(self) -> tuple[tuple[int, int], ...]:
        flat = self.state.state
        spans = zip(flat.variables, flat.offsets, flat.offsets[1:], strict=False)
        return tuple((lo, hi) for v, lo, hi in spans if any(v is u for u in self.updated))

    def program(self, name: str, own: list[int]) -> Program | None:
        """The program of that name; None when an update has nothing to do."""
        kind, _, number = name.partition(":")
        with native.using_threads(self.threads):
            if kind == "train":
                return steps.gradient_program(self.model, self.state,
                                              self.shapes.with_rows(int(number)), self.structure,
                                              shared=True)  # fmt: skip
            if kind == "test":
                return steps.evaluate_program(self.model, self.state,
                                              self.shapes.with_rows(int(number)),
                                              self.structure)  # fmt: skip
            if kind == "constraints":
                return constraint_program(self.state)
            return self._slice_program(kind, own)

    def _slice_program(self, kind: str, own: list[int]) -> Program | None:
        part = Slice(own[0], own[1], tuple(self.state.weights.offsets))
        if part.size == 0:
            return None
        if kind == "norm":
            return norm_program(part)
        optimizer = self.model.optimizer
        decayed = [optimizer.decays(v) for v in self.state.weights.variables]
        return update_program(optimizer, part, decayed)

    def blobs(self) -> dict[str, np.ndarray]:
        """What the ranks load before the first step."""
        state = self.state
        found = {"weights": np.concatenate([state.weights.array, state.state.array])}
        found.update({f"slot:{name}": flat.array for name, flat in state.slots.items()})
        return found

    def take(
        self, weights: np.ndarray, slots: dict[str, Any], others: list[np.ndarray], count: int
    ) -> None:
        """Put what the ranks have trained into the model."""
        state, size = self.state, self.state.weights.size
        state.weights.array[:] = weights[:size]
        at = size
        for lo, hi in self._averaged():
            state.state.array[lo:hi] = weights[at : at + hi - lo]
            at += hi - lo
        for name, parts in slots.items():
            for lo, hi, values in parts:
                state.slots[name].array[lo:hi] = values
        for variable, value in zip(state.others, others, strict=True):
            variable.assign(value)
        optimizer = self.model.optimizer
        optimizer.iterations.assign(int(optimizer.iterations) + count)

    def logs(self, metrics: np.ndarray) -> dict[str, Any]:
        """Logs from summed metric state."""
        self.state.metrics.array[:] = metrics
        logs: dict[str, Any] = self.model._logs()
        return logs

    def snapshot(self) -> Snapshot:
        """A copy of everything that training changes."""
        state = self.state
        arrays = {f"slot:{name}": flat.array.copy() for name, flat in state.slots.items()}
        arrays["weights"], arrays["state"] = state.weights.array.copy(), state.state.array.copy()
        arrays.update({f"var{i}": v.numpy() for i, v in enumerate(state.others)})
        return Snapshot(arrays, int(self.model.optimizer.iterations))

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a snapshot."""
        state = self.state
        state.weights.array[:] = snapshot.arrays["weights"]
        state.state.array[:] = snapshot.arrays["state"]
        for name, flat in state.slots.items():
            flat.array[:] = snapshot.arrays[f"slot:{name}"]
        for i, variable in enumerate(state.others):
            variable.assign(snapshot.arrays[f"var{i}"])
        self.model.optimizer.iterations.assign(snapshot.iterations)


def _require_flat(optimizer: Any) -> None:
    if not optimizer.elementwise:
        raise UnsupportedError(
            f"fit on Spark shares the update among ranks, so the optimizer's update_step must work "
            f"element by element. Received: {type(optimizer).__name__}. Set `elementwise = True` "
            "in the class if it does, or use a built-in optimizer."
        )
