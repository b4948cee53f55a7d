"""MobileNetV3Small and MobileNetV3Large, with the layer names and weights of Keras.

Howard et al., "Searching for MobileNetV3" (2019). Pixels from 0 to 255 go in as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from zoo_keras import layers
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    channel_axis,
    check_activation,
    down_padding,
    eights,
    finished,
    image_input,
    initial_weights,
    last_axis,
    named,
    pooled,
)
from zoo_keras.applications.imagenet_utils import decode_predictions, unchanged
from zoo_keras.models import Model

__all__ = ["decode_predictions", "preprocess_input"]

preprocess_input = unchanged


class _Block(NamedTuple):
    """A row of the paper's tables 1 and 2."""

    expansion: float
    filters: int
    kernel: int
    stride: int
    squeezes: bool
    swishes: bool


_SMALL = (
    (1, 16, 3, 2, True, False), (72 / 16, 24, 3, 2, False, False),
    (88 / 24, 24, 3, 1, False, False),
    (4, 40, 5, 2, True, True), (6, 40, 5, 1, True, True), (6, 40, 5, 1, True, True),
    (3, 48, 5, 1, True, True), (3, 48, 5, 1, True, True), (6, 96, 5, 2, True, True),
    (6, 96, 5, 1, True, True), (6, 96, 5, 1, True, True),
)  # fmt: skip
_LARGE = (
    (1, 16, 3, 1, False, False), (4, 24, 3, 2, False, False), (3, 24, 3, 1, False, False),
    (3, 40, 5, 2, True, False), (3, 40, 5, 1, True, False), (3, 40, 5, 1, True, False),
    (6, 80, 3, 2, False, True), (2.5, 80, 3, 1, False, True), (2.3, 80, 3, 1, False, True),
    (2.3, 80, 3, 1, False, True), (6, 112, 3, 1, True, True), (6, 112, 3, 1, True, True),
    (6, 160, 5, 2, True, True), (6, 160, 5, 1, True, True), (6, 160, 5, 1, True, True),
)  # fmt: skip


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(axis=last_axis(), epsilon=1e-3, momentum=0.999, name=name)(x)


def _active(x: Any, swishes: bool) -> Any:
    return layers.Activation("hard_swish")(x) if swishes else layers.ReLU()(x)


def _pointwise(x: Any, filters: int, name: str) -> Any:
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=name)(x)
    return _norm(x, f"{name}_bn")


def _squeezed(x: Any, prefix: str) -> Any:
    """Each channel scaled by what a small network makes of the means of all."""
    filters, name = x.shape[channel_axis()], f"{prefix}squeeze_excite"
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    scale = layers.Conv2D(eights(filters / 4), 1, padding="same", name=f"{name}_conv")(mean)
    scale = layers.ReLU(name=f"{name}_relu")(scale)
    scale = layers.Conv2D(filters, 1, padding="same", name=f"{name}_conv_1")(scale)
    scale = layers.ReLU(6.0)(scale + 3.0) * (1.0 / 6.0)
    return layers.Multiply(name=f"{name}_mul")([x, scale])


def _block(x: Any, block: _Block, filters: int, number: int) -> Any:
    """Expand, convolve each channel by itself, squeeze, project; a shortcut where shapes agree."""
    before, channels = x, x.shape[channel_axis()]
    prefix = f"expanded_conv_{number}_" if number else "expanded_conv_"
    if number:
        x = _pointwise(x, eights(channels * block.expansion), f"{prefix}expand")
        x = _active(x, block.swishes)
    if block.stride == 2:
        x = layers.ZeroPadding2D(down_padding(x, block.kernel), name=f"{prefix}depthwise_pad")(x)
    x = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same" if block.stride == 1 else "valid",
        use_bias=False, name=f"{prefix}depthwise",
    )(x)  # fmt: skip
    x = _active(_norm(x, f"{prefix}depthwise_bn"), block.swishes)
    x = _squeezed(x, prefix) if block.squeezes else x
    x = _pointwise(x, filters, f"{prefix}project")
    if block.stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}add")([before, x])
    return x


