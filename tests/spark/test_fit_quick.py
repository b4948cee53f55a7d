"""The first facts about fit on a cluster; the full matrix is in test_fit.py and its neighbours."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras.layers import Dense

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(0)
X = RNG.random((37, 4), np.float32)
Y = (X.sum(1) > 2).astype(np.int32)


def classifier():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), Dense(8, activation="tanh"), Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def fitted(sc, ranks, **options):
    model = classifier()
    rdd = sc.parallelize(list(zip(X, Y, strict=True)), ranks)
    given = {"epochs": 2, "batch_size": 37, "shuffle": False, "verbose": 0, **options}
    history = model.fit(rdd, **given)
    return model, history


def assert_close(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)


def test_two_and_four_ranks_train_as_one_machine(cluster4):
    alone = classifier()
    expected = alone.fit(X, Y, epochs=2, batch_size=37, shuffle=False, verbose=0)
    for ranks in (1, 2, 4):
        model, history = fitted(cluster4, ranks)
        assert_close(model, alone)
        np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-5)


def test_the_same_fit_twice_gives_the_same_bits(cluster4):
    first, _ = fitted(cluster4, 3, batch_size=5, shuffle=True)
    again, _ = fitted(cluster4, 3, batch_size=5, shuffle=True)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fitted_model_scores_an_rdd_in_order(cluster4):
    model, _ = fitted(cluster4, 2)
    found = np.array(model.predict(cluster4.parallelize(list(X), 3)).collect())
    np.testing.assert_array_equal(found, model.predict(X, verbose=0))
