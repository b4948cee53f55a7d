"""Ops of TensorFlow in the words of ONNX, where both have the same.

In: a node of TensorFlow. Out: nodes of ONNX, and others of the kind "tf.<op>", which
`converters.py` makes layers of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving.onnx import model_file
from zoo_keras.saving.tensorflow.flat import Flat
from zoo_keras.saving.tensorflow.messages import Node
from zoo_keras.saving.tensorflow.table import DTYPES

OPSET = 18  # axes are inputs from then on
_SAME = {
    "AddV2": "Add", "Add": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Div": "Div",
    "Maximum": "Max", "Minimum": "Min", "Pow": "Pow", "AddN": "Sum", "BiasAddV1": "Add",
    "LogicalAnd": "And", "LogicalOr": "Or", "LogicalNot": "Not", "Equal": "Equal",
    "Greater": "Greater", "Less": "Less", "GreaterEqual": "GreaterOrEqual",
    "LessEqual": "LessOrEqual", "SelectV2": "Where",
    "Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Softplus": "Softplus",
    "Softsign": "Softsign", "Elu": "Elu", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt",
    "Neg": "Neg", "Abs": "Abs", "Floor": "Floor", "Ceil": "Ceil", "Rint": "Round",
    "Sign": "Sign", "Erf": "Erf", "Sin": "Sin", "Cos": "Cos", "Tan": "Tan", "Asin": "Asin",
    "Acos": "Acos", "Atan": "Atan", "Sinh": "Sinh", "Cosh": "Cosh", "Asinh": "Asinh",
    "Acosh": "Acosh", "Atanh": "Atanh", "Reciprocal": "Reciprocal", "Inv": "Reciprocal",
    "Shape": "Shape", "Size": "Size", "Reshape": "Reshape", "Tile": "Tile", "Range": "Range",
    "BroadcastTo": "Expand", "Softmax": "Softmax", "LogSoftmax": "LogSoftmax",
    "Selu": "Selu", "IsNan": "IsNaN", "IsInf": "IsInf",
}  # fmt: skip
_REDUCTIONS = {"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin",
               "Prod": "ReduceProd"}  # fmt: skip
_OWN = (
    "Conv2D", "DepthwiseConv2dNative", "Conv3D", "Conv2DBackpropInput", "MaxPool", "AvgPool",
    "MaxPool3D", "AvgPool3D", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3",
    "StridedSlice", "Slice", "Pad", "PadV2", "MirrorPad", "BatchMatMul", "BatchMatMulV2",
    "BatchMatMulV3", "Fill", "ResizeBilinear", "ResizeNearestNeighbor", "Square",
    "SquaredDifference", "Rsqrt", "OneHot", "ZerosLike", "OnesLike", "FloorDiv", "NotEqual",
    "Erfc", "Transpose", "Conv3DBackpropInputV2", "Select",
)  # fmt: skip
_MOST_OUTPUTS = 300_000
_CASTS = {name: code for code, name in model_file.DTYPES.items()}  # ONNX' numbers of dtypes

Words = Callable[["Translator", Node, list[str], str], None]


class Translator:
    """The nodes of a graph, one after the other."""

    def __init__(self, flat: Flat) -> None:
        unknown = sorted({node.kind for node, _, _ in flat.nodes} - KNOWN)
        if unknown:
            raise UnsupportedError(
                f"The graph has ops that are not supported. Received: {', '.join(unknown)}. "
                "Save the model as .keras, or cut the graph before them."
            )
        self.arrays = flat.arrays
        self.nodes: list[model_file.Node] = []
        self.holes: dict[str, list[int]] = {}  # tensor between SpaceToBatchND and back -> blocks
        outputs = 0
        for node, inputs, own in flat.nodes:
            before = len(self.nodes)
            self._translate(node, inputs, own)
            outputs += sum(len(made.outputs) for made in self.nodes[before:])
            if outputs > _MOST_OUTPUTS:
                raise FileError(
                    f"the graph has too many tensors. Received: more than {_MOST_OUTPUTS}. It is "
                    "damaged."
                )

    def _translate(self, node: Node, inputs: list[str], own: str) -> None:
        if node.kind in _SAME:
            self.node(_SAME[node.kind], inputs, own)
        elif node.kind in _REDUCTIONS:
            keepdims = node.attribute("keep_dims", 0)
            self.node(_REDUCTIONS[node.kind], inputs, own, keepdims=keepdims)
        elif node.kind in _OWN:
            given = {name: node.attribute(name) for name in node.attributes}
            if holes := self.holes.get(inputs[0] if inputs else ""):
                self._widen(node, holes, given, own)
            self.node(f"tf.{node.kind}", inputs, own, **given)
        else:
            _OTHERS[node.kind](self, node, inputs, own)

    def _widen(self, node: Node, holes: list[int], given: dict[str, Any], own: str) -> None:
        """Let windows that go over every n-th place do so by their dilations."""
        if node.kind not in ("Conv2D", "DepthwiseConv2dNative") or len(holes) != 2:
            raise UnsupportedError(
                f"Between SpaceToBatchND and BatchToSpaceND convolutions are read. Received: "
                f'{node.kind} "{node.name}". Save the model as .keras.'
            )
        given["dilations"] = [1, *holes, 1]
        self.holes[f"{own}:0"] = holes

    def node(self, kind: str, inputs: list[str], own: str, count: int = 1, **given: Any) -> None:
        """Add a node, whose outputs are own:0, own:1, ..."""
        outputs = [f"{own}:{i}" for i in range(count)]
        name = own.rpartition("//")[2]  # as in the function that it stands in
        self.nodes.append(model_file.Node(kind, name, inputs, outputs, given))

    def constant(self, own: str, name: str, value: Any) -> str:
        """The name of an array beside the file's."""
        found = f"{own}/{name}:0"
        self.arrays[found] = np.asarray(value, np.int64)
        return found

    def known(self, node: Node, name: str) -> np.ndarray:
        """A constant input. UnsupportedError for another."""
        if name not in self.arrays:
            raise UnsupportedError(
                f'{node.kind} "{node.name}": axes must be constants. Received: {name!r}, which is '
                "computed. Save the model as .keras."
            )
        return self.arrays[name]


