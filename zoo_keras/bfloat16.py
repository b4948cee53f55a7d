"""bfloat16 on the host: float32 arrays whose numbers have 8 significant bits, and say so.

In: arrays. Out: rounded numbers, and `Bfloat16`, the array of them. numpy has no such dtype: to its
functions the numbers are float32, to ours (`dtype`, Python's operators) they are bfloat16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.dtypes import storage
from zoo_keras.values import Values


class Dtype(str):
    """The name of the dtype, which answers what numpy's dtypes are asked for."""

    __slots__ = ()
    name, kind, type, itemsize = "bfloat16", "f", np.float32, 2
    isnative, hasobject = True, False
    _is_numeric = True  # asked by numpy.testing


BFLOAT16 = Dtype("bfloat16")


def bits_of(x: Any) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even, as uint16."""
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), bits >> 16 | 0x40, rounded).astype(np.uint16)


def float_of(bits: Any) -> np.ndarray:
    """The float32 numbers of such bits."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


class Bfloat16(Values):
    """An array of bfloat16, kept as rounded float32. What is written into it is rounded."""

    dtype = property(lambda self: BFLOAT16)
    itemsize = property(lambda self: 2)
    nbytes = property(lambda self: 2 * self.size)

    def __getitem__(self, key: Any) -> Any:
        return labelled(np.asarray(self)[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        np.asarray(self)[key] = float_of(bits_of(value))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """The numbers in another dtype; in bfloat16 a copy."""
        if str(getattr(dtype, "name", dtype)) == BFLOAT16:
            return self.copy()
        return np.asarray(self).astype(dtype, *args, **kwargs)

    def __repr__(self) -> str:
        return super().__repr__().replace("dtype=float32", "dtype=bfloat16")


def labelled(array: Any) -> Bfloat16:
    """float32 numbers that are bfloat16 numbers already, as such."""
    return np.asarray(array, np.float32).view(Bfloat16)


def in_dtype(values: Any, dtype: str) -> np.ndarray:
    """An array of the dtype with this name, bfloat16 included."""
    if dtype == BFLOAT16:
        return values if type(values) is Bfloat16 else labelled(float_of(bits_of(values)))
    return np.asarray(values, storage(dtype))


def foreign(array: np.ndarray) -> np.ndarray:
    """An array of the dtype that the package ml_dtypes calls bfloat16, as our own; others as they
    are."""
    if array.dtype.name == BFLOAT16 and type(array) is not Bfloat16:
        return labelled(float_of(array.view(np.uint16)))
    return array
