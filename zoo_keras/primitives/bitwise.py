"""Operations on the bits of integers and bools; they run on the host.

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
_SHIFT = [Sample([(3, 5), (5,)], dtypes=("int32", "int32"), low=0, high=9)]


def integers(*specs: Spec, **attrs: Any) -> Spec:
    """Shape rule: numpy broadcasting; floats are refused."""
    for spec in specs:
        if dtypes.is_float(spec.dtype):
            raise ShapeError(f"bits belong to integers and bools, not to {spec.dtype}; cast first.")
    return broadcast(*specs)


bitwise_and = elementwise(np.bitwise_and, "Bits that both have.", shape=integers, samples=_PAIR)
bitwise_or = elementwise(np.bitwise_or, "Bits that one has.", shape=integers, samples=_PAIR)
bitwise_xor = elementwise(
    np.bitwise_xor, "Bits that exactly one has.", shape=integers, samples=_PAIR
)
bitwise_not = elementwise(
    np.bitwise_not,
    "Every bit flipped; logical not for bools.",
    shape=integers,
    samples=[Sample([(3, 5)], dtypes=("int32",), low=-9, high=9)],
    name="bitwise_not",
)
left_shift = elementwise(
    np.left_shift, "a with its bits moved up by b places.", shape=integers, samples=_SHIFT
)
right_shift = elementwise(
    np.right_shift,
    "a with its bits moved down by b places; the sign is kept.",
    shape=integers,
    samples=_SHIFT,
)
