"""Golden attention layers and their neighbours: as make_layers, with several inputs and masks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import array, generator
from .cases import attention as table
from .make_layers import layer_name, plain, set_weights
from .store import DATA, Writer

FILES = DATA / "attention"


def make() -> None:
    writer = Writer("attention")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.add("file", {}, saved_model())
    writer.write()


def saved_model() -> dict[str, np.ndarray]:
    """A small transformer in all file formats; its inputs and outputs."""
    layers, rng = keras.layers, generator("file")
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(11, 8, mask_zero=True)(ids)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    x = x + layers.GroupQueryAttention(3, 4, 2, dropout=0.25)(x, x, use_causal_mask=True)
    x = layers.RMSNormalization()(layers.EinsumDense("abc,cd->abd", (6, 8), bias_axes="d")(x))
    x = layers.Attention(use_scale=True)([x, x])
    x = layers.GroupNormalization(4)(layers.SpatialDropout1D(0.5)(layers.GaussianNoise(0.1)(x)))
    model = keras.Model(ids, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    for layer in model.layers:
        set_weights(layer, rng)
    FILES.mkdir(parents=True, exist_ok=True)
    for name in ("model.keras", "model.h5", "model.weights.h5"):
        save = model.save_weights if "weights" in name else model.save
        save(FILES / name)
    inputs = array("ids:11", (4, 6), rng)
    return {"inputs": inputs, "outputs": model.predict(inputs, verbose=0)}


def masks_of(value: Any, rng: np.random.Generator, found: list[np.ndarray]) -> Any:
    """Masks become their numbers in `found`, which holds the arrays."""
    if isinstance(value, table.Mask):
        found.append(rng.uniform(size=value.shape) < 0.7)
        return {"mask": len(found) - 1}
    return [masks_of(v, rng, found) for v in value] if isinstance(value, list) else value


def filled(value: Any, masks: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        return tf.constant(masks[value["mask"]])
    return [filled(v, masks) for v in value] if isinstance(value, list) else value


def golden(case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(case.name)
    layer = getattr(keras.layers, case.layer)(name=layer_name(case.name), **case.kwargs)
    inputs = [array("real", shape, rng) for shape in case.inputs]
    masks: list[np.ndarray] = []
    call = {k: masks_of(v, rng, masks) for k, v in case.call.items()}
    shapes = [x.shape for x in inputs]
    layer.build(shapes) if case.listed else layer.build(*shapes)
    weights = set_weights(layer, rng)
    given = {k: filled(v, masks) for k, v in call.items()}
    outputs, projection, arrays = run(layer, inputs, given, case.listed, rng)
    arrays |= {f"input{i}": x for i, x in enumerate(inputs)}
    arrays |= {f"mask{i}": x for i, x in enumerate(masks)}
    arrays |= {f"weight{i}": x for i, x in enumerate(weights)}
    info = {
        "class": case.layer,
        "kwargs": case.kwargs | {"name": layer.name},
        "call": call,
        "listed": case.listed,
        "config": plain(keras.saving.serialize_keras_object(layer)),
        "weights": [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in layer.weights],
        "output_shape": output_shape(layer, shapes, case.listed),
        "count_params": int(layer.count_params()),
    }
    return info, arrays | {"output": outputs, "projection": projection}


def output_shape(layer: Any, shapes: list[tuple[int, ...]], listed: bool) -> list[int | None]:
    return list(layer.compute_output_shape(*([shapes] if listed else shapes)))


def run(layer: Any, inputs: list, call: dict, listed: bool, rng: np.random.Generator) -> tuple:
    """Outputs, the projection, and gradients of sum(outputs * projection) by array name."""
    tensors = [tf.constant(x) for x in inputs]
    trainable = [w.value for w in layer.trainable_weights]
    names = [f"input_grad{i}" for i in range(len(tensors))]
    names += [f"weight_grad{i}" for i in range(len(trainable))]
    with tf.GradientTape() as tape:
        tape.watch([*tensors, *trainable])
        outputs = layer(tensors, **call) if listed else layer(*tensors, **call)
        projection = rng.normal(size=outputs.shape).astype(np.float32)
        total = tf.reduce_sum(outputs * projection)
    gradients = tape.gradient(total, [*tensors, *trainable])
    arrays = {n: g.numpy() for n, g in zip(names, gradients, strict=True) if g is not None}
    return outputs.numpy(), projection, arrays
