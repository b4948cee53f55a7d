"""Golden layers: outputs, gradients, weight shapes and names, configuration, output shapes."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import array, generator
from .cases import layers as table
from .functions import table as functions
from .recurrent_call import build as revived
from .store import Writer


def plain(value: Any) -> Any:
    """What JSON makes of the value: tuples become lists."""
    return json.loads(json.dumps(value))


def layer_name(case_name: str) -> str:
    return case_name.lower().replace("-", "_")


def build(case: table.Case) -> Any:
    kwargs = dict(case.kwargs)
    if case.layer == "Lambda":
        kwargs["function"] = functions(keras.ops)[kwargs["function"]]
    return revived(keras, case.layer, {"name": layer_name(case.name), **kwargs})


def inputs_of(case: table.Case, rng: np.random.Generator) -> list[np.ndarray]:
    made = []
    for spec in case.inputs:
        if isinstance(spec, table.Ints):
            made.append(array(f"ids:{spec.high}", spec.shape, rng))
        else:
            made.append(array("real", spec, rng))
    return made


def set_weights(layer: Any, rng: np.random.Generator) -> list[np.ndarray]:
    values = []
    for weight in layer.weights:
        value = rng.normal(size=weight.shape) * 0.5
        if "variance" in weight.name or "gamma" in weight.name:
            value = np.abs(value) + 0.3
        values.append(value.astype(np.float32))
    layer.set_weights(values)
    return values


def joined(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def make() -> None:
    writer = Writer("layers")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.write()


def golden(case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(case.name)
    layer, inputs = build(case), inputs_of(case, rng)
    shapes = [x.shape for x in inputs]
    if case.layer == "InputLayer":
        info = {"config": plain(keras.saving.serialize_keras_object(layer)), "weights": []}
        return info | row(case, shapes), {"input0": inputs[0]}
    layer.build(joined(shapes))
    weights = set_weights(layer, rng)
    info = row(case, shapes) | described(layer, shapes)
    outputs, projection, arrays = run(layer, inputs, rng, case.call)
    if layer.losses:
        info["added_loss"] = float(sum(layer.losses))
    after = [np.asarray(w) for w in layer.get_weights()]
    changed = any(not np.array_equal(a, b) for a, b in zip(after, weights, strict=True))
    arrays |= {f"input{i}": x for i, x in enumerate(inputs)}
    arrays |= {f"weight{i}": x for i, x in enumerate(weights)}
    if changed:
        arrays |= {f"after{i}": x for i, x in enumerate(after)}
    return info, arrays | {"output": outputs, "projection": projection}


def row(case: table.Case, shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    return {
        "class": case.layer,
        "kwargs": case.kwargs | {"name": layer_name(case.name)},
        "call": case.call,
        "input_shapes": [list(s) for s in shapes],
    }


def described(layer: Any, shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    free = [(None, *s[1:]) for s in shapes]
    config = plain(keras.saving.serialize_keras_object(layer))
    if isinstance(layer, keras.layers.Lambda):
        config["config"].pop("function")
    info = {
        "config": config,
        "weights": [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in layer.weights],
        "output_shape": list(layer.compute_output_shape(joined(shapes))),
        "count_params": int(layer.count_params()),
    }
    if layer.name != "concatenate_batch_axis":
        info["free_output_shape"] = list(layer.compute_output_shape(joined(free)))
    return info


def needs_xla(layer: Any) -> bool:
    """What TensorFlow convolves on CPU only when XLA compiles the function."""
    dilated = "Transpose" in type(layer).__name__ and max(layer.dilation_rate) > 1
    deep = type(layer).__name__ == "Conv3D" and (max(layer.dilation_rate) > 1 or layer.groups > 1)
    return getattr(layer, "data_format", None) == "channels_first" or dilated or deep


def run(layer: Any, inputs: list[np.ndarray], rng: np.random.Generator, call: dict) -> tuple:
    """Outputs, the projection, and gradients of sum(outputs * projection) by array name."""
    tensors = [tf.constant(x) for x in inputs]
    shape = layer.compute_output_shape(joined([x.shape for x in inputs]))
    projection = rng.normal(size=shape).astype(np.float32)
    trainable = [w.value for w in layer.trainable_weights]

    def outputs_and_gradients(*tensors: Any) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch([*tensors, *trainable])
            outputs = layer(joined(list(tensors)), **call)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32) * projection)
        return outputs, tape.gradient(total, [*tensors, *trainable])

    if needs_xla(layer):
        outputs_and_gradients = tf.function(outputs_and_gradients, jit_compile=True)
    outputs, gradients = outputs_and_gradients(*tensors)
    arrays = {}
    for i, g in enumerate(gradients):
        kind = f"input_grad{i}" if i < len(tensors) else f"weight_grad{i - len(tensors)}"
        if g is not None:
            arrays[kind] = tf.convert_to_tensor(g).numpy()
    return outputs.numpy(), projection, arrays
