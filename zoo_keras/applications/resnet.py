"""ResNet50, ResNet101 and ResNet152, with the layer names and weights of Keras.

He et al., "Deep Residual Learning for Image Recognition" (2015). Images are prepared with
`preprocess_input` (mode "caffe").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import (
    Options,
    channel_axis,
    classified,
    finished,
    image_input,
    pooled,
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


def topped(x: Any, options: Options, application: str) -> Any:
    """Mean and classes, or the pooling of a model without top."""
    if not options.include_top:
        return pooled(x, options)
    return classified(layers.GlobalAveragePooling2D(name="avg_pool")(x), options, application)


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


def _resnet(blocks: Sequence[int], options: Options, name: str, application: str) -> Model:
    image = image_input(options, application)
    x = first_pool(relu(norm(stem(image), "conv1_bn"), "conv1_relu"))
    for group, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if group and i == 0 else 1
            x = _block(x, 64 << group, stride, i == 0, f"conv{group + 2}_block{i + 1}")
    return finished(image, topped(x, options, application), options, name)


def ResNet50(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet50",
) -> Model:
    """ResNet with 50 layers. https://keras.io/api/applications/resnet/

    Args:
        weights: None, or the path of a .h5, .weights.h5 or .keras file.

    Raises UnsupportedError for weights="imagenet", which would be a download.

    >>> ResNet50(weights=None).count_params()
    25636712
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation
    )
    return _resnet((3, 4, 6, 3), options, name, "ResNet50")


def ResNet101(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet101",
) -> Model:
    """ResNet with 101 layers; see ResNet50."""
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation
    )
    return _resnet((3, 4, 23, 3), options, name, "ResNet101")


def ResNet152(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet152",
) -> Model:
    """ResNet with 152 layers; see ResNet50."""
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation
    )
    return _resnet((3, 8, 36, 3), options, name, "ResNet152")
