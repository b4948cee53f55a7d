"""Sizes that stand in for unknown ones while a call is traced to learn its output shapes.

In: how many axes are unknown, and the errors of a pair of trials. Out: other sizes for them, large
enough for the windows that the errors speak of, divisible, or just what was asked for. Knows no
layer and traces nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from zoo_keras.errors import ShapeError

Pair = tuple[int, int]  # a size in the first trial and in the second

# Never equal, and so far apart that long strides keep them so.
ALIKE: Pair = (97, 1031)
BATCH: Pair = (89, 127)
_STEP = 720  # divisible by all that rows are often cut into
_LARGEST = 1 << 16
_MOST_TRIALS = 24


class Search:
    """Which sizes to try next for the unknown axes: first all alike, then what errors ask for."""

    def __init__(self, axes: int) -> None:
        self._waiting = [[ALIKE for _ in range(axes)]]
        self._seen: list[list[Pair]] = []

    def choices(self) -> Iterator[list[Pair]]:
        """Sizes of all axes, until there are no more ideas."""
        while self._waiting and len(self._seen) < _MOST_TRIALS:
            pairs = self._waiting.pop(0)
            if pairs not in self._seen:
                self._seen.append(pairs)
                yield pairs

    def failed(self, errors: Sequence[ShapeError | None]) -> None:
        """What came of the last choice: the error of each trial, None for one that went well."""
        tried = [p for pairs in self._seen for p in pairs]
        known = {size for pair in tried for size in pair}
        for pairs in _repairs(self._seen[-1], errors):
            # One trial's own size for both would fit what the first trial itself has made.
            if all(a != b or a not in known or (a, b) in tried for a, b in pairs):
                self._waiting.append(pairs)


def _repairs(pairs: Sequence[Pair], errors: Sequence[ShapeError | None]) -> Iterator[list[Pair]]:
    met = [[(*group, math.prod(group)) for group in e.met] for e in errors if e is not None]
    asked = set.intersection(*({n for g in groups for n in g} for groups in met))
    for large in (_above(asked), *(_multiple(n) for n in sorted(asked))):
        if large:
            yield [large for _ in pairs]
    if len(met) == 2:
        for have, want in _wishes(*met):
            yield from _moved(pairs, have, want)


def _above(asked: set[int]) -> Pair:
    """Sizes far above every number that was there in both trials."""
    least = max((n for n in asked if n <= _LARGEST // 4), default=0)
    first = _STEP * (1 + 2 * least // _STEP)
    return first, 2 * first


def _multiple(number: int) -> Pair | None:
    return (_STEP * number, 2 * _STEP * number) if 1 < number <= _LARGEST // _STEP else None


def _wishes(first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> Iterator[list[Pair]]:
    """[a size of one group that is unknown, a size of another group] in both trials."""
    if [len(g) for g in first] != [len(g) for g in second]:
        return
    groups = [list(zip(a, b, strict=True)) for a, b in zip(first, second, strict=True)]
    for i, group in enumerate(groups):
        others = [p for j, other in enumerate(groups) if j != i for p in reversed(other)]
        for have in (p for p in group if p[0] != p[1]):
            yield from ([have, want] for want in others)


def _moved(pairs: Sequence[Pair], have: Pair, want: Pair) -> Iterator[list[Pair]]:
    """Each unknown size alone, then all of them, changed so that `have` becomes `want`."""
    alone = [{i} for i in range(len(pairs))] if len(pairs) > 1 else []
    for chosen in [*alone, set(range(len(pairs)))]:
        moved = [_solved(p, have, want) if i in chosen else p for i, p in enumerate(pairs)]
        found = [pair for pair in moved if pair is not None]
        if len(found) == len(pairs):
            yield found


def _solved(pair: Pair, have: Pair, want: Pair) -> Pair | None:
    """The sizes that make `have` equal to `want`, where it grows in proportion to them."""
    growth, grown = have[1] - have[0], pair[1] - pair[0]
    slope = growth // grown if grown and growth % grown == 0 else 0
    if slope < 1 or any((w - h) % slope for h, w in zip(have, want, strict=True)):
        return None
    first, second = (p + (w - h) // slope for p, h, w in zip(pair, have, want, strict=True))
    return (first, second) if 0 < first <= _LARGEST and 0 < second <= _LARGEST else None