def _bias_add(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    if node.attribute("data_format", "NHWC") == "NCHW":
        words.node("tf.BiasAdd", inputs, own)
    else:
        words.node("Add", inputs, own)


def _matmul(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    turned = [node.attribute(f"transpose_{side}", 0) for side in "ab"]
    if any(turned):
        words.node("Gemm", inputs, own, transA=turned[0], transB=turned[1])
    else:
        words.node("MatMul", inputs, own)


def _cast(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    name = DTYPES.get(node.attribute("DstT"), "")
    words.node("Cast", inputs, own, to=_CASTS.get(name, 16))


def _to_batch(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    """A dilated convolution begins: the input gets its borders, and stays in one piece."""
    words.holes[f"{own}:0"] = [int(n) for n in np.ravel(words.known(node, inputs[1]))]
    words.node("tf.SpaceBorders", [inputs[0], inputs[2]], own)


def _to_space(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    if inputs[0] not in words.holes:
        raise UnsupportedError(f'BatchToSpaceND "{own}": it ends a convolution. Received: another.')
    words.node("tf.SpaceCrops", [inputs[0], inputs[2]], own)


def _same(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    for i, name in enumerate(inputs):
        words.nodes.append(
            model_file.Node("Identity", f"{node.name}_{i}", [name], [f"{own}:{i}"], {})
        )


def _expand(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    if inputs[0] in words.holes:
        words.holes[f"{own}:0"] = [1, *words.holes[inputs[0]]]
    words.node("Unsqueeze", inputs, own)


def _squeeze(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    axes = node.attribute("squeeze_dims") or []
    if inputs[0] in words.holes:
        words.holes[f"{own}:0"] = words.holes[inputs[0]][1:]
    more = [words.constant(own, "axes", axes)] if axes else []
    words.node("Squeeze", [*inputs, *more], own)


def _concat(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    words.node("Concat", inputs[:-1], own, axis=int(words.known(node, inputs[-1])))


def _pack(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    axis = node.attribute("axis", 0)
    place = words.constant(own, "axis", [axis])
    for i, name in enumerate(inputs):
        words.node("Unsqueeze", [name, place], f"{own}/{i}")
    words.node("Concat", [f"{own}/{i}:0" for i in range(len(inputs))], own, axis=axis)


def _unpack(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    for i in range(min(node.attribute("num", 0), 4096)):
        where = words.constant(own, str(i), i)
        words.nodes.append(
            model_file.Node("Gather", f"{own}_{i}", [*inputs, where], [f"{own}:{i}"],
                            {"axis": node.attribute("axis", 0)})
        )  # fmt: skip


def _split(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    axis, count = int(words.known(node, inputs[0])), min(node.attribute("num_split", 1), 4096)
    words.node("Split", inputs[1:], own, count, axis=axis, num_outputs=count)


def _split_parts(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    axis, count = int(words.known(node, inputs[2])), min(node.attribute("num_split", 1), 4096)
    words.node("Split", inputs[:2], own, count, axis=axis)


def _gather(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    axis = int(words.known(node, inputs[2])) if len(inputs) > 2 else 0
    if node.attribute("batch_dims", 0):
        raise UnsupportedError(f'{node.kind} "{own}": rows of a table are taken. Received: pairs.')
    words.node("Gather", inputs[:2], own, axis=axis)


def _clip(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    ends = [words.constant(own, "low", 0), words.constant(own, "high", 6)]
    words.node("Clip", [*inputs, *ends] if node.kind == "Relu6" else inputs, own)


def _leaky(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    words.node("LeakyRelu", inputs, own, alpha=node.attribute("alpha", 0.2))


def _arg(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    axis = int(words.known(node, inputs[1]))
    words.node(node.kind, inputs[:1], own, axis=axis, keepdims=0)


def _cumulated(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    given = {name: node.attribute(name, 0) for name in ("exclusive", "reverse")}
    words.node("CumSum", inputs, own, **given)


def _einsum(words: Translator, node: Node, inputs: list[str], own: str) -> None:
    words.node("Einsum", inputs, own, equation=node.attribute("equation", ""))


_OTHERS: dict[str, Words] = {
    "BiasAdd": _bias_add, "MatMul": _matmul, "Cast": _cast, "IdentityN": _same,
    "SpaceToBatchND": _to_batch, "BatchToSpaceND": _to_space,
    "ExpandDims": _expand, "Squeeze": _squeeze, "ConcatV2": _concat, "Pack": _pack,
    "Unpack": _unpack, "Split": _split, "SplitV": _split_parts, "GatherV2": _gather,
    "Gather": _gather, "ResourceGather": _gather, "Relu6": _clip, "ClipByValue": _clip,
    "LeakyRelu": _leaky, "ArgMax": _arg, "ArgMin": _arg, "Cumsum": _cumulated, "Einsum": _einsum,
}  # fmt: skip
KNOWN = {*_SAME, *_REDUCTIONS, *_OWN, *_OTHERS}
