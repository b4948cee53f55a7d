"""SwapEMAWeights: who sees the moving averages of the weights, and when the weights are back."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import callbacks, optimizers
from zoo_keras.errors import ConfigError
from zoo_keras.layers import Dense

X = np.random.default_rng(0).random((24, 4), np.float32)
Y = X.sum(1, keepdims=True)


def regression(optimizer=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), Dense(3, "tanh"), Dense(1)])
    model.compile(optimizer or optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
    return model


def fit(model, *given, **more):
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0, **more}
    return model.fit(X, Y, callbacks=list(given), **options).history


class Epochs(callbacks.Callback):
    """Keeps the weights and their averages as they are at the end of every epoch."""

    def __init__(self):
        super().__init__()
        self.weights, self.averages = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        pairs = self.model.optimizer.averages()
        self.averages.append([average.numpy().copy() for _, average in pairs])


def losses_with(weights):
    """The loss of a model with these weights, for each epoch."""
    model, found = regression(), []
    for values in weights:
        model.set_weights(values)
        found.append(model.evaluate(X, Y, batch_size=24, verbose=0))
    return found


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


def plain():
    """Weights and averages of every epoch without swapping, and the weights at the end."""
    model, seen = regression(), Epochs()
    fit(model, seen)
    return seen, model.get_weights()


def test_validation_sees_the_averages_and_training_does_not():
    want, last = plain()
    model, seen = regression(), Epochs()
    logs = fit(model, callbacks.SwapEMAWeights(), seen, validation_data=(X, Y))
    np.testing.assert_allclose(logs["val_loss"], losses_with(want.averages), rtol=1e-6)
    for got, weights in zip(seen.weights, want.weights, strict=True):
        assert_same(got, weights)
    assert_same(model.get_weights(), last)


def test_later_callbacks_see_the_averages_when_they_stay_over_the_end_of_an_epoch():
    want, last = plain()
    model, seen = regression(), Epochs()
    fit(model, callbacks.SwapEMAWeights(swap_on_epoch=True), seen, validation_data=(X, Y))
    for got, averages in zip(seen.weights, want.averages, strict=True):
        assert_same(got, averages)
    assert_same(model.get_weights(), last)


def test_training_that_stops_early_ends_with_the_averages():
    """Keras leaves the weights themselves here, as it has swapped them into the averages."""

    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    want, _ = plain()
    model = regression()
    fit(model, callbacks.SwapEMAWeights(swap_on_epoch=True), Stop())
    assert_same(model.get_weights(), want.averages[1])


def test_evaluate_and_predict_see_the_averages_and_leave_the_weights():
    model = regression(optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=None))
    for _ in range(3):
        model.train_on_batch(X, Y)
    weights = model.get_weights()
    averages = [average.numpy().copy() for _, average in model.optimizer.averages()]
    swap = callbacks.SwapEMAWeights()
    got = model.evaluate(X, Y, verbose=0, callbacks=[swap])
    np.testing.assert_allclose(got, losses_with([averages])[0], rtol=1e-6)
    outputs = model.predict(X, verbose=0, callbacks=[swap])
    assert_same(model.get_weights(), weights)
    model.set_weights(averages)
    np.testing.assert_array_equal(model.predict(X, verbose=0), outputs)


def test_weights_come_back_when_an_evaluation_breaks_off():
    class Break(callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            raise KeyError("power cut")

    model = regression()
    model.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    weights = model.get_weights()
    with pytest.raises(KeyError, match="power cut"):
        model.evaluate(X, Y, verbose=0, callbacks=[callbacks.SwapEMAWeights(), Break()])
    assert_same(model.get_weights(), weights)


def test_scaled_losses_have_averages_too():
    inner = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    model = regression(optimizers.LossScaleOptimizer(inner))
    logs = fit(model, callbacks.SwapEMAWeights(), validation_data=(X, Y))
    want = fit(regression(), callbacks.SwapEMAWeights(), validation_data=(X, Y))
    np.testing.assert_allclose(logs["val_loss"], want["val_loss"], rtol=1e-5)


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1), optimizers.SGD(0.1, use_ema=True)])
def test_an_optimizer_without_averages_is_refused(optimizer):
    model = regression(optimizer)
    with pytest.raises(ConfigError, match="use_ema"):
        model.evaluate(X, Y, verbose=0, callbacks=[callbacks.SwapEMAWeights()])
