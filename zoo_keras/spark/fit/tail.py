"""The state of layers that travels behind the weights, in the one vector that ranks exchange.

In: where in the flat state the Variables lie that layers assign while they train. Out: copies
between that state and the vector, and what a rank puts into the sum. Knows no bridge and no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

Span = tuple[int, int]


class Tail(NamedTuple):
    """Where each such Variable lies.

    Attributes:
        begin: how many weights lie before.
        spans: (lo, hi) of each in the state.
        added: for each whether what ranks add to it is added up; others are averaged by the ranks'
            shares of the batch.
    """

    begin: int
    spans: tuple[Span, ...]
    added: tuple[bool, ...]

    @property
    def end(self) -> int:
        """The length of the whole vector."""
        return self.begin + sum(hi - lo for lo, hi in self.spans)

    def _places(self) -> Iterator[tuple[slice, slice]]:
        """(where in the vector, where in the state) of each."""
        at = self.begin
        for lo, hi in self.spans:
            yield slice(at, at + hi - lo), slice(lo, hi)
            at += hi - lo

    def divide(self, lo: int, hi: int) -> tuple[Span, Span]:
        """The part of [lo, hi) that is weights, and the part that is state."""
        p = self.begin
        return (min(lo, p), min(hi, p)), (max(lo, p), max(hi, p))

    def put(self, state: np.ndarray, vector: np.ndarray) -> None:
        """Copy from the state into the vector."""
        for mine, theirs in self._places():
            vector[mine] = state[theirs]

    def take(self, vector: np.ndarray, state: np.ndarray) -> None:
        """Copy from the vector into the state."""
        for mine, theirs in self._places():
            state[theirs] = vector[mine]

    def put_moves(
        self, state: np.ndarray, before: np.ndarray, share: np.ndarray, gradient: np.ndarray
    ) -> None:
        """What this rank's step has changed since `before`, as it counts in the sum of all ranks.

        Args:
            share: of the global batch, shape ().
            gradient: the vector that is summed.
        """
        for (mine, theirs), added in zip(self._places(), self.added, strict=True):
            factor = np.float32(1) if added else share
            gradient[mine] = (state[theirs] - before[mine]) * factor
