"""Records of x alone: models whose loss compares with nothing train on them, others say so."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import ops
from zoo_keras.errors import DataError

pytestmark = pytest.mark.spark

X = np.random.default_rng(3).random((24, 5)).astype(np.float32)


class Remade(keras.Model):
    """A train_step that draws its input again."""

    def __init__(self):
        super().__init__()
        self.net = keras.layers.Dense(5)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def call(self, x):
        return self.net(x)

    def train_step(self, data):
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(self(data, training=True) - data))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


class Plain(Remade):
    """Returns the loss itself."""

    def train_step(self, data):
        super().train_step(data)
        return {"brightness": ops.mean(data)}


class Energy(keras.layers.Layer):
    def call(self, x):
        self.add_loss(ops.mean(ops.square(x)))
        return x


def own_step():
    model = Remade()
    model.compile(keras.optimizers.SGD(0.1))
    return model


def added_loss():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), Energy()])
    model.compile(keras.optimizers.SGD(0.1))
    return model


def fitted(make, data, **options):
    keras.utils.set_random_seed(2)
    model = make()
    logs = model.fit(data, batch_size=24, epochs=3, verbose=0, **options).history
    return [*model.get_weights(), np.array(logs["loss"])]


@pytest.mark.parametrize("make", [own_step, added_loss])
@pytest.mark.parametrize("record", [lambda row: row, lambda row: (row,)], ids=["bare", "tuple"])
def test_x_alone_trains_as_on_one_machine(cluster2, make, record):
    found = fitted(make, cluster2.parallelize([record(row) for row in X], 2))
    for ours, local in zip(found, fitted(make, X, shuffle=False), strict=True):
        np.testing.assert_allclose(ours, local, rtol=1e-4, atol=1e-6)


def test_a_frame_without_label_cols_trains(cluster2):
    from pyspark.sql import SparkSession

    frame = SparkSession(cluster2).createDataFrame([(row.tolist(),) for row in X], ["x"])
    found = fitted(own_step, frame.repartition(2), feature_cols="x")
    for ours, local in zip(found, fitted(own_step, X, shuffle=False), strict=True):
        np.testing.assert_allclose(ours, local, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("record", [X[0], X[0].tolist(), (X[0],)], ids=["array", "list", "tuple"])
def test_a_loss_that_lacks_its_targets_says_so(cluster2, record):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    kind = type(record).__name__
    with pytest.raises(DataError, match=rf"must be a tuple \(x, y\).*Received: {kind}"):
        model.fit(cluster2.parallelize([record] * 4, 2), verbose=0)


def test_a_number_that_no_metric_holds_is_that_of_the_last_batch(cluster2):
    model = Plain()
    model.compile(keras.optimizers.SGD(0.1))
    history = model.fit(cluster2.parallelize(list(X), 2), verbose=0).history
    np.testing.assert_allclose(history["brightness"], X.mean(), rtol=1e-5)
