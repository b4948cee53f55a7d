"""from_caffe: a functional model of a prototxt, with the weights of a caffemodel.

In: two paths. Out: a Model with channels first, as Caffe has them. The layers become nodes of ONNX,
which its importer makes layers of. Source: caffe.proto.
"""

from __future__ import annotations

import math
import mmap
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.models.model import Model
from zoo_keras.saving import files
from zoo_keras.saving import protobuf as pb
from zoo_keras.saving.caffe import text
from zoo_keras.saving.caffe.text import Fields
from zoo_keras.saving.onnx.graph import Importer, labelled
from zoo_keras.saving.onnx.model_file import Contents, Node, Port

_OPSET, _MOST_LAYERS = 18, 10_000
_INPUTS = ("Data", "ImageData", "HDF5Data", "MemoryData", "DummyData", "WindowData")
_FOR_TRAINING = ("Accuracy", "SoftmaxWithLoss", "EuclideanLoss", "HingeLoss", "Silence",
                 "SigmoidCrossEntropyLoss", "MultinomialLogisticLoss", "InfogainLoss",
                 "ContrastiveLoss")  # fmt: skip
# Names of the first Caffe, where they are not today's in capitals.
_OLD = {"SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH", "RELU": "ReLU", "LRN": "LRN",
        "ABSVAL": "AbsVal", "BNLL": "BNLL", "ELU": "ELU", "HDF5_DATA": "HDF5Data"}  # fmt: skip
Blobs = dict[str, list[np.ndarray]]


def from_caffe(
    prototxt: Any, caffemodel: Any, input_shape: Sequence[int] | None = None,
    name: str | None = None,
) -> Model:  # fmt: skip
    """The net of a prototxt (`deploy.prototxt`) with the weights of a caffemodel.

    Args:
        prototxt: what the net is, as text.
        caffemodel: its arrays, of any Caffe.
        input_shape: channels, rows and columns, where the prototxt does not tell them.
        name: the model's; by default the prototxt's.

    Images have their channels first: (rows, channels, height, width). Layers for training and data
    are left out. Raises FileError for what is no such file or lacks arrays, UnsupportedError naming
    all layers that are not known.

    >>> model = from_caffe("deploy.prototxt", "bvlc_alexnet.caffemodel")
    """
    labels = [files.path_text(p) for p in (prototxt, caffemodel)]
    with files.readable(labels[0]) as path, labelled(labels[0]):
        told = text.parse(pathlib.Path(path).read_text("utf-8", "replace"))
    with files.readable(labels[1]) as path, labelled(labels[1]):
        blobs = _blobs(path)
    with labelled(labels[0]):
        net = _Net(told, blobs, input_shape)
        given = name or str(told.get("name", ["net"])[0])
        return Importer(net.contents()).model(re.sub(r"\W+", "_", given).strip("_") or "net")


# ---- the caffemodel ------------------------------------------------------------------------------


