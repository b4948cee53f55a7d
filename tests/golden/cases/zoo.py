"""Small nets of the kinds that people keep in files, built by `k`: Keras 3 or tf-keras, one code.

`NETS` gives for each net the builder, the kinds of its inputs (see arrays.py) and the units of its
output. What only one of the two has stands in `ONLY`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Net(NamedTuple):
    build: Any
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    outputs: tuple[int, ...]


def autoencoder(k: Any) -> Any:
    layers = k.layers
    image = k.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(image)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="elu")(x)
    return k.Model(image, layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x))


def u_net(k: Any) -> Any:
    layers = k.layers
    image = k.Input((8, 8, 2))
    left = layers.Conv2D(3, 3, padding="same", activation="relu")(image)
    x = layers.AveragePooling2D(2)(left)
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Cropping2D(((0, 0), (1, 1)))(layers.ZeroPadding2D(((0, 0), (1, 1)))(x))
    x = layers.concatenate([left, x])
    return k.Model(image, layers.Conv2D(2, 1, activation="softmax")(x))


def mobile(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((9, 9, 3)),
        layers.Conv2D(4, 3, strides=2, use_bias=False), layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        layers.SeparableConv2D(5, 3, padding="same", activation="swish"),
        layers.GlobalAveragePooling2D(), layers.Dropout(0.0), layers.Dense(3),
    ])  # fmt: skip


def squeeze(k: Any) -> Any:
    layers = k.layers
    image = k.Input((6, 6, 4))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(image)
    gate = layers.Conv2D(2, 1, activation="relu")(gate)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([image, gate])
    x = layers.Flatten()(layers.SpatialDropout2D(0.0)(x))
    return k.Model(image, layers.Dense(2, activation="tanh")(x))


def words_both_ways(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((6,), dtype="int32"), layers.Embedding(12, 4, mask_zero=True),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.Bidirectional(layers.GRU(2), merge_mode="sum"), layers.Dense(2),
    ])  # fmt: skip


def seq2seq(k: Any) -> Any:
    layers = k.layers
    source, target = k.Input((5, 3)), k.Input((4, 2))
    _, h, c = layers.LSTM(3, return_state=True)(source)
    y = layers.LSTM(3, return_sequences=True)(target, initial_state=[h, c])
    return k.Model([source, target], layers.TimeDistributed(layers.Dense(2))(y))


def frames(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((3, 6, 6, 1)),
        layers.TimeDistributed(layers.Conv2D(2, 3, activation="relu")),
        layers.TimeDistributed(layers.Flatten()), layers.SimpleRNN(3), layers.Dense(2),
    ])  # fmt: skip


def next_frame(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((3, 5, 5, 1)), layers.ConvLSTM2D(2, 3, padding="same"),
        layers.BatchNormalization(), layers.GlobalMaxPooling2D(), layers.Dense(1),
    ])  # fmt: skip


def transformer(k: Any) -> Any:
    layers = k.layers
    x = start = k.Input((5, 4))
    y = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y]))
    y = layers.Dense(4)(layers.Dense(6, activation="gelu")(x))
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y]))
    return k.Model(start, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def attention(k: Any) -> Any:
    layers = k.layers
    query, value = k.Input((3, 4)), k.Input((5, 4))
    near = layers.Attention()([query, value])
    far = layers.AdditiveAttention()([query, value])
    x = layers.Maximum()([near, far])
    return k.Model([query, value], layers.Dense(2)(layers.GlobalMaxPooling1D()(x)))


def recommender(k: Any) -> Any:
    layers = k.layers
    user, item = k.Input((1,), dtype="int32"), k.Input((1,), dtype="int32")
    u = layers.Flatten()(layers.Embedding(7, 3)(user))
    v = layers.Flatten()(layers.Embedding(9, 3)(item))
    score = layers.Dot(axes=1, normalize=True)([u, v])
    return k.Model([user, item], layers.Dense(1, activation="sigmoid")(score))


def siamese(k: Any) -> Any:
    layers = k.layers
    tower = k.Sequential([k.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(3)])
    left, right = k.Input((6,)), k.Input((6,))
    gap = layers.Subtract()([tower(left), tower(right)])
    return k.Model([left, right], layers.Dense(1)(layers.Activation("softsign")(gap)))


def wide_and_deep(k: Any) -> Any:
    layers = k.layers
    wide, deep = k.Input((4,)), k.Input((5,))
    x = layers.Dense(4, activation="selu", kernel_initializer="lecun_normal")(deep)
    x = layers.AlphaDropout(0.0)(layers.GaussianNoise(0.0)(x))
    x = layers.Average()([layers.Dense(4)(wide), x])
    return k.Model([wide, deep], layers.Dense(2, use_bias=False)(x))


def inner_models(k: Any) -> Any:
    layers = k.layers
    inner_in = k.Input((4,))
    inner = k.Model(inner_in, layers.BatchNormalization()(layers.Dense(4)(inner_in)))
    middle = k.Sequential([k.Input((4,)), inner, layers.PReLU(), layers.Dense(3)])
    middle.layers[0].trainable = False
    return k.Sequential([k.Input((5,)), layers.Dense(4), middle, layers.Dense(2)])


def volumes(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((4, 5, 6, 1)), layers.Conv3D(2, 2, activation="relu"),
        layers.MaxPooling3D((1, 2, 2)), layers.Conv3DTranspose(2, 2),
        layers.GlobalAveragePooling3D(), layers.Dense(2),
    ])  # fmt: skip


def audio(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((16, 1)), layers.Conv1D(3, 3, padding="causal", dilation_rate=2),
        layers.SeparableConv1D(4, 3, activation="relu"), layers.MaxPooling1D(2),
        layers.Conv1DTranspose(2, 3, strides=2), layers.LeakyReLU(0.2),
        layers.Cropping1D(1), layers.UpSampling1D(2), layers.ZeroPadding1D(1),
        layers.GlobalAveragePooling1D(), layers.Dense(2),
    ])  # fmt: skip


def groups(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((6, 6, 4)), layers.Conv2D(4, 3, groups=2),
        layers.GroupNormalization(2), layers.UnitNormalization(), layers.Permute((3, 1, 2)),
        layers.Reshape((4, 16)), layers.Softmax(axis=1), layers.Flatten(), layers.Dense(2),
    ])  # fmt: skip


def columns(k: Any) -> Any:
    layers = k.layers
    image = k.Input((4, 6, 2))
    x = layers.Normalization(mean=[0.1, -0.2], variance=[1.5, 0.5])(image)
    x = layers.Resizing(4, 4)(layers.Rescaling(2.0, 0.5)(x))
    x = layers.CenterCrop(3, 3)(x)
    return k.Model(image, layers.Dense(2, activation="hard_sigmoid")(layers.Flatten()(x)))


def regularized(k: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((6,)),
        layers.Dense(5, kernel_regularizer=k.regularizers.L1L2(0.01, 0.02),
                     kernel_constraint=k.constraints.MaxNorm(1.5)),
        layers.ELU(0.7), layers.RepeatVector(3),
        layers.GRU(3, reset_after=False, recurrent_regularizer="l2"),
        layers.ActivityRegularization(0.01), layers.Dense(2, activation="softplus"),
    ])  # fmt: skip


def stacked_cells(k: Any) -> Any:
    layers = k.layers
    cells = [layers.LSTMCell(3), layers.GRUCell(2)]
    return k.Sequential([k.Input((4, 3)), layers.RNN(cells), layers.Dense(2)])


NETS: dict[str, Net] = {
    "autoencoder": Net(autoencoder, {"x0": ("prob", (8, 8, 1))}, (8, 8, 1)),
    "u_net": Net(u_net, {"x0": ("real", (8, 8, 2))}, (8, 8, 2)),
    "mobile": Net(mobile, {"x0": ("real", (9, 9, 3))}, (3,)),
    "squeeze": Net(squeeze, {"x0": ("real", (6, 6, 4))}, (2,)),
    "words_both_ways": Net(words_both_ways, {"x0": ("ids:12", (6,))}, (2,)),
    "seq2seq": Net(seq2seq, {"x0": ("real", (5, 3)), "x1": ("real", (4, 2))}, (4, 2)),
    "frames": Net(frames, {"x0": ("real", (3, 6, 6, 1))}, (2,)),
    "next_frame": Net(next_frame, {"x0": ("real", (3, 5, 5, 1))}, (1,)),
    "transformer": Net(transformer, {"x0": ("real", (5, 4))}, (3,)),
    "attention": Net(attention, {"x0": ("real", (3, 4)), "x1": ("real", (5, 4))}, (2,)),
    "recommender": Net(recommender, {"x0": ("ids:7", (1,)), "x1": ("ids:9", (1,))}, (1,)),
    "siamese": Net(siamese, {"x0": ("real", (6,)), "x1": ("real", (6,))}, (1,)),
    "wide_and_deep": Net(wide_and_deep, {"x0": ("real", (4,)), "x1": ("real", (5,))}, (2,)),
    "inner_models": Net(inner_models, {"x0": ("real", (5,))}, (2,)),
    "volumes": Net(volumes, {"x0": ("real", (4, 5, 6, 1))}, (2,)),
    "audio": Net(audio, {"x0": ("real", (16, 1))}, (2,)),
    "groups": Net(groups, {"x0": ("real", (6, 6, 4))}, (2,)),
    "columns": Net(columns, {"x0": ("real", (4, 6, 2))}, (2,)),
    "regularized": Net(regularized, {"x0": ("real", (6,))}, (2,)),
    "stacked_cells": Net(stacked_cells, {"x0": ("real", (4, 3))}, (2,)),
}

# Each net has another optimizer, so that all kinds of slots are in files.
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.05}), ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    ("Adam", {"learning_rate": 0.01}), ("Adam", {"learning_rate": 0.01, "amsgrad": True}),
    ("RMSprop", {"learning_rate": 0.01}), ("Adagrad", {"learning_rate": 0.05}),
    ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    ("Adadelta", {"learning_rate": 0.5}), ("Adamax", {"learning_rate": 0.01}),
    ("Nadam", {"learning_rate": 0.01}), ("Ftrl", {"learning_rate": 0.05}),
    ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.01}), ("Lion", {"learning_rate": 0.003}),
]  # fmt: skip
