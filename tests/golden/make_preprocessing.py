"""Golden preprocessing layers: outputs, configurations and what `adapt` learns."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import generator
from .cases import preprocessing as table
from .make_layers import plain
from .store import DATA, Writer


def make() -> None:
    writer = Writer("preprocessing")
    for number, case in enumerate(table.CASES):
        writer.add(f"{case.layer.lower()}-{number}", *golden(f"{case.layer}-{number}", case))
    writer.add("archive", *archive())
    writer.write()


def archive() -> tuple[dict[str, Any], dict[str, Any]]:
    """A model of all layers that learn, as `.keras` and `.weights.h5`, with its outputs."""
    x = table.ARCHIVE
    layers = keras.layers
    words, ids = layers.StringLookup(name="words"), layers.IntegerLookup(
        name="ids", output_mode="tf_idf")  # fmt: skip
    texts = layers.TextVectorization(name="texts", output_sequence_length=3)
    scaled, bins = layers.Normalization(name="scaled"), layers.Discretization(
        num_bins=3, name="bins")  # fmt: skip
    arrays = [np.array(v, d) for v, d in x]
    for layer, array in zip((words, ids, texts, scaled, bins), [*arrays, arrays[-1]], strict=True):
        layer.adapt(array)
    inputs = [keras.Input(a.shape[1:], dtype="string" if a.dtype == object else a.dtype.name)
              for a in arrays]  # fmt: skip
    made = [words(inputs[0]), ids(inputs[1]), texts(inputs[2]), scaled(inputs[3]), bins(inputs[3])]
    joined = layers.Concatenate()([keras.ops.cast(m, "float32") for m in made])
    model = keras.Model(inputs, joined)
    folder = DATA / "preprocessing"
    folder.mkdir(exist_ok=True)
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    return {}, {"output": model([tf.constant(a) for a in arrays]).numpy()}


def golden(name: str, case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    kwargs = dict(case.kwargs)
    if isinstance(kwargs.get("ngrams"), list):
        kwargs["ngrams"] = tuple(kwargs["ngrams"])
    layer = getattr(keras.layers, case.layer)(name="layer", **kwargs)
    info: dict[str, Any] = {"class": case.layer, "kwargs": case.kwargs, "dtype": case.dtype}
    arrays: dict[str, Any] = {}
    if case.adapt is not None:
        info["adapt"] = case.adapt
        layer.adapt(np.array(case.adapt, None if case.dtype == "string" else case.dtype))
    if case.image is not None:
        shape, dtype = case.image
        arrays["image"] = generator(name).uniform(0, 255, shape).astype(dtype)
        inputs = tf.constant(arrays["image"])
    elif case.dtype == "columns":
        info["inputs"] = case.inputs
        inputs = [tf.constant(v) for v in case.inputs]
    else:
        info["inputs"] = case.inputs
        inputs = tf.constant(case.inputs, case.dtype)
    outputs = layer(inputs).numpy()
    info["config"] = plain(keras.saving.serialize_keras_object(layer)["config"])
    if hasattr(layer, "get_vocabulary"):
        info["vocabulary"] = [v if isinstance(v, str) else int(v) for v in layer.get_vocabulary()]
    if outputs.dtype == object:
        info["texts"] = [v.decode() for v in outputs.ravel()]
        info["shape"] = list(outputs.shape)
    else:
        info["output_dtype"] = str(outputs.dtype)
        arrays["output"] = outputs
    return info, arrays
