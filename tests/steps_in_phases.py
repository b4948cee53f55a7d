"""Models whose steps call several optimizers, or one several times: what Keras' examples do."""

from __future__ import annotations

import itertools

import numpy as np

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.training.data import batch_of


def rows(count=24):
    return np.random.default_rng(0).normal(size=(count, 3)).astype("float32")


def net(inputs, outputs, *more):
    hidden = layers.Dense(8, activation="tanh")
    return keras.Sequential([keras.Input((inputs,)), hidden, *more, layers.Dense(outputs)])


class Pair(keras.Model):
    """A critic and a generator, each with an optimizer of its own."""

    def __init__(self, *more):
        super().__init__()
        self.critic, self.generator = net(3, 1, *more), net(2, 3)
        self.c_loss = keras.metrics.Mean(name="c_loss")
        self.g_loss = keras.metrics.Mean(name="g_loss")
        self.seeds = keras.random.SeedGenerator(7)

    @property
    def metrics(self):
        return [self.c_loss, self.g_loss]

    def compile(self, c_optimizer, g_optimizer):
        super().compile()
        self.c_optimizer, self.g_optimizer = c_optimizer, g_optimizer

    def noise(self, count):
        return keras.random.normal((count, 2), seed=self.seeds)

    def move(self, tape, loss, part, optimizer):
        weights = part.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    def generate(self, count):
        with keras.GradientTape() as tape:
            loss = -ops.mean(self.critic(self.generator(self.noise(count))))
        self.move(tape, loss, self.generator, self.g_optimizer)
        self.g_loss.update_state(loss, sample_weight=float(count))


class Gan(Pair):
    def train_step(self, x):
        count = ops.shape(x)[0]
        fake = self.generator(self.noise(count))
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(self.critic(x, training=True) - 1.0))
            loss = loss + ops.mean(ops.square(self.critic(fake)))
        self.move(tape, loss, self.critic, self.c_optimizer)
        self.generate(count)
        self.c_loss.update_state(loss, sample_weight=float(count))
        return {m.name: m.result() for m in self.metrics}


class Wasserstein(Pair):
    """Three steps of the critic, with a gradient penalty and clipped weights, to one of the
    generator; what was drawn first is used again at the end."""

    def train_step(self, x):
        count = ops.shape(x)[0]
        drawn = self.generator(self.noise(count))
        for _ in range(3):
            with keras.GradientTape() as tape:
                with keras.GradientTape() as inner:
                    between = 0.5 * (x + drawn)
                    judged = self.critic(between)
                slopes = inner.gradient(judged, between)
                loss = ops.mean(self.critic(drawn)) - ops.mean(self.critic(x))
                loss = loss + ops.mean(ops.square(ops.sum(ops.square(slopes), 1) - 1.0))
            self.move(tape, loss, self.critic, self.c_optimizer)
            for weight in self.critic.trainable_weights:
                weight.assign(ops.clip(weight, -0.5, 0.5))
        self.generate(count)
        judged = ops.mean(self.critic(drawn))
        self.c_loss.update_state(judged + loss, sample_weight=float(count))
        return {m.name: m.result() for m in self.metrics}


class Parts(keras.Model):
    """One optimizer, given the weights in two portions."""

    def __init__(self):
        super().__init__()
        self.net = net(3, 1)
        self.error = keras.metrics.Mean(name="error")

    def train_step(self, x):
        weights = self.net.trainable_weights
        self.optimizer.build(weights)
        for part in (weights[:2], weights[2:]):
            with keras.GradientTape() as tape:
                loss = ops.mean(ops.square(self.net(x) - x[:, :1]))
            self.optimizer.apply(tape.gradient(loss, part), part)
        self.error.update_state(loss, sample_weight=float(x.shape[0]))
        return {"error": self.error.result(), "last": loss}


def gan(*optimizers):
    model = Gan()
    model.compile(*optimizers)
    return model


def wasserstein():
    model = Wasserstein()
    model.compile(keras.optimizers.Adam(0.01, beta_1=0.5), keras.optimizers.RMSprop(0.01))
    return model


def parts():
    model = Parts()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def adam(**more):
    return keras.optimizers.Adam(0.01, epsilon=1e-3, **more)


MODELS = {
    "gan": lambda: gan(adam(), adam()),
    "limits": lambda: gan(adam(clipnorm=0.1), keras.optimizers.SGD(0.1, weight_decay=0.1)),
    "schedule": lambda: gan(
        keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
        keras.optimizers.Lamb(0.01),
    ),
    "loss scale": lambda: gan(adam(), keras.optimizers.LossScaleOptimizer(adam(), 8.0, 3)),
    "averages": lambda: gan(adam(use_ema=True, ema_overwrite_frequency=2), adam()),
    "wasserstein": wasserstein,
    "parts": parts,
}


def built(name, x):
    """A model of these, with weights and slots; its draws count steps from 0, as those of ranks."""
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    model._local().prepare(batch_of((x,)), training=True)
    draws = itertools.count()
    model._note(next_draw=lambda: next(draws))
    return model


def moved(model):
    """Weights and the Variables of optimizers."""
    optimizers = [getattr(model, name) for name in ("c_optimizer", "g_optimizer") if
                  hasattr(model, name)] or [model.optimizer]  # fmt: skip
    return [*model.trainable_variables, *(v for o in optimizers for v in o.variables)]
