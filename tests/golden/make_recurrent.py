"""Golden recurrent layers of cases/recurrent.py, and files of models with them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import make_files
from .arrays import generator
from .cases import layers, recurrent
from .cases.recurrent_models import MODELS
from .make_layers import inputs_of, layer_name, plain, row, set_weights
from .make_models import make_gradients_dense
from .recurrent_call import arguments, build, output
from .store import Writer


def make() -> None:
    writer = Writer("recurrent")
    for case in recurrent.CASES:
        writer.add(case.name, *golden(case))
    writer.write()
    make_gradients_dense()
    writer = Writer("recurrent_files")
    for name, spec in MODELS.items():
        writer.add(name, *make_files.golden(name, spec))
    writer.write()


def golden(case: layers.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(case.name)
    name = {"name": layer_name(case.name)}
    layer, inputs = build(keras, case.layer, case.kwargs | name), inputs_of(case, rng)
    layer.build(inputs[0].shape)
    weights = set_weights(layer, rng)
    info = row(case, [x.shape for x in inputs])
    info["config"] = plain(keras.saving.serialize_keras_object(layer))
    info["weights"] = [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in layer.weights]
    info["count_params"] = int(layer.count_params())
    if layer.losses:
        info["added_loss"] = float(sum(layer.losses))
    if not case.layer.endswith("Cell"):
        info["output_shape"] = plain(layer.compute_output_shape((None, *inputs[0].shape[1:])))
    arrays = run(layer, inputs, rng, arguments(case.call))
    arrays |= {f"input{i}": x for i, x in enumerate(inputs)}
    return info, arrays | {f"weight{i}": x for i, x in enumerate(weights)}


def run(
    layer: Any, inputs: list[np.ndarray], rng: np.random.Generator, call: dict[str, Any]
) -> dict[str, Any]:
    """All outputs in one array, a projection of it, and gradients of sum(output * projection)."""
    tensors = [tf.constant(x) for x in inputs]
    trainable = [w.value for w in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch([*tensors, *trainable])
        found = output(keras, layer, tensors, call)
        projection = rng.normal(size=found.shape).astype(np.float32)
        total = tf.reduce_sum(found * projection)
    arrays = {"output": found.numpy(), "projection": projection}
    for i, g in enumerate(tape.gradient(total, [*tensors, *trainable])):
        kind = f"input_grad{i}" if i < len(tensors) else f"weight_grad{i - len(tensors)}"
        if g is not None:
            arrays[kind] = tf.convert_to_tensor(g).numpy()
    return arrays
