"""VGG16, with the layer names and weights of Keras.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
(2014). Images are prepared with `preprocess_input` (mode "caffe").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import Options, classified, finished, image_input, pooled
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 (RGB) as BGR with mean 0; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="caffe")


def vgg(convolutions: Sequence[int], options: Options, name: str, application: str) -> Model:
    """Blocks of 3x3 convolutions, each followed by a pooling, and three dense layers.

    Args:
        convolutions: how many each of the 5 blocks has.
    """
    image = x = image_input(options, application)
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
        x = classified(x, options, application)
    else:
        x = pooled(x, options, name=False)
    return finished(image, x, options, name)


def VGG16(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "vgg16",
) -> Model:
    """VGG with 16 layers. https://keras.io/api/applications/vgg/

    Args:
        weights: None, or the path of a .h5, .weights.h5 or .keras file.

    Raises UnsupportedError for weights="imagenet", which would be a download.

    >>> VGG16(include_top=False, weights=None).count_params()
    14714688
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation
    )
    return vgg((2, 2, 3, 3, 3), options, name, "VGG16")
