"""Calls of keras.applications, and random weights that are the same on both sides.

`seeded_weights` depends on names and shapes of the weights only, so weights need no storing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arrays import generator


class Case(NamedTuple):
    application: str
    kwargs: dict[str, Any]
    compared: bool = True  # the outputs too; otherwise names and shapes of the weights only


SMALL: dict[str, Any] = {"weights": None, "input_shape": [48, 64, 3], "classes": 7}
CASES: dict[str, Case] = {
    "resnet50": Case("ResNet50", SMALL),
    "resnet50_bare": Case("ResNet50", {"weights": None, "include_top": False, "pooling": "max"},
                          False),
    "resnet50v2": Case("ResNet50V2", SMALL),
    "resnet101": Case("ResNet101", SMALL, False),
    "resnet152v2": Case("ResNet152V2", SMALL, False),
    "mobilenet_v2": Case("MobileNetV2", SMALL),
    "mobilenet_v2_narrow": Case("MobileNetV2", {"alpha": 0.35, "classifier_activation": None,
                                                **SMALL}),
    "mobilenet_v2_wide": Case("MobileNetV2", {"alpha": 1.4, "weights": None,
                                              "include_top": False}, False),
    "vgg16": Case("VGG16", {"weights": None, "include_top": False, "pooling": "avg",
                            "input_shape": [32, 40, 3]}),
    "vgg16_top": Case("VGG16", {**SMALL, "input_shape": [32, 32, 3], "name": "old_friend"}, False),
    "vgg19": Case("VGG19", {"weights": None, "include_top": False}, False),
}  # fmt: skip


def seeded_weights(name: str, weights: list[Any]) -> list[np.ndarray]:
    """Numbers that keep the outputs of deep models of order 1."""
    rng = generator(name)
    made = []
    for weight in weights:
        value = rng.normal(size=weight.shape).astype(np.float32)
        if "kernel" in weight.name:
            fans = weight.shape[:2] if "depthwise" in weight.path else weight.shape[:-1]
            value *= np.sqrt(1.5 / np.prod(fans))
        elif "gamma" in weight.name or "variance" in weight.name:
            value = 1 + 0.1 * np.abs(value)
        else:
            value *= 0.1
        made.append(value)
    return made


def image(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return generator(f"{name} image").uniform(-1, 1, (1, *shape)).astype(np.float32)
