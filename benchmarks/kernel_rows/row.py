"""What a group of kernel rows consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kernel_rows.prepared import Call

Make = Callable[[int], Callable[[], object]]  # number of threads -> a call to be timed


class Row(NamedTuple):
    """One kernel and shape: ours and its peers. Bytes count each array once, read or written."""

    name: str
    work: float  # floating-point operations, or bytes, of one call
    unit: str  # "GF/s" or "GB/s"
    ours: Callable[[int], Call]
    peers: dict[str, Make]
    inplace: bool = False  # writes only what it has read, which spares memory a read of each write
