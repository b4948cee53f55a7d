"""How often a model is traced: fit traces no more than train_on_batch, and sees changed models."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras
from zoo_keras import layers
from zoo_keras.errors import DataError

X, LABELS = np.ones((20, 4), "float32"), np.zeros(20, "int32")


class Counting(layers.Layer):
    """The identity, which counts its calls."""

    calls = 0

    def call(self, x):
        Counting.calls += 1
        return x * 1.0


def calls_of(function):
    before = Counting.calls
    function()
    return Counting.calls - before


def functional():
    x = layers.Input((4,))
    return zoo_keras.Model(x, layers.Dense(3)(Counting()(x)))


def deferred():
    return zoo_keras.Sequential([Counting(), layers.Dense(3)])


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "mse"])
@pytest.mark.parametrize("make", [functional, deferred])
def test_fit_traces_as_often_as_train_on_batch(make, loss):
    y = LABELS if loss != "mse" else np.zeros((20, 3), "float32")
    one, other = make(), make()
    for model in (one, other):
        model.compile("sgd", loss, metrics=["accuracy"])
    fit = lambda **more: other.fit(X, y, batch_size=10, epochs=2, verbose=0, **more)  # noqa: E731
    assert calls_of(fit) == calls_of(lambda: one.train_on_batch(X[:10], y[:10]))
    assert calls_of(fit) == 0, "a second fit has all its programs"
    assert calls_of(lambda: fit(validation_data=(X, y))) == 1, "it makes one to evaluate"


def test_fit_sees_that_the_model_has_fewer_outputs_than_before():
    model = zoo_keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, LABELS + 2, verbose=0)
    model.add(layers.Lambda(lambda x: x[:, :2]))
    with pytest.raises(DataError, match=r"0\.\.1"):
        model.fit(X, LABELS + 2, verbose=0)
