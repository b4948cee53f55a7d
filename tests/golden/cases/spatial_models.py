"""Models of the layers in cases/spatial.py, for files of Keras 3 and of Keras 2 (`per_channel`)."""

from __future__ import annotations

from typing import Any

from .models import Model, optimizer


def images(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(7, 6, 3), name="image"),
            layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, name="separable"),
            layers.DepthwiseConv2D(3, activation="relu", name="depthwise"),
            layers.Conv2DTranspose(4, 3, strides=2, output_padding=1, name="transposed"),
            layers.UpSampling2D(2, interpolation="bilinear", name="up"),
            layers.Cropping2D(((1, 2), (0, 3)), name="crop"),
            layers.AdaptiveAveragePooling2D((3, 2), name="adaptive"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="images",
    )


def volumes(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(4, 5, 6, 2), name="volume"),
            layers.ZeroPadding3D(((1, 0), (0, 1), (0, 0)), name="pad"),
            # No ReLU: TensorFlow pools ties in 3-D another way.
            layers.Conv3D(4, 3, activation="elu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling3D((1, 2, 2), name="pool"),
            layers.Conv3DTranspose(3, 2, strides=2, name="transposed"),
            layers.UpSampling3D((1, 2, 1), name="up"),
            layers.Cropping3D(1, name="crop"),
            layers.AveragePooling3D(2, padding="same", name="mean"),
            layers.GlobalAveragePooling3D(name="all"),
            layers.Dense(2, name="values"),
        ],
        name="volumes",
    )


def steps(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(8, 3), name="steps"),
            layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same", name="depthwise"),
            layers.Conv1DTranspose(4, 4, strides=2, padding="same", name="transposed"),
            layers.SeparableConv1D(5, 3, activation="tanh", name="separable"),
            layers.Cropping1D((1, 0), name="crop"),
            layers.UpSampling1D(2, name="up"),
            layers.AdaptiveMaxPooling1D(4, name="adaptive"),
            layers.GlobalAveragePooling1D(name="mean"),
            layers.Dense(1, activation="sigmoid", name="score"),
        ],
        name="steps",
    )


def per_channel(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(7, 6, 3), name="image"),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(6.0, name="relu6"),
            layers.SeparableConv2D(4, 3, depth_multiplier=2, name="separable"),
            layers.Conv2DTranspose(3, 2, strides=2, name="transposed"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="per_channel",
    )


_CLASSES = {"loss": "categorical_crossentropy", "metrics": ["accuracy"]}
MODELS: dict[str, Model] = {
    "images": Model(
        images, {"image": ("real", (7, 6, 3))}, {"classes": ("onehot", (3,))},
        {"optimizer": optimizer("SGD", learning_rate=0.05, momentum=0.9), **_CLASSES},
    ),
    "volumes": Model(
        volumes, {"volume": ("real", (4, 5, 6, 2))}, {"values": ("real", (2,))},
        {"optimizer": optimizer("SGD", learning_rate=0.02, nesterov=True,
                                momentum=0.8), "loss": "mse", "metrics": ["mae"]},
    ),
    "steps": Model(
        steps, {"steps": ("real", (8, 3))}, {"score": ("binary", (1,))},
        {"optimizer": optimizer("RMSprop", learning_rate=0.01), "loss": "binary_crossentropy",
         "metrics": ["binary_accuracy"]},
    ),
}  # fmt: skip
KERAS2_MODELS = {
    "per_channel": Model(
        per_channel, {"image": ("real", (7, 6, 3))}, {"classes": ("onehot", (3,))},
        {"optimizer": optimizer("SGD", learning_rate=0.05, momentum=0.9), **_CLASSES},
    ),
}  # fmt: skip
