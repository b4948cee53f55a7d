"""Operations on the bits of integers and bools: tiles of int32 and bool, others on the host.

In: integer arrays or tensors that broadcast to one shape. Out: one array of that shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Sample, broadcast, elementwise

_PAIR = [
    Sample([(3, 5), (5,)], dtypes=("int32", "int32"), low=-9, high=9),
    Sample([(3, 5), (5,)], dtypes=("bool", "bool")),
]
_SHIFT = [
    Sample([(3, 5), (5,)], dtypes=("int32", "int32"), low=0, high=9),
    Sample([(3, 7), (7,)], dtypes=("int32", "int32"), low=-40, high=40),
]


def integers(*specs: Spec, **attrs: Any) -> Spec:
    """Shape rule: numpy broadcasting; floats are refused."""
    for spec in specs:
        if dtypes.is_float(spec.dtype):
            raise ShapeError(f"bits belong to integers and bools, not to {spec.dtype}; cast first.")
    return broadcast(*specs)


@elementwise(tile="and", shape=integers, samples=_PAIR)
def bitwise_and(a: Any, b: Any) -> Any:
    """Bits that both have."""
    return np.bitwise_and(a, b)


@elementwise(tile="or", shape=integers, samples=_PAIR)
def bitwise_or(a: Any, b: Any) -> Any:
    """Bits that one has."""
    return np.bitwise_or(a, b)


@elementwise(tile="xor", shape=integers, samples=_PAIR)
def bitwise_xor(a: Any, b: Any) -> Any:
    """Bits that exactly one has."""
    return np.bitwise_xor(a, b)


@elementwise(
    tile="not", shape=integers, samples=[Sample([(3, 5)], dtypes=("int32",), low=-9, high=9)]
)
def bitwise_not(x: Any) -> Any:
    """Every bit flipped; logical not for bools."""
    return np.bitwise_not(x)


@elementwise(tile="left_shift_int", shape=integers, samples=_SHIFT)
def left_shift(a: Any, b: Any) -> Any:
    """a with its bits moved up by b places."""
    return np.left_shift(a, b)


@elementwise(tile="right_shift_int", shape=integers, samples=_SHIFT)
def right_shift(a: Any, b: Any) -> Any:
    """a with its bits moved down by b places; the sign is kept."""
    return np.right_shift(a, b)
