"""Tables whose gradient stays rows: which ones, their bookkeeping, and their part of a step.

In: a traced step and its optimizer. Out: the tables of which a step reads a few rows and nothing
else, the memory spaces that go with them, the graph with gathers that see rows caught up, and the
nodes that update rows. The mathematics of catching up is in primitives/table_rows.py. On Spark
each rank has whole tables, and makes the update of all ranks' rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import ops
from zoo_keras.engine import spaces
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Place, Program
from zoo_keras.graph import PARAMETER, Graph, Node, Tensor, Trace, constant
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.primitives.index import IDS, gather_grad_rows
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.table_rows import (
    NOTE,
    STEPS,
    WIDTH,
    gather_replayed,
    note_update,
    replay_coefficients,
    rows_update,
    settle_rows,
    sort_ids,
)

Feed = Callable[..., Tensor]  # Builder.feed
Outputs = list[tuple[Tensor, Place]]

STAY = ("sgd", "adagrad")  # without gradient neither weights nor slots change
WEIGHTS_STAY = (*STAY, "rmsprop", "rmsprop_centered", "adadelta")  # slots change, weights do not


class TablesChanged(Exception):
    """A step cannot update the tables by rows that steps before it did: choose them anew."""


class Use(NamedTuple):
    """A weight that a step reads by rows only, and the gathers that do."""

    variable: Any
    gathers: list[Node]

    def ids_count(self) -> int:
        return sum(node.inputs[1].size for node in self.gathers)

    def grows_with_rows(self, rows: int, fewer: Use, few: int) -> bool:
        """Whether a batch of `few` rows has as small a share of the ids as of the `rows`."""
        return rows * fewer.ids_count() == few * self.ids_count()

    def pays(self) -> bool:
        """Whether a step touches so few rows that the dense gradient is the larger one."""
        return 2 * self.ids_count() <= int(self.variable.shape[0])


def uses_by_rows(
    optimizer: Any, variables: Sequence[Any], trace: Trace, outputs: Sequence[Tensor]
) -> list[Use]:
    """The weights that can be updated by rows: read by gathers alone, without constraint (a
    regularizer is a reader like any other), with a built-in optimizer, but neither with a moving
    average of the weights nor with Ftrl's shrinkage, which depend on all weights at every step."""
    fused = optimizer.flat_step()
    if fused is None or optimizer.use_ema or (fused.kind == "ftrl" and fused.how[3]):
        return []
    readers = Graph([], outputs).readers()
    found = []
    for variable in variables:
        tensor = trace.parameters[id(variable)][1] if id(variable) in trace.parameters else None
        nodes = readers.get(tensor, []) if tensor is not None else []
        mine = [n for n in nodes if n is not None and _gathers(n, tensor)]
        if mine and len(mine) == len(nodes) and variable.constraint is None:
            found.append(Use(variable, mine))
    return found


def _gathers(node: Node, table: Tensor | None) -> bool:
    at = node.inputs
    return node.op.name == "gather" and at[0] is table and at[1].dtype in IDS


