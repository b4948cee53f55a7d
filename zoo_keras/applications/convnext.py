"""ConvNeXtTiny, Small, Base, Large and XLarge, with the layer names and weights of Keras.

Liu et al., "A ConvNet for the 2020s" (2022). Pixels from 0 to 255 go in as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo_keras import initializers, layers
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    classified,
    finished,
    image_input,
    initial_weights,
    named,
    pooled,
    refuse_channels_first,
)
from zoo_keras.applications.imagenet_utils import decode_predictions, unchanged
from zoo_keras.models import Model, Sequential

__all__ = [
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    "decode_predictions", "preprocess_input",
]  # fmt: skip

preprocess_input = unchanged

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SCALE = 1e-6  # of what a block adds, at the start


class LayerScale(layers.Layer):
    """Each channel times a weight of its own.

    The name is Keras', for files hold it.
    """

    keras_module = "keras.src.applications.convnext"

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, input_shape: Any = None) -> None:
        start = initializers.Constant(self.init_values)
        self.gamma = self.add_weight(shape=(self.projection_dim,), initializer=start)

    def call(self, x: Any) -> Any:
        return x * self.gamma

    def get_config(self) -> dict[str, Any]:
        own = {"init_values": self.init_values, "projection_dim": self.projection_dim}
        return {**super().get_config(), **own}


def _norm(name: str | None = None) -> Any:
    return layers.LayerNormalization(epsilon=1e-6, name=name)


def _block(x: Any, name: str) -> Any:
    """A 7x7 convolution of each channel, and two dense layers at each pixel, beside a shortcut."""
    before, channels = x, x.shape[-1]
    x = layers.Conv2D(
        channels, 7, padding="same", groups=channels, name=f"{name}_depthwise_conv"
    )(x)  # fmt: skip
    x = layers.Dense(4 * channels, name=f"{name}_pointwise_conv_1")(_norm(f"{name}_layernorm")(x))
    x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = layers.Dense(channels, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(_SCALE, channels, name=f"{name}_layer_scale")(x)
    return before + layers.Activation("linear", name=f"{name}_identity")(x)


def _prepared(x: Any, name: str) -> Any:
    if x.shape[-1] != 3:
        return x
    mean, variance = [255 * m for m in _MEAN], [(255 * d) ** 2 for d in _DEVIATION]
    name = f"{name}_prestem_normalization"
    return layers.Normalization(mean=mean, variance=variance, name=name)(x)


def _down(x: Any, stage: int, width: int, name: str) -> Any:
    """What stands in front of a stage: fewer rows and columns, more channels."""
    start = layers.Input(batch_shape=x.shape)
    if stage == 0:
        conv = layers.Conv2D(width, 4, strides=4, name=f"{name}_stem_conv")
        return Sequential([start, conv, _norm(f"{name}_stem_layernorm")], name=f"{name}_stem")(x)
    number, name = stage - 1, f"{name}_downsampling"
    norm = _norm(f"{name}_layernorm_{number}")
    conv = layers.Conv2D(width, 2, strides=2, name=f"{name}_conv_{number}")
    return Sequential([start, norm, conv], name=f"{name}_block_{number}")(x)


def _top(x: Any, options: Options) -> Any:
    name = options.name
    if not options.include_top:
        return _norm()(pooled(x, options, name=False))
    x = layers.GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
    return classified(_norm(f"{name}_head_layernorm")(x), options, f"{name}_head_dense")


def _net(depths: Sequence[int], width: int, options: Options, prepares: bool) -> Model:
    refuse_channels_first(options)
    image = x = image_input(options)
    name = str(options.name)
    if prepares:
        x = _prepared(x, name)
    for stage, depth in enumerate(depths):
        x = _down(x, stage, width << stage, name)
        for i in range(depth):
            x = _block(x, f"{name}_stage_{stage}_block_{i}")
    return finished(image, _top(x, options), options)


def _variant(
    size: str, depths: Sequence[int], width: int, whole: str, bare: str
) -> Callable[..., Model]:
    """The public function of one of the nets."""
    application, default_name = f"ConvNeXt{size}", f"convnext_{size.lower()}"
    file = f"{STORE}convnext/{default_name}"
    trained = Trained(File(f"{file}.h5", whole), File(f"{file}_notop.h5", bare))

    def make(
        include_top: bool = True,
        include_preprocessing: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = default_name,
    ) -> Model:
        options = Options(
            application, name, include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation, trained,
        )  # fmt: skip
        with initial_weights(options):
            return _net(depths, width, options, include_preprocessing)

    return named(make, application, _net, _ABOUT)


_ABOUT = """ConvNeXt. https://keras.io/api/applications/convnext/

    Args:
        include_preprocessing: pixels are from 0 to 255; otherwise of mean 0 and deviation 1.
"""

ConvNeXtTiny = _variant(
    "Tiny", (3, 3, 9, 3), 96,
    "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
    "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
)  # fmt: skip
ConvNeXtSmall = _variant(
    "Small", (3, 3, 27, 3), 96,
    "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
    "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
)  # fmt: skip
ConvNeXtBase = _variant(
    "Base", (3, 3, 27, 3), 128,
    "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
    "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
)  # fmt: skip
ConvNeXtLarge = _variant(
    "Large", (3, 3, 27, 3), 192,
    "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
    "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
)  # fmt: skip
ConvNeXtXLarge = _variant(
    "XLarge", (3, 3, 27, 3), 256,
    "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
    "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
)  # fmt: skip
