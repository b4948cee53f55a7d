"""Small things that public scripts use, each with the value that real Keras 3.15 gives."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
BIG = np.float32([1e20, 3e38, 0.0, 1e-30, np.inf])


def test_a_hypotenuse_does_not_overflow_nor_vanish():
    found = ops.hypot(BIG, np.float32([1e20, 1e38, 0.0, 1e-30, 1.0]))
    right = [1.4142136e20, 3.1622775e38, 0.0, 1.4142136e-30, np.inf]
    np.testing.assert_allclose(found, right, rtol=1e-6)


def test_focal_loss_of_far_logits_is_not_cut_off():
    loss = keras.losses.BinaryFocalCrossentropy(from_logits=True)
    assert float(loss(np.float32([[1.0], [0.0]]), np.float32([[-40.0], [30.0]]))) == 35.0


def test_unit_normalization_of_tiny_rows_has_length_one():
    rows = np.float32([[1e-7, 0.0], [1e-3, 1e-3], [0.0, 0.0]])
    right = [[1.0, 0.0], [0.70710677, 0.70710677], [0.0, 0.0]]
    np.testing.assert_allclose(layers.UnitNormalization()(rows), right, rtol=1e-6)


@pytest.mark.parametrize("make", [
    lambda: layers.Dense(3, activation="sigmoid"),
    lambda: layers.EinsumDense("ab,bc->ac", 3, activation="sigmoid"),
    lambda: layers.Activation("sigmoid"),
])  # fmt: skip
def test_an_activation_may_be_taken_away(make):
    layer = make()
    before = layer(X)
    layer.activation = None
    np.testing.assert_allclose(1 / (1 + np.exp(-layer(X))), before, rtol=1e-5)


def test_input_of_a_tensor_has_its_shape_and_dtype():
    hidden = layers.Dense(3)(keras.Input((4,)))
    start = keras.Input(tensor=hidden)
    assert (start.shape, start.dtype) == ((None, 3), "float32")
    assert keras.Model(start, layers.Dense(1)(start)).input_shape == (None, 3)


def test_losses_show_those_of_the_last_call_on_arrays():
    layer = layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l2")
    for x in (X, 2 * X):
        y = layer(x)
        activity, kernel = map(float, layer.losses)
        assert activity == pytest.approx(0.01 * np.square(y).sum() / len(x), rel=1e-5)
        assert kernel == pytest.approx(0.01 * np.square(layer.kernel.numpy()).sum(), rel=1e-5)


def test_outputs_of_a_subclass_are_found_by_their_keys():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(1), layers.Dense(1)

        def call(self, x):
            return {"p": self.first(x), "q": self.second(x)}

    model, y = Two(), X[:, :1]
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"q": ["mse"]})
    logs = model.fit(X, {"p": y, "q": y}, verbose=0).history
    assert set(logs) == {"loss", "p_loss", "q_loss", "q_mse"}
    assert logs["loss"][0] == pytest.approx(logs["p_loss"][0] + logs["q_loss"][0], rel=1e-5)


def test_a_loss_that_is_no_number_may_raise():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    stop = keras.callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch"):
        model.fit(X * np.nan, X[:, :1], verbose=0, callbacks=[stop])