def _top(x: Any, options: Options, width: int, swishes: bool, dropout: float) -> Any:
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = _active(layers.Conv2D(width, 1, padding="same", name="conv_2")(x), swishes)
    x = layers.Dropout(dropout)(x) if dropout > 0 else x
    x = layers.Flatten()(layers.Conv2D(options.classes, 1, padding="same", name="logits")(x))
    check_activation(options)
    return layers.Activation(options.classifier_activation, name="predictions")(x)


class _Width(NamedTuple):
    """How wide a net is: of all layers compared with the paper, of the last but one; `minimal`
    nets have neither 5x5 kernels nor squeezing nor swish."""

    alpha: float
    last: int
    minimal: bool


def _net(
    rows: Sequence[tuple], width: _Width, options: Options, prepares: bool, dropout: float
) -> Model:
    image = x = image_input(options, size=None)
    swishes = not width.minimal
    if prepares:
        x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = _active(_norm(x, "conv_bn"), swishes)
    for number, row in enumerate(rows):
        block = _Block(*row)
        if width.minimal:
            block = block._replace(kernel=3, squeezes=False, swishes=False)
        x = _block(x, block, eights(block.filters * width.alpha), number)
    x = _active(_pointwise(x, eights(6 * x.shape[channel_axis()]), "conv_1"), swishes)
    if options.include_top:
        last = eights(width.last * width.alpha) if width.alpha > 1 else width.last
        x = _top(x, options, last, swishes, dropout)
    else:
        x = pooled(x, options)
    return finished(image, x, options)


def _trained(kind: str, hashes: dict[str, tuple[str, str]], width: _Width) -> Trained | None:
    size = f"{'_minimalistic' if width.minimal else ''}_224_{float(width.alpha)}_float"
    if size not in hashes:
        return None
    file = f"{STORE}mobilenet_v3/weights_mobilenet_v3_{kind}{size}"
    whole, bare = hashes[size]
    return Trained(File(f"{file}.h5", whole), File(f"{file}_no_top_v2.h5", bare))


def _variant(
    rows: Sequence[tuple], last: int, kind: str, hashes: dict[str, tuple[str, str]]
) -> Callable[..., Model]:
    """The public function of one of both nets."""
    application = f"MobileNetV3{kind.capitalize()}"

    def make(
        input_shape: Any = None,
        alpha: float = 1.0,
        minimalistic: bool = False,
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        classes: int = 1000,
        pooling: str | None = None,
        dropout_rate: float = 0.2,
        classifier_activation: Any = "softmax",
        include_preprocessing: bool = True,
        name: str = application,
    ) -> Model:
        width = _Width(alpha, last, minimalistic)
        options = Options(
            application, name, include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation, _trained(kind, hashes, width),
        )  # fmt: skip
        with initial_weights(options):
            return _net(rows, width, options, include_preprocessing, dropout_rate)

    return named(make, application, _net, _ABOUT)


_ABOUT = """MobileNetV3. https://keras.io/api/applications/mobilenet/

    Args:
        alpha: how wide the layers are, compared with the paper.
        minimalistic: without 5x5 kernels, squeezing and hard_swish.
        dropout_rate: in front of the last layer.
        include_preprocessing: pixels are from 0 to 255; otherwise from -1 to 1.
"""

MobileNetV3Small = _variant(_SMALL, 1024, "small", {
    "_224_0.75_float": ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
    "_224_1.0_float": ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "_minimalistic_224_1.0_float": ("99cd97fb2fcdad2bf028eb838de69e37",
                                    "cde8136e733e811080d9fcd8a252f7e4"),
})  # fmt: skip
MobileNetV3Large = _variant(_LARGE, 1280, "large", {
    "_224_0.75_float": ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
    "_224_1.0_float": ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
    "_minimalistic_224_1.0_float": ("675e7b876c45c57e9e63e6d90a36599c",
                                    "ec5221f64a2f6d1ef965a614bdae7973"),
})  # fmt: skip
