"""Random numbers of layers go on from call to call; the same seed gives the same run again."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops, random

X = np.zeros((8, 3), np.float32)


class Sampling(layers.Layer):
    def __init__(self, seed=1, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = random.SeedGenerator(seed)

    def call(self, x):
        return x + random.normal(ops.shape(x), seed=self.seed_generator)


class Unseeded(layers.Layer):
    def call(self, x):
        return x + random.uniform(ops.shape(x))


def model(layer):
    keras.utils.set_random_seed(3)
    made = keras.Sequential([keras.Input((3,)), layer()])
    made.compile("sgd", "mse")
    return made


def predicted(made):
    return made.predict(X, batch_size=4, verbose=0)


CALLS = {
    "predict": predicted,
    "predict_on_batch": lambda m: m.predict_on_batch(X),
    "evaluate": lambda m: np.array(m.evaluate(X, X, verbose=0)),
    "test_on_batch": lambda m: np.array(m.test_on_batch(X, X)),
    "call": lambda m: np.asarray(m(X)),
    "layer": lambda m: np.asarray(m.layers[-1](X)),
}


@pytest.mark.parametrize("layer", [Sampling, Unseeded])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_each_call_draws_anew_and_the_run_is_the_same_again(layer, call):
    runs = []
    for _ in range(2):
        made = model(layer)
        runs.append([call(made) for _ in range(3)])
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({run.tobytes() for run in runs[0]}) == 3


def test_batches_of_one_prediction_differ():
    found = predicted(model(Sampling))
    assert not np.array_equal(found[:4], found[4:])


def test_parts_of_a_large_batch_differ():
    found = model(Sampling).predict(np.zeros((4096, 3)), batch_size=4096, verbose=0)
    assert len(np.unique(found[:, 0])) > 4000


def test_prediction_does_not_repeat_the_noise_of_training():
    made = model(Sampling)
    made.fit(X, X, batch_size=8, verbose=0, shuffle=False)
    loss = made.history.history["loss"][0]
    assert made.evaluate(X, X, verbose=0) != pytest.approx(loss)


def test_layers_without_a_seed_differ_from_each_other():
    assert not np.array_equal(Unseeded()(X), Unseeded()(X))


def test_layers_with_one_seed_draw_alike():
    assert np.array_equal(layers.Dropout(0.5, seed=1)(X + 1, training=True),
                          layers.Dropout(0.5, seed=1)(X + 1, training=True))  # fmt: skip
