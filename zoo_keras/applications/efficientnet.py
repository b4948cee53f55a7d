"""EfficientNetB0 to B7, with the layer names and weights of Keras.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019).
Pixels from 0 to 255 go in as they are.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

from zoo_keras import layers
from zoo_keras.applications.building import (
    File,
    Options,
    Trained,
    channel_axis,
    classified,
    down_padding,
    eights,
    finished,
    image_input,
    pooled,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions, unchanged
from zoo_keras.models import Model

__all__ = [*(f"EfficientNetB{i}" for i in range(8)), "decode_predictions", "preprocess_input"]

preprocess_input = unchanged

# kernel, blocks, filters, expansion, stride of the first block: table 1 of the paper
_GROUPS = (
    (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2), (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2), (3, 1, 320, 6, 1),
)  # fmt: skip
_DROP = 0.2  # rate at which the last block is left out
_DEVIATIONS = (0.229, 0.224, 0.225)


class Scale(NamedTuple):
    """How a net is larger than the smallest: width, depth, rows of images; dropout at the end."""

    width: float
    depth: float
    size: int
    dropout: float


def conv(x: Any, filters: int, kernel: int, name: str, **kwargs: Any) -> Any:
    """A convolution as these nets have them."""
    kwargs = {"padding": "same", "use_bias": False, **kwargs}
    return layers.Conv2D(filters, kernel, kernel_initializer=initial(), name=name, **kwargs)(x)


def initial(top: bool = False) -> dict[str, Any]:
    """How kernels begin."""
    shape = {"scale": 1 / 3, "distribution": "uniform"} if top else {
        "scale": 2.0, "distribution": "truncated_normal"}  # fmt: skip
    return {"class_name": "VarianceScaling", "config": {"mode": "fan_out", **shape}}


def squeezed(x: Any, filters: int, name: str) -> Any:
    """Each channel scaled by what a small network with so many filters makes of all means."""
    axis = channel_axis()
    channels = x.shape[axis]
    scale = layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
    shape = (1, 1, channels) if axis == 3 else (channels, 1, 1)
    scale = layers.Reshape(shape, name=f"{name}se_reshape")(scale)
    scale = conv(scale, filters, 1, f"{name}se_reduce", activation="swish", use_bias=True)
    scale = conv(scale, channels, 1, f"{name}se_expand", activation="sigmoid", use_bias=True)
    return layers.Multiply(name=f"{name}se_excite")([x, scale])


def joined(x: Any, before: Any, rate: float, name: str) -> Any:
    """The shortcut around a block, which training leaves out at this rate."""
    if rate > 0:
        x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return layers.Add(name=f"{name}add")([x, before])


def top(x: Any, options: Options, dropout: float, **kwargs: Any) -> Any:
    """The end of a net."""
    if not options.include_top:
        return pooled(x, options)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(dropout, name="top_dropout")(x)
    return classified(x, options, kernel_initializer=initial(top=True), **kwargs)


def _active(x: Any, name: str, activation: str = "activation") -> Any:
    x = layers.BatchNormalization(axis=channel_axis(), name=f"{name}bn")(x)
    return layers.Activation("swish", name=f"{name}{activation}")(x)


def _block(
    x: Any, kernel: int, filters: int, expansion: int, stride: int, rate: float, name: str
) -> Any:
    """Expand, convolve each channel by itself, squeeze, project; a shortcut where shapes agree."""
    before, channels = x, x.shape[channel_axis()]
    if expansion != 1:
        x = _active(conv(x, channels * expansion, 1, f"{name}expand_conv"), f"{name}expand_")
    if stride == 2:
        x = layers.ZeroPadding2D(down_padding(x, kernel), name=f"{name}dwconv_pad")(x)
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False,
        depthwise_initializer=initial(), name=f"{name}dwconv",
    )(x)  # fmt: skip
    x = squeezed(_active(x, name), max(1, channels // 4), name)
    x = conv(x, filters, 1, f"{name}project_conv")
    x = layers.BatchNormalization(axis=channel_axis(), name=f"{name}project_bn")(x)
    return joined(x, before, rate, name) if stride == 1 and channels == filters else x


def _stem(image: Any, options: Options, filters: int) -> Any:
    x = layers.Normalization(axis=channel_axis())(layers.Rescaling(1 / 255)(image))
    if options.of_imagenet:  # the weights in Keras' files were trained so
        x = layers.Rescaling([1 / math.sqrt(d) for d in _DEVIATIONS])(x)
    x = layers.ZeroPadding2D(down_padding(x, 3), name="stem_conv_pad")(x)
    return _active(conv(x, filters, 3, "stem_conv", strides=2, padding="valid"), "stem_")


def _net(scale: Scale, options: Options) -> Model:
    image = image_input(options, scale.size)
    x = _stem(image, options, eights(32 * scale.width))
    repeats = [math.ceil(scale.depth * group[1]) for group in _GROUPS]
    done = 0
    for number, (kernel, _, filters, expansion, stride) in enumerate(_GROUPS):
        for i in range(repeats[number]):
            x = _block(
                x, kernel, eights(filters * scale.width), expansion, stride if i == 0 else 1,
                _DROP * done / sum(repeats), f"block{number + 1}{chr(ord('a') + i)}_",
            )  # fmt: skip
            done += 1
    x = _active(conv(x, eights(1280 * scale.width), 1, "top_conv"), "top_")
    return finished(image, top(x, options, scale.dropout), options)


_SCALES = (
    Scale(1.0, 1.0, 224, 0.2), Scale(1.0, 1.1, 240, 0.2), Scale(1.1, 1.2, 260, 0.3),
    Scale(1.2, 1.4, 300, 0.3), Scale(1.4, 1.8, 380, 0.4), Scale(1.6, 2.2, 456, 0.4),
    Scale(1.8, 2.6, 528, 0.5), Scale(2.0, 3.1, 600, 0.5),
)  # fmt: skip
_HASHES = (
    ("902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    ("1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    ("b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    ("ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    ("18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    ("ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    ("165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    ("8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
)


def _variant(number: int) -> Any:
    file = f"https://storage.googleapis.com/keras-applications/efficientnetb{number}"
    whole, bare = _HASHES[number]
    return variant(
        partial(_net, _SCALES[number]), f"EfficientNetB{number}", f"efficientnetb{number}",
        Trained(File(f"{file}.h5", whole), File(f"{file}_notop.h5", bare)),
        f"EfficientNetB{number}. https://keras.io/api/applications/efficientnet/",
    )  # fmt: skip


EfficientNetB0 = _variant(0)
EfficientNetB1 = _variant(1)
EfficientNetB2 = _variant(2)
EfficientNetB3 = _variant(3)
EfficientNetB4 = _variant(4)
EfficientNetB5 = _variant(5)
EfficientNetB6 = _variant(6)
EfficientNetB7 = _variant(7)
