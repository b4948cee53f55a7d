"""Where every intermediate tensor lives: offsets in one arena, by lifetimes.

In: buffers with a size and the interval of steps in which they are alive. Out: an offset for each
and the arena's size. Knows neither ops nor what the buffers hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIGN = 64


@dataclass
class Buffer:
    """`size` bytes needed from step `first` to step `last`, both included."""

    size: int
    first: int
    last: int
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + padded(self.size)


def padded(size: int) -> int:
    """The size rounded up, so that every offset is aligned."""
    return -(-size // ALIGN) * ALIGN


def plan(buffers: Sequence[Buffer]) -> int:
    """Set the offsets so that no two buffers alive together overlap; returns the bytes needed.

    Greedy by size: the largest first, each at the lowest place free during its whole life
    (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
    """
    table = np.zeros((4, len(buffers)), np.int64)  # first, last, offset, end; sorted by offset
    for count, buffer in enumerate(sorted(buffers, key=lambda b: (-b.size, b.first))):
        buffer.offset = _lowest_gap(buffer, table[:, :count])
        at = np.searchsorted(table[2, :count], buffer.offset)
        table[:, at + 1 : count + 1] = table[:, at:count].copy()
        table[:, at] = buffer.first, buffer.last, buffer.offset, buffer.end
    return max((b.end for b in buffers), default=0)


def _lowest_gap(buffer: Buffer, placed: np.ndarray) -> int:
    first, last, offsets, ends = placed
    rivals = (first <= buffer.last) & (last >= buffer.first)
    # free_from[i]: where memory is free above the first i rivals
    free_from = np.maximum.accumulate(np.concatenate([[0], ends[rivals]]))
    gaps = np.flatnonzero(offsets[rivals] - free_from[:-1] >= padded(buffer.size))
    return int(free_from[gaps[0]] if gaps.size else free_from[-1])


def most_alive(buffers: Sequence[Buffer]) -> int:
    """The most bytes that live at one step: no plan needs less."""
    change = np.zeros(max((b.last + 2 for b in buffers), default=1), np.int64)
    for buffer in buffers:
        change[buffer.first] += padded(buffer.size)
        change[buffer.last + 1] -= padded(buffer.size)
    return int(np.cumsum(change).max())
