"""Whole models, built by the public API of `k`: real Keras or zoo_keras, the same code for both.

Each `MODELS` entry gives the builder, the compile arguments, and the kinds of its arrays (see
arrays.py). Every layer is named, so configurations and weight names compare word for word.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Model(NamedTuple):
    build: Any
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    targets: dict[str, tuple[str, tuple[int, ...]]]
    compile: dict[str, Any]
    batch: int = 6


def mlp(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(9,), name="features"),
            layers.Dense(12, activation="relu", kernel_initializer="he_normal", name="hidden_1"),
            layers.Dropout(0.0, name="drop"),
            layers.Dense(7, activation="tanh", name="hidden_2"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="mlp",
    )


def lenet(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(12, 11, 1), name="image"),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv_1"),
            layers.BatchNormalization(name="norm_1"),
            layers.MaxPooling2D(2, name="pool_1"),
            layers.Conv2D(6, 3, use_bias=False, name="conv_2"),
            layers.BatchNormalization(momentum=0.9, name="norm_2"),
            layers.ReLU(name="relu_2"),
            layers.AveragePooling2D(2, name="pool_2"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="logits"),
        ],
        name="lenet",
    )


def two_towers(k: Any) -> Any:
    layers = k.layers
    inner_in = layers.Input(shape=(5,), name="inner_in")
    inner_out = layers.Dense(4, activation="elu", name="inner_dense")(inner_in)
    inner_out = layers.LayerNormalization(name="inner_norm")(inner_out)
    inner = k.Model(inner_in, inner_out, name="inner")

    left = layers.Input(shape=(6,), name="left")
    right = layers.Input(shape=(6,), name="right")
    shared = layers.Dense(5, activation="tanh", name="shared")
    a, b = shared(left), shared(right)
    a, b = inner(a), inner(b)
    both = layers.Concatenate(name="both")([a, b])
    gap = layers.Subtract(name="gap")([a, b])
    score = layers.Dense(1, activation="sigmoid", name="score")(both)
    kind = layers.Dense(3, activation="softmax", name="kind")(gap)
    return k.Model([left, right], [score, kind], name="two_towers")


def text(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(10,), dtype="int32", name="words"),
            layers.Embedding(20, 6, name="embed"),
            layers.Conv1D(5, 3, padding="same", activation="relu", name="conv"),
            layers.MaxPooling1D(2, name="pool"),
            layers.Conv1D(4, 2, dilation_rate=2, padding="causal", name="conv_causal"),
            layers.LeakyReLU(negative_slope=0.1, name="leaky"),
            layers.GlobalMaxPooling1D(name="global_max"),
            layers.Dense(1, activation="sigmoid", name="positive"),
        ],
        name="text",
    )


def residual(k: Any) -> Any:
    layers = k.layers
    image = layers.Input(shape=(8, 7, 3), name="image")
    x = layers.Rescaling(0.5, offset=-0.25, name="rescale")(image)
    x = layers.ZeroPadding2D(((1, 0), (0, 1)), name="pad")(x)
    x = layers.Conv2D(6, 3, kernel_regularizer=k.regularizers.L2(0.01), name="stem")(x)
    y = layers.BatchNormalization(name="norm")(x)
    y = layers.Activation("relu", name="act")(y)
    y = layers.Conv2D(6, 3, padding="same", use_bias=False,
                      kernel_regularizer=k.regularizers.L1L2(0.001, 0.002), name="conv")(y)
    x = layers.Add(name="add")([x, y])
    z = layers.Conv2D(4, 1, strides=2, activation="relu", name="side")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool")(x)
    x = layers.Concatenate(name="join")([x, z])
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    out = layers.Dense(4, activation="softmax", bias_regularizer="l2",
                       activity_regularizer=k.regularizers.L1(0.05), name="classes")(x)
    return k.Model(image, out, name="residual")


def masked_mean(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(7,), dtype="int32", name="words"),
            layers.Embedding(11, 5, mask_zero=True, name="embed"),
            layers.Dense(4, activation="tanh", name="per_word"),
            layers.GlobalAveragePooling1D(name="mean"),
            layers.Dense(2, name="values"),
        ],
        name="masked_mean",
    )


def optimizer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config | {"name": name.lower()}}


MODELS: dict[str, Model] = {
    "mlp": Model(
        mlp, {"features": ("real", (9,))}, {"classes": ("classes:3", ())},
        {"optimizer": optimizer("Adam", learning_rate=0.01),
         "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
    ),
    "lenet": Model(
        lenet, {"image": ("prob", (12, 11, 1))}, {"logits": ("onehot", (5,))},
        {"optimizer": optimizer("SGD", learning_rate=0.05, momentum=0.9, nesterov=True),
         "loss": {"class_name": "CategoricalCrossentropy",
                  "config": {"from_logits": True, "label_smoothing": 0.1}},
         "metrics": ["accuracy", "mse"]},
    ),
    "two_towers": Model(
        two_towers, {"left": ("real", (6,)), "right": ("real", (6,))},
        {"score": ("binary", (1,)), "kind": ("onehot", (3,))},
        {"optimizer": optimizer("RMSprop", learning_rate=0.005, momentum=0.5, centered=True),
         "loss": {"score": "binary_crossentropy", "kind": "categorical_crossentropy"},
         "loss_weights": {"score": 0.7, "kind": 1.5},
         "metrics": {"score": ["mae"], "kind": ["accuracy"]}},
    ),
    "text": Model(
        text, {"words": ("ids:20", (10,))}, {"positive": ("binary", (1,))},
        {"optimizer": optimizer("Adam", learning_rate=0.02, amsgrad=True, weight_decay=0.01),
         "loss": "binary_crossentropy", "metrics": ["binary_accuracy"],
         "weighted_metrics": ["accuracy"]},
    ),
    "residual": Model(
        residual, {"image": ("prob", (8, 7, 3))}, {"classes": ("onehot", (4,))},
        {"optimizer": optimizer("SGD", learning_rate=0.1, global_clipnorm=1.0),
         "loss": "categorical_crossentropy", "metrics": ["categorical_accuracy"]},
    ),
    "masked_mean": Model(
        masked_mean, {"words": ("ids:11", (7,))}, {"values": ("real", (2,))},
        {"optimizer": optimizer("RMSprop", learning_rate=0.01), "loss": "mse",
         "metrics": ["mae"]},
    ),
}


def compile_arguments(k: Any, spec: Model) -> dict[str, Any]:
    """The compile arguments with serialized optimizers and losses turned into objects."""
    arguments = dict(spec.compile)
    arguments["optimizer"] = k.optimizers.get(arguments["optimizer"])
    if "class_name" in arguments["loss"]:
        arguments["loss"] = k.losses.get(arguments["loss"])
    return arguments
