"""What an ONNX file says: nodes, constants, inputs and outputs.

In: a path. Out: plain records; arrays are views of the file. Knows no op. Source: onnx.proto.
"""

from __future__ import annotations

import mmap
import os
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving import protobuf as pb

# TensorProto.DataType -> numpy; 16 is bfloat16.
DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
          9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64"}  # fmt: skip
_BFLOAT16 = 16


class Node(NamedTuple):
    """A call of an op."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Port(NamedTuple):
    """An input or output: its name, dtype, and shape with None for open sizes."""

    name: str
    dtype: str
    shape: list[int | None] | None


class Contents(NamedTuple):
    """A model."""

    opset: int
    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: list[Port]
    outputs: list[Port]


def read(path: str) -> Contents:
    """The model in a file. FileError for what is none."""
    if os.path.getsize(path) == 0:
        raise FileError("the file holds no graph. Received: 0 bytes. Get a fresh copy.")
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _contents(memoryview(data), os.path.dirname(os.path.abspath(path)))


def _contents(data: memoryview, folder: str) -> Contents:
    model = pb.fields(data)
    if 7 not in model:
        raise FileError(
            f"the file holds no graph. Received: fields {sorted(model)[:8]}. It is no ONNX model, "
            "or "
            "damaged."
        )
    opsets = {pb.text(o, 1): pb.integer(o, 2) for o in pb.messages(model, 8)}
    graph = pb.message(model, 7)
    if 15 in graph:
        raise UnsupportedError("Sparse constants are not read. Received: sparse_initializer.")
    constants = dict(_named_array(t, folder) for t in pb.messages(graph, 5))
    inputs = [_port(p) for p in pb.messages(graph, 11)]
    return Contents(
        opsets.get("", opsets.get("ai.onnx", 0)),
        [_node(n, folder) for n in pb.messages(graph, 1)],
        constants,
        [port for port in inputs if port.name not in constants],
        [_port(p) for p in pb.messages(graph, 12)],
    )


def _node(found: pb.Fields, folder: str) -> Node:
    domain = pb.text(found, 7)
    kind = pb.text(found, 4)
    if domain not in ("", "ai.onnx"):
        kind = f"{domain}.{kind}"
    attributes = dict(_attribute(a, folder) for a in pb.messages(found, 5))
    return Node(kind, pb.text(found, 3), pb.texts(found, 1), pb.texts(found, 2), attributes)


def _attribute(found: pb.Fields, folder: str) -> tuple[str, Any]:
    kind, name = pb.integer(found, 20), pb.text(found, 1)
    readers: dict[int, Any] = {
        1: lambda: pb.number_of(found, 2),
        2: lambda: pb.integer(found, 3),
        3: lambda: pb.text(found, 4),
        4: lambda: _array(pb.message(found, 5), folder),
        6: lambda: pb.floats(found, 7).tolist(),
        7: lambda: pb.integers(found, 8),
        8: lambda: pb.texts(found, 9),
    }
    return name, readers[kind]() if kind in readers else None  # graphs: ops with them are refused


def _port(found: pb.Fields) -> Port:
    tensor = pb.message(pb.message(found, 2), 1)
    shape = None
    if 2 in tensor:
        sizes = pb.messages(pb.message(tensor, 2), 1)
        shape = [pb.integer(size, 1) if 1 in size else None for size in sizes]
    return Port(pb.text(found, 1), DTYPES.get(pb.integer(tensor, 1), "unknown"), shape)


# ---- arrays --------------------------------------------------------------------------------------


def _named_array(found: pb.Fields, folder: str) -> tuple[str, np.ndarray]:
    return pb.text(found, 8), _array(found, folder)


def _array(found: pb.Fields, folder: str) -> np.ndarray:
    kind, shape = pb.integer(found, 2), pb.integers(found, 1)
    if kind != _BFLOAT16 and kind not in DTYPES:
        raise UnsupportedError(f"Constants of this type are not read. Received: data_type {kind}.")
    if any(size < 0 for size in shape):
        raise FileError(
            f"a constant's sizes are at least 0. Received: shape {shape}. The file is damaged."
        )
    values = _values(found, kind, folder)
    count = int(np.prod(np.array(shape, dtype=object))) if shape else 1
    if values.size != count:
        raise FileError(
            f"the constant {pb.text(found, 8)!r} has other than the values of its shape. Received: "
            f"shape {shape}, {values.size} values. The file is damaged."
        )
    return values.reshape(shape)


def _values(found: pb.Fields, kind: int, folder: str) -> np.ndarray:
    dtype = np.dtype("<u2" if kind == _BFLOAT16 else DTYPES[kind])
    if pb.integer(found, 14) == 1:
        return _typed(_external(found, folder), dtype, kind)
    if 9 in found:
        return _typed(pb.raw(found, 9), dtype, kind)
    if kind == 1:
        return pb.floats(found, 4)
    if kind == 11:
        return pb.floats(found, 10, "<f8")
    numbers = pb.integers(found, {7: 7, 12: 11, 13: 11}.get(kind, 5))
    if kind in (10, _BFLOAT16):  # two bytes in a number each
        return _typed(memoryview(np.array(numbers, "<u2").tobytes()), dtype, kind)
    return np.array(numbers).astype(dtype)


def _typed(data: Any, dtype: np.dtype, kind: int) -> np.ndarray:
    if len(data) % dtype.itemsize:
        raise FileError(
            f"a constant's bytes are cut off. Received: {len(data)} bytes of {dtype}. The file is "
            "damaged."
        )
    values = np.frombuffer(data, dtype)
    return (values.astype("<u4") << 16).view("<f4") if kind == _BFLOAT16 else values


def _external(found: pb.Fields, folder: str) -> Any:
    """The bytes of a constant that lies in a file beside the model."""
    told = {pb.text(e, 1): pb.text(e, 2) for e in pb.messages(found, 13)}
    path = os.path.realpath(os.path.join(folder, told.get("location", "")))
    if os.path.dirname(path) != os.path.realpath(folder) or not os.path.isfile(path):
        raise FileError(
            f"constants lie in a file of their own. Received: {told.get('location')!r}, which is "
            "not in the model's folder. Place it there."
        )
    offset, size = int(told.get("offset", 0)), os.path.getsize(path)
    length = int(told.get("length", size - offset))
    if offset < 0 or length < 0 or offset + length > size:
        raise FileError(
            f"{path} is too short for the model's constants. Received: {size} bytes, where "
            f"{length} from {offset} on are wanted. Get a fresh copy."
        )
    if length == 0:
        return b""
    return np.memmap(path, np.uint8, "r", offset, (length,)).data
