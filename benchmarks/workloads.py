"""The models of benchmarks/peers.py in ordinary Keras code, and their data.

In: a module with the names of Keras (zoo_keras, or Keras itself) and a workload's name. Out: models
and numpy arrays, the same for every contender. Knows no contender.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

WORDS, LENGTH = 20_000, 200
USERS, ITEMS = 138_493, 26_744


class Workload(NamedTuple):
    """What is measured: batch rows, and FLOP of one sample's forward pass (2 x MACs)."""

    model: str
    batch: int
    flop: float
    train: bool

    @property
    def flop_per_call(self) -> float:
        """A training step counts as three forward passes."""
        return self.batch * self.flop * (3 if self.train else 1)


_MLP, _TEXT, _FORMER, _RESNET = 1.337e6, 52.4e6, 0.871e9, 7.72e9
WORKLOADS = {
    "train_mlp": Workload("mlp", 128, _MLP, True),
    "train_mlp_b1024": Workload("mlp", 1024, _MLP, True),
    "train_lenet5": Workload("lenet5", 128, 0.565e6, True),
    "train_cifar_resnet20": Workload("cifar_resnet20", 128, 81.5e6, True),
    "train_resnet50": Workload("resnet50", 16, _RESNET, True),
    "train_lstm_text": Workload("lstm_text", 64, _TEXT, True),
    "train_gru_text": Workload("gru_text", 64, 39.3e6, True),
    "train_ncf": Workload("ncf", 2048, 0.213e6, True),
    "train_transformer": Workload("transformer", 16, _FORMER, True),
    "infer_resnet50_b1": Workload("resnet50", 1, _RESNET, False),
    "infer_resnet50_b16": Workload("resnet50", 16, _RESNET, False),
    "infer_mobilenet_v2_b1": Workload("mobilenet_v2", 1, 0.598e9, False),
    "infer_mobilenet_v2_b16": Workload("mobilenet_v2", 16, 0.598e9, False),
    "infer_vgg16_b4": Workload("vgg16", 4, 30.9e9, False),
    "infer_small_mlp_b1": Workload("small_mlp", 1, 0.218e6, False),
    "infer_mlp_b1": Workload("mlp", 1, _MLP, False),
    "infer_mlp_b1024": Workload("mlp", 1024, _MLP, False),
    "infer_lstm_text_b64": Workload("lstm_text", 64, _TEXT, False),
    "infer_transformer_b16": Workload("transformer", 16, _FORMER, False),
}

IMAGES = {"lenet5": (28, 28, 1), "cifar_resnet20": (32, 32, 3)}
IMAGES |= dict.fromkeys(["resnet50", "mobilenet_v2", "vgg16"], (224, 224, 3))
CLASSES = {"mlp": 10, "small_mlp": 10, "lenet5": 10, "cifar_resnet20": 10, "lstm_text": 1,
           "gru_text": 1, "ncf": 1, "transformer": 2}  # fmt: skip


def data(work: Workload) -> tuple[list[np.ndarray], np.ndarray]:
    """Inputs and labels: int32 classes, or float32 (batch, 1) where there is one output."""
    rng = np.random.default_rng(0)
    n, name = work.batch, work.model
    if name in ("mlp", "small_mlp"):
        xs = [rng.random((n, 784), np.float32)]
    elif name in IMAGES:
        xs = [rng.random((n, *IMAGES[name]), np.float32)]
    elif name == "ncf":
        xs = [rng.integers(0, high, n).astype(np.int32) for high in (USERS, ITEMS)]
    else:
        length = 128 if name == "transformer" else LENGTH
        xs = [rng.integers(0, WORDS, (n, length)).astype(np.int32)]
    classes = CLASSES.get(name, 1000)
    y = rng.integers(0, max(2, classes), n).astype(np.int32)
    return xs, y if classes > 1 else y[:, None].astype(np.float32)


# ---- models --------------------------------------------------------------------------------------


def mlp(keras: Any) -> Any:
    """784-512-512-10."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(512, activation="relu"),
         layers.Dense(512, activation="relu"), layers.Dense(10)]
    )  # fmt: skip


def small_mlp(keras: Any) -> Any:
    """784-128-64-10 with softmax."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(128, activation="relu"),
         layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
    )  # fmt: skip


def lenet5(keras: Any) -> Any:
    """LeNet-5 on 28 x 28 images."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
            layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )  # fmt: skip


def cifar_resnet20(keras: Any) -> Any:
    """ResNet-20 for CIFAR (He et al. 2015, section 4.2), with projections where shapes change."""
    layers = keras.layers

    def normed(x: Any, filters: int, strides: int, kernel: int = 3) -> Any:
        x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(normed(inputs, 16, 1))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            y = layers.ReLU()(normed(x, filters, strides))
            y = normed(y, filters, 1)
            shortcut = normed(x, filters, strides, 1) if strides == 2 else x
            x = layers.ReLU()(layers.Add()([y, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def resnet50(keras: Any) -> Any:
    return keras.applications.ResNet50(weights=None, classifier_activation=None)


def mobilenet_v2(keras: Any) -> Any:
    return keras.applications.MobileNetV2(weights=None, classifier_activation=None)


def vgg16(keras: Any) -> Any:
    return keras.applications.VGG16(weights=None, classifier_activation=None)


def _text(keras: Any, layer: str) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((LENGTH,), dtype="int32"), layers.Embedding(WORDS, 128),
         getattr(layers, layer)(128), layers.Dense(1)]
    )  # fmt: skip


def lstm_text(keras: Any) -> Any:
    """Embedding 20000 x 128, 200 steps of an LSTM of 128 units."""
    return _text(keras, "LSTM")


def gru_text(keras: Any) -> Any:
    """The same with a GRU."""
    return _text(keras, "GRU")


def ncf(keras: Any) -> Any:
    """NeuMF (He et al. 2017): a product of embeddings beside an mlp 256-256-128-64."""
    layers = keras.layers
    user, item = (keras.Input((), dtype="int32") for _ in range(2))
    product = layers.Multiply()([layers.Embedding(USERS, 64)(user),
                                 layers.Embedding(ITEMS, 64)(item)])  # fmt: skip
    x = layers.Concatenate()(
        [layers.Embedding(USERS, 128)(user), layers.Embedding(ITEMS, 128)(item)]
    )
    for units in (256, 128, 64):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model([user, item], layers.Dense(1)(layers.Concatenate()([product, x])))


def transformer(keras: Any) -> Any:
    """An encoder: 4 layers, width 256, 8 heads, feed-forward 1024, 128 tokens, two classes."""
    layers = keras.layers
    tokens = keras.Input((128,), dtype="int32")
    x = layers.Embedding(WORDS, 256)(tokens)
    positions = layers.Embedding(128, 256)(keras.ops.arange(128))
    x = layers.LayerNormalization()(x + positions)
    for _ in range(4):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(8, 32)(x, x))
        y = layers.Dense(256)(layers.Dense(1024, activation="relu")(x))
        x = layers.LayerNormalization()(x + y)
    return keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


MODELS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (mlp, small_mlp, lenet5, cifar_resnet20, resnet50, mobilenet_v2, vgg16, lstm_text,
              gru_text, ncf, transformer)
}  # fmt: skip


def compiled(keras: Any, name: str, **options: Any) -> Any:
    """The model with the optimizer and loss of its training workload."""
    model = MODELS[name](keras)
    if name in IMAGES:
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    else:
        optimizer = keras.optimizers.Adam(1e-3)
    losses = keras.losses
    if CLASSES.get(name) == 1:
        loss = losses.BinaryCrossentropy(from_logits=True)
    else:
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, **options)
    return model
