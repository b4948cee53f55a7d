"""MobileNetV2, with the layer names and weights of Keras.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018). Images are
prepared with `preprocess_input` (mode "tf").
"""

from __future__ import annotations

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

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

# filters, stride of the first block, blocks: table 2 of the paper
_GROUPS = ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1))


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def _eights(number: float) -> int:
    """The nearest multiple of 8, not more than 10 % below the number."""
    near = max(8, int(number + 4) // 8 * 8)
    return near + 8 if near < 0.9 * number else near


def _norm(x: Any, name: str) -> Any:
    axis = channel_axis() if channel_axis() == 1 else -1
    return layers.BatchNormalization(axis=axis, epsilon=1e-3, momentum=0.999, name=name)(x)


def _pointwise(x: Any, filters: int, prefix: str, part: str) -> Any:
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}{part}")(x)
    return _norm(x, f"{prefix}{part}_BN")


def _down_padding(x: Any) -> tuple[tuple[int, int], ...]:
    """Zeros around an image before a 3x3 convolution of stride 2."""
    first = 1 if channel_axis() == 3 else 2
    sizes = x.shape[first : first + 2]
    known = sizes[0] is not None
    return tuple((size % 2 if known else 0, 1) for size in sizes)


def _block(x: Any, filters: int, stride: int, number: int) -> Any:
    """Expand 6 times, convolve each channel by itself, project; a shortcut where shapes agree."""
    before, channels = x, x.shape[channel_axis()]
    prefix = f"block_{number}_" if number else "expanded_conv_"
    if number:
        x = layers.ReLU(6.0, name=f"{prefix}expand_relu")(
            _pointwise(x, 6 * channels, prefix, "expand")
        )
    if stride == 2:
        x = layers.ZeroPadding2D(_down_padding(x), name=f"{prefix}pad")(x)
    x = layers.DepthwiseConv2D(
        3, strides=stride, use_bias=False, padding="same" if stride == 1 else "valid",
        name=f"{prefix}depthwise",
    )(x)  # fmt: skip
    x = layers.ReLU(6.0, name=f"{prefix}depthwise_relu")(_norm(x, f"{prefix}depthwise_BN"))
    x = _pointwise(x, filters, prefix, "project")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}add")([before, x])
    return x


def MobileNetV2(
    input_shape: Any = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Model:
    """MobileNetV2. https://keras.io/api/applications/mobilenet/

    Args:
        alpha: how wide the layers are, compared with the paper.
        weights: None, or the path of a .h5, .weights.h5 or .keras file.

    Raises UnsupportedError for weights="imagenet", which would be a download.

    >>> MobileNetV2(weights=None).count_params()
    3538984
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation
    )
    image = image_input(options, "MobileNetV2")
    x = layers.Conv2D(
        _eights(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1"
    )(image)
    x = layers.ReLU(6.0, name="Conv1_relu")(_norm(x, "bn_Conv1"))
    number = 0
    for filters, first_stride, blocks in _GROUPS:
        for i in range(blocks):
            stride = first_stride if i == 0 else 1
            x = _block(x, _eights(int(filters * alpha)), stride, number)
            number += 1
    x = layers.Conv2D(_eights(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
    x = layers.ReLU(6.0, name="out_relu")(_norm(x, "Conv_1_bn"))
    if include_top:
        x = classified(layers.GlobalAveragePooling2D()(x), options, "MobileNetV2")
    else:
        x = pooled(x, options, name=False)
    return finished(image, x, options, name or _default_name(image, alpha))


def _default_name(image: Any, alpha: float) -> str:
    rows = image.shape[1 if channel_axis() == 3 else 2]
    return f"mobilenetv2_{alpha:0.2f}_{rows}"
