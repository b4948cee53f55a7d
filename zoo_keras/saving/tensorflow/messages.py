"""What files of TensorFlow say: graphs, functions, signatures, constants.

In: bytes. Out: plain records, without meaning. Source: graph.proto, function.proto,
saved_model.proto, tensor.proto.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import FileError
from zoo_keras.saving import protobuf as pb
from zoo_keras.saving.tensorflow.table import BFLOAT16, DTYPES, STRING, typed

_LARGEST = 1 << 24  # elements of a constant whose single value is repeated


class Node(NamedTuple):
    """A call of an op; attributes are read when asked for."""

    kind: str
    name: str
    inputs: list[str]
    attributes: dict[str, memoryview]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        return _value(pb.fields(self.attributes[name])) if name in self.attributes else default


class Body(NamedTuple):
    """A graph or a function: arguments, nodes by name, and what a function gives, by name."""

    arguments: list[str]
    nodes: dict[str, Node]
    returns: list[str]


class Port(NamedTuple):
    """An end of a signature: its name, tensor, DataType, and shape with None for open sizes."""

    name: str
    tensor: str
    dtype: int
    shape: list[int | None] | None


class Saved(NamedTuple):
    """A SavedModel."""

    graph: Body
    library: dict[str, Body]
    signatures: dict[str, tuple[list[Port], list[Port]]]
    restore: str  # the node that reads the checkpoint
    objects: pb.Fields


def saved(data: memoryview) -> Saved:
    """A file saved_model.pb."""
    found = pb.fields(data)
    meta: pb.Fields = next(pb.messages(found, 2), {})
    if 2 not in meta:
        raise FileError(
            f"the file holds no graph. Received: {len(found.get(2, ()))} parts. It is no "
            "SavedModel, or damaged."
        )
    signatures = {k: _signature(v) for k, v in _map(meta, 5).items()}
    graph, library = body_and_library(pb.message(meta, 2))
    restore = pb.text(pb.message(meta, 3), 3)
    return Saved(graph, library, signatures, restore, pb.message(meta, 7))


def body_and_library(graph: pb.Fields) -> tuple[Body, dict[str, Body]]:
    """A GraphDef, and its functions."""
    found = {}
    for function in pb.messages(pb.message(graph, 2), 1):
        signature = pb.message(function, 1)
        given = {k: _text(v) for k, v in _map(function, 4).items()}
        returns = [given.get(pb.text(a, 1), "") for a in pb.messages(signature, 3)]
        arguments = [pb.text(a, 1) for a in pb.messages(signature, 2)]
        found[pb.text(signature, 1)] = Body(arguments, _nodes(function, 3), returns)
    return Body([], _nodes(graph, 1), []), found


def _nodes(found: pb.Fields, number: int) -> dict[str, Node]:
    made = {}
    for node in pb.messages(found, number):
        inputs = [name for name in pb.texts(node, 3) if not name.startswith("^")]
        made[pb.text(node, 1)] = Node(pb.text(node, 2), pb.text(node, 1), inputs, _map(node, 5))
    return made


def _map(found: pb.Fields, number: int) -> dict[str, memoryview]:
    return {pb.text(entry, 1): pb.raw(entry, 2) for entry in pb.messages(found, number)}


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")


def _signature(data: memoryview) -> tuple[list[Port], list[Port]]:
    found = pb.fields(data)
    inputs, outputs = ([_port(k, v) for k, v in _map(found, n).items()] for n in (1, 2))
    return inputs, outputs


def _port(name: str, data: memoryview) -> Port:
    found = pb.fields(data)
    shape = _shape(pb.message(found, 3))
    opened = None if shape is None else [n if n >= 0 else None for n in shape]
    return Port(name, pb.text(found, 1), pb.integer(found, 2), opened)


def _shape(found: pb.Fields) -> list[int] | None:
    """Sizes, -1 for open ones; None for a shape of unknown rank."""
    return None if pb.integer(found, 3) else [pb.integer(n, 1) for n in pb.messages(found, 2)]


def _value(found: pb.Fields) -> Any:
    """What an AttrValue holds."""
    if 1 in found:
        return _list(pb.message(found, 1))
    if 2 in found:
        return _text(pb.raw(found, 2))
    if 4 in found:
        return pb.number_of(found, 4)
    for number in (3, 5, 6):
        if number in found:
            return pb.integer(found, number)
    if 7 in found:
        return _shape(pb.message(found, 7))
    if 8 in found:
        return tensor(pb.message(found, 8))
    return pb.text(pb.message(found, 10), 1) if 10 in found else None


def _list(found: pb.Fields) -> list[Any]:
    if 2 in found:
        return pb.texts(found, 2)
    return pb.floats(found, 4).tolist() if 4 in found else pb.integers(found, 3)


# ---- constants -----------------------------------------------------------------------------------


def tensor(found: pb.Fields) -> Any:
    """A TensorProto as an array; texts as a list."""
    dtype, shape = pb.integer(found, 1), _shape(pb.message(found, 2)) or []
    if dtype == STRING:
        return [_text(value) for value in found.get(8, ()) if not isinstance(value, int)]
    if 4 in found:
        return typed(pb.raw(found, 4), dtype, shape, "a constant")
    values = _listed(found, dtype)
    if len(shape) > 32:
        raise FileError(f"a constant has at most 32 axes. Received: {len(shape)}. It is damaged.")
    count = math.prod(shape)
    if values.size == count:
        return values.reshape(shape)
    if any(n < 0 for n in shape) or values.size > count or count > _LARGEST:
        raise FileError(
            f"a constant has other than the values of its shape. Received: shape {shape}, "
            f"{values.size} values. It is damaged."
        )
    if values.size == 0:
        values = np.zeros(1, values.dtype)
    rest = np.full(count - values.size, values[-1])  # the last value stands for all behind it
    return np.concatenate([values, rest]).reshape(shape)


def _listed(found: pb.Fields, dtype: int) -> np.ndarray:
    if dtype == 1:
        return pb.floats(found, 5)
    if dtype == 2:
        return pb.floats(found, 6, "<f8")
    numbers = pb.integers(found, {9: 10, 10: 11, 19: 13, 14: 13, 22: 16, 23: 17}.get(dtype, 7))
    if dtype in (19, BFLOAT16):  # two bytes in a number each
        data = (np.array(numbers, np.int64) & 0xFFFF).astype("<u2").tobytes()
        return typed(data, dtype, [len(numbers)], "a constant")
    if dtype not in DTYPES:
        return typed(b"", dtype, [], "a constant")  # refused
    return np.array(numbers, np.int64).astype(DTYPES[dtype])
