"""ONNX graphs made by hand, an op or a few each: name -> Graph.

A constant that is a tuple is drawn. Knows no onnx: make_onnx writes the files.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

IMAGE = ((2, 3, 7, 6), "float")
ROWS = ((3, 4, 5), "float")
POSITIVE = ((3, 4, 5), "positive")


class Graph(NamedTuple):
    opset: int
    inputs: list[Any]
    nodes: list[Any]
    constants: dict[str, Any]
    outputs: list[str]


def one(opset: int, kind: str, *inputs: Any, outputs: int = 1, **rest: Any) -> Graph:
    """A graph of one node. Keywords of ndarrays, lists of numbers in `k_`, or shapes in `d_` are
    constant inputs, in their order; others attributes."""
    constants = {k[2:]: v for k, v in rest.items() if k.startswith(("k_", "d_"))}
    attributes = {k: v for k, v in rest.items() if not k.startswith(("k_", "d_"))}
    names = [f"x{i}" for i in range(len(inputs))] + list(constants)
    made = {k: np.array(v) if isinstance(v, list) else v for k, v in constants.items()}
    outs = [f"y{i}" for i in range(outputs)]
    return Graph(opset, list(inputs), [(kind, names, outs, attributes)], made, outs)


def chain(opset: int, given: Any, *kinds: Any, **constants: Any) -> Graph:
    """A graph of nodes (kind, attributes, further inputs) one after the other."""
    nodes = []
    for i, (kind, attributes, more) in enumerate(kinds):
        nodes.append((kind, [f"h{i}" if i else "x0", *more], [f"h{i + 1}"], attributes))
    return Graph(opset, [given], nodes, constants, [f"h{len(kinds)}"])


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


UNARY = ("Abs Neg Exp Sqrt Reciprocal Floor Ceil Round Sign Erf Sin Cos Tan Atan Sinh Cosh Tanh "
         "Sigmoid Softplus Softsign Log Asinh").split()  # fmt: skip
GRAPHS: dict[str, Graph] = {
    f"unary_{kind.lower()}": one(13, kind, POSITIVE) for kind in UNARY
} | {
    "hyperbolic": one(9, "Cosh", ((3, 4), "float")),
    "add_old": one(7, "Add", IMAGE, d_b=(3, 1, 1)),
    "sub": one(14, "Sub", ROWS, ROWS),
    "div": one(14, "Div", ROWS, POSITIVE),
    "pow": one(15, "Pow", POSITIVE, k_e=f32(1.5)),
    "max": one(13, "Max", ROWS, ROWS, d_c=(5,)),
    "mean": one(13, "Mean", ROWS, ROWS),
    "less": chain(13, ROWS, ("Less", {}, ["c"]), ("Cast", {"to": 1}, []), c=f32(0.25)),
    "where": Graph(
        9, [ROWS, ROWS],
        [("Greater", ["x0", "x1"], ["m"], {}), ("Where", ["m", "x0", "x1"], ["y"], {})],
        {}, ["y"],
    ),
    "clip_old": one(7, "Clip", ROWS, min=-0.5, max=0.75),
    "clip": one(13, "Clip", ROWS, k_low=np.float32(-0.5), k_high=np.float32(0.75)),
    "leaky": one(7, "LeakyRelu", ROWS, alpha=0.3),
    "elu": one(7, "Elu", ROWS, alpha=0.7),
    "selu": one(7, "Selu", ROWS),
    "celu": one(12, "Celu", ROWS, alpha=0.8),
    "hard_sigmoid": one(7, "HardSigmoid", ROWS, alpha=0.3, beta=0.4),
    "hard_swish": one(14, "HardSwish", ROWS),
    "gelu": one(20, "Gelu", ROWS),
    "gelu_tanh": one(20, "Gelu", ROWS, approximate="tanh"),
    "mish": one(18, "Mish", ROWS),
    "thresholded": one(10, "ThresholdedRelu", ROWS, alpha=0.5),
    "prelu": one(9, "PRelu", IMAGE, d_slope=(3, 1, 1)),
    "softmax_old": one(7, "Softmax", ROWS, axis=1),
    "softmax": one(13, "Softmax", ROWS, axis=1),
    "log_softmax_old": one(11, "LogSoftmax", ROWS, axis=2),
    "reduce_mean_old": one(7, "ReduceMean", IMAGE, axes=[2, 3]),
    "reduce_mean": one(18, "ReduceMean", IMAGE, k_axes=i64(2, 3), keepdims=0),
    "reduce_sum": one(13, "ReduceSum", IMAGE, k_axes=i64(1)),
    "reduce_max": one(13, "ReduceMax", IMAGE, axes=[-1], keepdims=0),
    "reduce_l2": one(13, "ReduceL2", ROWS, axes=[2]),
    "reduce_lse": one(13, "ReduceLogSumExp", ROWS, axes=[1], keepdims=0),
    "arg_max": one(13, "ArgMax", ROWS, axis=2, keepdims=0),
    "top_k": one(11, "TopK", ROWS, outputs=2, k_k=i64(2)),
    "cum_sum": one(14, "CumSum", ROWS, k_axis=np.int64(1)),
    "reshape": one(14, "Reshape", IMAGE, k_shape=i64(0, 3, -1)),
    "reshape_rows": one(7, "Reshape", IMAGE, k_shape=i64(-1, 126)),
    "merged_rows": chain(
        13, ROWS, ("Reshape", {}, ["two"]), ("MatMul", {}, ["w"]), ("Reshape", {}, ["three"]),
        two=i64(-1, 5), w=(5, 2), three=i64(-1, 4, 2),
    ),
    "flatten": one(13, "Flatten", IMAGE, axis=2),
    "transpose": one(13, "Transpose", IMAGE, perm=[0, 3, 1, 2]),
    "squeeze": chain(
        13, ROWS, ("Unsqueeze", {}, ["a"]), ("Squeeze", {}, ["b"]), a=i64(1, 4), b=i64(1),
    ),
    "squeeze_old": chain(
        9, ROWS, ("Unsqueeze", {"axes": [2]}, []), ("Squeeze", {"axes": [2]}, []),
    ),
    "concat": one(13, "Concat", ROWS, ROWS, axis=2),
    "split": one(13, "Split", ROWS, outputs=2, k_sizes=i64(1, 3), axis=1),
    "split_old": one(11, "Split", ROWS, outputs=2, split=[2, 3], axis=2),
    "split_18": one(18, "Split", ((3, 4, 5), "float"), outputs=2, axis=2, num_outputs=2),
    "slice_old": one(9, "Slice", IMAGE, axes=[2, 3], starts=[1, -4], ends=[100, -1]),
    "slice": one(
        13, "Slice", IMAGE, k_s=i64(-1, 0), k_e=i64(-100, 5), k_a=i64(2, 3), k_st=i64(-2, 2),
    ),
    "gather": one(13, "Gather", ROWS, k_i=i64(2, 0, 2), axis=1),
    "gather_one": one(13, "Gather", ROWS, k_i=np.int64(1), axis=2),
    "embedding": Graph(
        13, [((3, 6), 9)], [("Gather", ["t", "x0"], ["y"], {})], {"t": (9, 4)}, ["y"],
    ),
    "pad_old": one(7, "Pad", IMAGE, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5),
    "pad": one(13, "Pad", IMAGE, k_p=i64(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect"),
    "pad_axes": one(18, "Pad", IMAGE, k_p=i64(1, 2), k_v=np.float32(0.5), k_a=i64(3)),
    "tile": one(13, "Tile", ROWS, k_n=i64(1, 2, 1)),
    "expand": one(13, "Expand", ((3, 1, 5), "float"), k_shape=i64(1, 4, 1)),
    "depth_to_space": one(13, "DepthToSpace", ((2, 8, 3, 2), "float"), blocksize=2),
    "depth_to_space_crd": one(13, "DepthToSpace", ((2, 8, 3, 2), "float"), blocksize=2, mode="CRD"),
    "space_to_depth": one(13, "SpaceToDepth", ((2, 2, 4, 6), "float"), blocksize=2),
    "einsum": one(12, "Einsum", ROWS, d_w=(5, 3), equation="btc,cd->btd"),
    "conv_same_upper": one(
        11, "Conv", IMAGE, d_w=(4, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2],
    ),
    "conv_same_lower": one(11, "Conv", IMAGE, d_w=(4, 3, 2, 4), d_b=(4,), auto_pad="SAME_LOWER"),
    "conv_pads": one(7, "Conv", IMAGE, d_w=(4, 3, 3, 3), pads=[1, 0, 2, 1], strides=[2, 1]),
    "conv_dilated": one(11, "Conv", IMAGE, d_w=(4, 3, 2, 2), dilations=[2, 3], pads=[1, 1, 1, 1]),
    "conv_groups": one(11, "Conv", ((2, 4, 6, 6), "float"), d_w=(6, 2, 3, 3), group=2),
    "conv_depthwise": one(11, "Conv", IMAGE, d_w=(6, 1, 3, 3), d_b=(6,), group=3),
    "conv_transpose": one(11, "ConvTranspose", IMAGE, d_w=(3, 4, 3, 2), d_b=(4,), strides=[2, 1]),
    "conv_transpose_pads": one(
        11, "ConvTranspose", IMAGE, d_w=(3, 4, 3, 3), strides=[2, 2], pads=[1, 0, 1, 1],
        output_padding=[1, 0],
    ),
    "max_pool_ceil": one(
        12, "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[0, 1, 0, 1]
    ),
    "max_pool_old": one(7, "MaxPool", IMAGE, kernel_shape=[2, 3]),
    "average_pool": one(11, "AveragePool", IMAGE, kernel_shape=[3, 2], pads=[1, 1, 0, 0]),
    "average_pool_all": one(
        11, "AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
        count_include_pad=1,
    ),
    "average_pool_ceil": one(
        19, "AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
    ),
    "global_pools": chain(7, IMAGE, ("GlobalAveragePool", {}, [])),
    "global_max": chain(7, IMAGE, ("GlobalMaxPool", {}, [])),
    "gemm": one(13, "Gemm", ((3, 4), "float"), d_w=(5, 4), d_b=(5,), transB=1, alpha=0.5, beta=2.0),
    "gemm_old": one(7, "Gemm", ((3, 4), "float"), d_w=(4, 5), d_b=(1, 5)),
    "linear": chain(13, ROWS, ("MatMul", {}, ["w"]), ("Add", {}, ["b"]), w=(5, 6), b=(6,)),
    "matmul": one(13, "MatMul", ROWS, ((3, 5, 2), "float")),
    "batch_norm": one(
        15, "BatchNormalization", IMAGE, d_g=(3,), d_b=(3,), d_m=(3,), k_v=f32(0.5, 1.0, 2.0),
        epsilon=1e-3,
    ),
    "layer_norm": one(17, "LayerNormalization", ROWS, d_g=(4, 5), d_b=(4, 5), axis=1),
    "instance_norm": one(7, "InstanceNormalization", IMAGE, d_g=(3,), d_b=(3,)),
    "group_norm": one(
        21, "GroupNormalization", ((2, 4, 3), "float"), d_g=(4,), d_b=(4,), num_groups=2,
    ),
    "lrn": one(13, "LRN", ((2, 6, 3, 3), "float"), size=3, alpha=0.1, beta=0.5, bias=1.5),
    "dropout": one(7, "Dropout", ROWS, ratio=0.4),
    "upsample_7": one(7, "Upsample", IMAGE, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest"),
    "upsample_9": one(9, "Upsample", IMAGE, k_s=f32(1, 1, 2, 1.5), mode="linear"),
    "resize_10": one(10, "Resize", IMAGE, k_s=f32(1, 1, 0.5, 2), mode="linear"),
}  # fmt: skip


def resize(opset: int, sizes: Any = None, scales: Any = None, **attributes: Any) -> Graph:
    constants = {"roi": f32(), "scales": f32(*scales) if scales else f32()}
    names = ["x0", "roi" if opset < 13 else "", "scales"]
    if sizes:
        constants["sizes"] = i64(*sizes)
        names = ["x0", "roi" if opset < 13 else "", "scales" if opset < 13 else "", "sizes"]
    kept = {k: v for k, v in constants.items() if k in names}
    return Graph(opset, [IMAGE], [("Resize", names, ["y"], attributes)], kept, ["y"])


UP = (1, 1, 2, 2)
GRAPHS |= {
    "resize_half": resize(11, scales=UP, mode="linear"),
    "resize_corners": resize(
        13, sizes=(2, 3, 10, 4), mode="linear", coordinate_transformation_mode="align_corners"
    ),
    "resize_torch": resize(
        13, scales=(1, 1, 1.5, 0.5), mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
    "resize_cubic": resize(18, scales=(1, 1, 1.6, 2.5), mode="cubic"),
    "resize_cubic_inside": resize(
        13, scales=(1, 1, 0.6, 2), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5
    ),
    "resize_nearest": resize(
        13, scales=UP, mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "resize_nearest_half": resize(11, scales=(1, 1, 1.5, 2), mode="nearest"),
    "resize_nearest_ceil": resize(
        13, scales=(1, 1, 0.7, 1.3), mode="nearest", nearest_mode="ceil",
        coordinate_transformation_mode="half_pixel",
    ),
}  # fmt: skip


def recurrent(opset: int, kind: str, gates: int, ways: int = 1, **attributes: Any) -> Graph:
    """Rows first into the graph, and out of it, as torch's exporter does."""
    shapes = {"w": (ways, gates * 2, 4), "r": (ways, gates * 2, 2), "b": (ways, gates * 4)}
    outs = ["s", "h"] + (["c"] if kind == "LSTM" else [])
    nodes = [
        ("Transpose", ["x0"], ["t"], {"perm": [1, 0, 2]}),
        (kind, ["t", "w", "r", "b"], outs, {"hidden_size": 2, **attributes}),
        ("Transpose", ["s"], ["y"], {"perm": [2, 0, 1, 3]}),
        ("Transpose", ["h"], ["last"], {"perm": [1, 0, 2]}),
    ]
    return Graph(opset, [((3, 5, 4), "float")], nodes, shapes, ["y", "last"])


