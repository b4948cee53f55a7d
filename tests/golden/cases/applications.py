"""Calls of keras.applications, and random weights that are the same on both sides.

`seeded_weights` depends on names and shapes of the weights only, so weights need no storing.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np

from ..arrays import generator


class Case(NamedTuple):
    """A call. `compared`: the outputs too; otherwise names, shapes and configuration only."""

    application: str
    kwargs: dict[str, Any]
    compared: bool = True
    pixels: bool = False  # the net wants numbers from 0 to 255


def small(side: int = 32, **kwargs: Any) -> dict[str, Any]:
    """The smallest images that a net takes, and numbers in place of probabilities."""
    return {"weights": None, "input_shape": [side, side, 3], "classes": 7,
            "classifier_activation": None, **kwargs}  # fmt: skip


BARE: dict[str, Any] = {"weights": None, "include_top": False}
SMALL: dict[str, Any] = {"weights": None, "input_shape": [48, 64, 3], "classes": 7}
# One net of each family; the others are built as large, and as slowly, as they are.
FAMILIES: dict[str, Case] = {
    "resnet50": Case("ResNet50", SMALL),
    "resnet50v2": Case("ResNet50V2", SMALL),
    "mobilenet_v2": Case("MobileNetV2", SMALL),
    "vgg16": Case("VGG16", {**BARE, "pooling": "avg", "input_shape": [32, 40, 3]}),
    "convnext_tiny": Case("ConvNeXtTiny", small(), pixels=True),
    "densenet121": Case("DenseNet121", small()),
    "efficientnetb0": Case("EfficientNetB0", small(), pixels=True),
    "efficientnetv2b0": Case("EfficientNetV2B0", small(), pixels=True),
    "inception_resnet_v2": Case("InceptionResNetV2", small(75)),
    "inception_v3": Case("InceptionV3", small(75)),
    "mobilenet": Case("MobileNet", small()),
    "mobilenet_v3_small": Case("MobileNetV3Small", small(), pixels=True),
    "nasnet_mobile": Case("NASNetMobile", small()),
    "xception": Case("Xception", small(71)),
}
OTHERS: dict[str, Case] = {
    **{name.lower(): Case(name, small(), pixels=True)
       for name in ("ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge")},
    **{name.lower(): Case(name, small()) for name in ("DenseNet169", "DenseNet201")},
    **{f"efficientnetb{i}": Case(f"EfficientNetB{i}", small(), pixels=True) for i in range(1, 8)},
    **{f"efficientnetv2{size}": Case(f"EfficientNetV2{size.upper()}", small(), pixels=True)
       for size in ("b1", "b2", "b3", "s", "m", "l")},
    "mobilenet_v3_large": Case("MobileNetV3Large", small(), pixels=True),
    "nasnet_large": Case("NASNetLarge", small(33)),
    **{name.lower(): Case(name, small())
       for name in ("ResNet101", "ResNet152", "ResNet101V2", "ResNet152V2")},
    "vgg16_top": Case("VGG16", small(name="old_friend")),
    "vgg19": Case("VGG19", small()),
}  # fmt: skip
# Other arguments of them.
ARGUMENTS: dict[str, Case] = {
    "resnet50_bare": Case("ResNet50", {**BARE, "pooling": "max"}, False),
    "mobilenet_v2_narrow": Case("MobileNetV2", {"alpha": 0.35, "classifier_activation": None,
                                                **SMALL}),
    "mobilenet_v2_wide": Case("MobileNetV2", {"alpha": 1.4, **BARE}, False),
    "mobilenet_v2_square": Case("MobileNetV2", {"weights": None, "input_shape": [96, 96, 3]},
                                False),
    "vgg19_bare": Case("VGG19", BARE, False),
    "convnext_bare": Case("ConvNeXtTiny", {**BARE, "include_preprocessing": False, "pooling": "max",
                                           "name": "convolved"}, False),
    "convnext_grey": Case("ConvNeXtTiny", {"weights": None, "input_shape": [32, 32, 1]}, False),
    "densenet_bare": Case("DenseNet121", {**BARE, "pooling": "avg"}, False),
    "efficientnet_odd": Case("EfficientNetB0", small(input_shape=[37, 33, 3]), pixels=True),
    "efficientnet_bare": Case("EfficientNetB0", {**BARE, "pooling": "max"}, False),
    "efficientnetv2_bare": Case("EfficientNetV2B0", {**BARE, "include_preprocessing": False},
                                False),
    "efficientnetv2_grey": Case("EfficientNetV2B0", {**BARE, "input_shape": [32, 32, 1]}, False),
    "inception_v3_bare": Case("InceptionV3", {**BARE, "pooling": "avg"}, False),
    "mobilenet_narrow": Case("MobileNet", small(alpha=0.25, depth_multiplier=2, dropout=0.1,
                                                input_shape=[33, 37, 3])),
    "mobilenet_bare": Case("MobileNet", {**BARE, "pooling": "max"}, False),
    "mobilenet_v3_minimal": Case("MobileNetV3Small", small(minimalistic=True), pixels=True),
    "mobilenet_v3_wide": Case("MobileNetV3Large", {
        "alpha": 1.5, "weights": None, "dropout_rate": 0, "include_preprocessing": False}, False),
    "mobilenet_v3_bare": Case("MobileNetV3Large", {"alpha": 0.75, **BARE, "pooling": "avg"}, False),
    "nasnet_bare": Case("NASNetMobile", {**BARE, "pooling": "max"}, False),
    "xception_bare": Case("Xception", {**BARE, "pooling": "max"}, False),
}  # fmt: skip
CASES: dict[str, Case] = {**FAMILIES, **OTHERS, **ARGUMENTS}

# With larger weights rounding alone changes what comes out at their end.
CALM = ("efficientnetv2l",)


def seeded_weights(name: str, weights: list[Any]) -> list[np.ndarray]:
    """Numbers that keep the outputs of deep models of order 1."""
    rng = generator(name)
    gain = 0.3 if name in CALM else 1.5
    made = []
    for weight in weights:
        value = rng.standard_normal(size=weight.shape, dtype=np.float32)
        if "kernel" in weight.name:
            by_channel = any(word in weight.path for word in ("depthwise", "conv_dw", "dwconv"))
            fans = weight.shape[:2] if by_channel else weight.shape[:-1]
            value *= np.float32(np.sqrt(gain / np.prod(fans)))
        elif "gamma" in weight.name or "variance" in weight.name:
            value = 1 + np.float32(0.1) * np.abs(value)
        elif weight.name == "count":
            value = np.ones_like(value)
        else:
            value *= np.float32(0.1)
        made.append(value)
    return made


def image(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An image of numbers from -1 to 1, or from 0 to 255."""
    x = generator(f"{name} image").uniform(-1, 1, (1, *shape)).astype(np.float32)
    return 127.5 * (x + 1) if name in CASES and CASES[name].pixels else x


def digest(value: Any) -> str:
    """A short hash of plain values; numbers to 5 digits, for Keras holds some in float32."""
    text = json.dumps(_rounded(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):  # Keras writes a default of Dropout, training=False, into its calls
        return {k: _rounded(v) for k, v in value.items() if k != "training"}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.5g}" if number else value


def facts(model: Any) -> dict[str, Any]:
    """Of a model here or in Keras: what must be equal."""
    return {
        "layers": [[type(layer).__name__, layer.name] for layer in model.layers],
        "weights": [[w.path, list(w.shape)] for w in model.weights],
        "config": json.loads(model.to_json())["config"],
    }
