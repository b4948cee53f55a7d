"""Files by Keras 2 (tf-keras) with layers that Keras 3 tells in another way, and their predictions.

`rows` is read in `.h5` and `.keras`; `half` was written under mixed_float16.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tf_keras

from .arrays import generator
from .store import DATA, Writer

FILES = DATA / "keras2_arguments"
layers = tf_keras.layers


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    writer = Writer("keras2_arguments")
    warnings.simplefilter("ignore")  # tf-keras calls .h5 legacy
    for name, build, suffixes in (("rows", rows, (".h5", ".keras")), ("half", half, (".h5",))):
        rng = generator("keras2_arguments" + name)
        model = build()
        model.set_weights([rng.uniform(0.1, 0.6, w.shape) for w in model.get_weights()])
        x = rng.normal(size=(3, 5, 4)).astype("float32")
        predicted = np.asarray(model.predict(x, verbose=0), "float32")
        for suffix in suffixes:
            model.save(FILES / f"{name}{suffix}")
        writer.add(name, {"files": [name + s for s in suffixes]}, {"x": x, "predicted": predicted})
    writer.write()


def rows() -> Any:
    """States among the inputs of a call, shapes of attention, GRU without reset_after."""
    x = tf_keras.Input((5, 4), name="x")
    y = layers.MultiHeadAttention(2, 3, value_dim=2, output_shape=6, name="heads")(x, x)
    y = layers.SpatialDropout1D(0.5, name="drop")(y)
    y = layers.ThresholdedReLU(theta=0.25, name="steps")(y)
    y, h, c = layers.LSTM(3, return_sequences=True, return_state=True, name="first")(y)
    y = layers.LSTM(3, return_sequences=True, name="second")(y, initial_state=[h, c])
    y = layers.Attention(name="look")([y, y])
    y = layers.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", name="gates")(y)
    return tf_keras.Model(x, y, name="rows")


def half() -> Any:
    """Every layer under Keras 2's policy for GPUs."""
    policy = tf_keras.mixed_precision.Policy("mixed_float16")
    x = tf_keras.Input((5, 4), name="x")
    y = layers.Conv1D(4, 2, dtype=policy, name="conv")(x)
    y = layers.GlobalAveragePooling1D(dtype=policy, name="pool")(y)
    return tf_keras.Model(x, layers.Dense(2, dtype="float32", name="out")(y), name="half")
