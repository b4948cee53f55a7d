"""Public ops about tensors as such: conversion, shape, dtype, gradients' end.

In: tensors, Variables, arrays, numbers. Out: the same kinds. Knows no layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import BFLOAT16, bits_of, float_of, in_dtype, labelled
from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.convert import as_dtype, dtype_of, is_variable, shape_of, value
from zoo_keras.ops.symbolic import KerasTensor, public
from zoo_keras.primitives.elementwise import clip as clip_op
from zoo_keras.primitives.elementwise import greater as greater_op
from zoo_keras.primitives.elementwise import stop_gradient as stop_gradient_op
from zoo_keras.primitives.elementwise import where as where_op


@public
def convert_to_tensor(
    x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> Any:
    """x as a tensor (in a trace) or an array, cast when a dtype is given.

    Raises UnsupportedError for sparse or ragged tensors.

    >>> convert_to_tensor([1, 2], dtype="float32")
    array([1., 2.], dtype=float32)
    """
    if sparse or ragged:
        raise UnsupportedError(
            f"zoo_keras has dense tensors only. Received: sparse={sparse}, ragged={ragged}. "
            "Leave both out."
        )
    made = value(x) if dtype is None else as_dtype(x, dtype)
    return made.copy() if is_variable(x) and isinstance(made, np.ndarray) else made


def array(x: Any, dtype: Any = None) -> Any:
    """The same as convert_to_tensor(x, dtype)."""
    return convert_to_tensor(x, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """The values as a numpy array. Raises TypeError for a tensor that has no values yet."""
    return np.asarray(x if is_variable(x) else value(x))


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor: of a trace, of a model under construction, or an array."""
    return isinstance(x, (Tensor, KerasTensor, np.ndarray))


def shape(x: Any) -> tuple[int | None, ...]:
    """The shape as a tuple; dimensions of a KerasTensor may be None."""
    return shape_of(x)


def dtype(x: Any) -> str:
    """The name of the dtype."""
    return dtype_of(x)


def ndim(x: Any) -> int:
    """The number of dimensions."""
    return len(shape_of(x))


@public
def size(x: Any) -> Any:
    """The number of elements, an int32 scalar."""
    return np.asarray(int(np.prod(shape_of(x), dtype=np.int64)), np.int32)


@public
def cast(x: Any, dtype: Any) -> Any:
    """x in another dtype; floats are cut off towards 0 on their way to integers."""
    if isinstance(x, (bool, int, float)):
        return in_dtype(x, dtypes.standardize(dtype))
    return as_dtype(x, dtype)


@public
def saturate_cast(x: Any, dtype: Any) -> Any:
    """x in another dtype; values beyond its range become its nearest limit."""
    x, name = value(x), dtypes.standardize(dtype)
    if name == "bool":
        return cast(clip_op(x, low=0.0, high=1.0), name)
    if dtypes.is_float(name):
        limit = dtypes.largest(name)
        return cast(clip_op(x, low=-limit, high=limit) if limit < _limit(x) else x, name)
    limits = np.iinfo(name)
    if not dtypes.is_float(dtype_of(x)) or limits.bits < 24:
        return cast(clip_op(x, low=float(limits.min), high=float(limits.max)), name)
    high = float(np.nextafter(np.float32(limits.max), np.float32(0)))  # the limit is no float32
    inside = cast(clip_op(x, low=float(limits.min), high=high), name)
    return where_op(greater_op(x, high), np.asarray(limits.max, name), inside)


def _limit(x: Any) -> float:
    """The largest finite number of x's dtype."""
    name = dtype_of(x)
    if dtypes.is_float(name):
        return dtypes.largest(name)
    return 1.0 if name == "bool" else float(np.iinfo(name).max)


@public
def stop_gradient(variable: Any) -> Any:
    """The value itself, through which no gradient flows."""
    return stop_gradient_op(value(variable))


@public
def copy(x: Any) -> Any:
    """A copy: a new array, or the tensor itself (tensors never change)."""
    x = value(x)
    return x.copy() if isinstance(x, np.ndarray) else x


@public
def view(x: Any, dtype: Any = None) -> Any:
    """The bytes of an array read as another dtype. Only outside a trace."""
    x = value(x)
    if isinstance(x, Tensor):
        raise UnsupportedError(
            f"ops.view works on arrays only. Received: {x}. Use ops.cast to convert values."
        )
    of, to = dtype_of(x), dtypes.standardize(dtype or dtype_of(x))
    numbers = bits_of(x) if of == BFLOAT16 else x
    if to != BFLOAT16:
        return numbers.view(to)
    return labelled(float_of(numbers.view(np.uint16)))


__all__ = [
    "array", "cast", "convert_to_numpy", "convert_to_tensor", "copy", "dtype", "is_tensor", "ndim",
    "saturate_cast", "shape", "size", "stop_gradient", "view",
]  # fmt: skip
