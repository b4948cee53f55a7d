"""Checkpoints of TensorFlow: an index, which is a table of LevelDB, and files of bytes.

In: the path that both begin with. Out: arrays by their keys, views of the files. Lengths are
checked before anything is taken. Source: table_format of LevelDB, tensor_bundle.proto.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving import protobuf as pb

# DataType -> numpy; 14 is bfloat16.
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64",
          10: "bool", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64"}  # fmt: skip
BFLOAT16, STRING = 14, 7
_MAGIC = 0xDB4775248B80FB57
_MOST_AXES, _KEY_BYTES = 32, 100  # of an array; of all keys, for each byte of the index
_FOOTER, _TRAILER = 48, 5  # bytes; a trailer is the kind of compression and a checksum


class Entry(NamedTuple):
    """Where an array lies."""

    dtype: int
    shape: list[int]
    shard: int
    offset: int
    size: int


class Checkpoint:
    """The arrays of a checkpoint."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        rows = dict(_rows(mapped(f"{prefix}.index")))
        if b"" not in rows:
            raise _damaged("an index without a header")
        header = pb.fields(rows.pop(b""))
        self._shards = pb.integer(header, 1)
        if pb.integer(header, 2):
            raise UnsupportedError("Checkpoints are little-endian. Received: a big-endian one.")
        self.entries = {_text(key): _entry(pb.fields(value)) for key, value in rows.items()}
        self._arrays: dict[str, np.ndarray] = {}
        self._files: dict[int, memoryview] = {}
        self._left: dict[int, int] = {}  # bytes of each file that no array has taken

    def array(self, key: str) -> np.ndarray:
        """An array of numbers; arrays have no bytes in common."""
        entry = self.entries.get(key)
        if entry is None:
            raise _damaged(f"no array {key!r}")
        if key not in self._arrays:
            data = self._bytes(entry)
            self._left[entry.shard] -= entry.size
            if self._left[entry.shard] < 0:
                raise _damaged("arrays that lie above each other")
            self._arrays[key] = typed(data, entry.dtype, entry.shape, key)
        return self._arrays[key]

    def text(self, key: str) -> memoryview:
        """A single string."""
        entry = self.entries.get(key)
        if entry is None or entry.dtype != STRING or math.prod(entry.shape) != 1:
            raise _damaged(f"no text {key!r}")
        data = self._bytes(entry)
        size, place = pb.varint(data, 0)
        if place + 4 + size != len(data):  # a checksum of four bytes lies between
            raise _damaged(f"a text of {size} bytes in {len(data)}")
        return data[place + 4 :]

    def numbers(self) -> int:
        """How many numbers there are for weights: what entries claim, if the files are as large."""
        claimed = sum(math.prod(entry.shape) for entry in self.entries.values())
        shards = {entry.shard for entry in self.entries.values()}
        return min(claimed, sum(len(self._file(shard)) for shard in shards))

    def _file(self, shard: int) -> memoryview:
        if not 0 <= shard < self._shards:
            raise _damaged(f"part {shard} of {self._shards}")
        if shard not in self._files:
            self._files[shard] = mapped(f"{self.prefix}.data-{shard:05d}-of-{self._shards:05d}")
            self._left[shard] = len(self._files[shard])
        return self._files[shard]

    def _bytes(self, entry: Entry) -> memoryview:
        data = self._file(entry.shard)
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > len(data):
            raise _damaged(f"bytes {entry.offset} to {entry.offset + entry.size} of {len(data)}")
        return data[entry.offset : entry.offset + entry.size]


def typed(data: Any, dtype: int, shape: list[int], name: str) -> np.ndarray:
    """Bytes as an array of this DataType."""
    if dtype not in DTYPES and dtype != BFLOAT16:
        raise UnsupportedError(
            f"Arrays of this type are not read. Received: {name!r} of DataType {dtype}."
        )
    kind = np.dtype("<u2" if dtype == BFLOAT16 else DTYPES[dtype])
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise _damaged(f"{name!r} of shape {shape[:_MOST_AXES]}")
    if math.prod(shape) * kind.itemsize != len(data):
        raise _damaged(f"{name!r} of shape {shape} in {len(data)} bytes")
    values = np.frombuffer(data, kind).reshape(shape)
    return (values.astype("<u4") << 16).view("<f4") if dtype == BFLOAT16 else values


def mapped(path: str) -> memoryview:
    """The bytes of a file. FileError when there is none."""
    if not os.path.isfile(path):
        raise FileError(
            f"A file of the folder is not there. Received: {path}. Get a fresh copy of the whole "
            "folder."
        )
    if os.path.getsize(path) == 0:
        return memoryview(b"")
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _entry(found: pb.Fields) -> Entry:
    if 7 in found:
        raise UnsupportedError("Arrays in slices are not read. Received: a partitioned variable.")
    shape = [pb.integer(size, 1) for size in pb.messages(pb.message(found, 2), 2)]
    if len(shape) > _MOST_AXES:
        raise _damaged(f"an array of {len(shape)} axes")
    return Entry(pb.integer(found, 1), shape, *(pb.integer(found, n) for n in (3, 4, 5)))


# ---- the table -----------------------------------------------------------------------------------


def _rows(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(key, value) of a table, in its order."""
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise _damaged("an index that does not end as one")
    footer = data[-_FOOTER:]
    place = 0
    for _ in range(2):  # the index of metadata, then that of blocks
        offset, place = pb.varint(footer, place)
        size, place = pb.varint(footer, place)
    left = _KEY_BYTES * len(data)  # keys share their beginnings, and blocks could be one
    for above, handle in _block(data, offset, size):
        offset, after = pb.varint(handle, 0)
        left -= len(above)
        for key, value in _block(data, offset, pb.varint(handle, after)[0]):
            left -= len(key) + 1
            if left < 0:
                raise _damaged("keys that are longer than those of models")
            yield key, value


def _block(data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    if offset + size + _TRAILER > len(data) or size < 4:
        raise _damaged(f"a block of {size} bytes at {offset}")
    if data[offset + size] != 0:
        raise UnsupportedError("Packed indices are not read. Received: a block in snappy.")
    block = data[offset : offset + size]
    end = size - 4 * (1 + struct.unpack("<I", block[-4:])[0])
    place, key = 0, b""
    while place < end:
        shared, place = pb.varint(block, place)
        more, place = pb.varint(block, place)
        length, place = pb.varint(block, place)
        if shared > len(key) or place + more + length > end:
            raise _damaged(f"a key of {shared + more} and a value of {length} bytes")
        key = key[:shared] + bytes(block[place : place + more])
        place += more
        yield key, block[place : place + length]
        place += length


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def _damaged(what: str) -> FileError:
    return FileError(
        f"the checkpoint cannot be read. Received: {what}. The files are cut off, damaged, or of "
        "another kind; get a fresh copy."
    )
