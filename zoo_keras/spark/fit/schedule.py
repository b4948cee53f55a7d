"""Which rows a rank takes in which step: every record once an epoch, whatever the numbers.

In: rows of every rank and the global batch size. Out: slices and shares. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Schedule(NamedTuple):
    """Steps of one epoch over ranks that hold rows[0], rows[1], ... records.

    Each rank spreads its n rows evenly over the S steps, rank r of R a share r/R of a row ahead:
    before step s it has taken floor(s*n/S + r/R). With equal n the global batches are then those
    of one rank, floor((s+1)*N/S) - floor(s*N/S) rows (Hermite's identity); else they differ from
    them by less than R rows.

    >>> plan = Schedule((5, 0, 3), steps=2)
    >>> [plan.slice_of(0, s) for s in range(2)]
    [(0, 2), (2, 5)]
    """

    rows: tuple[int, ...]
    steps: int

    def slice_of(self, rank: int, step: int) -> tuple[int, int]:
        """[first, last) row of a rank's own order in a step; may be empty."""
        return self._taken(rank, step), self._taken(rank, step + 1)

    def _taken(self, rank: int, step: int) -> int:
        ranks = len(self.rows)
        return (step * self.rows[rank] * ranks + rank * self.steps) // (self.steps * ranks)

    def rows_of(self, rank: int, step: int) -> int:
        """How many rows a rank takes in a step."""
        first, last = self.slice_of(rank, step)
        return last - first

    def batch(self, step: int) -> int:
        """Rows of the global batch of a step; 0 may occur with fewer rows in a batch than ranks."""
        return sum(self.rows_of(rank, step) for rank in range(len(self.rows)))

    def first_row(self, rank: int, step: int) -> int:
        """Rows of the global batch that come before this rank's."""
        return sum(self.rows_of(r, step) for r in range(rank))

    def sizes(self, rank: int) -> list[int]:
        """The different batch sizes that a rank meets, largest first."""
        n = self.rows[rank]
        return sorted({n // self.steps, -(-n // self.steps)} - {0}, reverse=True)


def make_schedule(rows: Sequence[int], batch_size: int) -> Schedule:
    """The schedule whose global batches have batch_size rows, or a little fewer: all alike."""
    return Schedule(tuple(rows), max(1, -(-sum(rows) // batch_size)))


def place_of_epoch(epoch: int, wanted: int | None, steps: int) -> tuple[int, int, int]:
    """(pass over the records, its first step, number of steps) of an epoch, counted from 0.

    With `wanted` steps an epoch goes on where the last one ended, and stops where the records do,
    as in Keras: 3 steps in a pass and 2 wanted make epochs of 2, 1, 2, 1 steps.
    """
    each = -(-steps // wanted) if wanted else 1
    passed, part = divmod(epoch, each)
    first = part * (wanted or 0)
    return passed, first, min(wanted or steps, steps - first)
