"""DenseNet121, DenseNet169 and DenseNet201, with the layer names and weights of Keras.

Huang et al., "Densely Connected Convolutional Networks" (2016). Images are prepared with
`preprocess_input` (mode "torch").
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
    refuse_channels_first,
    topped,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.applications.resnet import norm, relu
from zoo_keras.models import Model

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]

_GROWTH = 32


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 with mean 0 and deviation 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="torch")


def _block(x: Any, name: str) -> Any:
    """32 more channels, made of all that there are."""
    new = relu(norm(x, f"{name}_0_bn"), f"{name}_0_relu")
    new = layers.Conv2D(4 * _GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(new)
    new = relu(norm(new, f"{name}_1_bn"), f"{name}_1_relu")
    new = layers.Conv2D(_GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(new)
    return layers.Concatenate(axis=channel_axis(), name=f"{name}_concat")([x, new])


def _transition(x: Any, name: str) -> Any:
    """Half as many channels, rows and columns."""
    half = x.shape[channel_axis()] // 2
    x = relu(norm(x, f"{name}_bn"), f"{name}_relu")
    x = layers.Conv2D(half, 1, use_bias=False, name=f"{name}_conv")(x)
    return layers.AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


def _densenet(blocks: Sequence[int], options: Options) -> Model:
    refuse_channels_first(options)
    image = image_input(options)
    x = layers.ZeroPadding2D(((3, 3), (3, 3)))(image)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = relu(norm(x, "conv1_bn"), "conv1_relu")
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(layers.ZeroPadding2D(((1, 1), (1, 1)))(x))
    for group, count in enumerate(blocks, start=2):
        if group > 2:
            x = _transition(x, f"pool{group - 1}")
        for i in range(1, count + 1):
            x = _block(x, f"conv{group}_block{i}")
    x = relu(norm(x, "bn"), "relu")
    return finished(image, topped(x, options), options)


def _trained(name: str, whole: str, bare: str) -> Trained:
    file = f"{STORE}densenet/{name}_weights_tf_dim_ordering_tf_kernels"
    return Trained(File(f"{file}.h5", whole), File(f"{file}_notop.h5", bare))


DenseNet121 = variant(
    partial(_densenet, (6, 12, 24, 16)), "DenseNet121", "densenet121",
    _trained("densenet121", "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    "DenseNet with 121 layers. https://keras.io/api/applications/densenet/",
)  # fmt: skip
DenseNet169 = variant(
    partial(_densenet, (6, 12, 32, 32)), "DenseNet169", "densenet169",
    _trained("densenet169", "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "DenseNet with 169 layers.",
)  # fmt: skip
DenseNet201 = variant(
    partial(_densenet, (6, 12, 48, 32)), "DenseNet201", "densenet201",
    _trained("densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "DenseNet with 201 layers.",
)  # fmt: skip
