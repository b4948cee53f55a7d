"""Where the time of a fit goes: what a rank did in which seconds, and how a fit adds that up.

In: a rank's phases, as they end; on the driver what each rank has told. Out: seconds by part. A fit
on arrays has one rank, this process, and its program makes the update in one go with the gradient.

| part | what |
|---|---|
| start | until the ranks ran: the first look at the data, compiling, Spark's tasks |
| read | a rank read its partition; on arrays, batches were made |
| wait | for slower ranks, and for programs and words of the driver |
| compute | forward and backward |
| exchange | gradients and weights went from rank to rank |
| update | the optimizer |
| validate | validation |
| callbacks | the driver took the results of an epoch and ran the callbacks |
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

PARTS = ("start", "read", "wait", "compute", "exchange", "update", "validate", "callbacks")


class Clock:
    """A rank's seconds by part.

    Attributes:
        seconds: since the rank began; `gate` is the time at the driver's gate, of which the driver
            knows how much was its own.
        waits: of the seconds of wait those in a step, by the rank that came last.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*PARTS[1:], "gate"), 0.0)
        self.waits: dict[int, float] = {}
        self._at = self._together = self._began = time.perf_counter()

    def lap(self, part: str) -> None:
        """The time since the last lap went into this part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._at
        self._at = now

    def alone(self) -> dict[str, float]:
        """The seconds of a process that is the only rank."""
        return {part: self.seconds.get(part, 0.0) for part in PARTS}

    def total(self) -> float:
        """Seconds since the rank began."""
        return time.perf_counter() - self._began

    def together(self) -> None:
        """All ranks are at the same place now."""
        self._together = time.perf_counter()

    def apart(self) -> float:
        """Seconds since all ranks were at the same place."""
        return time.perf_counter() - self._together

    def met(self, mine: float, alone: Sequence[float]) -> None:
        """The ranks have exchanged; each came after so many seconds alone. Until the slowest had
        come there was nothing to exchange."""
        slowest = max(alone)
        before = self.seconds["exchange"]
        self.lap("exchange")
        waited = min(max(0.0, slowest - mine), self.seconds["exchange"] - before)
        self.seconds["exchange"] -= waited
        self.seconds["wait"] += waited
        if waited:
            last = list(alone).index(slowest)
            self.waits[last] = self.waits.get(last, 0.0) + waited


class Account:
    """The seconds of a whole fit, of all jobs that it took."""

    def __init__(self) -> None:
        self.started = self.callbacks = 0.0
        self._before: list[dict[str, float]] = []
        self._now: list[dict[str, float]] = []
        self._waits_before: list[dict[int, float]] = []
        self._waits: list[dict[int, float]] = []

    def run_since(self, began: float, longest: float) -> None:
        """The ranks of the first job are there; `longest` of them has run for so many seconds, and
        fit was called at `began`."""
        self.started = self.started or max(0.0, time.perf_counter() - began - longest)

    def told(
        self, ranks: Sequence[dict[str, float]], waits: Sequence[dict[int, float]] = ()
    ) -> None:
        """What each rank of the present job has spent until now, and for whom it has waited."""
        self._now, self._waits = list(ranks), list(waits)

    def end_job(self) -> None:
        """The next one's ranks count from nought."""
        self._before, self._now = self._sums(), []
        self._waits_before, self._waits = self.waits(), []

    def _sums(self) -> list[dict[str, float]]:
        return _added(self._before, self._now)

    def waits(self) -> list[dict[int, float]]:
        """For each rank, how many seconds it has waited in steps for which other rank."""
        return _added(self._waits_before, self._waits)

    def ranks(self) -> list[dict[str, float]]:
        """Seconds by part, for each rank."""
        found = []
        for told in self._sums():
            seconds = {**dict.fromkeys(PARTS, 0.0), **told, "start": self.started}
            gate = seconds.pop("gate", 0.0)
            seconds["callbacks"] = min(self.callbacks, gate)
            seconds["wait"] += gate - seconds["callbacks"]
            found.append({part: seconds[part] for part in PARTS})
        return found


def _added(before: Sequence[dict[Any, float]], now: Sequence[dict[Any, float]]) -> list[Any]:
    """Of each rank in all jobs; one that the present job does not have keeps its seconds."""
    both: Any = zip_longest(before, now, fillvalue={})
    return [{key: old.get(key, 0.0) + new.get(key, 0.0) for key in {**old, **new}}
            for old, new in both]  # fmt: skip


def mean(ranks: Sequence[dict[str, float]]) -> dict[str, float]:
    """The ranks' mean of each part."""
    count = max(1, len(ranks))
    return {part: sum(seconds[part] for seconds in ranks) / count for part in PARTS}
