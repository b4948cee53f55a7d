"""ONNX files of torch's exporter, and of single ops by hand, with what onnxruntime makes of them.

Each is `data/onnx/<name>.onnx`; inputs and outputs are in `onnx.npz`. torch exports every net for a
fixed and for an open number of rows, and for several opsets.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from .arrays import generator
from .cases import onnx_graphs, onnx_nets
from .store import DATA, Writer

FILES = DATA / "onnx"


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # torch calls this exporter the old one
    writer = Writer("onnx")
    for name, (net, shapes) in onnx_nets.NETS.items():
        torch.manual_seed(3)
        exported(writer, name, net(nn, torch), shapes)
    for name, graph in onnx_graphs.GRAPHS.items():
        rng = generator("onnx" + name)
        model = hand_made(graph, rng)
        inputs = {f"x{i}": drawn(port, rng) for i, port in enumerate(graph.inputs)}
        keep(writer, name, model, inputs)
    writer.write()


def exported(writer: Writer, name: str, net: Any, inputs: Any) -> None:
    net.eval()
    for layer in net.modules():
        if getattr(layer, "running_var", None) is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 1.5)
    rng = generator("onnx" + name)
    x = tuple(torch.from_numpy(drawn(port, rng)) for port in inputs)
    names = [f"x{i}" for i in range(len(x))]
    for opset, is_open in ((9, True), (11, False), (13, True), (17, False), (18, True)):
        if opset < onnx_nets.FIRST_OPSET.get(name, 0):
            continue
        axes = {n: {0: "rows"} for n in names} if is_open else None
        out = io.BytesIO()
        torch.onnx.export(net, x, out, opset_version=opset, dynamo=False, input_names=names,
                          output_names=["y"], dynamic_axes=axes)  # fmt: skip
        arrays = {n: v.numpy() for n, v in zip(names, x, strict=True)}
        keep(writer, f"{name}_{opset}", out.getvalue(), arrays)


def drawn(port: tuple, rng: np.random.Generator) -> np.ndarray:
    """(shape, kind): float32 in [-2, 2], for "positive" in [0.1, 2]; an int is a vocabulary."""
    shape, kind = port
    if isinstance(kind, int):
        return rng.integers(0, kind, shape).astype(np.int64)
    return rng.uniform(0.1 if kind == "positive" else -2, 2, shape).astype(np.float32)


def hand_made(graph: Any, rng: np.random.Generator) -> bytes:
    kinds = {True: TensorProto.INT64, False: TensorProto.FLOAT}
    inputs = [
        helper.make_tensor_value_info(f"x{i}", kinds[isinstance(kind, int)], ["rows", *shape[1:]])
        for i, (shape, kind) in enumerate(graph.inputs)
    ]
    constants = [
        numpy_helper.from_array(value(given, rng), name) for name, given in graph.constants.items()
    ]
    nodes = [helper.make_node(kind, i, o, **attributes) for kind, i, o, attributes in graph.nodes]
    outputs = [helper.make_empty_tensor_value_info(name) for name in graph.outputs]
    made = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=min(8, 10)
    )
    found: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
    return found


def value(given: Any, rng: np.random.Generator) -> np.ndarray:
    """An array as it is; a tuple is the shape of one to draw."""
    if isinstance(given, tuple):
        return rng.normal(0, 0.5, given).astype(np.float32)
    return np.asarray(given)


def keep(writer: Writer, name: str, model: bytes, inputs: dict[str, np.ndarray]) -> None:
    (FILES / f"{name}.onnx").write_bytes(model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = session.run(None, inputs)
    arrays = inputs | {f"predicted{i}": np.asarray(v) for i, v in enumerate(outputs)}
    writer.add(name, {}, arrays)
