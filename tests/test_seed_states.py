"""States of seed generators: calls on arrays advance them, and stateless calls hand them out."""

from __future__ import annotations

import numpy as np

from zoo_keras import Sequential, layers, random

X = np.ones((4, 8), "f4")


class Noise(layers.Layer):
    def __init__(self):
        super().__init__()
        self.generators = [random.SeedGenerator(1), random.SeedGenerator(10)]

    def call(self, x):
        for generator in self.generators:
            x = x * random.normal(x.shape, seed=generator)
        return x


def test_a_call_on_arrays_advances_each_generator_by_its_draws():
    layer = Noise()
    first, second = layer(X), layer(X)
    assert not np.allclose(first, second)
    for generator, seed in zip(layer.generators, (1, 10), strict=True):
        np.testing.assert_array_equal(generator.state, [seed, 2])


def test_a_stateless_call_hands_out_the_state_after_it():
    layer = layers.Dropout(0.5, seed=3)
    layer.build((4, 8))
    state = [v.numpy().copy() for v in layer.non_trainable_variables]
    first, after = layer.stateless_call([], state, X, training=True)
    again, _ = layer.stateless_call([], state, X, training=True)
    later, last = layer.stateless_call([], after, X, training=True)
    np.testing.assert_array_equal(first, again)  # the state decides
    assert not np.array_equal(first, later)
    counts = [int(s[-1][1]) for s in (state, after, last)]
    assert counts == [0, 1, 2]
    np.testing.assert_array_equal(layer.non_trainable_variables[-1], state[-1])  # as it was
    _, same = layer.stateless_call([], state, X, training=False)
    np.testing.assert_array_equal(same[-1], state[-1])


def test_models_hand_out_the_states_of_their_layers():
    model = Sequential([layers.Input((8,)), layers.Dropout(0.5, seed=1), layers.Dense(2)])
    weights = [v.numpy() for v in model.trainable_variables]
    state = [v.numpy() for v in model.non_trainable_variables]
    y, after = model.stateless_call(weights, state, X, training=True)
    assert y.shape == (4, 2) and [int(s[1]) for s in after] == [1]


def test_equal_seeds_draw_alike_whatever_was_drawn_elsewhere():
    first, second = layers.Dropout(0.5, seed=7), layers.Dropout(0.5, seed=7)
    layers.Dropout(0.5)(X, training=True)
    np.testing.assert_array_equal(first(X, training=True), second(X, training=True))
    np.testing.assert_array_equal(first(X, training=True), second(X, training=True))
