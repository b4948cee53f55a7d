"""One rank of a fit whose embedding tables travel as rows: those that a global batch has touched.

In: a RankContext and a FitPlan with tables. Out: what any rank gives. Every rank has whole tables
and slots; all get the ids and gradient rows of all, and make the same update, which is that of a
local step (training/row_updates.py). Other weights are exchanged as a WholeWorker exchanges them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.engine import spaces
from zoo_keras.spark.fit.plan import SharedTables
from zoo_keras.spark.fit.rank import WholeWorker

_ALIGN = 16  # floats: a cache line


class RowsWorker(WholeWorker):
    """Each rank's slice of the ring `parts` holds its ids and rows of a step, table by table."""

    def _allocate(self) -> None:
        plan = self.plan
        self.tables: SharedTables = plan.tables  # type: ignore[assignment]
        self.tail = plan.tail._replace(begin=plan.weights - self.tables.size)
        self.ring = self.rank.all_reduce(self.tail.end, wire=plan.wire)
        self.current = native.aligned(4 * plan.tail.end).view(np.float32)
        self.constrained = None
        ranks = range(self.rank.size)
        most = max((n for rank in ranks for n in self.schedule.sizes(rank)), default=0)
        self.part = sum(_whole(ids) + _whole(rows) for _, ids, rows in self._counts(most))
        self.parts = self.rank.all_reduce(self.part * self.rank.size)
        self._allocate_tables()
        self._allocate_rest(0, plan.weights)

    def _allocate_tables(self) -> None:
        """What goes with the tables, and room for the rows of all ranks."""
        known = self.tables.arrays.items()
        self.arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in known}
        for i, ids, rows in self._counts(max(self._batches(), default=0)):
            self.arrays[spaces.IDS(i)] = np.zeros(ids, np.int32)
            self.arrays[spaces.SORTED(i)] = np.zeros(3 * ids + 2, np.int32)
            self.arrays[spaces.ROWS(i)] = native.aligned(4 * rows).view(np.float32)
        self.noted = self.arrays[spaces.NOTED]

    def _batches(self) -> list[int]:
        """The sizes of the global batches."""
        return sorted({self.schedule.batch(s) for s in range(self.schedule.steps)} - {0})

    def _counts(self, rows: int) -> Iterator[tuple[int, int, int]]:
        """(number, ids, floats of their rows) of each table in a batch of so many rows."""
        for i, (ids, width) in enumerate(zip(self.tables.ids, self.tables.widths, strict=True)):
            yield i, rows * ids, rows * ids * width

    def _train_programs(self) -> list[str]:
        return [*super()._train_programs(), *[f"rows:{n}" for n in self._batches()], "settle"]

    def _spaces(self) -> dict[str, np.ndarray]:
        return {**super()._spaces(), **self.arrays}

    def _place(self, epoch: int, step: int) -> tuple[int, np.ndarray | None]:
        found = super()._place(epoch, step)
        self.counts_now = [self.schedule.rows_of(r, found[0]) for r in range(self.rank.size)]
        return found

    def _part_of(self, rank: int) -> dict[str, np.ndarray]:
        """Where a rank's ids and rows of this step lie in `parts`, by the names of spaces."""
        found, at = {}, rank * self.part
        for i, ids, rows in self._counts(self.counts_now[rank]):
            found[spaces.IDS(i)] = self.parts.weights[at : at + ids].view(np.int32)
            at += _whole(ids)
            found[spaces.ROWS(i)] = self.parts.weights[at : at + rows]
            at += _whole(rows)
        return found

    def _gradient(self, rows: Any, count: int) -> None:
        if int(self.noted) >= self.tables.most:
            self._settle()
        if count:
            runner = self._runner(f"train:{count}")
            for space, array in self._part_of(self.rank.rank).items():
                runner.set(space, array)
            self._run(f"train:{count}", rows)
        else:
            self.ring.gradient[:] = 0
        before = self.current[self.tables.size :]
        self.tail.put_moves(self.state, before, self.share, self.ring.gradient)

    def _move(self, exact: bool) -> None:
        self.parts.all_gather(exact=True)
        self._spread(self.ring)
        self._collect()
        runner = self._runner(f"rows:{sum(self.counts_now)}")
        runner.set(spaces.GRADS, self.ring.weights)
        runner.run()
        if self.plan.constrained:
            self._runner("constraints").run()
        self.noted[...] += self.tables.lags
        self.iterations[...] += 1
        self.current[self.plan.weights :] += self.ring.weights[self.tail.begin :]
        self._after_gather()

    def _collect(self) -> None:
        """Ids and rows of all ranks end to end, in the order of ranks."""
        ends = dict.fromkeys(self.arrays, 0)
        for rank in range(self.rank.size):
            for space, array in self._part_of(rank).items():
                end = ends[space] + array.size
                self.arrays[space][ends[space] : end] = array
                ends[space] = end

    # ---- rows that lag behind are brought up to date before anybody looks ----------------------

    def _settle(self) -> None:
        if self.noted:
            self._runner("settle").run()
            self.noted[...] = 0

    def _publish(self, trained: Any, tested: Any) -> None:
        self._settle()
        super()._publish(trained, tested)

    def _snapshot(self, epoch: int, step: int) -> None:
        self._settle()
        super()._snapshot(epoch, step)

    def _validate(self, epoch: int) -> tuple[Any, ...] | None:
        self._settle()
        return super()._validate(epoch)

    def close(self) -> None:
        self.parts.close()
        super().close()


def _whole(count: int) -> int:
    """So many floats, filled up to whole cache lines."""
    return -(-count // _ALIGN) * _ALIGN
