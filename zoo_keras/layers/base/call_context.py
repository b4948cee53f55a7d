"""What a running layer call knows of the calls around it: training or not, and precision."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo_keras.dtypes import is_float
from zoo_keras.graph import Tensor, current_trace
from zoo_keras.nest import map_structure
from zoo_keras.primitives.op import cast_to
from zoo_keras.primitives.rounding import round_bfloat16


class _Context(threading.local):
    def __init__(self) -> None:
        self.training: list[bool | None] = []


_context = _Context()


def current_training() -> bool | None:
    """The `training` flag of the innermost call, or None outside any call."""
    return _context.training[-1] if _context.training else None


@contextmanager
def calling(training: bool | None) -> Iterator[None]:
    """Layer calls made in this block inherit the training flag."""
    _context.training.append(training)
    try:
        yield
    finally:
        _context.training.pop()


@contextmanager
def rounding(narrow: bool) -> Iterator[None]:
    """Variables read in this block are rounded to bfloat16, or not."""
    trace = current_trace()
    before = trace.narrow if trace else False
    try:
        if trace:
            trace.narrow = narrow
        yield
    finally:
        if trace:
            trace.narrow = before


def rounded(tensors: Any) -> Any:
    """The structure with its float32 tensors rounded to bfloat16."""
    return map_structure(_rounded, tensors)


def taken(tensors: Any, layer: Any, narrow: bool) -> Any:
    """The structure with its floating tensors in the dtype in which a layer computes, and with
    `narrow` rounded to bfloat16. The Inputs of a functional model have dtypes of their own."""
    dtype = layer.compute_dtype

    def cast(value: Any) -> Any:
        floats = isinstance(value, Tensor) and is_float(value.dtype) and is_float(dtype)
        return cast_to(value, dtype) if floats else value

    is_model = getattr(layer, "_function", None) is not None
    found = tensors if is_model else map_structure(cast, tensors)
    return rounded(found) if narrow else found


def _rounded(value: Any) -> Any:
    is_float = isinstance(value, Tensor) and value.dtype == "float32"
    return round_bfloat16(value) if is_float else value
