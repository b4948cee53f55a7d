"""Models out of graphs of TensorFlow: those of SavedModels, and frozen ones.

In: a graph whose variables are known. Out: a functional Model, made as from ONNX.
"""

from __future__ import annotations

import re
from typing import Any

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.models.model import Model
from zoo_keras.saving import files
from zoo_keras.saving import protobuf as pb
from zoo_keras.saving.onnx import model_file
from zoo_keras.saving.onnx.graph import Importer, labelled
from zoo_keras.saving.tensorflow import converters, messages
from zoo_keras.saving.tensorflow.flat import Flat, Flattener
from zoo_keras.saving.tensorflow.messages import Body
from zoo_keras.saving.tensorflow.table import DTYPES, mapped
from zoo_keras.saving.tensorflow.words import OPSET, Translator

_TABLES = converters  # importing it fills the tables
_NOT_OUTPUTS = ("NoOp", "Const", "Placeholder", "Assert")


def from_graph_def(filepath: Any, outputs: Any = None, name: str | None = None) -> Model:
    """The model in a frozen graph of TensorFlow (`.pb`): it predicts, trains on, and is saved.

    Args:
        filepath: local, or of any Hadoop file system while a Spark session runs.
        outputs: names of tensors that the model gives; by default what no node reads.
        name: the model's; by default the file's name.

    Inputs are the placeholders that the outputs depend on. Raises FileError for what is no such
    file, UnsupportedError naming all ops that are not known, or variables that are not frozen.

    >>> model = from_graph_def("mobilenet_frozen.pb", outputs=["predictions/Softmax"])
    """
    label = files.path_text(filepath)
    with files.readable(label) as path, labelled(label):
        body, library = messages.body_and_library(pb.fields(mapped(path)))
        if not body.nodes:
            raise FileError(
                "the file holds no graph. Received: no nodes. It is no GraphDef, or damaged."
            )
        wanted = [outputs] if isinstance(outputs, str) else list(outputs or _unread(body))
        flat = Flattener(library, _not_frozen)
        found = flat.add(body, wanted, {})
        inputs = [(own, _port(own, node)) for own, node in flat.flat.inputs.items()]
        stem = re.sub(r"\W+", "_", label.rpartition("/")[2].removesuffix(".pb")) or "model"
        return model_of(flat.flat, sorted(inputs), found, name or stem)


def _unread(body: Body) -> list[str]:
    """Nodes that no other one reads."""
    read = {i.partition(":")[0] for node in body.nodes.values() for i in node.inputs}
    return [
        n.name for n in body.nodes.values() if n.name not in read and n.kind not in _NOT_OUTPUTS
    ]


def _not_frozen(name: str) -> Any:
    raise UnsupportedError(
        f"The graph has variables. Received: {name!r}. Freeze it, or load the folder of the "
        "SavedModel."
    )


def _port(name: str, node: messages.Node) -> model_file.Port:
    shape = node.attribute("shape")
    opened = None if shape is None else [n if n >= 0 else None for n in shape]
    return model_file.Port(name, DTYPES.get(node.attribute("dtype"), "unknown"), opened)


def model_of(flat: Flat, inputs: list[tuple[str, model_file.Port]], outputs: Any, name: str) -> Any:
    """A model of a flat graph.

    Args:
        inputs: (name of a tensor, what the model's input is called, and its kind).
        outputs: names of tensors.
    """
    nodes = Translator(flat).nodes
    if not inputs or not outputs:
        raise FileError(
            f"a graph needs inputs and outputs. Received: {len(inputs)} and {len(outputs)}. The "
            "file "
            "is damaged."
        )
    ends = [model_file.Port(end, "float32", None) for end in outputs]
    contents = model_file.Contents(OPSET, nodes, flat.arrays, [], ends)
    contents = contents._replace(inputs=[port._replace(name=own) for own, port in inputs])
    named = {own: port.name for own, port in inputs}
    return Importer(contents, named).model(name)