GRAPHS |= {
    "lstm": recurrent(7, "LSTM", 4),
    "lstm_both": recurrent(14, "LSTM", 4, 2, direction="bidirectional"),
    "lstm_back": recurrent(14, "LSTM", 4, direction="reverse"),
    "gru": recurrent(7, "GRU", 3),
    "gru_reset": recurrent(14, "GRU", 3, linear_before_reset=1),
    "gru_both": recurrent(14, "GRU", 3, 2, direction="bidirectional", linear_before_reset=1),
    "rnn": recurrent(14, "RNN", 1, activations=["Relu"]),
    "shape_of_rows": Graph(
        13, [ROWS],
        [
            ("Shape", ["x0"], ["s"], {}), ("Gather", ["s", "zero"], ["n"], {}),
            ("Unsqueeze", ["n", "axis"], ["n1"], {}),
            ("Concat", ["n1", "rest"], ["target"], {"axis": 0}),
            ("Reshape", ["x0", "target"], ["y"], {}),
        ],
        {"zero": np.int64(0), "axis": i64(0), "rest": i64(2, 10)}, ["y"],
    ),
    "opset_22": chain(22, ROWS, ("Relu", {}, []), ("MatMul", {}, ["w"]), ("Add", {}, ["b"]),
                      ("HardSwish", {}, []), w=(5, 3), b=(3,)),
}  # fmt: skip
