"""`keras.applications.resnet50`: ResNet50 and its companions, which live in `resnet`."""

from __future__ import annotations

from zoo_keras.applications.resnet import ResNet50, decode_predictions, preprocess_input

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]
