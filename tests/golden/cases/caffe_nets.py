"""Small nets of the kinds that are kept in Caffe's files, as prototxt.

`NETS`: name -> (text, shapes of each layer's arrays by its name, shape of the image).
"""

from __future__ import annotations

from typing import Any


def conv(name: str, bottom: str, filters: int, size: int, **more: Any) -> str:
    rows = " ".join(f"{k}: {v}" for k, v in more.items())
    told = f"convolution_param {{ num_output: {filters} kernel_size: {size} {rows} }}"
    return layer("Convolution", name, bottom, more=told)


def layer(kind: str, name: str, bottoms: str, top: str = "", more: str = "") -> str:
    reads = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {reads} top: "{top or name}" {more} }}\n'


def same(kind: str, name: str, blob: str, more: str = "") -> str:
    """A layer that writes over its input."""
    return layer(kind, name, blob, blob, more)


INPUT = 'name: "{}"\ninput: "data"\ninput_shape {{ dim: 1 dim: {} dim: {} dim: {} }}\n'

LENET = """name: "LeNet"  # as in Caffe's examples
layer {
  name: "data" type: "Input" top: "data"
  input_param { shape: { dim: 64 dim: 1 dim: 12 dim: 12 } }
}
""" + conv("conv1", "data", 4, 3) + layer(
    "Pooling", "pool1", "conv1", more="pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
) + conv("conv2", "pool1", 5, 3) + layer(
    "Pooling", "pool2", "conv2", more="pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
) + layer("InnerProduct", "ip1", "pool2", more="inner_product_param { num_output: 6 }") + same(
    "ReLU", "relu1", "ip1"
) + same("Dropout", "drop1", "ip1", "dropout_param { dropout_ratio: 0.5 }") + layer(
    "InnerProduct", "ip2", "ip1", more="inner_product_param { num_output: 3 }"
) + layer(
    "SoftmaxWithLoss", "loss", "ip2", more="include { phase: TRAIN }"
) + layer("Softmax", "prob", "ip2")  # fmt: skip

ALEXNET = INPUT.format("AlexNet", 3, 23, 23) + conv(
    "conv1", "data", 6, 5, stride=2
) + same("ReLU", "relu1", "conv1") + layer(
    "LRN", "norm1", "conv1", more="lrn_param { local_size: 3 alpha: 0.05 beta: 0.75 }"
) + layer(
    "Pooling", "pool1", "norm1", more="pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
) + conv("conv2", "pool1", 8, 3, pad=1, group=2) + same("ReLU", "relu2", "conv2") + layer(
    "Pooling", "pool2", "conv2", more="pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"
) + layer("InnerProduct", "fc", "pool2", more="inner_product_param { num_output: 4 }") + layer(
    "Softmax", "prob", "fc"
)  # fmt: skip

RESNET = INPUT.format("ResNet", 3, 16, 16) + conv(
    "conv1", "data", 4, 3, pad=1, stride=2, bias_term="false"
) + same("BatchNorm", "bn1", "conv1", "batch_norm_param { use_global_stats: true }") + same(
    "Scale", "scale1", "conv1", "scale_param { bias_term: true }"
) + same("ReLU", "relu1", "conv1") + conv(
    "conv2", "conv1", 4, 3, pad=1, bias_term="false"
) + same("BatchNorm", "bn2", "conv2", "batch_norm_param { eps: 0.001 }") + same(
    "Scale", "scale2", "conv2", "scale_param { bias_term: true }"
) + layer("Eltwise", "sum", "conv1 conv2") + same(
    "ReLU", "relu2", "sum", "relu_param { negative_slope: 0.1 }"
) + layer(
    "Pooling", "pool", "sum", more="pooling_param { pool: AVE global_pooling: true }"
) + layer("InnerProduct", "fc", "pool", more="inner_product_param { num_output: 3 }")  # fmt: skip

INCEPTION = INPUT.format("Inception", 2, 9, 9) + conv("a", "data", 3, 1) + same(
    "PReLU", "prelu", "a"
) + conv("b", "data", 2, 3, pad=2, dilation=2) + same("TanH", "tanh", "b") + layer(
    "Pooling", "c", "data", more="pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }"
) + layer("Concat", "join", "a b c") + layer(
    "Eltwise", "most", "join join", more="eltwise_param { operation: PROD }"
) + layer("Power", "power", "most", more="power_param { power: 2 scale: 0.5 shift: 0.1 }") + layer(
    "Flatten", "flat", "power"
) + layer(
    "InnerProduct", "fc", "flat", more="inner_product_param { num_output: 2 bias_term: false }"
) + same("Sigmoid", "sigmoid", "fc")  # fmt: skip

OLD = """name: "old"
input: "data" input_dim: 10 input_dim: 3 input_dim: 10 input_dim: 10
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "pool1" top: "fc"
  inner_product_param { num_output: 3 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""

NETS: dict[str, tuple[str, dict[str, list[tuple[int, ...]]], tuple[int, ...]]] = {
    "lenet": (LENET, {"conv1": [(4, 1, 3, 3), (4,)], "conv2": [(5, 4, 3, 3), (5,)],
               "ip1": [(6, 20), (6,)], "ip2": [(3, 6), (3,)]}, (1, 12, 12)),
    "alexnet": (ALEXNET, {"conv1": [(6, 3, 5, 5), (6,)], "conv2": [(8, 3, 3, 3), (8,)],
                          "fc": [(4, 72), (4,)]}, (3, 23, 23)),
    "resnet": (RESNET, {"conv1": [(4, 3, 3, 3)], "bn1": [(4,), (4,), (1,)],
                        "scale1": [(4,), (4,)], "conv2": [(4, 4, 3, 3)],
                        "bn2": [(4,), (4,), (1,)], "scale2": [(4,), (4,)],
                        "fc": [(3, 4), (3,)]}, (3, 16, 16)),
    "inception": (INCEPTION, {"a": [(3, 2, 1, 1), (3,)], "prelu": [(3,)],
                              "b": [(2, 2, 3, 3), (2,)], "fc": [(2, 567)]}, (2, 9, 9)),
    "old": (OLD, {"conv1": [(4, 3, 3, 3), (4,)], "fc": [(3, 64), (3,)]}, (3, 10, 10)),
}  # fmt: skip
