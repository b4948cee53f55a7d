"""EfficientNetV2B0 to B3, S, M and L, with the layer names and weights of Keras.

Tan and Le, "EfficientNetV2: Smaller Models and Faster Training" (2021). Pixels from 0 to 255 go in
as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from zoo_keras import initializers, layers
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    channel_axis,
    eights,
    finished,
    image_input,
    initial_weights,
    named,
)
from zoo_keras.applications.efficientnet import Scale, conv, initial, joined, squeezed, top
from zoo_keras.applications.imagenet_utils import decode_predictions, unchanged
from zoo_keras.models import Model

__all__ = [
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    "decode_predictions", "preprocess_input",
]  # fmt: skip

preprocess_input = unchanged

# blocks, filters, expansion, stride of the first block: table 4 of the paper. In the first three
# groups expansion and convolution are one.
_B = (
    (1, 16, 1, 1), (2, 32, 4, 2), (2, 48, 4, 2), (3, 96, 4, 2), (5, 112, 6, 1), (8, 192, 6, 2)
)  # fmt: skip
_S = (
    (2, 24, 1, 1), (4, 48, 4, 2), (4, 64, 4, 2), (6, 128, 4, 2), (9, 160, 6, 1), (15, 256, 6, 2)
)  # fmt: skip
_M = (
    (3, 24, 1, 1), (5, 48, 4, 2), (5, 80, 4, 2), (7, 160, 4, 2), (14, 176, 6, 1), (18, 304, 6, 2),
    (5, 512, 6, 1),
)  # fmt: skip
_L = (
    (4, 32, 1, 1), (7, 64, 4, 2), (7, 96, 4, 2), (10, 192, 4, 2), (19, 224, 6, 1), (25, 384, 6, 2),
    (7, 640, 6, 1),
)  # fmt: skip
_FUSED = 3
_DROP = 0.2  # rate at which the last block is left out
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(axis=channel_axis(), momentum=0.9, name=f"{name}bn")(x)


def _active(x: Any, name: str) -> Any:
    return layers.Activation("swish", name=f"{name}activation")(_norm(x, name))


def _block(x: Any, filters: int, expansion: int, stride: int, rate: float, name: str) -> Any:
    """Expand, convolve each channel by itself, squeeze, project; a shortcut where shapes agree."""
    before, channels = x, x.shape[channel_axis()]
    x = _active(conv(x, channels * expansion, 1, f"{name}expand_conv"), f"{name}expand_")
    x = layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, depthwise_initializer=initial(),
        name=f"{name}dwconv2",
    )(x)  # fmt: skip
    x = squeezed(_active(x, name), max(1, channels // 4), name)
    x = _norm(conv(x, filters, 1, f"{name}project_conv"), f"{name}project_")
    return joined(x, before, rate, name) if stride == 1 and channels == filters else x


def _fused_block(
    x: Any, filters: int, expansion: int, stride: int, rate: float, name: str
) -> Any:  # fmt: skip
    """A 3x3 convolution that expands, and one that projects; or one that does both."""
    before, channels = x, x.shape[channel_axis()]
    if expansion != 1:
        x = conv(x, channels * expansion, 3, f"{name}expand_conv", strides=stride)
        x = conv(_active(x, f"{name}expand_"), filters, 1, f"{name}project_conv")
        x = _norm(x, f"{name}project_")
    else:
        x = conv(x, filters, 3, f"{name}project_conv", strides=stride)
        x = _active(x, f"{name}project_")
    return joined(x, before, rate, name) if stride == 1 and channels == filters else x


def _prepared(x: Any, small: bool) -> Any:
    """Pixels as the net was trained with; `small`: one of the B."""
    axis = channel_axis()
    if not small or x.shape[axis] != 3:
        return layers.Rescaling(1 / 128.0, offset=-1)(x)
    variance = [d**2 for d in _DEVIATION]
    x = layers.Rescaling(1.0 / 255)(x)
    return layers.Normalization(mean=list(_MEAN), variance=variance, axis=axis)(x)


def _net(
    groups: Sequence[tuple[int, ...]], scale: Scale, options: Options, prepares: bool
) -> Model:
    image = x = image_input(options, scale.size)
    if prepares:
        x = _prepared(x, groups is _B)
    width = 32 if groups in (_B, _L) else 24
    x = conv(x, eights(width * scale.width, shrinks=True), 3, "stem_conv", strides=2)
    x = _active(x, "stem_")
    done, blocks = 0, sum(group[0] for group in groups)
    for number, (repeats, filters, expansion, stride) in enumerate(groups):
        block = _fused_block if number < _FUSED else _block
        for i in range(math.ceil(scale.depth * repeats)):
            x = block(
                x, eights(filters * scale.width, shrinks=True), expansion, stride if i == 0 else 1,
                _DROP * done / blocks, f"block{number + 1}{chr(ord('a') + i)}_",
            )  # fmt: skip
            done += 1
    x = _active(conv(x, eights(1280 * scale.width, shrinks=True), 1, "top_conv"), "top_")
    x = top(x, options, scale.dropout, bias_initializer=initializers.Constant(0.0))
    return finished(image, x, options)


def _variant(
    size: str, groups: Sequence[tuple[int, ...]], scale: Scale, whole: str, bare: str
) -> Callable[..., Model]:
    """The public function of one of the nets."""
    application, default_name = f"EfficientNetV2{size}", f"efficientnetv2-{size.lower()}"
    file = f"{STORE}efficientnet_v2/{default_name}"
    trained = Trained(File(f"{file}.h5", whole), File(f"{file}_notop.h5", bare))

    def make(
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        include_preprocessing: bool = True,
        name: str = default_name,
    ) -> Model:
        options = Options(
            application, name, include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation, trained,
        )  # fmt: skip
        with initial_weights(options):
            return _net(groups, scale, options, include_preprocessing)

    return named(make, application, _net, _ABOUT)


_ABOUT = """EfficientNetV2. https://keras.io/api/applications/efficientnet_v2/

    Args:
        include_preprocessing: pixels are from 0 to 255; otherwise from -1 to 1.
"""

EfficientNetV2B0 = _variant(
    "B0", _B, Scale(1.0, 1.0, 224, 0.2),
    "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff",
)  # fmt: skip
EfficientNetV2B1 = _variant(
    "B1", _B, Scale(1.0, 1.1, 240, 0.2),
    "069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37",
)  # fmt: skip
EfficientNetV2B2 = _variant(
    "B2", _B, Scale(1.1, 1.2, 260, 0.2),
    "424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb",
)  # fmt: skip
EfficientNetV2B3 = _variant(
    "B3", _B, Scale(1.2, 1.4, 300, 0.2),
    "1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856",
)  # fmt: skip
EfficientNetV2S = _variant(
    "S", _S, Scale(1.0, 1.0, 384, 0.2),
    "e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070",
)  # fmt: skip
EfficientNetV2M = _variant(
    "M", _M, Scale(1.0, 1.0, 480, 0.2),
    "a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342",
)  # fmt: skip
EfficientNetV2L = _variant(
    "L", _L, Scale(1.0, 1.0, 480, 0.2),
    "27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615",
)  # fmt: skip
