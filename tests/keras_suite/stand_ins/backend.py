"""`keras.src.backend` and what lies below it: the names of zoo_keras under Keras' inner paths."""

from __future__ import annotations

from typing import Any

from zoo_keras import config, ops, random
from zoo_keras.backend import *  # noqa: F403
from zoo_keras.backend import clear_session, is_float_dtype, is_int_dtype
from zoo_keras.config import backend, floatx, image_data_format
from zoo_keras.dtypes import standardize as standardize_dtype
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
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.variables import Variable

SUPPORTS_SPARSE_TENSORS = False
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
IS_THREAD_SAFE = True


def standardize_data_format(data_format: Any) -> str:
    """The layout of images that a layer takes for None or a name."""
    if data_format is None:
        return image_data_format()
    found = str(data_format).lower()
    if found not in ("channels_first", "channels_last"):
        raise ValueError(f"The `data_format` argument must be one of two. Received: {data_format}")
    return found


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
    "KerasTensor", "Variable", "backend", "cast", "clear_session", "config", "convert_to_numpy",
    "convert_to_tensor", "floatx", "image", "image_data_format", "is_float_dtype", "is_int_dtype",
    "is_tensor", "linalg", "nn", "numpy", "ops", "random", "shape", "standardize_dtype",
]  # fmt: skip
