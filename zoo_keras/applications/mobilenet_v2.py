"""MobileNetV2, with the layer names and weights of Keras.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018). Images are
prepared with `preprocess_input` (mode "tf").
"""

from __future__ import annotations

from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    channel_axis,
    classified,
    down_padding,
    eights,
    finished,
    image_input,
    initial_weights,
    last_axis,
    pooled,
    trained_rows,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

# filters, stride of the first block, blocks: table 2 of the paper
_GROUPS = ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1))
_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_SIZES = (96, 128, 160, 192, 224)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(axis=last_axis(), epsilon=1e-3, momentum=0.999, name=name)(x)


def _pointwise(x: Any, filters: int, prefix: str, part: str) -> Any:
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}{part}")(x)
    return _norm(x, f"{prefix}{part}_BN")


def _block(x: Any, filters: int, stride: int, number: int) -> Any:
    """Expand 6 times, convolve each channel by itself, project; a shortcut where shapes agree."""
    before, channels = x, x.shape[channel_axis()]
    prefix = f"block_{number}_" if number else "expanded_conv_"
    if number:
        x = layers.ReLU(6.0, name=f"{prefix}expand_relu")(
            _pointwise(x, 6 * channels, prefix, "expand")
        )
    if stride == 2:
        x = layers.ZeroPadding2D(down_padding(x, 3), name=f"{prefix}pad")(x)
    x = layers.DepthwiseConv2D(
        3, strides=stride, use_bias=False, padding="same" if stride == 1 else "valid",
        name=f"{prefix}depthwise",
    )(x)  # fmt: skip
    x = layers.ReLU(6.0, name=f"{prefix}depthwise_relu")(_norm(x, f"{prefix}depthwise_BN"))
    x = _pointwise(x, filters, prefix, "project")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}add")([before, x])
    return x


def _body(x: Any, alpha: float) -> Any:
    x = layers.Conv2D(
        eights(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1"
    )(x)  # fmt: skip
    x = layers.ReLU(6.0, name="Conv1_relu")(_norm(x, "bn_Conv1"))
    number = 0
    for filters, first_stride, blocks in _GROUPS:
        for i in range(blocks):
            x = _block(x, eights(int(filters * alpha)), first_stride if i == 0 else 1, number)
            number += 1
    x = layers.Conv2D(eights(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
    return layers.ReLU(6.0, name="out_relu")(_norm(x, "Conv_1_bn"))


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

    The other arguments are those of ResNet50.

    >>> MobileNetV2(weights=None).count_params()
    3538984
    """
    options = Options(
        "MobileNetV2", name, include_top, weights, input_tensor, input_shape, pooling, classes,
        classifier_activation,
    )  # fmt: skip
    image = image_input(options, sizes=_SIZES)
    rows = trained_rows(image, options, _SIZES)
    options.name = name or f"mobilenetv2_{alpha:0.2f}_{rows}"
    options.trained = _trained(alpha, rows)
    options.fetch()
    with initial_weights(options):
        x = _body(image, alpha)
        if include_top:
            x = classified(layers.GlobalAveragePooling2D()(x), options)
        else:
            x = pooled(x, options, name=False)
        return finished(image, x, options)


def _trained(alpha: float, rows: int | None) -> Trained | None:
    """Keras' files, of which it knows no hash."""
    if alpha not in _ALPHAS:
        return None
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{rows}"
    file = f"{STORE}mobilenet_v2/{name}"
    return Trained(File(f"{file}.h5"), File(f"{file}_no_top.h5"))
