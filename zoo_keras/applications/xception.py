"""Xception, with the layer names and weights of Keras.

Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017). Images are
prepared with `preprocess_input` (mode "tf").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    finished,
    image_input,
    last_axis,
    topped,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["Xception", "decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def _norm(x: Any, name: str | None = None) -> Any:
    return layers.BatchNormalization(axis=last_axis(), name=name)(x)


def _separable(x: Any, filters: int, name: str) -> Any:
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return _norm(x, f"{name}_bn")


def _relu(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_act")(x)


def _steps(x: Any, filters: Sequence[int], name: str, first: int = 1) -> Any:
    """Separable convolutions, each behind an activation: from the `first` on."""
    for i, number in enumerate(filters, start=1):
        x = _relu(x, f"{name}_sepconv{i}") if i >= first else x
        x = _separable(x, number, f"{name}_sepconv{i}")
    return x


def _halving(x: Any, filters: Sequence[int], name: str, first: int = 1) -> Any:
    """Two of them and a pooling, beside a convolution of stride 2."""
    shortcut = layers.Conv2D(filters[-1], 1, strides=2, padding="same", use_bias=False)(x)
    shortcut = _norm(shortcut)
    x = _steps(x, filters, name, first)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return layers.Add()([x, shortcut])


def _xception(options: Options) -> Model:
    image = image_input(options, 299, 71)
    x = layers.Conv2D(32, 3, strides=2, use_bias=False, name="block1_conv1")(image)
    x = _relu(_norm(x, "block1_conv1_bn"), "block1_conv1")
    x = layers.Conv2D(64, 3, use_bias=False, name="block1_conv2")(x)
    x = _relu(_norm(x, "block1_conv2_bn"), "block1_conv2")
    for block, filters in ((2, 128), (3, 256), (4, 728)):
        x = _halving(x, (filters, filters), f"block{block}", first=2 if block == 2 else 1)
    for block in range(5, 13):
        x = layers.Add()([_steps(x, (728, 728, 728), f"block{block}"), x])
    x = _halving(x, (728, 1024), "block13")
    for i, filters in enumerate((1536, 2048), start=1):
        x = _relu(_separable(x, filters, f"block14_sepconv{i}"), f"block14_sepconv{i}")
    return finished(image, topped(x, options, name=False), options)


_FILE = f"{STORE}xception/xception_weights_tf_dim_ordering_tf_kernels"

Xception = variant(
    _xception, "Xception", "xception",
    Trained(
        File(f"{_FILE}.h5", "0a58e3b7378bc2990ea3b43d5981f1f6"),
        File(f"{_FILE}_notop.h5", "b0042744bf5b25fce3cb969f33bebb97"),
    ),
    "Xception. https://keras.io/api/applications/xception/",
)  # fmt: skip
