"""Models that are quantised to int8, built by the public API of `k`: real Keras or zoo_keras.

Each entry of MODELS gives the builder, the kinds of its inputs (see arrays.py), and what
`quantize` is called with beside the mode.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Int8Model(NamedTuple):
    build: Any
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    arguments: Any = lambda k: {"mode": "int8"}
    batch: int = 6


def mlp(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(19,), name="features"),
            layers.Dense(33, activation="relu", name="first"),
            layers.Dense(17, activation="tanh", use_bias=False, name="second"),
            layers.Dense(16, activation="gelu", name="third"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="mlp",
    )


def lenet(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="logits"),
        ],
        name="lenet",
    )


def text(k: Any) -> Any:
    layers = k.layers
    words = layers.Input(shape=(6,), dtype="int32", name="words")
    x = layers.Embedding(20, 8, name="embed")(words)
    y = layers.MultiHeadAttention(2, 4, name="attend")(x, x)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="sum")([x, y]))
    x = layers.Dense(5, activation="relu", name="each")(x)
    return k.Model(words, layers.Flatten(name="flat")(x), name="text")


def einsums(k: Any) -> Any:
    """Equations that are a matrix product and others."""
    layers = k.layers
    words = layers.Input(shape=(6,), dtype="int32", name="words")
    x = layers.Embedding(20, 8, name="embed")(words)
    x = layers.EinsumDense(
        "abc,cde->abde", output_shape=(6, 3, 4), bias_axes="de", activation="relu", name="split"
    )(x)
    x = layers.EinsumDense("abde,dec->abc", output_shape=(6, 5), name="join")(x)
    x = layers.EinsumDense(
        "abc,bcd->adb", output_shape=(7, 6), bias_axes="d", activation="softmax", name="each"
    )(x)
    x = layers.EinsumDense("abc,cd->adb", output_shape=(4, 7), bias_axes="db", name="turned")(x)
    return k.Model(words, layers.Flatten(name="flat")(x), name="einsums")


def weights_only(k: Any) -> dict[str, Any]:
    return {"config": k.quantizers.Int8QuantizationConfig(activation_quantizer=None)}


def some(k: Any) -> dict[str, Any]:
    return {"mode": "int8", "filters": ["fir", "^third$"]}


MODELS = {
    "mlp": Int8Model(mlp, {"features": ("real", (19,))}),
    "mlp_some": Int8Model(mlp, {"features": ("real", (19,))}, some),
    "mlp_weights": Int8Model(mlp, {"features": ("real", (19,))}, weights_only),
    "lenet": Int8Model(lenet, {"image": ("real", (8, 8, 1))}),
    "text": Int8Model(text, {"words": ("ids:20", (6,))}),
    "einsums": Int8Model(einsums, {"words": ("ids:20", (6,))}),
    "einsums_weights": Int8Model(einsums, {"words": ("ids:20", (6,))}, weights_only),
}
