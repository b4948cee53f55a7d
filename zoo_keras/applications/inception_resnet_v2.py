"""InceptionResNetV2, with the layer names and weights of Keras.

Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
(2016). Images are prepared with `preprocess_input` (mode "tf").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import layers
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
from zoo_keras.applications.inception_v3 import (
    Branch,
    active_conv,
    mixed,
    preprocess_input,
    stem,
)
from zoo_keras.models import Model

__all__ = ["InceptionResNetV2", "decode_predictions", "preprocess_input"]


class CustomScaleLayer(layers.Layer):
    """The first input and so much of the second: what a block adds to its shortcut.

    The name is Keras', for files hold it.
    """

    keras_module = "keras.src.applications.inception_resnet_v2"

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        return inputs[0] + inputs[1] * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


_5B: Sequence[Branch] = (
    [(96, 1, 1)], [(48, 1, 1), (64, 5, 5)], [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
    ["avg", (64, 1, 1)],
)  # fmt: skip
_6A: Sequence[Branch] = (
    [(384, 3, 3, 2)], [(256, 1, 1), (256, 3, 3), (384, 3, 3, 2)], ["max"]
)  # fmt: skip
_7A: Sequence[Branch] = (
    [(256, 1, 1), (384, 3, 3, 2)], [(256, 1, 1), (288, 3, 3, 2)],
    [(256, 1, 1), (288, 3, 3), (320, 3, 3, 2)], ["max"],
)  # fmt: skip
_35: Sequence[Branch] = (
    [(32, 1, 1)], [(32, 1, 1), (32, 3, 3)], [(32, 1, 1), (48, 3, 3), (64, 3, 3)]
)  # fmt: skip
_17: Sequence[Branch] = ([(192, 1, 1)], [(128, 1, 1), (160, 1, 7), (192, 7, 1)])
_8: Sequence[Branch] = ([(192, 1, 1)], [(192, 1, 1), (224, 1, 3), (256, 3, 1)])


def _block(x: Any, branches: Sequence[Branch], scale: float, name: str, active: bool = True) -> Any:
    """Branches side by side, projected and scaled, beside a shortcut."""
    parts = mixed(x, branches, f"{name}_mixed")
    up = layers.Conv2D(x.shape[channel_axis()], 1, padding="same", name=f"{name}_conv")(parts)
    x = CustomScaleLayer(scale)([x, up])
    return layers.Activation("relu", name=f"{name}_ac")(x) if active else x


def _inception(options: Options) -> Model:
    image = image_input(options, 299, 75)
    x = mixed(stem(image), _5B, "mixed_5b")
    for i in range(1, 11):
        x = _block(x, _35, 0.17, f"block35_{i}")
    x = mixed(x, _6A, "mixed_6a")
    for i in range(1, 21):
        x = _block(x, _17, 0.1, f"block17_{i}")
    x = mixed(x, _7A, "mixed_7a")
    for i in range(1, 10):
        x = _block(x, _8, 0.2, f"block8_{i}")
    x = _block(x, _8, 1.0, "block8_10", active=False)
    x = active_conv(x, 1536, 1, 1, names=("conv_7b", "conv_7b_bn", "conv_7b_ac"))
    return finished(image, topped(x, options, name=False), options)


_FILE = f"{STORE}inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels"

InceptionResNetV2 = variant(
    _inception, "InceptionResNetV2", "inception_resnet_v2",
    Trained(
        File(f"{_FILE}.h5", "e693bd0210a403b3192acc6073ad2e96"),
        File(f"{_FILE}_notop.h5", "d19885ff4a710c122648d3b5c3b684e4"),
    ),
    "InceptionResNetV2. https://keras.io/api/applications/inceptionresnetv2/",
)  # fmt: skip
