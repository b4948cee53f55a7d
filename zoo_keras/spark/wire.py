"""Arithmetic on slices that come from or go to the wire. In: float32 memory and wire memory
(float32, or 16-bit values). Out: sums and conversions in place. Knows no blocks."""

from __future__ import annotations

import numpy as np

WIRE_TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


def to_wire(source: np.ndarray, out: np.ndarray) -> None:
    """Rounds float32 values to `out`'s type, to the nearest, ties to even."""
    if out.dtype == np.uint16:
        bits = source.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        out[:] = np.where(np.isnan(source), (bits >> 16) | 0x40, rounded)
    else:
        with np.errstate(over="ignore"):
            out[:] = source


def from_wire(source: np.ndarray) -> np.ndarray:
    """Wire values as float32; float32 values as they are."""
    if source.dtype == np.uint16:
        return (source.astype(np.uint32) << 16).view(np.float32)
    return source.astype(np.float32, copy=False)


def sum_in_order(parts: list[np.ndarray], out: np.ndarray) -> None:
    """Adds parts[0], parts[1], ... in that order; `out` may be one of the parts."""
    if len(parts) == 1:
        out[:] = from_wire(parts[0])
        return
    total = from_wire(parts[0])
    last = len(parts) - 1
    for i in range(1, last + 1):
        spare = None if total is parts[0] else total
        total = np.add(total, from_wire(parts[i]), out=out if i == last else spare)
