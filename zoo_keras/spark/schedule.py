"""Which rows a rank takes in which step: every record once an epoch, whatever the numbers.

In: rows of every rank and the global batch size. Out: slices and shares. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Schedule(NamedTuple):
    """Steps of one epoch over ranks that hold rows[0], rows[1], ... records.

    >>> plan = Schedule((5, 0, 3), steps=2)
    >>> [plan.slice_of(0, s) for s in range(2)]
    [(0, 2), (2, 5)]
    """

    rows: tuple[int, ...]
    steps: int

    def slice_of(self, rank: int, step: int) -> tuple[int, int]:
        """[first, last) row of a rank's own order in a step; may be empty."""
        n = self.rows[rank]
        return step * n // self.steps, (step + 1) * n // self.steps

    def count(self, rank: int, step: int) -> int:
        """How many rows a rank takes in a step."""
        first, last = self.slice_of(rank, step)
        return last - first

    def batch(self, step: int) -> int:
        """Rows of the global batch of a step."""
        return sum(self.count(rank, step) for rank in range(len(self.rows)))

    def first_row(self, rank: int, step: int) -> int:
        """Rows of the global batch that come before this rank's."""
        return sum(self.count(r, step) for r in range(rank))

    def sizes(self, rank: int) -> list[int]:
        """The different batch sizes that a rank meets, largest first."""
        n = self.rows[rank]
        return sorted({n // self.steps, -(-n // self.steps)} - {0}, reverse=True)


def make_schedule(rows: Sequence[int], batch_size: int) -> Schedule:
    """The schedule in which no global batch is larger than batch_size."""
    return Schedule(tuple(rows), max(1, -(-sum(rows) // batch_size)))
