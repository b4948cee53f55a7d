"""Arithmetic on slices that come from or go to the wire. In: float32 memory and wire memory
(float32, or 16-bit values). Out: sums and conversions in place. Knows no blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo_keras.native import slice_op

WIRE_TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
_SUFFIX = {np.dtype(np.float32): "", np.dtype(np.float16): "_f16", np.dtype(np.uint16): "_bf16"}


def to_wire(source: np.ndarray, out: np.ndarray) -> None:
    """Rounds float32 values to `out`'s 16-bit type, to the nearest, ties to even."""
    slice_op("slice_to" + _SUFFIX[out.dtype], out, source)


def from_wire(source: np.ndarray, out: np.ndarray) -> None:
    """Widens wire values to float32."""
    if source.dtype == np.float32:
        out[:] = source
    else:
        slice_op("slice_from" + _SUFFIX[source.dtype], out, source)


def add(out: np.ndarray, source: np.ndarray) -> None:
    """Adds wire values to float32 values."""
    slice_op("slice_add" + _SUFFIX[source.dtype], out, source)


def sum_in_order(
    before: Sequence[np.ndarray], own: np.ndarray, after: Sequence[np.ndarray], spare: np.ndarray
) -> None:
    """own = ((before[0] + before[1]) + ... + own) + after[0] + ..., each sum rounded to float32.

    `spare` is float32 memory of own's size.
    """
    if len(before) == 1:
        add(own, before[0])
    elif before:
        from_wire(before[0], spare)
        for part in before[1:]:
            add(spare, part)
        add(own, spare)
    for part in after:
        add(own, part)
