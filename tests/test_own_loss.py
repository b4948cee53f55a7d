"""`compute_loss` of a subclass: traced into the step, its value logged, here and on Spark alike."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, metrics, ops
from zoo_keras.errors import ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype("float32")
Y = RNG.normal(size=(12, 2)).astype("float32")
W = RNG.random(12).astype("float32")
KERNEL = RNG.normal(size=(3, 2)).astype("float32")


class Plain(keras.Model):
    """The mean absolute error, and the mean square of the inputs."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred)) + ops.mean(ops.square(x))


class OnTop(keras.Model):
    """What compile was given, and more; without an argument for training."""

    def compute_loss(self, x, y, y_pred, sample_weight):
        whole = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        return whole * 2.0 + ops.mean(ops.square(y_pred))


def made(kind, **compiled):
    inputs = keras.Input((3,))
    dense = layers.Dense(2, use_bias=False, kernel_regularizer="l2", name="d")
    outputs = dense(layers.ActivityRegularization(l2=0.1)(inputs))
    model = kind(inputs, outputs)
    model.set_weights([KERNEL])
    model.compile(keras.optimizers.SGD(0.1), **compiled)
    return model


def penalties():
    return 0.01 * np.sum(KERNEL**2) + 0.1 * np.sum(X**2) / len(X)


PREDS = X @ KERNEL
MSE = np.average(np.mean((PREDS - Y) ** 2, axis=1))
WEIGHTED = np.sum(np.mean((PREDS - Y) ** 2, axis=1) * W) / len(X)


@pytest.mark.parametrize("method", ["evaluate", "train_on_batch"])
@pytest.mark.parametrize(
    ("kind", "weight", "want"),
    [
        (Plain, None, np.mean(np.abs(PREDS - Y)) + np.mean(X**2)),
        (OnTop, None, 2 * (MSE + penalties()) + np.mean(PREDS**2)),
        (OnTop, W, 2 * (WEIGHTED + penalties()) + np.mean(PREDS**2)),
    ],
)
def test_the_logged_loss_is_that_of_the_subclass(method, kind, weight, want):
    model = made(kind, loss="mse")
    options = {"batch_size": 12, "verbose": 0} if method == "evaluate" else {}
    found = getattr(model, method)(X, Y, sample_weight=weight, **options)
    assert found == pytest.approx(want, rel=1e-5)


def test_its_gradient_trains_the_weights():
    model = made(Plain)
    model.fit(X, Y, batch_size=12, verbose=0)
    want = KERNEL - 0.1 * X.T @ np.sign(PREDS - Y) / Y.size
    np.testing.assert_allclose(model.get_weights()[0], want, rtol=1e-5, atol=1e-6)


def test_metrics_are_measured_beside_it():
    model = made(Plain, metrics=["mae"])
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["mae"] == pytest.approx(np.mean(np.abs(PREDS - Y)), rel=1e-5)
    assert list(found) == ["loss", "mae"]


class Encoder(keras.Model):
    """Several outputs, no targets, a metric of its own, and losses added on the way."""

    def __init__(self):
        super().__init__()
        self.dense, self.tracker = layers.Dense(3), metrics.Mean(name="reconstruction")

    def call(self, x):
        self.add_loss(ops.mean(x) * 0.5)
        return {"mean": self.dense(x), "scale": ops.abs(x)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        assert y is None and sample_weight is None
        error = ops.mean(ops.square(y_pred["mean"] * y_pred["scale"] - x))
        self.tracker.update_state(error)
        return error + sum(self.losses)


def test_outputs_without_targets_and_metrics_of_its_own():
    model = Encoder()
    model.compile("adam")
    found = model.train_on_batch(X, return_dict=True)
    assert found["loss"] == pytest.approx(found["reconstruction"] + 0.5 * X.mean(), rel=1e-5)
    history = model.fit(X, epochs=20, verbose=0, batch_size=12).history
    assert history["loss"][-1] < history["loss"][0]


def test_it_is_told_whether_it_trains():
    seen = []

    class Told(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            seen.append(training)
            return ops.mean(y_pred)

    model = made(Told)
    model.train_on_batch(X, Y)
    model.test_on_batch(X, Y)
    assert seen == [True, False]


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_a_loss_of_several_numbers_is_refused(method):
    class Several(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return ops.mean(y_pred, axis=-1)

    with pytest.raises(ShapeError, match=r"one number .* Received: a loss of shape \(12,\)"):
        getattr(made(Several), method)(X, Y)
