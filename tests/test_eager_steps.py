"""What runs op by op on arrays: loops of a user's with a GradientTape, and run_eagerly=True."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, UnsupportedError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 4)).astype("float32"), RNG.normal(size=(16, 1)).astype("float32")


def regression(cls=keras.Model, **options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization()(layers.Dense(5, activation="tanh")(inputs))
    model = cls(inputs, layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"], **options)
    return model


def test_a_loop_of_the_user_s_trains_as_fit_does():
    fitted, looped = regression(), regression()
    fitted.fit(X, Y, batch_size=16, epochs=4, verbose=0)
    optimizer, losses = keras.optimizers.Adam(0.05), []
    for _ in range(4):
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(looped(X, training=True) - Y))
        weights = looped.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)
    for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_metrics_take_what_a_tape_has_made():
    model, metric = regression(), keras.metrics.MeanSquaredError()
    with keras.GradientTape():
        made = model(X)
    metric.update_state(Y, made)
    assert float(metric.result()) == pytest.approx(np.square(made.numpy() - Y).mean(), rel=1e-5)


def test_a_tensor_keeps_its_value_when_the_weights_change():
    model = regression()
    with keras.GradientTape():
        made = ops.sum(model(X))
    before = float(made)
    model.set_weights([w + 1 for w in model.get_weights()])
    assert float(made) == before


def test_gradients_by_an_array_that_is_watched():
    x = np.float32([1.0, 2.0, 3.0])
    with keras.GradientTape() as outer:
        outer.watch(x)
        with keras.GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(ops.power(x, 3.0))
        slope = inner.gradient(y, x)
        total = ops.sum(slope * slope)
    np.testing.assert_allclose(slope.numpy(), 3 * x**2)
    np.testing.assert_allclose(outer.gradient(total, x), 36 * x**3)


def test_class_activation_maps_ask_for_gradients_by_a_layer_s_output():
    inputs = keras.Input((8, 8, 3))
    last = layers.Conv2D(4, 3)(inputs)
    scores = layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(last))
    with keras.GradientTape() as tape:
        maps, found = keras.Model(inputs, [last, scores])(RNG.random((1, 8, 8, 3), "float32"))
        best = found[:, ops.argmax(found[0])]
    gradient = tape.gradient(best, maps)
    assert gradient.shape == (1, 6, 6, 4)
    assert np.abs(gradient - gradient[:, :1, :1]).max() < 1e-7  # the mean treats all places alike


class Prints(keras.Model):
    """Looks at values and branches on them, which a compiled step cannot."""

    seen: list

    def call(self, inputs):
        outputs = super().call(inputs)
        self.seen.append(float(ops.mean(outputs)))
        return outputs * 2.0 if ops.max(outputs) > 1e6 else outputs


def test_run_eagerly_shows_values_and_trains_alike():
    compiled, eager = regression(), regression(Prints, run_eagerly=True)
    eager.seen = []
    logs = [m.fit(X, Y, batch_size=8, epochs=2, validation_data=(X, Y), shuffle=False, verbose=0)
            for m in (compiled, eager)]  # fmt: skip
    assert logs[0].history.keys() == logs[1].history.keys()
    for name, values in logs[0].history.items():
        np.testing.assert_allclose(values, logs[1].history[name], rtol=1e-4)
    np.testing.assert_allclose(
        compiled.predict(X, verbose=0), eager.predict(X, verbose=0), 1e-4, 1e-5
    )
    assert (
        len(eager.seen) == 2 * (2 + 2) + 1
    )  # batches of two epochs and their validation, and predict
    assert np.isfinite(eager.seen).all()


def test_run_eagerly_may_be_set_and_unset():
    model = regression(Prints)
    model.seen = []
    model.run_eagerly = True
    model.train_on_batch(X, Y)
    model.run_eagerly = False
    with pytest.raises(TypeError, match="no values"):
        model.train_on_batch(X, Y)


def test_run_eagerly_is_refused_on_spark():
    rdd = type("RDD", (), {"__module__": "pyspark.rdd"})()
    with pytest.raises(UnsupportedError, match="run_eagerly=True"):
        regression(run_eagerly=True).fit(rdd)


def test_a_tape_is_asked_once_and_by_what_it_knows():
    model = regression()
    with keras.GradientTape() as tape:
        loss = ops.sum(model(X))
    tape.gradient(loss, model.trainable_weights)
    with pytest.raises(ConfigError, match="persistent=True"):
        tape.gradient(loss, model.trainable_weights)
    with keras.GradientTape() as tape:
        loss = ops.sum(model(X))
    with pytest.raises(ConfigError, match=r"tape\.watch"):
        tape.gradient(loss, np.ones(3))
