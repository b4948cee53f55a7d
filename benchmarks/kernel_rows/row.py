"""What a group of kernel rows consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Make = Callable[[int], Callable[[], object]]  # number of threads -> a call to be timed


class Row(NamedTuple):
    """One kernel and shape: ours and its peers."""

    name: str
    work: float  # floating-point operations, or bytes, of one call
    unit: str  # "GF/s" or "GB/s"
    ours: Make
    peers: dict[str, Make]
