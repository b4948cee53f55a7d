"""VGG19, with the layer names and weights of Keras; see vgg16."""

from __future__ import annotations

from zoo_keras.applications.building import Options, variant
from zoo_keras.applications.vgg16 import decode_predictions, preprocess_input, trained, vgg
from zoo_keras.models import Model

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]


def _vgg19(options: Options) -> Model:
    return vgg((2, 2, 4, 4, 4), options)


VGG19 = variant(
    _vgg19, "VGG19", "vgg19",
    trained("vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    "VGG with 19 layers; see VGG16.",
)  # fmt: skip
