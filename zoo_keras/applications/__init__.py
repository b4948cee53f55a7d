"""Image models with the layers of Keras: `zoo_keras.applications` has names of keras.applications.

Weights are random (`weights=None`) or read from a file that Keras or zoo_keras wrote; nothing is
downloaded.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.missing import missing

_MODELS = {
    "MobileNetV2": "mobilenet_v2",
    "ResNet50": "resnet",
    "ResNet101": "resnet",
    "ResNet152": "resnet",
    "ResNet50V2": "resnet_v2",
    "ResNet101V2": "resnet_v2",
    "ResNet152V2": "resnet_v2",
    "VGG16": "vgg16",
    "VGG19": "vgg19",
}
_MODULES = (
    "imagenet_utils", "mobilenet_v2", "resnet", "resnet50", "resnet_v2", "vgg16", "vgg19",
)  # fmt: skip

__all__ = [*_MODELS, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"zoo_keras.applications.{name}")
    if name in _MODELS:
        module = importlib.import_module(f"zoo_keras.applications.{_MODELS[name]}")
        return getattr(module, name)
    raise missing("zoo_keras.applications", name)
