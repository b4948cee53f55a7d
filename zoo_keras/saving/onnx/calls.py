"""One call of an ONNX op while its model is made, and the table of what can be made.

In: a node, and the values of its inputs: numpy arrays where the file or folding knows them,
KerasTensors elsewhere. Out: the values of its outputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving.onnx.model_file import Node

Converter = Callable[["Call"], Any]
CONVERTERS: dict[str, Converter] = {}
FOLDS: dict[str, Converter] = {}  # with nothing but arrays
_LARGEST = 1 << 28  # elements that a file of few bytes may ask for


def converts(*kinds: str) -> Callable[[Converter], Converter]:
    """Decorator: makes Keras layers and ops of these ops."""
    return _into(CONVERTERS, kinds)


def folds(*kinds: str) -> Callable[[Converter], Converter]:
    """Decorator: computes these ops on arrays."""
    return _into(FOLDS, kinds)


def _into(table: dict[str, Converter], kinds: tuple[str, ...]) -> Callable[[Converter], Converter]:
    def register(function: Converter) -> Converter:
        table.update(dict.fromkeys(kinds, function))
        return function

    return register


class Call:
    """A node with its inputs."""

    def __init__(
        self, node: Node, inputs: list[Any], opset: int, batch: int | None, times: list[int]
    ) -> None:
        self.node, self.inputs, self.opset, self.batch = node, inputs, opset, batch
        self.times = times  # how many rows of each input belong to one row of the model
        self.bias: np.ndarray | None = None  # added by the node that alone reads this one

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        value = self.node.attributes.get(name)
        return default if value is None else value

    def input(self, number: int) -> Any:
        """An input's value; None when it is left out."""
        return self.inputs[number] if number < len(self.inputs) else None

    def constant(self, number: int, what: str, default: Any = None) -> Any:
        """An input that must be known. UnsupportedError for a tensor."""
        value = self.input(number)
        if value is None:
            return default
        if not isinstance(value, np.ndarray):
            raise self.refuse(f"{what} must be a constant", "one that is computed")
        return value

    def setting(self, name: str, number: int, since: int, default: Any = None) -> Any:
        """What was an attribute before opset `since` and is a constant input from then on."""
        if self.opset < since:
            return self.attribute(name, default)
        value = self.constant(number, name)
        return default if value is None else value

    def check(self, shape: Iterable[int]) -> None:
        """FileError for a constant of this shape when it is too large, before memory is taken."""
        count = math.prod(map(int, shape))
        if not 0 <= count <= _LARGEST:
            raise FileError(
                f'{self.node.kind} "{self.name}": a constant has at most {_LARGEST} elements. '
                f"Received: one of {count}. The file is damaged."
            )

    def check_joined(self, *values: Any) -> None:
        """`check` for arrays that go together element by element."""
        self.check(np.broadcast_shapes(*(np.shape(v) for v in values)))

    def refuse(self, rule: str, received: Any) -> UnsupportedError:
        """The error for what cannot be made."""
        return UnsupportedError(
            f'{self.node.kind} "{self.node.name or self.node.outputs[0]}": {rule}. Received: '
            f"{received}. Change the model before it is exported, or cut it there."
        )

    @property
    def name(self) -> str:
        """A name for the layer; the model makes it unique."""
        given = self.node.name or self.node.outputs[0]
        return re.sub(r"[^A-Za-z0-9_]+", "_", given).strip("_") or self.node.kind.lower()


def is_array(value: Any) -> bool:
    """Whether a value is known now."""
    return isinstance(value, np.ndarray)


def operand(value: Any) -> Any:
    """A value as ops take it: float32 and int32 instead of wider numbers."""
    if not is_array(value):
        return value
    if value.dtype.kind == "f":
        return value.astype(np.float32)
    if value.dtype.kind in "iu":
        return np.clip(value, -(1 << 31), (1 << 31) - 1).astype(np.int32)
    return value
