"""VGG19, with the layer names and weights of Keras; see vgg16."""

from __future__ import annotations

from typing import Any

from zoo_keras.applications.building import Options
from zoo_keras.applications.vgg16 import decode_predictions, preprocess_input, vgg
from zoo_keras.models import Model

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]


def VGG19(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "vgg19",
) -> Model:
    """VGG with 19 layers; see vgg16.VGG16."""
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation
    )
    return vgg((2, 2, 4, 4, 4), options, name, "VGG19")
