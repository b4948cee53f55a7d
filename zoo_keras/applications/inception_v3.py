"""InceptionV3, with the layer names and weights of Keras.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015). Images are
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
    channel_axis,
    finished,
    image_input,
    topped,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.models import Model

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]

# A branch: filters, rows and columns of each convolution; stride 2 where there is a fourth number.
# "avg" keeps the size, "max" halves it.
Branch = Sequence[Any]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def active_conv(
    x: Any, filters: int, rows: int, columns: int, stride: int = 1, padding: str = "same",
    names: Sequence[str | None] = (None, None, None),
) -> Any:  # fmt: skip
    """Convolution, normalisation and ReLU, with these names."""
    x = layers.Conv2D(
        filters, (rows, columns), strides=stride, padding=padding, use_bias=False, name=names[0]
    )(x)  # fmt: skip
    x = layers.BatchNormalization(axis=channel_axis(), scale=False, name=names[1])(x)
    return layers.Activation("relu", name=names[2])(x)


def stem(image: Any) -> Any:
    """Rows and columns to an eighth, 192 channels."""
    x = active_conv(image, 32, 3, 3, 2, "valid")
    x = active_conv(active_conv(x, 32, 3, 3, padding="valid"), 64, 3, 3)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = active_conv(active_conv(x, 80, 1, 1, padding="valid"), 192, 3, 3, padding="valid")
    return layers.MaxPooling2D(3, strides=2)(x)


def branch(x: Any, steps: Branch) -> Any:
    """One branch."""
    for step in steps:
        if step == "avg":
            x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
        elif step == "max":
            x = layers.MaxPooling2D(3, strides=2)(x)
        else:
            stride, padding = (1, "same") if len(step) == 3 else (step[3], "valid")
            x = active_conv(x, step[0], step[1], step[2], stride, padding)
    return x


def joined(parts: Sequence[Any], name: str | None = None) -> Any:
    """Channels side by side."""
    return layers.Concatenate(axis=channel_axis(), name=name)(list(parts))


def mixed(x: Any, branches: Sequence[Branch], name: str) -> Any:
    """Several branches side by side."""
    return joined([branch(x, steps) for steps in branches], name)


def _fine(pool: int) -> list[Branch]:
    """1x1, 5x5, twice 3x3, and the mean around."""
    return [
        [(64, 1, 1)], [(48, 1, 1), (64, 5, 5)], [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
        ["avg", (pool, 1, 1)],
    ]  # fmt: skip


def _long(n: int) -> list[Branch]:
    """1x1, 7x7 and twice 7x7 in two directions each, and the mean around."""
    return [
        [(192, 1, 1)], [(n, 1, 1), (n, 1, 7), (192, 7, 1)],
        [(n, 1, 1), (n, 7, 1), (n, 1, 7), (n, 7, 1), (192, 1, 7)], ["avg", (192, 1, 1)],
    ]  # fmt: skip


_MIXED: list[list[Branch]] = [
    _fine(32), _fine(64), _fine(64),
    [[(384, 3, 3, 2)], [(64, 1, 1), (96, 3, 3), (96, 3, 3, 2)], ["max"]],
    _long(128), _long(160), _long(160), _long(192),
    [
        [(192, 1, 1), (320, 3, 3, 2)], [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3, 2)],
        ["max"],
    ],
]  # fmt: skip


def _wide(x: Any, number: int) -> Any:
    """The last modules, whose branches part once more."""
    one = active_conv(x, 320, 1, 1)
    two = branch(x, [(384, 1, 1)])
    two = mixed(two, [[(384, 1, 3)], [(384, 3, 1)]], f"mixed9_{number}")
    three = branch(x, [(448, 1, 1), (384, 3, 3)])
    three = joined([active_conv(three, 384, 1, 3), active_conv(three, 384, 3, 1)])
    four = branch(x, ["avg", (192, 1, 1)])
    return joined([one, two, three, four], f"mixed{9 + number}")


def _inception(options: Options) -> Model:
    image = image_input(options, 299, 75)
    x = stem(image)
    for number, branches in enumerate(_MIXED):
        x = mixed(x, branches, f"mixed{number}")
    x = _wide(_wide(x, 0), 1)
    return finished(image, topped(x, options, name=False), options)


_FILE = f"{STORE}inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels"

InceptionV3 = variant(
    _inception, "InceptionV3", "inception_v3",
    Trained(
        File(f"{_FILE}.h5", "9a0d58056eeedaa3f26cb7ebd46da564"),
        File(f"{_FILE}_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"),
    ),
    "InceptionV3. https://keras.io/api/applications/inceptionv3/",
)  # fmt: skip
