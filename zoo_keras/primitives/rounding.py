"""bfloat16 as a form of storage: float32 numbers rounded to 8 significant bits, kept in two bytes.

In: float32 arrays. Out: the same rounded, or the upper halves of their bits as uint16. Programs
have no bfloat16 tensors (`passes/bfloat16.py`): they compute in float32, and only what waits in
memory is narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.bfloat16 import bits_of, float_of
from zoo_keras.dtypes import is_float
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec, Tensor
from zoo_keras.primitives.op import Sample, elementwise

_SAMPLES = [Sample([shape]) for shape in ((2, 3), (33,), (), (40, 70))]


def _from_float(dtype: str | None) -> Any:
    def rule(x: Spec) -> Spec:
        if not is_float(x.dtype):
            raise ShapeError(f"x must be floating-point, not {x.dtype}.")
        return Spec(x.shape, dtype or x.dtype)

    return rule


def _from_bits(x: Spec) -> Spec:
    if x.dtype != "uint16":
        raise ShapeError(f"x must be the bits of bfloat16 numbers as uint16, not {x.dtype}.")
    return Spec(x.shape, "float32")


@elementwise(
    tile="round_bfloat16",
    shape=_from_float(None),
    grad=lambda g, y, x: (g,),
    samples=_SAMPLES,
)
def round_bfloat16(x: Any) -> Any:
    """The nearest number with 8 significant bits, ties to even. Gradients pass as they are."""
    return float_of(bits_of(x))


@elementwise(tile="to_bfloat16", shape=_from_float("uint16"), samples=_SAMPLES)
def to_bfloat16(x: Any) -> Any:
    """The bits of the nearest bfloat16, as uint16."""
    return bits_of(x)


@elementwise(
    tile="from_bfloat16",
    shape=_from_bits,
    samples=[Sample(s.shapes, dtypes=("uint16",), low=0, high=0x7F00) for s in _SAMPLES],
)
def from_bfloat16(x: Any) -> Any:
    """The float32 numbers that bfloat16 bits stand for."""
    return float_of(x)


def nearest(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 numbers, in the array's own dtype."""
    return float_of(bits_of(x)).astype(x.dtype)


def is_rounded(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor are known to be bfloat16 numbers."""
    while tensor.node.op.keeps_rounding:
        tensor = tensor.node.inputs[0]
    return tensor.node.op.name == "round_bfloat16"
