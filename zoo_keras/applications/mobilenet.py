"""MobileNet, with the layer names and weights of Keras.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(2017). Images are prepared with `preprocess_input` (mode "tf").
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
    check_activation,
    finished,
    image_input,
    initial_weights,
    last_axis,
    pooled,
    trained_rows,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

# filters and stride of the 13 blocks: table 1 of the paper
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)
)  # fmt: skip
_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}
_SIZES = (128, 160, 192, 224)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def _active(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(axis=last_axis(), name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _block(x: Any, filters: int, stride: int, multiplier: int, number: int) -> Any:
    """Each channel convolved by itself, then all of them at each pixel."""
    if stride == 2:
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
    x = layers.DepthwiseConv2D(
        3, strides=stride, padding="same" if stride == 1 else "valid", depth_multiplier=multiplier,
        use_bias=False, name=f"conv_dw_{number}",
    )(x)  # fmt: skip
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"conv_pw_{number}")(
        _active(x, f"conv_dw_{number}")
    )
    return _active(x, f"conv_pw_{number}")


def _body(x: Any, alpha: float, multiplier: int) -> Any:
    x = layers.Conv2D(
        int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1"
    )(x)  # fmt: skip
    x = _active(x, "conv1")
    for number, (filters, stride) in enumerate(_BLOCKS, start=1):
        x = _block(x, int(filters * alpha), stride, multiplier, number)
    return x


def _top(x: Any, options: Options, dropout: float) -> Any:
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Conv2D(options.classes, 1, padding="same", name="conv_preds")(x)
    x = layers.Reshape((options.classes,), name="reshape_2")(x)
    check_activation(options)
    return layers.Activation(options.classifier_activation, name="predictions")(x)


def MobileNet(
    input_shape: Any = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 0.001,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Model:
    """MobileNet. https://keras.io/api/applications/mobilenet/

    Args:
        alpha: how wide the layers are, compared with the paper.
        depth_multiplier: how many outputs each channel has where it is convolved by itself.
        dropout: rate in front of the last layer.

    The other arguments are those of ResNet50.

    >>> MobileNet(weights=None).count_params()
    4253864
    """
    options = Options(
        "MobileNet", name, include_top, weights, input_tensor, input_shape, pooling, classes,
        classifier_activation,
    )  # fmt: skip
    image = image_input(options, sizes=_SIZES)
    rows = trained_rows(image, options, _SIZES)
    options.name = name or f"mobilenet_{alpha:0.2f}_{rows}"
    if depth_multiplier == 1:
        options.trained = _trained(alpha, rows)
    options.fetch()
    with initial_weights(options):
        x = _body(image, alpha, depth_multiplier)
        x = _top(x, options, dropout) if include_top else pooled(x, options, name=False)
        return finished(image, x, options)


def _trained(alpha: float, rows: int | None) -> Trained | None:
    """Keras' files, of which it knows no hash."""
    if alpha not in _ALPHAS:
        return None
    file = f"{STORE}mobilenet/mobilenet_{_ALPHAS[alpha]}_{rows}_tf"
    return Trained(File(f"{file}.h5"), File(f"{file}_no_top.h5"))