class RowTables:
    """The tables of a State that are updated by rows, with their memory.

    last<i>: how many noted steps each row of table i has seen. notes<d>, coefficients<d>: see
    primitives/table_rows.py; d is 1 for tables to which weight decay applies, 0 for others. noted:
    the number of steps noted. rows<i>, sorted<i>: gradient rows of a step and where each id occurs.
    """

    def __init__(self, state: Any, optimizer: Any, variables: Sequence[Any]) -> None:
        self.state = state
        self.tables = list(variables)
        flat = state.weights.variables
        self.numbers = {i: t for i, v in enumerate(flat) for t, u in enumerate(variables) if v is u}
        self.fused = optimizer.flat_step()
        decay = float(optimizer.weight_decay or 0)
        self.decays = [decay if optimizer.decays(v) else 0.0 for v in variables]
        self.flags = sorted({int(d > 0) for d in self.decays})
        self.decay = decay
        self.noted = np.zeros((), np.int32)
        self.arrays: dict[str, np.ndarray] = {spaces.NOTED: self.noted}
        self.arrays[spaces.ROW_NORMS] = np.zeros(len(self.tables), np.float32)
        for i, variable in enumerate(self.tables):
            self.arrays[spaces.LAST(i)] = np.zeros(variable.shape[0], np.int32)
        for d in self.flags:
            self.arrays[spaces.NOTES(d)] = np.zeros((STEPS, NOTE))
            self.arrays[spaces.COEFFICIENTS(d)] = np.zeros((STEPS + 1, WIDTH), np.float32)

    def __len__(self) -> int:
        return len(self.tables)

    # ---- what catching up means for the optimizer at hand ------------------------------------

    def replays(self, i: int) -> bool:
        """Whether rows of table i, or of its slots, change without a gradient."""
        return self.fused.kind not in STAY or self.decays[i] > 0

    def _weights_move(self, i: int) -> bool:
        return self.fused.kind not in WEIGHTS_STAY or self.decays[i] > 0

    @property
    def any_replays(self) -> bool:
        return any(self.replays(i) for i in range(len(self.tables)))

    @property
    def full(self) -> bool:
        """Whether no further step can be noted: then all rows must be settled."""
        return int(self.noted) >= STEPS

    def note(self) -> None:
        """A step has been made."""
        if self.any_replays:
            self.noted += 1

    def variables(self) -> list[Any]:
        """Tables and slots: what is not up to date while rows lag behind."""
        optimizer_slots = self.state.slots
        found = list(self.tables)
        for name in self.fused.slots:
            found += [optimizer_slots[name].variables[number] for number in self.numbers]
        return found

    # ---- places and tensors --------------------------------------------------------------------

    def _slots(self, i: int) -> list[Any]:
        number = next(n for n, t in self.numbers.items() if t == i)
        return [self.state.slots[name].variables[number] for name in self.fused.slots]

    def _own(self, feed: Feed, i: int) -> list[Tensor]:
        """w, slots, last of table i."""
        held = [self.tables[i], *self._slots(i)]
        last = feed(spaces.LAST(i), (len(self.tables[i]),), "int32")
        return [*[feed(self.state.place(v), v.shape) for v in held], last]

    def _history(self, feed: Feed, d: int) -> list[Tensor]:
        """coefficients, notes, noted."""
        return [feed(spaces.COEFFICIENTS(d), (STEPS + 1, WIDTH)), *self._notes(feed, d)]

    @staticmethod
    def _notes(feed: Feed, d: int) -> list[Tensor]:
        notes = feed(spaces.NOTES(d), (STEPS, NOTE), "float64")
        return [notes, feed(spaces.NOTED, (), "int32")]

    def _attrs(self) -> dict[str, Any]:
        return {"kind": self.fused.kind, "how": self.fused.how}

    # ---- the gradient program ------------------------------------------------------------------

    def gradient_outputs(
        self, uses: Sequence[Use], gradient_of: Callable[[Tensor], Tensor | None], norms: bool,
        shared: bool = False,
    ) -> Outputs:  # fmt: skip
        """Rows of gradients and where their ids occur; with `norms` the sums of squares too. When
        `shared` the rows and ids as they are, for others to sort: of every gather, as others know
        only how many there are."""
        outputs: Outputs = []
        for i, use in enumerate(uses):
            pairs = [(gradient_of(n.outputs[0]), n.inputs[1]) for n in use.gathers]
            row = use.variable.shape[1:]
            if shared:
                pairs = [(ops.zeros((*ids.shape, *row)) if g is None else g, ids)
                         for g, ids in pairs]  # fmt: skip
            none = constant(np.zeros((0, *row), np.float32)), constant(np.zeros(0, np.int32))
            used = [(g, ids) for g, ids in pairs if g is not None] or [none]
            rows = _end_to_end([ops.reshape(g, (ids.size, *row)) for g, ids in used])
            ids = _end_to_end([ops.reshape(ids, (ids.size,)) for _, ids in used])
            outputs.append((rows, Place(spaces.ROWS(i))))
            if shared:
                whole = as_tensors([ops.cast(ids, "int32")])[0]
                outputs.append((whole, Place(spaces.IDS(i))))
            else:
                outputs += self._sorted(i, rows, ids, norms)
        return outputs

    @staticmethod
    def _sorted(i: int, rows: Tensor, ids: Tensor, norms: bool) -> Outputs:
        found: Outputs = [(sort_ids(ids), Place(spaces.SORTED(i)))]
        if norms:
            summed = gather_grad_rows(rows, ids)[1]
            found.append((ops.sum(summed * summed), Place(spaces.ROW_NORMS, 4 * i)))
        return found

    def sorting_program(self, counts: Sequence[int], norms: bool) -> Program:
        """Where the ids of all ranks occur, so many of each table, and the norms of their rows."""
        build = Builder(self.state.place)
        for i, (table, n) in enumerate(zip(self.tables, counts, strict=True)):
            rows = build.feed(spaces.ROWS(i), (n, *table.shape[1:]))
            build.outputs += self._sorted(i, rows, build.feed(spaces.IDS(i), (n,), "int32"), norms)
        return build.program()

    def replay(self, feed: Feed, outputs: Outputs) -> Outputs:
        """The outputs with gathers that read rows caught up, and what more the program makes."""
        histories = {d: self._notes(feed, d) for d in self.flags}
        made = {d: replay_coefficients(*h, **self._attrs()) for d, h in histories.items()}
        own = {id(v): (i, self._own(feed, i)) for i, v in enumerate(self.tables)}

        def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
            table = node.inputs[0].node if node.op.name == "gather" else None
            if table is None or table.op is not PARAMETER:
                return None
            i, held = own.get(id(table.attrs["variable"]), (-1, []))
            if i < 0 or not self._weights_move(i):
                return None
            d = int(self.decays[i] > 0)
            read = [*held, made[d], *histories[d], inputs[1]]
            return [as_tensors([gather_replayed(*read, **self._attrs())])[0]]

        graph = rewrite(Graph([], [t for t, _ in outputs]), rule)
        caught_up = list(zip(graph.outputs, [place for _, place in outputs], strict=True))
        return caught_up + [(made[d], Place(spaces.COEFFICIENTS(d))) for d in self.flags]

    def counts(self, gradient: Program) -> list[int]:
        """How many ids of each table a gradient program looks up."""
        return [
            (gradient.bytes_of(spaces.SORTED(i)) // 4 - 2) // 3 for i in range(len(self.tables))
        ]

    # ---- the update program --------------------------------------------------------------------

    def updates(
        self, optimizer: Any, feed: Feed, counts: Sequence[int], rate: Tensor, step: Tensor,
        scale: Callable[[str, int], Tensor],
    ) -> Outputs:  # fmt: skip
        """The nodes that update the touched rows and note the step; counts: ids of each table."""
        outputs: Outputs = []
        for i, table in enumerate(self.tables):
            d = int(self.decays[i] > 0)
            n = counts[i]
            rows = feed(spaces.ROWS(i), (n, *table.shape[1:]))
            places = feed(spaces.SORTED(i), (3 * n + 2,), "int32")
            made = rows_update(
                *self._own(feed, i), *self._history(feed, d), rows, places, rate, step,
                scale(spaces.ROW_NORMS, i), **self._attrs(), clip=float(optimizer.clipvalue or 0),
                decay=self.decays[i], replayed=self.replays(i),
            )  # fmt: skip
            outputs += zip(made, self._places(i), strict=True)
        for d in self.flags if self.any_replays else ():
            notes = note_update(
                *self._notes(feed, d), rate, step, **self._attrs(), decay=self.decay * d
            )
            outputs.append((notes, Place(spaces.NOTES(d))))
        return outputs

    def _places(self, i: int) -> list[Place]:
        held = [self.tables[i], *self._slots(i)]
        return [*[self.state.place(v) for v in held], Place(spaces.LAST(i))]

    def settle_program(self) -> Program:
        """Brings all rows up to date; the notes can be forgotten then."""
        build = Builder(self.state.place)
        for i in range(len(self.tables)):
            notes = self._notes(build.feed, int(self.decays[i] > 0))
            made = replay_coefficients(*notes, **self._attrs())
            settled = settle_rows(*self._own(build.feed, i), made, *notes, **self._attrs())
            build.write(settled, self._places(i))
        return build.program()


def _end_to_end(tensors: Sequence[Any]) -> Tensor:
    return as_tensors([tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=0)])[0]
