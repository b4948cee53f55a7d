"""ResNet50, ResNet101 and ResNet152, with the layer names and weights of Keras.

He et al., "Deep Residual Learning for Image Recognition" (2015). Images are prepared with
`preprocess_input` (mode "caffe").
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    channel_axis,
    finished,
    image_input,
    topped,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 (RGB) as BGR with mean 0; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="caffe")


def norm(x: Any, name: str) -> Any:
    """BatchNormalization over the channels."""
    return layers.BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=name)(x)


def relu(x: Any, name: str) -> Any:
    """ReLU as a layer."""
    return layers.Activation("relu", name=name)(x)


def stem(image: Any) -> Any:
    """The padded 7x7 convolution at the start."""
    x = layers.ZeroPadding2D(((3, 3), (3, 3)), name="conv1_pad")(image)
    return layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)


def first_pool(x: Any) -> Any:
    """The padded 3x3 pooling behind it."""
    x = layers.ZeroPadding2D(((1, 1), (1, 1)), name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _block(x: Any, filters: int, stride: int, widen: bool, name: str) -> Any:
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, which is a convolution when `widen`."""
    shortcut = x
    if widen:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = norm(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = relu(norm(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = relu(norm(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = norm(x, f"{name}_3_bn")
    return relu(layers.Add(name=f"{name}_add")([shortcut, x]), f"{name}_out")


def _resnet(blocks: Sequence[int], options: Options) -> Model:
    image = image_input(options)
    x = first_pool(relu(norm(stem(image), "conv1_bn"), "conv1_relu"))
    for group, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if group and i == 0 else 1
            x = _block(x, 64 << group, stride, i == 0, f"conv{group + 2}_block{i + 1}")
    return finished(image, topped(x, options), options)


def trained(name: str, whole: str, bare: str) -> Trained:
    """Keras' files, by their hashes."""
    file = f"{STORE}resnet/{name}_weights_tf_dim_ordering_tf_kernels"
    return Trained(File(f"{file}.h5", whole), File(f"{file}_notop.h5", bare))


ResNet50 = variant(
    partial(_resnet, (3, 4, 6, 3)), "ResNet50", "resnet50",
    trained("resnet50", "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "ResNet with 50 layers. https://keras.io/api/applications/resnet/",
)  # fmt: skip
ResNet101 = variant(
    partial(_resnet, (3, 4, 23, 3)), "ResNet101", "resnet101",
    trained("resnet101", "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "ResNet with 101 layers.",
)  # fmt: skip
ResNet152 = variant(
    partial(_resnet, (3, 8, 36, 3)), "ResNet152", "resnet152",
    trained("resnet152", "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "ResNet with 152 layers.",
)  # fmt: skip
