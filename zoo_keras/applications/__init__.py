"""Image models with the layers of Keras: `zoo_keras.applications` has names of keras.applications.

Weights are random (`weights=None`), read from a file that Keras or zoo_keras wrote, or those that
Keras keeps of ImageNet (`weights="imagenet"`), fetched when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.missing import missing

_NETS = {
    "convnext": "ConvNeXtBase ConvNeXtLarge ConvNeXtSmall ConvNeXtTiny ConvNeXtXLarge",
    "densenet": "DenseNet121 DenseNet169 DenseNet201",
    "efficientnet": "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 "
    "EfficientNetB5 EfficientNetB6 EfficientNetB7",
    "efficientnet_v2": "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 "
    "EfficientNetV2L EfficientNetV2M EfficientNetV2S",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3Large MobileNetV3Small",
    "nasnet": "NASNetLarge NASNetMobile",
    "resnet": "ResNet50 ResNet101 ResNet152",
    "resnet_v2": "ResNet50V2 ResNet101V2 ResNet152V2",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}
_MODELS = {name: module for module, names in _NETS.items() for name in names.split()}
_MODULES = (*_NETS, "imagenet_utils", "resnet50")

__all__ = [*_MODELS, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"zoo_keras.applications.{name}")
    if name in _MODELS:
        module = importlib.import_module(f"zoo_keras.applications.{_MODELS[name]}")
        return getattr(module, name)
    raise missing("zoo_keras.applications", name)
