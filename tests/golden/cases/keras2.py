"""Models for files of Keras 2, built by tf-keras (`k`): the forms old files have.

No InputLayer but `batch_input_shape` on the first layer, nested models, shared layers, Keras 2
argument names (LeakyReLU's alpha, Embedding's input_length), optimizers of both generations.
"""

from __future__ import annotations

from typing import Any

from .models import Model, lenet, optimizer, residual, two_towers


def plain(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Dense(8, activation="relu", input_shape=(6,), name="dense_1"),
            layers.Dropout(0.0, name="dropout_1"),
            layers.Dense(3, activation="softmax", name="dense_2"),
        ],
        name="sequential_1",
    )


def text(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Embedding(15, 4, input_length=9, name="embedding"),
            layers.Conv1D(5, 3, padding="causal", name="conv1d"),
            layers.LeakyReLU(alpha=0.2, name="leaky"),
            layers.ELU(alpha=0.7, name="elu"),
            layers.AveragePooling1D(2, name="pool"),
            layers.Permute((2, 1), name="permute"),
            layers.Flatten(name="flatten"),
            layers.RepeatVector(2, name="repeat"),
            layers.Reshape((-1,), name="reshape"),
            layers.Activation("hard_sigmoid", name="gate"),
            layers.Dense(1, activation="sigmoid", name="dense"),
        ],
        name="text2",
    )


def nested(k: Any) -> Any:
    layers = k.layers
    block = k.Sequential(
        [
            layers.Conv2D(3, 3, padding="same", input_shape=(6, 6, 2), name="conv"),
            layers.BatchNormalization(axis=3, name="norm"),
            layers.ReLU(max_value=6.0, name="relu"),
        ],
        name="block",
    )
    image = layers.Input(shape=(6, 6, 2), name="image")
    x = block(image)
    x = layers.Concatenate(axis=-1, name="join")([x, image])
    x = layers.GlobalMaxPooling2D(name="top")(x)
    head = k.Sequential([layers.Dense(4, activation="softplus", input_shape=(5,), name="h1"),
                         layers.Dense(2, name="h2")], name="head")
    return k.Model(image, head(x), name="nested")


MODELS: dict[str, Model] = {
    "plain": Model(
        plain, {"x": ("real", (6,))}, {"y": ("onehot", (3,))},
        {"optimizer": optimizer("Adam", learning_rate=0.01),
         "loss": "categorical_crossentropy", "metrics": ["accuracy"]},
    ),
    "lenet": Model(
        lenet, {"image": ("prob", (12, 11, 1))}, {"logits": ("onehot", (5,))},
        {"optimizer": optimizer("SGD", learning_rate=0.05, momentum=0.9, nesterov=True),
         "loss": {"class_name": "CategoricalCrossentropy", "config": {"from_logits": True}},
         "metrics": ["accuracy"]},
    ),
    "two_towers": Model(
        two_towers, {"left": ("real", (6,)), "right": ("real", (6,))},
        {"score": ("binary", (1,)), "kind": ("onehot", (3,))},
        {"optimizer": optimizer("RMSprop", learning_rate=0.005, momentum=0.5),
         "loss": {"score": "binary_crossentropy", "kind": "categorical_crossentropy"},
         "loss_weights": {"score": 0.7, "kind": 1.5}},
    ),
    "text": Model(
        text, {"words": ("ids:15", (9,))}, {"y": ("binary", (1,))},
        {"optimizer": optimizer("Adam", amsgrad=True), "loss": "binary_crossentropy",
         "metrics": ["acc"]},
    ),
    "nested": Model(
        nested, {"image": ("prob", (6, 6, 2))}, {"head": ("real", (2,))},
        {"optimizer": optimizer("RMSprop"), "loss": "mse", "metrics": ["mae"]},
    ),
    "residual": Model(
        residual, {"image": ("prob", (8, 7, 3))}, {"classes": ("onehot", (4,))},
        {"optimizer": optimizer("SGD", learning_rate=0.1), "loss": "kullback_leibler_divergence",
         "metrics": ["categorical_accuracy"]},
    ),
}
