"""Run by real Keras' Python with the project on its path: models go both ways in one process.

Prints a line for each pair of models: its name, and how far apart the two are before and after one
more step.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import tf_keras

import zoo_keras

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(6, 2)).astype("float32")


def built(k: Any) -> Any:
    layers = k.layers
    start = k.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(start)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.concatenate([x, layers.Lambda(lambda t: t * 2.0, output_shape=(4,))(x)])
    model = k.Model(start, layers.Dense(2)(x))
    model.compile(k.optimizers.Adam(0.01), "mse")
    model.train_on_batch(X, Y)
    return model


def apart(ours: Any, theirs: Any) -> float:
    return float(np.abs(ours.predict_on_batch(X) - np.asarray(theirs.predict_on_batch(X))).max())


def compared(name: str, ours: Any, theirs: Any) -> None:
    before = apart(ours, theirs)
    ours.train_on_batch(X, Y)
    theirs.train_on_batch(X, Y)
    print(name, before, apart(ours, theirs), flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    theirs = built(keras)
    compared("from_keras", zoo_keras.saving.from_keras(theirs), theirs)
    theirs = built(tf_keras)
    compared("from_tf_keras", zoo_keras.saving.from_keras(theirs), theirs)
    ours = built(zoo_keras)
    compared("to_keras", ours, zoo_keras.saving.to_keras(ours))


if __name__ == "__main__":
    main()
