"""`keras.src.backend` and what lies below it: the names of zoo_keras under Keras' inner paths."""

from __future__ import annotations

import builtins
import contextlib
import sys
from typing import Any

from zoo_keras import StatelessScope, config, name_scope, ops, random
from zoo_keras.backend import *  # noqa: F403
from zoo_keras.backend import clear_session, is_float_dtype, is_int_dtype
from zoo_keras.config import floatx, image_data_format
from zoo_keras.dtypes import standardize as standardize_dtype
from zoo_keras.layers.base.functional import _masks
from zoo_keras.ops import (
    cast,
    convert_to_numpy,
    convert_to_tensor,
    image,
    is_tensor,
    linalg,
    nn,
    shape,
)
from zoo_keras.ops import numpy as numpy
from zoo_keras.ops.masks import mask_of, set_mask
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.variables import Variable

SUPPORTS_SPARSE_TENSORS = False
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
IS_THREAD_SAFE = True


BOOL_TYPES = ("bool",)
INT_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOAT_TYPES = ("bfloat16", "float16", "float32", "float64")
FLOAT8_TYPES = ("float8_e4m3fn", "float8_e5m2")
COMPLEX_TYPES = ("complex64", "complex128")
ALLOWED_DTYPES = (
    *("float16", "float32", "float64"), *INT_TYPES, "bfloat16", "bool", "string", *FLOAT8_TYPES,
    *COMPLEX_TYPES,
)  # fmt: skip


def backend() -> str:
    """The name of the backend. trainer_test.py knows all by name: there zoo_keras goes as one whose
    train_step takes the data alone."""
    caller = sys._getframe(1).f_globals["__name__"]
    return "tensorflow" if caller == "keras.src.trainers.trainer_test" else config.backend()


def in_symbolic_scope() -> bool:
    """Whether shapes are inferred: zoo_keras has no such scope."""
    return False


def device(name: str) -> contextlib.AbstractContextManager[None]:
    """A block on one device: there is one."""
    return contextlib.nullcontext()


def standardize_data_format(data_format: Any) -> str:
    """The layout of images that a layer takes for None or a name."""
    if data_format is None:
        return image_data_format()
    found = str(data_format).lower()
    if found not in ("channels_first", "channels_last"):
        raise ValueError(f"The `data_format` argument must be one of two. Received: {data_format}")
    return found


def standardize_shape(shape: Any) -> tuple[int | None, ...]:
    """A shape as a tuple of whole numbers and None."""
    return tuple(None if d is None else int(d) for d in shape)


def get_keras_mask(x: Any) -> Any:
    """The mask that came with a tensor."""
    return _masks.get(x) if isinstance(x, KerasTensor) else mask_of(x)


def set_keras_mask(x: Any, mask: Any) -> None:
    """Send a mask along with a tensor."""
    set_mask(x, mask)


def compute_conv_transpose_output_shape(
    input_shape: Any, kernel_size: Any, filters: int, strides: Any, padding: str,
    output_padding: Any = None, data_format: str = "channels_last", dilation_rate: Any = 1,
) -> list[int | None]:  # fmt: skip
    """What tests of transposed convolutions expect: the shape of the output."""
    rank = len(input_shape) - 2
    last = data_format == "channels_last"
    sizes = input_shape[1:-1] if last else input_shape[2:]
    strides, dilations, more = (
        (v,) * rank if v is None or isinstance(v, int) else v
        for v in (strides, dilation_rate, output_padding)
    )
    spatial = [
        _transposed(*each, padding) for each in zip(sizes, kernel_size, strides, dilations, more)
    ]
    return [input_shape[0], *spatial, filters] if last else [input_shape[0], filters, *spatial]


def _transposed(size: Any, kernel: int, stride: int, dilation: int, more: Any, padding: str) -> Any:
    if size is None:
        return None
    window = (kernel - 1) * dilation + 1
    if more is None:
        return size * stride + (builtins.max(window - stride, 0) if padding == "valid" else 0)
    return (size - 1) * stride + window - (2 * (window // 2) if padding == "same" else 0) + more


def compute_conv_transpose_padding_args_for_jax(
    input_shape: Any, kernel_shape: Any, strides: Any, padding: str, output_padding: Any,
    dilation_rate: Any,
) -> list[tuple[int, int]]:  # fmt: skip
    """What tests of transposed convolutions expect: cells before and after the spread input."""
    rank = len(input_shape) - 2
    strides, dilations, more = (
        (v,) * rank if v is None or isinstance(v, int) else v
        for v in (strides, dilation_rate, output_padding)
    )
    each = zip(kernel_shape, strides, dilations, more)
    return [_padding(*one, padding) for one in each]


def _padding(kernel: int, stride: int, dilation: int, more: Any, padding: str) -> tuple[int, int]:
    window = (kernel - 1) * dilation + 1
    if padding == "valid":
        more = builtins.max(stride - window, 0) if more is None else more
        return window - 1, window - 1 + more
    total = stride + window - 2 if more is None else window + window % 2 - 2 + more
    before = builtins.min((total + 1) // 2, window - 1)
    return before, total - before


def compute_output_spec(fn: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function of tensors gives for KerasTensors."""
    return fn(*args, **kwargs)


def random_seed_dtype() -> str:
    """The dtype of the state of a SeedGenerator."""
    return str(random.SeedGenerator(0).state.dtype)


def any_symbolic_tensors(args: Any = None, kwargs: Any = None) -> bool:
    """Whether a KerasTensor is among the arguments."""
    from zoo_keras.ops.symbolic import any_symbolic

    return any_symbolic([args or (), kwargs or {}])


__all__ = [
    "KerasTensor", "StatelessScope", "Variable", "backend", "cast", "clear_session", "config",
    "convert_to_numpy", "convert_to_tensor", "floatx", "image", "image_data_format",
    "is_float_dtype", "is_int_dtype",
    "is_tensor", "linalg", "name_scope", "nn", "numpy", "ops", "random", "shape",
    "standardize_dtype",
]  # fmt: skip
