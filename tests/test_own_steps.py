"""Models with steps of their own train to what real Keras trains them to."""

from __future__ import annotations

import numpy as np
import pytest
from golden.cases.own_steps import CASES
from golden.store import Golden, series

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.training import steps
from zoo_keras.training.data import batch_of

GOLDEN = Golden("own_steps")


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_own_steps_train_as_in_keras(name, eagerly, monkeypatch):
    if eagerly:
        monkeypatch.setattr(keras.Model, "_eagerly", lambda self: True)
    expected = GOLDEN.arrays(name)
    logs, weights = CASES[name](keras, keras.GradientTape)
    assert {f"log/{key}" for key in logs} == {k for k in expected if k.startswith("log/")}
    for key, values in logs.items():
        np.testing.assert_allclose(
            values, expected[f"log/{key}"], rtol=2e-4, atol=1e-5, err_msg=key
        )
    for found, right in zip(weights, series(expected, "weight"), strict=True):
        np.testing.assert_allclose(found, right, rtol=2e-3, atol=1e-4)


class Restated(keras.Model):
    """Keras' own steps, by way of the class."""

    def train_step(self, data):
        return super().train_step(data)

    def test_step(self, data):
        return super().test_step(data)

    def predict_step(self, data):
        return super().predict_step(data)


def regression(cls, optimizer=None):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    hidden = layers.Dense(16, activation="relu", kernel_regularizer="l2")(inputs)
    hidden = layers.BatchNormalization()(layers.Dropout(0.2)(hidden))
    model = cls(inputs, layers.Dense(1, kernel_constraint="max_norm")(hidden))
    model.compile(optimizer or "sgd", "mse", metrics=["mae"])
    return model


def rows(count=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6)).astype("float32")
    return x, x[:, :1] - x[:, 1:2]


OPTIMIZERS = [
    lambda: keras.optimizers.Adam(0.01, clipnorm=1.0, weight_decay=1e-3),
    lambda: keras.optimizers.RMSprop(0.01, use_ema=True, ema_overwrite_frequency=3),
    lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
    lambda: keras.optimizers.Lamb(0.01),
    lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), 8.0, 3),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_steps_that_call_the_class_s_train_alike(make):
    x, y = rows()
    logs, weights = [], []
    for cls in (keras.Model, Restated):
        model = regression(cls, make())
        history = model.fit(x, y, epochs=2, validation_data=(x, y), shuffle=False, verbose=0)
        logs.append(history.history)
        weights.append([*model.get_weights(), model.predict(x, verbose=0)])
    assert list(logs[0]) == list(logs[1])
    for name, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][name], rtol=1e-5)
    for plain, own in zip(*weights, strict=True):
        np.testing.assert_allclose(plain, own, rtol=1e-5, atol=1e-6)


def noisy():
    """A model whose step logs a number that it draws, and changes no weight."""

    class Noisy(keras.Model):
        def __init__(self):
            super().__init__()
            self.seeds = keras.random.SeedGenerator(7)

        def train_step(self, data):
            return {"drawn": ops.mean(keras.random.normal(ops.shape(data), seed=self.seeds))}

    model = Noisy()
    model.compile()
    return model


def test_each_step_draws_anew_and_each_run_the_same():
    x, runs = rows()[0], []
    for _ in range(2):
        model = noisy()
        runs.append([model.train_on_batch(x, return_dict=True)["drawn"] for _ in range(3)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def images_gan():
    """Convolutions, noise drawn in the step, two optimizers: a GAN as Keras' examples have it."""
    critic = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.LeakyReLU(negative_slope=0.2), layers.Dropout(0.2), layers.GlobalMaxPooling2D(),
        layers.Dense(1),
    ])  # fmt: skip
    generator = keras.Sequential([
        keras.Input((4,)), layers.Dense(4 * 4 * 4), layers.Reshape((4, 4, 4)),
        layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="sigmoid"),
    ])  # fmt: skip
    loss_of = keras.losses.BinaryCrossentropy(from_logits=True)

    class Gan(keras.Model):
        def __init__(self):
            super().__init__()
            self.critic, self.generator = critic, generator
            self.tracker = keras.metrics.Mean(name="c_loss")

        @property
        def metrics(self):
            return [self.tracker]

        def compile(self, c_optimizer, g_optimizer):
            super().compile()
            self.c_optimizer, self.g_optimizer = c_optimizer, g_optimizer

        def train_step(self, images):
            count = ops.shape(images)[0]
            fake = self.generator(keras.random.normal((count, 4)))
            labels = ops.concatenate([ops.ones((count, 1)), ops.zeros((count, 1))], axis=0)
            both = ops.concatenate([fake, images], axis=0)
            with keras.GradientTape() as tape:
                loss = loss_of(labels, self.critic(both, training=True))
            weights = self.critic.trainable_weights
            self.c_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            with keras.GradientTape() as tape:
                made = self.generator(keras.random.normal((count, 4)), training=True)
                g_loss = loss_of(ops.zeros((count, 1)), self.critic(made))
            weights = self.generator.trainable_weights
            self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights))
            self.tracker.update_state(loss)
            return {"c_loss": self.tracker.result(), "g_loss": g_loss}

    model = Gan()
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    return model


