"""Copies of a fit in the middle of an epoch, from which a restart goes on.

In: what each rank has kept after the same step. Out: a Middle, whole: weights, slots, and what each
rank had measured. Knows no boards.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Kept(NamedTuple):
    """One rank's copy.

    Attributes:
        place: [epoch, step] with which to go on.
        iterations: the optimizer's step count.
        whole: all weights and the layers' state behind them, and the optimizer's Variables that are
            no slots; None but from rank 0.
        owned: [lo, hi) of the weights whose slots are this rank's. slots: these.
        measured: metrics, and Variables that are not float32.
    """

    place: list[int]
    iterations: int
    whole: Any
    owned: tuple[int, int]
    slots: dict[str, np.ndarray]
    measured: Any


class Middle(NamedTuple):
    """All ranks' copies of one moment."""

    ranks: tuple[Kept, ...]

    @property
    def epoch(self) -> int:
        return self.ranks[0].place[0]

    @property
    def step(self) -> int:
        return self.ranks[0].place[1]

    def blobs(self) -> dict[str, bytes]:
        """What each rank had measured, by the names under which ranks ask for it."""
        return {f"resume:{rank}": pickle.dumps(kept.measured, protocol=5)
                for rank, kept in enumerate(self.ranks)}  # fmt: skip

    def put(self, compiler: Any) -> None:
        """The weights and slots of this moment into the model."""
        weights, scalars = self.ranks[0].whole
        slots: dict[str, list[Any]] = {}
        for kept in self.ranks:
            for name, values in kept.slots.items():
                slots.setdefault(name, []).append((*kept.owned, values))
        compiler.take(weights, slots, scalars, self.ranks[0].iterations)


def joined(blobs: Sequence[bytes]) -> Middle | None:
    """The ranks' copies; None when they are not all of the same moment."""
    ranks = tuple(pickle.loads(blob) for blob in blobs)
    places = [kept.place for kept in ranks]
    return Middle(ranks) if all(place == places[0] for place in places) else None
