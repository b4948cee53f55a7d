"""A variational autoencoder with a train_step of its own, trained on executors: its gradients are
shared as those of any fit; results: loss per picture at the start, at the end and on held-out
digits, and how often a nearest neighbour in the plane of codes shows the same digit.

    python examples/spark/variational_autoencoder.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.spark.cluster import init_session

CODE = 2


class Sampling(layers.Layer):
    """A draw from a normal distribution, given its mean and the log of its variance."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(5)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def make_encoder():
    images = keras.Input((64,))
    x = layers.Dense(64, activation="relu")(layers.Dense(128, activation="relu")(images))
    return keras.Model(images, [layers.Dense(CODE)(x), layers.Dense(CODE)(x)])


def make_decoder():
    codes = keras.Input((CODE,))
    x = layers.Dense(128, activation="relu")(layers.Dense(64, activation="relu")(codes))
    return keras.Model(codes, layers.Dense(64, activation="sigmoid")(x))


class Autoencoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.sampling = make_encoder(), make_decoder(), Sampling()
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def call(self, images):
        return self.decoder(self.encoder(images)[0])

    def total(self, images):
        mean, log_variance = self.encoder(images)
        remade = self.decoder(self.sampling([mean, log_variance]))
        wrong = 64 * keras.losses.binary_crossentropy(images, remade)
        spread = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
        return ops.mean(wrong - 0.5 * ops.sum(spread, axis=1))

    def train_step(self, images):
        with keras.GradientTape() as tape:
            total = self.total(images)
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights))
        self.loss_tracker.update_state(total)
        return {"loss": self.loss_tracker.result()}

    def test_step(self, images):
        self.loss_tracker.update_state(self.total(images))
        return {"loss": self.loss_tracker.result()}


def main(spark, rows=1400, epochs=40):
    keras.utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    model = Autoencoder()
    model.compile(keras.optimizers.Adam(3e-3))
    train = spark.sparkContext.parallelize(list(images[:rows]), 2)
    test = spark.sparkContext.parallelize(list(images[1400:]), 2)
    losses = model.fit(train, batch_size=64, epochs=epochs, verbose=0).history["loss"]
    held_out = model.evaluate(test, batch_size=64, verbose=0, return_dict=True)["loss"]
    codes = np.array([code for code, _ in model.encoder.predict(test).collect()])
    distances = ((codes[:, None] - codes[None]) ** 2).sum(-1) + 1e9 * np.eye(len(codes))
    same = labels[1400:][distances.argmin(1)] == labels[1400:]
    return {"first": losses[0], "last": losses[-1], "held_out": held_out,
            "neighbour_is_same": float(same.mean())}  # fmt: skip


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "variational autoencoder")))
