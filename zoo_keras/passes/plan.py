"""Where every intermediate tensor lives: offsets in one arena, by lifetimes.

In: buffers with a size and the interval of steps in which they are alive. Out: an offset for each
and the arena's size. Knows neither ops nor what the buffers hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first)):
        buffer.offset = _lowest_gap(buffer, placed)
        placed.append(buffer)
    return max((b.end for b in placed), default=0)


def _lowest_gap(buffer: Buffer, placed: Sequence[Buffer]) -> int:
    rivals = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
    offset = 0
    for rival in sorted(rivals, key=lambda b: b.offset):
        if rival.offset >= offset + padded(buffer.size):
            break
        offset = max(offset, rival.end)
    return offset