def test_no_instruction_of_a_gan_s_step_is_left_to_numpy():
    model = images_gan()
    images = np.random.default_rng(0).random((12, 8, 8, 1), "float32")
    before = [*model.critic.get_weights(), *model.generator.get_weights()]
    logs = model.fit(images, epochs=2, batch_size=4, verbose=0).history
    assert list(logs) == ["c_loss", "g_loss"]
    after = [*model.critic.get_weights(), *model.generator.get_weights()]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, after, strict=True))
    programs = model._local().programs()
    assert [kind for kind, _, _ in programs] == ["train"]
    assert not any(program.host for _, _, program in programs)


def test_a_rate_set_between_epochs_counts_in_own_steps():
    x, y = rows()
    model = regression(Restated, keras.optimizers.SGD(0.0))
    before = model.get_weights()[0]
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    model.optimizer.learning_rate = 0.1
    model.train_on_batch(x, y)
    assert np.abs(model.get_weights()[0] - before).max() > 0


def test_a_functional_model_of_a_subclass_is_saved_and_goes_on(tmp_path):
    x, y = rows()
    model = regression(Restated, keras.optimizers.Adam(0.01))
    model.fit(x, y, epochs=1, shuffle=False, verbose=0)
    model.save(tmp_path / "own.keras")
    again = keras.models.load_model(tmp_path / "own.keras", custom_objects={"Restated": Restated})
    for each in (model, again):
        each.fit(x, y, epochs=1, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_that_are_not_connected_are_none_or_zero():
    found = {}

    class Asks(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = self.add_weight((2,)), self.add_weight((3,))

        def train_step(self, data):
            with keras.GradientTape(persistent=True) as tape:
                y = ops.sum(data * self.used)
            found["none"] = tape.gradient(y, [self.used, self.unused])[1]
            zero = tape.gradient({"y": y}, {"a": self.unused}, unconnected_gradients="zero")
            weighted = tape.gradient([y], self.used, output_gradients=[3.0])
            return {"zero": zero["a"], "weighted": weighted}

    model = Asks()
    model.compile()
    logs = model.train_on_batch(np.ones((2, 2), "float32"), return_dict=True)
    assert found["none"] is None
    np.testing.assert_array_equal(logs["zero"], np.zeros(3))
    np.testing.assert_array_equal(logs["weighted"], [6.0, 6.0])


def stepping(step):
    """A model with this train_step."""
    cls = type("Stepping", (keras.Model,), {"train_step": step})
    inputs = keras.Input((6,))
    model = cls(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


def two_gradients(self, data):
    with keras.GradientTape() as tape:
        loss = ops.sum(self(data[0]))
    return {"a": tape.gradient(loss, self.weights)[0], "b": tape.gradient(loss, self.weights)[0]}


def by_an_array(self, data):
    with keras.GradientTape() as tape:
        loss = ops.sum(self(data[0]))
    return {"a": tape.gradient(loss, np.ones(3))}


MISUSES = [
    (two_gradients, ConfigError, "persistent=True"),
    (by_an_array, ConfigError, "sources must be tensors"),
    (lambda self, data: [1.0], ConfigError, "dict of logs"),
]


@pytest.mark.parametrize(("step", "error", "words"), MISUSES)
def test_misuse_of_a_step_is_told(step, error, words):
    with pytest.raises(error, match=words):
        stepping(step).train_on_batch(*rows(8))


def test_an_own_predict_step_is_refused_on_spark():
    rdd = type("RDD", (), {"__module__": "pyspark.rdd"})()
    with pytest.raises(UnsupportedError, match="predict_step"):
        regression(Restated).predict(rdd)


def as_rank(model, *data):
    """What a rank's part of a step would update, once the model has trained here."""
    model.train_on_batch(*data)
    batch = batch_of(data)
    return steps.updated_variables(model, steps.shapes_of(batch), batch.structure, training=True)


def test_a_rank_shares_what_the_step_gives_to_the_model_s_optimizer():
    found = as_rank(regression(Restated), *rows(8))
    assert [v.name for v in found] == ["moving_mean", "moving_variance"]


class Doubled(keras.Model):
    def call(self, x):
        return x * 2


def test_a_model_runs_eagerly_before_it_is_compiled():
    model = Doubled()
    model.run_eagerly = True
    assert model.predict(np.ones((2, 1)), verbose=0).tolist() == [[2], [2]]


@pytest.mark.parametrize("before", ["predict", "predict_on_batch"])
def test_metrics_made_before_compile_are_measured_after_a_prediction(before):
    model = Doubled()
    model.compile(loss="mse", metrics=[keras.metrics.MeanSquaredError(name="squares")])
    x = np.ones((2, 1))
    getattr(model, before)(x)
    assert model.test_on_batch(x, x, return_dict=True) == {"loss": 1.0, "squares": 1.0}


class KeepsItsLoss(keras.Model):
    """A tracker of a name that compile's own has, as Keras' guides have it."""

    def __init__(self, net, listed):
        super().__init__()
        self.net, self.listed = net, listed
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, x):
        return self.net(x)

    @property
    def metrics(self):
        return [self.tracker] if self.listed else super().metrics

    def train_step(self, data):
        x, y = data
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x) - y))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.tracker.update_state(loss)


@pytest.mark.parametrize("listed", [True, False])
def test_a_tracker_called_loss_is_the_loss(listed):
    x, y = rows()
    model = KeepsItsLoss(layers.Dense(y.shape[1]), listed)
    model.compile("sgd")
    model.fit(x, y, epochs=1, verbose=0)
    assert model.get_metrics_result() == {"loss": model.tracker.result()}
    assert float(model.tracker.result()) > 0
