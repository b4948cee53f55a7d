"""from_onnx: a functional model of the nodes of an ONNX file.

In: a path. Out: a Model. Nodes of constants are computed here and now; all others become layers and
ops of Keras, so that the model trains, and saves as `.keras` and `.h5`.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, FileError, UnsupportedError, ZooKerasError
from zoo_keras.layers.input_layer import Input
from zoo_keras.models import Model
from zoo_keras.saving import files
from zoo_keras.saving.onnx import (
    elementwise,
    folding,
    model_file,
    networks,
    recurrent,
    resizing,
    shapes,
)
from zoo_keras.saving.onnx.calls import CONVERTERS, FOLDS, Call, is_array
from zoo_keras.saving.onnx.model_file import Contents, Node, Port

FIRST_OPSET, LAST_OPSET = 7, 22
_SPARE = 1 << 31  # bytes that all computed constants may take, besides 8 for each of the file's
_MAKERS = (elementwise, folding, networks, recurrent, resizing, shapes)  # they fill the tables
_WITH_BIAS = ("MatMul", "tf.Conv2D", "tf.Conv3D")  # products that take the bias behind them
_INPUTS = {"float32": "float32", "float64": "float32", "float16": "float32", "int64": "int32",
           "int32": "int32", "uint8": "uint8", "int8": "int32", "bool": "bool"}  # fmt: skip


def from_onnx(filepath: Any, name: str | None = None) -> Model:
    """The model in an ONNX file, of opset 7 to 22: it predicts, trains on, and saves as `.keras`.

    Args:
        filepath: local, or of any Hadoop file system while a Spark session runs.
        name: the model's; by default the file's name.

    The first axis of each input and output counts rows, whatever number the file has there; all
    other axes are as in the file, images with their channels first. Kernels, biases, tables and
    normalisations become weights of layers; other constants stay constant.

    Raises FileError for what is no such file, UnsupportedError naming all ops that are not known,
    or the node that asks for what is not supported. Source: the ONNX standard.

    >>> model = from_onnx("resnet18.onnx")
    >>> model.predict(images)  # (rows, 3, 224, 224)
    """
    label = files.path_text(filepath)
    with files.readable(label) as path, labelled(label):
        contents = model_file.read(path)
        _check(contents)
        return Importer(contents).model(name or _model_name(label))


def _model_name(label: str) -> str:
    return re.sub(r"\W+", "_", label.rpartition("/")[2].removesuffix(".onnx")) or "model"


@contextlib.contextmanager
def labelled(label: str) -> Any:
    """Inside, whatever is wrong with the file is a typed error that names it."""
    try:
        yield
    except (FileError, UnsupportedError, ConfigError) as error:
        raise type(error)(f"{label}: {error}") from error
    except ZooKerasError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise FileError(
            f"{label}: no model can be made of the file. Received: {error!r}"[:400]
            + ". The file is damaged, or its ops do not fit together."
        ) from error


def _check(contents: Contents) -> None:
    if not FIRST_OPSET <= contents.opset <= LAST_OPSET:
        raise UnsupportedError(
            f"Opsets {FIRST_OPSET} to {LAST_OPSET} are read. Received: opset {contents.opset}. "
            "Convert the file with onnx.version_converter, or export it again."
        )
    known = {*CONVERTERS, *FOLDS, "Shape", "Size"}
    unknown = sorted({node.kind for node in contents.nodes} - known)
    if unknown:
        raise UnsupportedError(
            f"The model has ops that are not supported. Received: {', '.join(unknown)}. Replace "
            "them before the model is exported, or cut it before them."
        )
    if not contents.inputs or not contents.outputs:
        raise FileError(
            "a graph needs inputs and outputs. Received: "
            f"{len(contents.inputs)} and {len(contents.outputs)}. The file is damaged."
        )


def _times(call: Call, made: Any) -> int:
    """How many rows of an output belong to one row of the model."""
    given = max(call.times, default=1)
    x = call.input(0)
    if call.node.kind not in ("Reshape", "Flatten") or is_array(x):
        return given
    before, after = (int(np.prod([n or 1 for n in t.shape])) for t in (x, made))
    return max(call.times[0] * before // max(after, 1), 1)


class Importer:
    """Values by name while nodes are made one after the other.

    Args:
        named: what inputs are called in the model, where that is not the name of their tensor.
    """

    def __init__(self, contents: Contents, named: dict[str, str] | None = None) -> None:
        self.contents, self.named = contents, named or {}
        self.values: dict[str, Any] = dict(contents.constants)
        self.readers: dict[str, list[Node]] = {}
        for node in contents.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.joined: set[int] = set()  # nodes that became part of the one before
        first = contents.inputs[0].shape or [None]
        self.batch = first[0] if first else None
        self.used: set[str] = set()
        self.left = _SPARE + 8 * sum(c.nbytes for c in self.values.values())
        self.times: dict[int, int] = {}  # id of a tensor -> its rows for each row of the model

    def model(self, name: str) -> Model:
        """The whole model."""
        inputs = [self._input(port) for port in self.contents.inputs]
        for node in self.contents.nodes:
            if id(node) not in self.joined:
                self._make(node)
        outputs = [self._output(port) for port in self.contents.outputs]
        one_in, one_out = len(inputs) == 1, len(outputs) == 1
        return Model(inputs[0] if one_in else inputs, outputs[0] if one_out else outputs, name=name)

    def _input(self, port: Port) -> Any:
        if not port.shape or port.dtype not in _INPUTS:
            raise UnsupportedError(
                f"Inputs have rows, of numbers. Received: {port.name!r} of shape {port.shape} and "
                f"dtype {port.dtype}. Export the model with such inputs."
            )
        given = self.named.get(port.name, port.name)
        name = self._unique(re.sub(r"\W+", "_", given).strip("_") or "input")
        shape = tuple(n if n else None for n in port.shape[1:])
        made = Input(shape, dtype=_INPUTS[port.dtype], name=name)
        self.values[port.name] = made
        return made

    def _output(self, port: Port) -> Any:
        value = self._value(port.name)
        if is_array(value):
            raise UnsupportedError(
                f"Outputs depend on inputs. Received: {port.name!r}, a constant. Leave it out."
            )
        return value

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise FileError(
                f"a node reads what the graph never makes. Received: {name!r}. The file is damaged."
            )
        return self.values[name]

    def _unique(self, name: str) -> str:
        found, number = name, 1
        while found in self.used:
            number += 1
            found = f"{name}_{number}"
        self.used.add(found)
        return found

    def _make(self, node: Node) -> None:
        inputs = [self._value(name) if name else None for name in node.inputs]
        named = node._replace(name=self._unique(node.name or node.outputs[0]))
        times = [self.times.get(id(value), 1) for value in inputs]
        call = Call(named, inputs, self.contents.opset, self.batch, times)
        outputs = node.outputs
        if node.kind in ("Shape", "Size"):
            made = folding.shape(call) if node.kind == "Shape" else folding.size(call)
        elif all(v is None or is_array(v) for v in inputs) and node.kind in FOLDS:
            made = self._folded(call)
        elif node.kind in CONVERTERS:
            outputs = self._with_bias(call, node)
            made = CONVERTERS[node.kind](call)
        else:
            raise call.refuse("its inputs must be constants", "tensors")
        many = list(made) if isinstance(made, (list, tuple)) else [made]
        self.values.update(zip(outputs, many, strict=False))
        for value in many:
            if not is_array(value):
                self.times[id(value)] = _times(call, value)

    def _folded(self, call: Call) -> list[np.ndarray]:
        """A node of constants. FileError when all of them together take too much."""
        with np.errstate(all="ignore"):
            made = FOLDS[call.node.kind](call)
        arrays = [np.asarray(v) for v in (made if isinstance(made, (list, tuple)) else [made])]
        given = [v for v in call.inputs if is_array(v)]
        for array in arrays:
            if not any(np.may_share_memory(array, v) for v in given):
                self.left -= array.nbytes
        if self.left < 0:
            raise FileError(
                f"the constants that the file computes are too large. Received: {-self.left} bytes "
                f'too many at {call.node.kind} "{call.name}". The file is damaged.'
            )
        return arrays

    def _with_bias(self, call: Call, node: Node) -> list[str]:
        """Outputs of a product; a bias that the next node adds becomes the product's."""
        readers = self.readers.get(node.outputs[0], [])
        if node.kind not in _WITH_BIAS or len(readers) != 1 or readers[0].kind != "Add":
            return node.outputs
        if node.outputs[0] in {port.name for port in self.contents.outputs}:
            return node.outputs
        other = next((n for n in readers[0].inputs if n != node.outputs[0]), "")
        kernel: Any = call.input(1)
        bias: Any = self.values.get(other)
        if not (is_array(bias) and is_array(kernel) and kernel.ndim > 1):
            return node.outputs
        if node.kind == "MatMul" and kernel.ndim != 2:
            return node.outputs
        if is_array(call.input(0)) or bias.shape != kernel.shape[-1:]:
            return node.outputs
        call.bias = bias
        self.joined.add(id(readers[0]))
        return readers[0].outputs
