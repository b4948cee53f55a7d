"""State dicts in files of torch.save, of any age, and of safetensors.

In: a path. Out: arrays by name. Sizes are checked against the file before memory is taken.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError, ZooKerasError
from zoo_keras.saving.torch import pickled
from zoo_keras.saving.torch.pickled import Storage, Tensor

_SAFE_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16", "I64": "<i8",
                "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip
_LONGEST_HEADER = 100_000_000
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_KEYS = ("state_dict", "model_state_dict", "model")  # where checkpoints of trainings keep it


def read(path: str) -> dict[str, np.ndarray]:
    """The arrays in a file. FileError for what is none."""
    with open(path, "rb") as file:
        start = file.read(2)
    if start == b"PK":
        return _of_zip(path)
    return _of_old(path) if start == b"\x80\x02" else _of_safetensors(path)


def array(data: Any, dtype: str, count: int) -> np.ndarray:
    """So many numbers out of bytes; bfloat16 as float32."""
    values = np.frombuffer(data, "<u2" if dtype == "bfloat16" else dtype, count)
    return (values.astype("<u4") << 16).view("<f4") if dtype == "bfloat16" else values


def _width(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _damaged(what: str) -> FileError:
    return FileError(
        f"the state dict cannot be read. Received: {what}. The file is cut off, damaged, or of "
        "another kind; get a fresh copy."
    )


# ---- torch ---------------------------------------------------------------------------------------


def _of_zip(path: str) -> dict[str, np.ndarray]:
    """A file of torch 1.6 and later: an archive of a pickle and a member for each storage."""
    left = os.path.getsize(path)

    def member(name: str) -> bytes:
        nonlocal left
        info = archive.getinfo(name)
        left -= max(info.file_size, info.compress_size)
        if info.compress_type != zipfile.ZIP_STORED or left < 0:
            raise _damaged(f"{name} of {info.file_size} bytes")
        return archive.read(info)

    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if not pickles:
                raise _damaged("an archive without data.pkl")
            folder = pickles[0].removesuffix("data.pkl")
            told = pickled.read(member(pickles[0]))
            return _tensors(told, lambda s: member(f"{folder}data/{s.key}"))
    except ZooKerasError:
        raise
    except Exception as error:  # zipfile lets errors of struct and of text through
        raise _damaged(repr(error)[:200]) from None


def _of_old(path: str) -> dict[str, np.ndarray]:
    """A file of torch before 1.6: pickles, then the storages one behind the other."""
    with open(path, "rb") as file:
        data = file.read()
    stream = io.BytesIO(data)
    if pickled.read(stream) != _OLD_MAGIC:
        raise _damaged("a pickle that torch did not write")
    for _ in range(2):  # versions, and sizes of C's types
        pickled.read(stream)
    told, keys = pickled.read(stream), pickled.read(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _damaged("no list of storages")
    dtypes = {t.storage.key: t.storage.dtype for t in _named(told).values()}
    found, place = {}, stream.tell()
    for key in keys:
        if place + 8 > len(data):
            raise _damaged("storages that are cut off")
        count, width = struct.unpack_from("<q", data, place)[0], _width(dtypes.get(key, "<f4"))
        size = count * width
        if count < 0 or place + 8 + size > len(data):
            raise _damaged(f"a storage of {count} numbers")
        found[key] = memoryview(data)[place + 8 : place + 8 + size]
        place += 8 + size
    return _tensors(told, lambda s: found.get(s.key, b""))


def _named(told: Any) -> dict[str, Tensor]:
    """The tensors in what a pickle holds."""
    if isinstance(told, dict):
        inner = next((told[k] for k in _KEYS if isinstance(told.get(k), dict)), told)
        found = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)}
        if found:
            return found
    raise UnsupportedError(
        f"The file holds no state dict. Received: {type(told).__name__}. Save model.state_dict()."
    )


def _tensors(told: Any, storage: Callable[[Storage], Any]) -> dict[str, np.ndarray]:
    stored: dict[str, np.ndarray] = {}
    kinds: dict[str, Storage] = {}
    found = {}
    for name, tensor in _named(told).items():
        kind = tensor.storage
        if kinds.setdefault(kind.key, kind) != kind:
            raise UnsupportedError(
                f"Numbers are of one type. Received: {name!r}, which shares the numbers of another "
                "tensor under another type. Save clones of both."
            )
        if kind.key not in stored:
            data = storage(kind)
            if kind.size < 0 or kind.size * _width(kind.dtype) > len(data):
                raise _damaged(f"{name!r} of {kind.size} numbers in {len(data)} bytes")
            stored[kind.key] = array(data, kind.dtype, kind.size)
        found[name] = _view(name, tensor, stored[kind.key])
    return found


def _view(name: str, tensor: Tensor, values: np.ndarray) -> np.ndarray:
    shape, strides = tensor.shape, tensor.strides
    last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=False))
    fits = len(shape) == len(strides) and min((*shape, *strides, tensor.offset), default=0) >= 0
    if not fits or len(shape) > 32 or math.prod(shape) > values.size:
        raise _damaged(f"{name!r} of shape {shape} in {values.size} numbers")
    if math.prod(shape) == 0:
        return np.zeros(shape, values.dtype)
    if last >= values.size:
        raise _damaged(f"{name!r}, whose last number is {last} of {values.size}")
    steps = [s * values.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], shape, steps, writeable=False)


# ---- safetensors ---------------------------------------------------------------------------------


def _of_safetensors(path: str) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        data = memoryview(file.read())
    size = struct.unpack_from("<Q", data, 0)[0] if len(data) >= 8 else _LONGEST_HEADER
    if size >= min(_LONGEST_HEADER, len(data) - 7):
        raise _damaged("neither a file of torch nor of safetensors")
    try:
        header = json.loads(bytes(data[8 : 8 + size]))
        rows = {k: v for k, v in header.items() if k != "__metadata__"}
        data = data[8 + size :]
        if sum(row["data_offsets"][1] - row["data_offsets"][0] for row in rows.values()) > len(
            data
        ):
            raise _damaged("arrays that lie above each other")
        return {name: _safe_array(name, row, data) for name, row in rows.items()}
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _damaged(repr(error)[:200]) from None


def _safe_array(name: str, row: Any, data: memoryview) -> np.ndarray:
    dtype, shape = row["dtype"], [int(n) for n in row["shape"]]
    if dtype not in _SAFE_DTYPES:
        raise UnsupportedError(f"Arrays of this type are not read. Received: {name!r} of {dtype}.")
    start, stop = (int(n) for n in row["data_offsets"])
    if len(shape) > 32 or min(shape, default=0) < 0 or not 0 <= start <= stop <= len(data):
        raise _damaged(f"{name!r} of shape {shape[:33]}")
    kind, count = _SAFE_DTYPES[dtype], math.prod(shape)
    if count * _width(kind) != stop - start:
        raise _damaged(f"{name!r} of shape {shape} in {stop - start} bytes")
    return array(data[start:stop], kind, count).reshape(shape)
