"""Calls of ops on pairs of dtypes and Python numbers, whose results' dtypes are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float16",
          "float32", "float64")  # fmt: skip
WEAK = {"True": True, "2": 2, "2.5": 2.5}
NUMBERS = (
    "add subtract multiply divide power floor_divide mod maximum minimum arctan2 logaddexp hypot "
    "equal where logical_and bitwise_and"
).split()
ARRAYS = "matmul dot outer cross einsum tensordot concatenate stack append".split()
SINGLE = (
    "negative abs sign square sqrt exp log sin floor ceil round mean sum prod max std cumsum "
    "cumprod argmax argsort sort relu sigmoid softmax gelu tanh reciprocal isnan logical_not "
    "median average any count_nonzero diff var trace zeros_like log1p logsumexp nan_to_num"
).split()


def _function(ops: Any, name: str) -> Callable[..., Any]:
    special = {
        "where": lambda a, b: ops.where(np.array([True, False, True]), a, b),
        "einsum": lambda a, b: ops.einsum("i,i->", a, b),
        "tensordot": lambda a, b: ops.tensordot(a, b, axes=1),
        "concatenate": lambda a, b: ops.concatenate([a, b]),
        "stack": lambda a, b: ops.stack([a, b]),
        "trace": lambda a: ops.trace(ops.outer(a, a)),
    }
    return special[name] if name in special else getattr(ops, name)


def calls(keras: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls of everything that is compared."""
    ops = keras.ops
    arrays = {d: ops.convert_to_tensor(np.array([1, 2, 3]).astype(d)) for d in DTYPES}
    both = arrays | WEAK

    def call(name: str, *kinds: str) -> tuple[str, Callable[[], Any]]:
        function, values = _function(ops, name), [both[k] for k in kinds]
        return " ".join([name, *kinds]), lambda: function(*values)

    for name in NUMBERS:
        yield from (call(name, a, b) for a in both for b in both)
    for name in ARRAYS:
        yield from (call(name, a, b) for a in arrays for b in arrays)
    for name in SINGLE:
        yield from (call(name, a) for a in arrays)
    made = {
        "arange 3": lambda: ops.arange(3), "arange 3.0": lambda: ops.arange(3.0),
        "full 2": lambda: ops.full((2,), 2), "full 2.0": lambda: ops.full((2,), 2.0),
        "zeros": lambda: ops.zeros((2,)), "eye": lambda: ops.eye(2),
        "list of int": lambda: ops.convert_to_tensor([1, 2]),
        "list of both": lambda: ops.convert_to_tensor([1, 2.0]),
    }  # fmt: skip
    yield from made.items()


def dtype_of(keras: Any, call: Callable[[], Any]) -> str | None:
    """The dtype of a call's result; None where it raises."""
    try:
        return str(keras.backend.standardize_dtype(call().dtype))
    except Exception:  # what one backend of Keras cannot compute is not compared
        return None
