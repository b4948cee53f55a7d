"""VGG16, with the layer names and weights of Keras.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
(2014). Images are prepared with `preprocess_input` (mode "caffe").
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    classified,
    finished,
    image_input,
    pooled,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 (RGB) as BGR with mean 0; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="caffe")


def vgg(convolutions: Sequence[int], options: Options) -> Model:
    """Blocks of 3x3 convolutions, each followed by a pooling, and three dense layers.

    Args:
        convolutions: how many each of the 5 blocks has.
    """
    image = x = image_input(options)
    for block, count in enumerate(convolutions, start=1):
        filters = min(32 << block, 512)
        for i in range(1, count + 1):
            x = layers.Conv2D(
                filters, 3, activation="relu", padding="same", name=f"block{block}_conv{i}"
            )(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if options.include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(4096, activation="relu", name="fc1")(x)
        x = layers.Dense(4096, activation="relu", name="fc2")(x)
        x = classified(x, options)
    else:
        x = pooled(x, options, name=False)
    return finished(image, x, options)


def trained(name: str, whole: str, bare: str) -> Trained:
    """Keras' files, by their hashes."""
    file = f"{STORE}{name}/{name}_weights_tf_dim_ordering_tf_kernels"
    return Trained(File(f"{file}.h5", whole), File(f"{file}_notop.h5", bare))


VGG16 = variant(
    partial(vgg, (2, 2, 3, 3, 3)), "VGG16", "vgg16",
    trained("vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "VGG with 16 layers. https://keras.io/api/applications/vgg/",
)  # fmt: skip
