"""Models with steps, losses or updates of their own, for real Keras and for zoo_keras: `keras` and
its tape are given.

Nothing is drawn at random: noise is part of the data, so that both train to the same numbers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


def data(seed: int = 0, rows: int = 24) -> SimpleNamespace:
    """Rows of 6 numbers, noise, and 3 classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype("float32")
    classes = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0.3)
    return SimpleNamespace(x=x, z=rng.normal(size=(rows, 4)).astype("float32"), classes=classes)


def _seeded(model: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(size=w.shape) * 0.4 for w in model.get_weights()]
    model.set_weights([array.astype("float32") for array in drawn])
    return model


def _dense(keras: Any, sizes: list[int], seed: int) -> Any:
    layers = [keras.layers.Dense(n, activation="tanh") for n in sizes[1:-1]]
    model = keras.Sequential([keras.Input((sizes[0],)), *layers, keras.layers.Dense(sizes[-1])])
    return _seeded(model, seed)


def _weights(*models: Any) -> list[np.ndarray]:
    return [np.asarray(w) for m in models for w in m.get_weights()]


def autoencoder(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A variational autoencoder whose noise comes with the batch: several trackers, `metrics`."""
    ops = keras.ops

    class Autoencoder(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = _dense(keras, [6, 8, 8], 1), _dense(keras, [4, 8, 6], 2)
            self.total, self.kl = keras.metrics.Mean(name="loss"), keras.metrics.Mean(name="kl")

        @property
        def metrics(self) -> list[Any]:
            return [self.total, self.kl]

        def losses_of(self, data: Any) -> tuple[Any, Any]:
            x, noise = data
            found = self.encoder(x)
            mean, log_var = found[:, :4], found[:, 4:]
            y = self.decoder(mean + ops.exp(0.5 * log_var) * noise)
            kl = ops.mean(-0.5 * ops.sum(1 + log_var - mean**2 - ops.exp(log_var), axis=1))
            return ops.mean(ops.sum((x - y) ** 2, axis=1)) + kl, kl

        def note(self, loss: Any, kl: Any) -> dict[str, Any]:
            self.total.update_state(loss)
            self.kl.update_state(kl)
            return {m.name: m.result() for m in self.metrics}

        def train_step(self, data: Any) -> dict[str, Any]:
            with tape() as t:
                loss, kl = self.losses_of(data)
            grads = t.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(grads, self.trainable_weights))
            return self.note(loss, kl)

        def test_step(self, data: Any) -> dict[str, Any]:
            return self.note(*self.losses_of(data))

    model, d = Autoencoder(), data()
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(d.x, d.z, epochs=3, batch_size=8, shuffle=False, verbose=0,
                        validation_data=(d.x[:6], d.z[:6]))  # fmt: skip
    return history.history, _weights(model.encoder, model.decoder)


def penalised_gan(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Two optimizers, several steps of one, and a penalty on a gradient: a tape in a tape."""
    ops = keras.ops

    class Gan(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.critic, self.generator = _dense(keras, [6, 8, 1], 3), _dense(keras, [4, 8, 6], 4)

        def compile(self, critic_optimizer: Any, generator_optimizer: Any) -> None:
            super().compile()
            self.c_optimizer, self.g_optimizer = critic_optimizer, generator_optimizer

        def penalty(self, real: Any, fake: Any) -> Any:
            between = fake + 0.3 * (real - fake)
            with tape() as t:
                t.watch(between)
                score = self.critic(between, training=True)
            grad = t.gradient(score, [between])[0]
            return ops.mean((ops.sqrt(ops.sum(ops.square(grad), axis=1)) - 1.0) ** 2)

        def critic_loss(self, real: Any, noise: Any) -> Any:
            fake = self.generator(noise, training=True)
            scores = self.critic(fake, training=True), self.critic(real, training=True)
            return ops.mean(scores[0]) - ops.mean(scores[1]) + 10.0 * self.penalty(real, fake)

        def train_step(self, data: Any) -> dict[str, Any]:
            real, noise = data
            for _ in range(2):
                with tape() as t:
                    c_loss = self.critic_loss(real, noise)
                weights = self.critic.trainable_variables
                self.c_optimizer.apply_gradients(zip(t.gradient(c_loss, weights), weights))
            with tape() as t:
                g_loss = -ops.mean(self.critic(self.generator(noise, training=True), training=True))
            weights = self.generator.trainable_variables
            self.g_optimizer.apply_gradients(zip(t.gradient(g_loss, weights), weights))
            return {"c_loss": c_loss, "g_loss": g_loss}

    model, d = Gan(), data(1)
    model.compile(keras.optimizers.Adam(0.01, beta_1=0.5), keras.optimizers.RMSprop(0.01))
    history = model.fit(d.x, d.z, epochs=3, batch_size=8, shuffle=False, verbose=0)
    return history.history, _weights(model.critic, model.generator)


def distiller(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """compute_loss and `call` overridden; the rest of the steps stays Keras'."""
    ops = keras.ops

    class Distiller(keras.Model):
        def __init__(self, student: Any, teacher: Any) -> None:
            super().__init__()
            self.student, self.teacher = student, teacher
            self.teacher.trainable = False

        def call(self, x: Any) -> Any:
            return self.student(x)

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                         sample_weight: Any = None, training: bool = True) -> Any:  # fmt: skip
            loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            soft = ops.softmax(self.teacher(x) / 2.0)
            return loss + 4.0 * ops.mean(
                keras.losses.kl_divergence(soft, ops.softmax(y_pred / 2.0))
            )

    del tape
    model, d = Distiller(_dense(keras, [6, 5, 3], 5), _dense(keras, [6, 9, 3], 6)), data(2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])  # fmt: skip
    history = model.fit(d.x, d.classes, epochs=3, batch_size=8, shuffle=False, verbose=0,
                        validation_data=(d.x, d.classes))  # fmt: skip
    return history.history, _weights(model.student)


def documented(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The step that Keras' guide shows, on a functional model, with sample weights."""

    class Documented(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            x, y, sample_weight = data
            with tape() as t:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
            variables = self.trainable_variables
            self.optimizer.apply(t.gradient(loss, variables), variables)
            return {"loss": loss, "mean": keras.ops.mean(y_pred)}

    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(7, activation="tanh", kernel_regularizer="l2")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    model, d = Documented(inputs, keras.layers.Dense(1)(hidden)), data(3)
    model = _seeded(model, 7)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    weight = np.linspace(0.5, 1.5, len(d.x)).astype("float32")
    history = model.fit(d.x, d.z[:, :1], sample_weight=weight, epochs=2, batch_size=8,
                        shuffle=False, verbose=0)  # fmt: skip
    return history.history, _weights(model)


def _regression(keras: Any, optimizer: Any, loss: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    inputs, d = keras.Input((6,)), data(4)
    model = _seeded(keras.Model(inputs, keras.layers.Dense(1)(inputs)), 8)
    model.compile(optimizer, loss)
    weight = np.linspace(0.5, 1.5, len(d.x)).astype("float32")
    history = model.fit(d.x, d.z[:, :1], sample_weight=weight, epochs=3, batch_size=4,
                        shuffle=False, verbose=0)  # fmt: skip
    return history.history, [*_weights(model), np.asarray(model.optimizer.iterations)]


def accumulated_adam(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """An update for every four batches, clipped and decayed."""
    del tape
    optimizer = keras.optimizers.AdamW(0.1, clipnorm=0.5, gradient_accumulation_steps=4)
    return _regression(keras, optimizer, "mse")


def accumulated_average(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """With a moving average of the weights, and batches left over at the end."""
    del tape
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=5,
                                     use_ema=True)  # fmt: skip
    return _regression(keras, optimizer, "mse")


def scaled_loss(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """loss_scale_factor changes no result."""
    del tape
    return _regression(keras, keras.optimizers.RMSprop(0.05, loss_scale_factor=64.0), "mae")


def whole_loss(keras: Any, tape: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A Loss that overrides `__call__` decides all by itself."""
    del tape

    class Whole(keras.losses.Loss):
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            values = keras.ops.abs(y_true - y_pred) * keras.ops.reshape(sample_weight, (-1, 1))
            return 3.0 * keras.ops.max(values)

    return _regression(keras, "sgd", Whole())


CASES = {f.__name__: f for f in (
    autoencoder, penalised_gan, distiller, documented, accumulated_adam, accumulated_average,
    scaled_loss, whole_loss,
)}
