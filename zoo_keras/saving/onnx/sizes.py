"""Sizes that are known only when data arrive, in the arithmetic that files do on shapes.

In: multiples of the number of rows, or of another open size. Out: such multiples; anything else is
refused by name. They are elements of numpy arrays of dtype object.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import UnsupportedError


class Size:
    """`times` times an open size: "rows", or "open" for another."""

    def __init__(self, kind: str = "rows", times: int = 1) -> None:
        self.kind, self.times = kind, times

    def __repr__(self) -> str:
        return f"{self.times} * {self.kind}" if self.times != 1 else self.kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and (self.kind, self.times) == (other.kind, other.times)

    def __hash__(self) -> int:
        return hash((self.kind, self.times))

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Size) or int(other) != other:
            raise _refused(f"{self} * {other}")
        return Size(self.kind, self.times * int(other)) if other else 0

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, Size):
            if other.kind == self.kind and self.times % other.times == 0:
                return self.times // other.times
        elif other and self.times % int(other) == 0:
            return Size(self.kind, self.times // int(other))
        raise _refused(f"{self} / {other}")

    __truediv__ = __floordiv__

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Size) and other.kind == self.kind:
            return Size(self.kind, self.times + other.times)
        if not isinstance(other, Size) and other == 0:
            return self
        raise _refused(f"{self} + {other}")

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if self == other:
            return 0
        return self + (-1 * other if isinstance(other, Size) else -other)

    def __lt__(self, other: Any) -> bool:
        return False

    def __gt__(self, other: Any) -> bool:
        return not isinstance(other, Size)

    def __int__(self) -> int:
        raise _refused(str(self))

    __index__ = __int__
    __float__ = __int__


def _refused(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"The file computes with sizes that are open. Received: {what}. Export the model with "
        "fixed sizes but for the rows."
    )


def is_open(values: Any) -> bool:
    """Whether an array has open sizes."""
    return isinstance(values, np.ndarray) and values.dtype == object


def tidy(values: Any) -> np.ndarray:
    """An array of sizes, as numbers when all are known."""
    values = np.asarray(values)
    if values.dtype == object and not any(isinstance(v, Size) for v in values.ravel()):
        return values.astype(np.int64)
    return values


def shape_of(tensor: Any, times: int) -> np.ndarray:
    """The shape of a tensor with `times` the model's rows: its first axis, or the only open one."""
    found = np.empty(len(tensor.shape), object)
    alone = list(tensor.shape).count(None) == 1
    for axis, size in enumerate(tensor.shape):
        kind = "rows" if alone or not axis else "open"
        found[axis] = size if size is not None else Size(kind, times if kind == "rows" else 1)
    return tidy(found)


def for_reshape(shape: Any) -> tuple[int, ...]:
    """Target of a reshape: one open size becomes -1. UnsupportedError for two."""
    values = [-1 if isinstance(v, Size) else int(v) for v in np.ravel(shape)]
    if values.count(-1) > 1:
        raise _refused(f"a shape of {list(np.ravel(shape))}")
    return tuple(values)