def _blobs(path: str) -> Blobs:
    """The arrays of each layer by its name."""
    if os.path.getsize(path) == 0:
        raise FileError("the file holds no layers. Received: 0 bytes. Get a fresh copy.")
    with open(path, "rb") as file:
        net = pb.fields(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    found = {pb.text(m, 1): [_blob(b) for b in pb.messages(m, 7)] for m in pb.messages(net, 100)}
    old = {pb.text(m, 4): [_blob(b) for b in pb.messages(m, 6)] for m in pb.messages(net, 2)}
    if not found and not old:
        raise FileError(
            f"the file holds no layers. Received: fields {sorted(net)[:8]}. It is no caffemodel, "
            "or "
            "damaged."
        )
    return found | old


def _blob(found: pb.Fields) -> np.ndarray:
    shape = pb.integers(pb.message(found, 7), 1)
    if 7 not in found:  # of the first Caffe: always four sizes
        shape = [pb.integer(found, n) for n in (1, 2, 3, 4)]
    values = pb.floats(found, 8, "<f8") if 8 in found else pb.floats(found, 5)
    if len(shape) > 32 or any(n < 0 for n in shape) or math.prod(shape) != values.size:
        raise FileError(
            f"an array has other than the values of its shape. Received: shape {shape[:32]}, "
            f"{values.size} values. The file is damaged; get a fresh copy."
        )
    return values.astype(np.float32).reshape(shape)


# ---- the prototxt --------------------------------------------------------------------------------


def one(fields: Fields, name: str, default: Any = None) -> Any:
    """The value of a field that is there once."""
    return fields[name][-1] if fields.get(name) else default


def _kind(layer: Fields) -> str:
    given = str(one(layer, "type", ""))
    if not given.isupper():
        return given
    return _OLD.get(given) or "".join(part.capitalize() for part in given.split("_"))


def _is_used(layer: Fields) -> bool:
    """Whether a layer is there when the net predicts."""
    said = [one(rule, "phase") for rule in layer.get("include", []) if isinstance(rule, dict)]
    left = [one(rule, "phase") for rule in layer.get("exclude", []) if isinstance(rule, dict)]
    return (not any(said) or "TEST" in said) and "TEST" not in left


class _Net:
    """Nodes while layers are read; tensors are called by their blob, and renamed when a layer
    writes over its input."""

    def __init__(self, told: Fields, blobs: Blobs, shape: Sequence[int] | None) -> None:
        layers = [*told.get("layers", []), *told.get("layer", [])]
        if not layers or not all(isinstance(layer, dict) for layer in layers):
            raise FileError(
                f"there are no layers. Received: {sorted(told)[:8]}. It is no prototxt of a net."
            )
        if len(layers) > _MOST_LAYERS:
            raise FileError(
                f"a net has at most {_MOST_LAYERS} layers. Received: {len(layers)}. It is damaged."
            )
        self.layers = [layer for layer in layers if _is_used(layer)]
        self.blobs, self.shape = blobs, shape
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[Port] = []
        self.current: dict[str, str] = {}  # blob -> the tensor that it is now
        self._add_inputs(told)
        self._check()
        for number, layer in enumerate(self.layers):
            kind = _kind(layer)
            if kind in _MAKERS:
                _MAKERS[kind](_Layer(self, layer, number))

    def _check(self) -> None:
        known = {*_MAKERS, *_INPUTS, *_FOR_TRAINING, "Input"}
        unknown = sorted({_kind(layer) for layer in self.layers} - known)
        if unknown:
            raise UnsupportedError(
                f"The net has layers that are not supported. Received: {', '.join(unknown)}. Cut "
                "it before them."
            )

    def _add_inputs(self, told: Fields) -> None:
        names = [str(n) for n in told.get("input", [])]
        sizes = told.get("input_dim", [])
        shapes = [s.get("dim", []) for s in told.get("input_shape", [])]
        shapes += [sizes[i : i + 4] for i in range(0, len(sizes), 4)]
        for layer in self.layers:
            if _kind(layer) == "Input":
                names += layer.get("top", [])
                given = one(layer, "input_param", {}).get("shape", [])
                shapes += [s.get("dim", []) for s in given]
            elif _kind(layer) in _INPUTS:
                names += layer.get("top", [])[:1]  # the second is the label
        if self.shape is not None:
            shapes = [[1, *self.shape] for _ in names]
        if not names or len(shapes) < len(names):
            raise FileError(
                f"the net does not tell the shapes of its inputs. Received: inputs {names}. Pass "
                "input_shape=(channels, rows, columns)."
            )
        for name, shape in zip(dict.fromkeys(names), shapes, strict=False):
            self.inputs.append(Port(name, "float32", [None, *map(int, shape[1:])]))
            self.current[name] = name

    def contents(self) -> Contents:
        """The whole net; outputs are what no layer reads."""
        read = {name for node in self.nodes for name in node.inputs}
        made = {name: i for i, node in enumerate(self.nodes) for name in node.outputs}
        ends = [Port(name, "float32", None) for name in made if name not in read]
        return Contents(_OPSET, self.nodes, self.constants, self.inputs, ends)


class _Layer:
    """One layer while its nodes are made."""

    def __init__(self, net: _Net, told: Fields, number: int) -> None:
        self.net, self.told, self.kind = net, told, _kind(told)
        self.name = str(one(told, "name", f"layer{number}"))
        self.place = f"{number}"

    def settings(self, name: str) -> Fields:
        """The message with the layer's own arguments."""
        found = one(self.told, name, {})
        return found if isinstance(found, dict) else {}

    def bottoms(self) -> list[str]:
        """The tensors that the layer reads."""
        names = [str(n) for n in self.told.get("bottom", [])]
        unknown = [n for n in names if n not in self.net.current]
        if unknown or not names:
            raise FileError(
                f'"{self.name}" must read what layers before it make. Received: {unknown}. The '
                "prototxt is damaged."
            )
        return [self.net.current[n] for n in names]

    def top(self, count: int = 1) -> list[str]:
        """Names for what the layer makes."""
        names = [str(n) for n in self.told.get("top", [])][:count] or [self.name]
        for name in names:
            self.net.current[name] = f"{name}@{self.place}"
        return [f"{name}@{self.place}" for name in names]

    def arrays(self, least: int) -> list[np.ndarray]:
        """The layer's arrays; FileError when there are fewer."""
        found = self.net.blobs.get(self.name, [])
        if len(found) < least:
            raise FileError(
                f'{self.kind} "{self.name}" needs {least} arrays. Received: {len(found)} in the '
                "caffemodel. It belongs to another prototxt."
            )
        return found

    def constant(self, name: str, value: Any) -> str:
        """A tensor that is known."""
        found = f"{self.place}/{name}"
        self.net.constants[found] = np.asarray(value)
        return found

    def node(self, kind: str, inputs: list[str], outputs: list[str], **given: Any) -> list[str]:
        """Add a node."""
        self.net.nodes.append(Node(kind, self.name, inputs, outputs, given))
        return outputs

    def refuse(self, rule: str, received: Any) -> UnsupportedError:
        """The error for what cannot be made."""
        return UnsupportedError(f'{self.kind} "{self.name}": {rule}. Received: {received}.')


# ---- layers --------------------------------------------------------------------------------------

_MAKERS: dict[str, Callable[[_Layer], Any]] = {}


def _makes(*kinds: str) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        _MAKERS.update(dict.fromkeys(kinds, function))
        return function

    return register


def _pair(told: Fields, name: str, short: str, default: int | None) -> list[int]:
    """Rows and columns of `kernel_size`, or of `kernel_h` and `kernel_w`."""
    given = [int(n) for n in told.get(name, [])]
    sides = [one(told, f"{short}_h"), one(told, f"{short}_w")]
    if None not in sides:
        return [int(n) for n in sides]
    if not given and default is None:
        raise FileError(
            f"there is no {name}. Received: {sorted(told)[:8]}. The prototxt is damaged."
        )
    return (given or [default or 0]) * 2 if len(given) < 2 else given[:2]


@_makes("Convolution", "Deconvolution")
def _convolution(layer: _Layer) -> None:
    told = layer.settings("convolution_param")
    pads = _pair(told, "pad", "pad", 0)
    has_bias = bool(one(told, "bias_term", True))
    arrays = layer.arrays(1 + has_bias)
    inputs = [*layer.bottoms(), layer.constant("kernel", arrays[0])]
    if has_bias:
        inputs.append(layer.constant("bias", arrays[1].ravel()))
    kind = "Conv" if layer.kind == "Convolution" else "ConvTranspose"
    layer.node(
        kind, inputs, layer.top(), strides=_pair(told, "stride", "stride", 1), pads=pads * 2,
        dilations=_pair(told, "dilation", "dilation", 1), group=int(one(told, "group", 1)),
    )  # fmt: skip


@_makes("Pooling")
def _pooling(layer: _Layer) -> None:
    told = layer.settings("pooling_param")
    kind = str(one(told, "pool", "MAX"))
    kinds = {"MAX": "Max", "AVE": "Average", "0": "Max", "1": "Average"}
    if kind not in kinds:
        raise layer.refuse("pools are MAX and AVE", kind)
    if one(told, "global_pooling", False):
        layer.node(f"Global{kinds[kind]}Pool", layer.bottoms(), layer.top())
        return
    ceil = int(str(one(told, "round_mode", "CEIL")) in ("CEIL", "0"))
    layer.node(
        f"{kinds[kind]}Pool", layer.bottoms(), layer.top(), ceil_mode=ceil, count_include_pad=1,
        kernel_shape=_pair(told, "kernel_size", "kernel", None),
        strides=_pair(told, "stride", "stride", 1), pads=_pair(told, "pad", "pad", 0) * 2,
    )  # fmt: skip


@_makes("InnerProduct")
def _inner_product(layer: _Layer) -> None:
    told = layer.settings("inner_product_param")
    if int(one(told, "axis", 1)) != 1:
        raise layer.refuse("it reads all axes but that of rows", f"axis={one(told, 'axis')}")
    has_bias = bool(one(told, "bias_term", True))
    arrays = layer.arrays(1 + has_bias)
    kernel = arrays[0].reshape(arrays[0].shape[-2:])
    flat = layer.node("Flatten", layer.bottoms(), [f"{layer.place}/flat"], axis=1)
    inputs = [*flat, layer.constant("kernel", kernel)]
    if has_bias:
        inputs.append(layer.constant("bias", arrays[1].ravel()))
    layer.node("Gemm", inputs, layer.top(), transB=int(not one(told, "transpose", False)))


@_makes("BatchNorm")
def _batch_norm(layer: _Layer) -> None:
    epsilon = float(one(layer.settings("batch_norm_param"), "eps", 1e-5))
    mean, variance, factor = layer.arrays(3)[:3]
    scale = 0.0 if factor.ravel()[0] == 0 else 1.0 / float(factor.ravel()[0])
    ones = np.ones(mean.size, np.float32)
    weights: list[np.ndarray] = [ones, 0 * ones, mean.ravel() * scale, variance.ravel() * scale]
    names = [layer.constant(str(i), w.astype(np.float32)) for i, w in enumerate(weights)]
    layer.node("BatchNormalization", [*layer.bottoms(), *names], layer.top(), epsilon=epsilon)


@_makes("Scale")
def _scale(layer: _Layer) -> None:
    told = layer.settings("scale_param")
    if len(layer.told.get("bottom", [])) != 1 or int(one(told, "axis", 1)) != 1:
        raise layer.refuse("each channel has a factor of its own", "two inputs, or another axis")
    arrays = layer.arrays(2 if one(told, "bias_term", False) else 1)
    bias = arrays[1] if len(arrays) > 1 else 0 * arrays[0]
    gamma, beta = arrays[0].ravel(), bias.ravel()
    before = layer.net.nodes[-1] if layer.net.nodes else None
    follows = before is not None and before.kind == "BatchNormalization"
    if before is not None and follows and _alone(layer, before):
        for name, value in zip(before.inputs[1:3], (gamma, beta), strict=True):
            layer.net.constants[name] = value
        layer.net.current[str(one(layer.told, "top", layer.name))] = before.outputs[0]
        return
    factors = layer.constant("scale", gamma.reshape(-1, 1, 1))
    made = layer.node("Mul", [*layer.bottoms(), factors], [f"{layer.place}/scaled"])
    layer.node("Add", [*made, layer.constant("shift", beta.reshape(-1, 1, 1))], layer.top())


def _alone(layer: _Layer, before: Node) -> bool:
    """Whether the layer reads what the node makes, and no other layer does."""
    blob = layer.told["bottom"][0]
    readers = [
        other
        for other in layer.net.layers
        if blob in other.get("bottom", []) and blob not in other.get("top", [])
    ]
    return before.outputs == layer.bottoms() and len(readers) <= (blob not in layer.told["top"])


@_makes("ReLU")
def _relu(layer: _Layer) -> None:
    slope = float(one(layer.settings("relu_param"), "negative_slope", 0.0))
    kind, given = ("LeakyRelu", {"alpha": slope}) if slope else ("Relu", {})
    layer.node(kind, layer.bottoms(), layer.top(), **given)


@_makes("PReLU")
def _prelu(layer: _Layer) -> None:
    slope = layer.constant("slope", layer.arrays(1)[0].reshape(-1, 1, 1))
    layer.node("PRelu", [*layer.bottoms(), slope], layer.top())


@_makes("ELU")
def _elu(layer: _Layer) -> None:
    alpha = float(one(layer.settings("elu_param"), "alpha", 1.0))
    layer.node("Elu", layer.bottoms(), layer.top(), alpha=alpha)


@_makes("Sigmoid", "TanH", "AbsVal", "Split", "BNLL")
def _plain(layer: _Layer) -> None:
    kinds = {"TanH": "Tanh", "AbsVal": "Abs", "Split": "Identity", "BNLL": "Softplus"}
    inputs = layer.bottoms()
    for name in layer.top(len(layer.told.get("top", [])) or 1):
        layer.node(kinds.get(layer.kind, layer.kind), inputs, [name])


@_makes("Softmax")
def _softmax(layer: _Layer) -> None:
    axis = int(one(layer.settings("softmax_param"), "axis", 1))
    layer.node("Softmax", layer.bottoms(), layer.top(), axis=axis)


@_makes("LRN")
def _local_response(layer: _Layer) -> None:
    told = layer.settings("lrn_param")
    region = str(one(told, "norm_region", "ACROSS_CHANNELS"))
    if region not in ("ACROSS_CHANNELS", "0"):
        raise layer.refuse("it goes across channels", region)
    layer.node("LRN", layer.bottoms(), layer.top(), size=int(one(told, "local_size", 5)),
               alpha=float(one(told, "alpha", 1.0)), beta=float(one(told, "beta", 0.75)),
               bias=float(one(told, "k", 1.0)))  # fmt: skip


@_makes("Dropout")
def _dropout(layer: _Layer) -> None:
    rate = float(one(layer.settings("dropout_param"), "dropout_ratio", 0.5))
    ratio = layer.constant("ratio", np.float32(rate))
    layer.node("Dropout", [*layer.bottoms(), ratio], layer.top())


@_makes("Concat")
def _concat(layer: _Layer) -> None:
    told = layer.settings("concat_param")
    axis = int(one(told, "axis", one(told, "concat_dim", 1)))
    layer.node("Concat", layer.bottoms(), layer.top(), axis=axis)


@_makes("Eltwise")
def _eltwise(layer: _Layer) -> None:
    told, inputs = layer.settings("eltwise_param"), layer.bottoms()
    operation = str(one(told, "operation", "SUM"))
    kinds = {"SUM": "Sum", "PROD": "Mul", "MAX": "Max", "0": "Mul", "1": "Sum", "2": "Max"}
    if operation not in kinds:
        raise layer.refuse("operations are SUM, PROD and MAX", operation)
    for i, factor in enumerate(told.get("coeff", [])[: len(inputs)]):
        if float(factor) != 1.0:
            known = layer.constant(f"factor{i}", np.float32(factor))
            inputs[i] = layer.node("Mul", [inputs[i], known], [f"{layer.place}/part{i}"])[0]
    layer.node(kinds[operation], inputs, layer.top())


@_makes("Flatten")
def _flatten(layer: _Layer) -> None:
    layer.node("Flatten", layer.bottoms(), layer.top(), axis=1)


@_makes("Power")
def _power(layer: _Layer) -> None:
    told, x = layer.settings("power_param"), layer.bottoms()
    steps = (("Mul", "scale", 1.0), ("Add", "shift", 0.0), ("Pow", "power", 1.0))
    for kind, name, default in steps:
        known = layer.constant(name, np.float32(one(told, name, default)))
        x = layer.node(kind, [*x, known], [f"{layer.place}/{name}"])
    layer.node("Identity", x, layer.top())


@_makes("Slice")
def _slice(layer: _Layer) -> None:
    told = layer.settings("slice_param")
    tops, points = layer.told.get("top", []), [int(n) for n in told.get("slice_point", [])]
    axis = int(one(told, "axis", one(told, "slice_dim", 1)))
    if points:
        raise layer.refuse("parts are of one size", f"slice_point={points}")
    layer.node("Split", layer.bottoms(), layer.top(len(tops)), axis=axis, num_outputs=len(tops))


@_makes("Reshape")
def _reshape(layer: _Layer) -> None:
    told = layer.settings("reshape_param")
    sizes = [int(n) for n in one(told, "shape", {}).get("dim", [])]
    if not sizes or "axis" in told or "num_axes" in told:
        raise layer.refuse("a shape for all axes is needed", dict(told))
    target = layer.constant("shape", np.array(sizes, np.int64))
    layer.node("Reshape", [*layer.bottoms(), target], layer.top())
