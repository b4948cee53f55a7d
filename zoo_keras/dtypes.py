"""Names of the element types, numpy's dtype for each, and promotion between them. No tensor or
graph is known here. bfloat16 has no numpy type: it is kept as rounded float32 (`bfloat16.py`)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError

FLOATS = ("bfloat16", "float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
ALL = (*FLOATS, *INTEGERS, "bool")
TEXT = ("string", "bytes")  # in graphs and columns only: no Program knows them


def standardize(dtype: Any) -> str:
    """The canonical name of a dtype given as a string, numpy dtype or Python type.

    `standardize(float) == "float32"`, as in Keras. Raises ConfigError for unknown names.
    """
    if dtype is None or dtype is float:
        return "float32"
    if dtype is int:
        return "int32"
    if dtype is bool:
        return "bool"
    if dtype is str or dtype is bytes:
        return "string" if dtype is str else "bytes"
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    name = "int32" if name == "int" else name
    if name not in ALL and name not in TEXT:
        raise ConfigError(
            f"Unknown dtype. Received: {dtype!r}. Use one of {', '.join([*ALL, *TEXT])}."
        )
    return name


def native(array: np.ndarray) -> np.ndarray:
    """The same numbers in this machine's byte order; files often have the other one (">f4").
    Long doubles, which no kernel reads, become float64."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def from_objects(array: np.ndarray) -> np.ndarray:
    """The numbers (or rows of one length) in an array of Python objects; itself if they are none.

    >>> from_objects(np.array([1, 2.5], object))
    array([1. , 2.5])
    """
    try:
        made = np.array(array.tolist())
    except ValueError:  # rows of several lengths
        return array
    return made if made.dtype.kind in "fiub" else array


def storage(dtype: str) -> Any:
    """What numpy keeps values of this dtype in: text is Python's str and bytes, bfloat16 rounded
    float32."""
    if dtype == "bfloat16":
        return "float32"
    return object if dtype in TEXT else dtype


def itemsize(dtype: str) -> int:
    """Bytes of one number of this dtype."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def largest(dtype: str) -> float:
    """The largest finite number of a floating dtype."""
    return float.fromhex("0x1.fep127") if dtype == "bfloat16" else float(np.finfo(dtype).max)


@functools.cache
def name_of(dtype: np.dtype) -> str:
    """The name of a numpy dtype; numpy puts it together anew each time, in 5 us."""
    return dtype.name


def is_float(dtype: str) -> bool:
    """Whether a dtype name is one of the floating types."""
    return dtype in FLOATS


def of_python(value: Any) -> str:
    """The dtype that a Python number, list or array has when it meets a tensor."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int32"
    if isinstance(value, float):
        return "float32"
    name = np.asarray(value).dtype.name
    return {"float64": "float32", "int64": "int32"}.get(name, name)


@functools.cache
def promote(*dtypes: str) -> str:
    """The common dtype of several: floats win over integers, wide over narrow, bool yields."""
    if any(d in TEXT for d in dtypes):
        return _text_of(dtypes)
    found = {d for d in dtypes if d in FLOATS}
    if found == {"bfloat16", "float16"}:
        return "float32"
    if found:
        return max(found, key=FLOATS.index)
    name = np.result_type(*dtypes).name
    return "float32" if name == "float64" else name  # int64 with uint64 fits no integer


def _text_of(dtypes: tuple[str, ...]) -> str:
    if len(set(dtypes)) == 1:
        return dtypes[0]
    raise ConfigError(
        f"Text and numbers do not mix. Received: dtypes {sorted(set(dtypes))}. Look text up first, "
        "with StringLookup for instance."
    )
