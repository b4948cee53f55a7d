"""ResNet50V2, ResNet101V2 and ResNet152V2, with the layer names and weights of Keras.

He et al., "Identity Mappings in Deep Residual Networks" (2016): normalisation and activation come
before each convolution. Images are prepared with `preprocess_input` (mode "tf").
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import Options, finished, image_input, topped, variant
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.applications.resnet import first_pool, norm, relu, stem, trained
from zoo_keras.models import Model

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def _block(x: Any, filters: int, stride: int, widen: bool, name: str) -> Any:
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, all behind one normalisation."""
    ready = relu(norm(x, f"{name}_preact_bn"), f"{name}_preact_relu")
    if widen:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(ready)
    else:
        shortcut = layers.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(ready)
    x = relu(norm(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = layers.ZeroPadding2D(((1, 1), (1, 1)), name=f"{name}_2_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = relu(norm(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([shortcut, x])


def _resnet(blocks: Sequence[int], options: Options) -> Model:
    image = image_input(options)
    x = first_pool(stem(image))
    for group, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if group < len(blocks) - 1 and i == count - 1 else 1
            x = _block(x, 64 << group, stride, i == 0, f"conv{group + 2}_block{i + 1}")
    x = relu(norm(x, "post_bn"), "post_relu")
    return finished(image, topped(x, options), options)


ResNet50V2 = variant(
    partial(_resnet, (3, 4, 6, 3)), "ResNet50V2", "resnet50v2",
    trained("resnet50v2", "3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "ResNet with 50 layers, second version. https://keras.io/api/applications/resnet/",
)  # fmt: skip
ResNet101V2 = variant(
    partial(_resnet, (3, 4, 23, 3)), "ResNet101V2", "resnet101v2",
    trained("resnet101v2", "6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "ResNet with 101 layers, second version.",
)  # fmt: skip
ResNet152V2 = variant(
    partial(_resnet, (3, 8, 36, 3)), "ResNet152V2", "resnet152v2",
    trained("resnet152v2", "a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
    "ResNet with 152 layers, second version.",
)  # fmt: skip
