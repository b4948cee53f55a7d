"""Everything that training changes, in flat vectors: weights, gradients, state, metrics, slots.

In: a built model with its optimizer and metrics. Out: named memory spaces, and the place of every
Variable in them. The vectors may live in shared memory (see zoo_keras.spark).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo_keras.engine import spaces
from zoo_keras.engine.program import Place
from zoo_keras.native import aligned
from zoo_keras.training.interface import TracedModel
from zoo_keras.training.row_updates import RowTables
from zoo_keras.variables import FlatVector, Variable, guard_of


class State:
    """Spaces of one model.

    weights: all trainable float32 Variables. state: the other float32 ones. metrics: those of
    metrics. slot:<name>: one vector for each optimizer slot, laid out like weights. var<i>:
    each Variable of another dtype by itself. optimizer<i>: other Variables of the optimizer.
    What goes with weights that are updated by rows: see `training.row_updates.RowTables`.

    Attributes:
        trained: the weights that training changes.
        shared: the optimizers of a step that ranks run in phases; all their Variables are
            optimizer<i>.
        guard: under which programs read and change all of it.
    """

    def __init__(
        self, model: TracedModel, metrics: Sequence[Any], optimizer: Any = None,
        shared: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        self.shared = tuple(shared)
        self._guarded = [
            *model.weights, *model.carried, *(v for m in metrics for v in m.variables),
            *(optimizer.variables if optimizer is not None else ()),
            *(v for o in shared for v in o.variables),
        ]  # fmt: skip
        self.guard = guard_of(self._guarded)
        with self.guard.writing():
            self._lay_out(model, metrics, optimizer)
            for each in shared:
                self._add_scalars([*each.variables, *each.rates()])

    def _lay_out(self, model: TracedModel, metrics: Sequence[Any], optimizer: Any) -> None:
        self.trained = model.trainable_variables
        trainable = [v for v in self.trained if v.dtype == "float32"]
        taken = {id(v) for v in trainable}
        rest = [v for v in [*model.weights, *model.carried] if id(v) not in taken]
        self.weights = FlatVector(trainable)
        self.state = FlatVector([v for v in rest if v.dtype == "float32"])
        self.metrics = FlatVector(
            [v for m in metrics for v in m.variables if v.dtype == "float32"]
        )  # fmt: skip
        others = [v for v in rest if v.dtype != "float32"]
        others += [v for m in metrics for v in m.variables if v.dtype != "float32"]
        self.others = others
        self.places: dict[int, Place] = {}
        self._register(spaces.WEIGHTS, self.weights)
        self._register(spaces.STATE, self.state)
        self._register(spaces.METRICS, self.metrics)
        for i, variable in enumerate(others):
            self.places[id(variable)] = Place(spaces.VAR(i))
        self.slots: dict[str, FlatVector] = {}
        self.scalars: list[Variable] = []
        self.gradients = aligned(0).view(np.float32)
        self.tables: RowTables | None = None  # set when the first local step is compiled
        if optimizer is not None:
            self._add_optimizer(optimizer)

    def reclaim(self) -> None:
        """Take back the Variables that the State of another model, which shares them, has taken."""
        with self.guard.writing():
            for flat in (self.weights, self.state, self.metrics, *self.slots.values()):
                flat.reclaim()

    def _register(self, space: str, flat: FlatVector) -> None:
        for variable, offset in zip(flat.variables, flat.offsets, strict=False):
            self.places[id(variable)] = Place(space, 4 * offset)

    def _add_optimizer(self, optimizer: Any) -> None:
        self.places[id(optimizer.steps_done)] = Place(spaces.ITERATIONS)
        for name, variables in optimizer.slots().items():
            self.slots[name] = FlatVector(variables)
            self._register(spaces.SLOT(name), self.slots[name])
        rate = getattr(optimizer, "learning_rate", None)
        if isinstance(rate, Variable):
            self.places[id(rate)] = Place(spaces.RATE)
        self._add_scalars(optimizer.variables)

    def _add_scalars(self, variables: Sequence[Variable]) -> None:
        for variable in variables:
            if id(variable) not in self.places:
                self.places[id(variable)] = Place(spaces.OPTIMIZER(len(self.scalars)))
                self.scalars.append(variable)

    def allocate_gradients(self, size: int) -> None:
        """Room for the gradients of a local step: of all weights but those updated by rows."""
        if self.gradients.size < size:
            self.gradients = aligned(4 * size).view(np.float32)

    def place(self, variable: Variable) -> Place:
        """Where a Variable lives."""
        return self.places[id(variable)]

    def adopt(self, variable: Variable) -> Place:
        """Where a Variable lives; one that is none of the model's stays in an array of its own."""
        if id(variable) not in self.places:
            self.places[id(variable)] = Place(spaces.VAR(len(self.others)))
            self.others.append(variable)
            self._guarded.append(variable)
            self.guard = guard_of(self._guarded)
        return self.places[id(variable)]

    def arrays(self) -> dict[str, np.ndarray]:
        """All spaces by name."""
        found = {
            spaces.WEIGHTS: self.weights.array,
            spaces.STATE: self.state.array,
            spaces.METRICS: self.metrics.array,
            spaces.GRADS: self.gradients,
        }
        found.update({spaces.SLOT(name): flat.array for name, flat in self.slots.items()})
        if self.tables is not None:
            found.update(self.tables.arrays)
        found.update(spaces.OPTIMIZER.named(v.present() for v in self.scalars))
        found.update(spaces.VAR.named(v.present() for v in self.others))
        return found

    def copies(self, old: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Copies of all that training changes for good: neither metrics nor gradients. They go
        into the arrays of `old` copies where there are any: fresh pages cost more than copying."""
        found = self.values()
        for space, flat in self.lasting().items():
            kept = (old or {}).get(space, flat.array[:0])
            fits = kept.shape == flat.array.shape
            found[space] = kept if fits else np.empty_like(flat.array)
            found[space][:] = flat.array
        return found

    def values(self) -> dict[str, np.ndarray]:
        """All that training changes for good, by space: the long vectors as they lie there."""
        found = {space: flat.array for space, flat in self.lasting().items()}
        found.update(spaces.VAR.named(v.numpy() for v in self.others))
        found.update(spaces.OPTIMIZER.named(v.numpy() for v in self.scalars))
        return found

    def restore(self, copies: Mapping[str, np.ndarray]) -> None:
        """Back to what `copies` gave."""
        for space, flat in self.lasting().items():
            flat.array[:] = copies[space]
        for kind, variables in ((spaces.VAR, self.others), (spaces.OPTIMIZER, self.scalars)):
            for space, variable in kind.named(variables).items():
                variable.assign(copies[space])

    def lasting(self) -> dict[str, FlatVector]:
        """The vectors that training changes for good, by space."""
        slots = {spaces.SLOT(name): flat for name, flat in self.slots.items()}
        return {spaces.WEIGHTS: self.weights, spaces.STATE: self.state, **slots}


def signature(model: TracedModel, metrics: Sequence[Any], optimizer: Any) -> tuple[int, ...]:
    """Changes when the set of Variables changes. What is trainable counts when a State is made:
    setting it later takes effect at the next compile, as in Keras."""
    weights = [id(v) for v in [*model.weights, *model.carried]]
    others = [id(v) for m in metrics for v in m.variables]
    return (id(optimizer), *weights, *others)
