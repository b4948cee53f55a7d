"""`zoo_keras.backend`: what older code still asks of `keras.backend`; ops are in zoo_keras.ops."""

from __future__ import annotations

from typing import Any

from zoo_keras.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from zoo_keras.dtypes import FLOATS, INTEGERS, promote
from zoo_keras.dtypes import standardize as standardize_dtype
from zoo_keras.missing import missing
from zoo_keras.naming import clear_session
from zoo_keras.ops.symbolic import KerasTensor

__all__ = [
    "backend", "clear_session", "epsilon", "floatx", "image_data_format", "is_float_dtype",
    "is_int_dtype", "is_keras_tensor", "result_type", "set_epsilon", "set_floatx",
    "set_image_data_format", "standardize_dtype",
]  # fmt: skip


def is_float_dtype(dtype: Any) -> bool:
    """Whether a dtype is a floating one. Source: keras.backend.is_float_dtype."""
    return standardize_dtype(dtype) in FLOATS


def is_int_dtype(dtype: Any) -> bool:
    """Whether a dtype is an integer one. Source: keras.backend.is_int_dtype."""
    return standardize_dtype(dtype) in INTEGERS


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a KerasTensor. Source: keras.backend.is_keras_tensor."""
    return isinstance(x, KerasTensor)


def result_type(*dtypes: Any) -> str:
    """The dtype that several promote to. Source: keras.backend.result_type."""
    return promote(*map(standardize_dtype, dtypes))


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.backend", name)
