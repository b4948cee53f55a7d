"""Functional models whose Inputs leave sizes open: each op sees sizes that fit together."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import Input, Model, layers, ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError

LENGTHS = (5, 2)  # two batch sizes for one model


def turned(t):
    return ops.transpose(t, (1, 0, 2))


def array_turned(a):
    return a.transpose(1, 0, 2)


# name -> (function of the model's input (None, 3, 4), the shape it says, numpy's result)
CASES = {
    "scan": (
        lambda t: ops.scan(lambda c, r: (c + r, c * r), ops.zeros_like(t[:, 0]), turned(t))[0],
        (None, 4), lambda a: a.sum(1),
    ),
    "scan, rows": (
        lambda t: ops.scan(lambda c, r: (c + r, c + r), ops.sum(t, 1) * 0, turned(t))[1],
        (3, None, 4), lambda a: array_turned(a.cumsum(1)),
    ),
    "scan over the batch": (
        lambda t: ops.scan(lambda c, r: (c + r, ops.sum(r)), ops.zeros((3, 4)), t)[1],
        (None,), lambda a: a.sum((1, 2)),
    ),
    "scan of an axis moved": (
        lambda t: ops.scan(lambda c, r: (c + r, c), t[:, 0] * 0, ops.moveaxis(t, 1, 0))[0],
        (None, 4), lambda a: a.sum(1),
    ),
    "map": (lambda t: ops.map(lambda r: r * 2, turned(t)), (3, None, 4),
            lambda a: array_turned(a) * 2),
    "map of pairs over the batch": (
        lambda t: ops.map(lambda p: p[0] + p[1], (t, t * 2)), (None, 3, 4), lambda a: a * 3
    ),
    "vectorized_map": (lambda t: ops.vectorized_map(lambda r: ops.sum(r, axis=1), turned(t)),
                       (3, None), lambda a: a.sum(2).T),
    "fori_loop": (lambda t: ops.fori_loop(0, 3, lambda i, c: c * 2 + i, turned(t)), (3, None, 4),
                  lambda a: array_turned(a) * 8 + 4),
    "while_loop": (lambda t: ops.while_loop(lambda i, c: i < 3, lambda i, c: (i + 1, c * 2),
                                            (0, turned(t)))[1],
                   (3, None, 4), lambda a: array_turned(a) * 8),
    "associative_scan": (lambda t: ops.associative_scan(lambda a, b: a + b, turned(t)),
                         (3, None, 4), lambda a: array_turned(a).cumsum(0)),
    "associative_scan over the batch": (lambda t: ops.associative_scan(lambda a, b: a + b, t),
                                        (None, 3, 4), lambda a: a.cumsum(0)),
    "switch of a tensor": (
        lambda t: ops.switch(ops.cast(ops.sum(t) > 0, "int32"),
                             [lambda a: a * 2, lambda a: a * 3], turned(t)),
        (3, None, 4), lambda a: array_turned(a) * 3,
    ),
    "switch of a number": (lambda t: ops.switch(0, [lambda a: a * 2, lambda a: a * 3], turned(t)),
                           (3, None, 4), lambda a: array_turned(a) * 2),
    "cond": (lambda t: ops.cond(False, lambda: t, lambda: turned(t)), (3, None, 4), array_turned),
    "einsum": (lambda t: ops.einsum("bij,bkj->bik", t, t), (None, 3, 3),
               lambda a: np.einsum("bij,bkj->bik", a, a)),
    "a batch behind": (lambda t: turned(t) + ops.sum(t, 1), (3, None, 4),
                       lambda a: array_turned(a) + a.sum(1)),
    "a batch twice as long": (
        lambda t: ops.concatenate([t, t], 0) * ops.repeat(ops.sum(t, (1, 2), keepdims=True), 2, 0),
        (None, 3, 4), lambda a: np.concatenate([a, a]) * a.sum((1, 2), keepdims=True).repeat(2, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_ops_know_the_batch_wherever_its_axis_goes(name):
    function, shape, expected = CASES[name]
    inputs = Input((3, 4))
    model = Model(inputs, function(inputs))
    assert model.output_shape == shape
    for rows in LENGTHS:
        given = np.random.default_rng(rows).uniform(size=(rows, 3, 4)).astype("float32")
        np.testing.assert_allclose(model.predict_on_batch(given), expected(given), 1e-5)


def test_a_scan_over_steps_trains_for_any_batch():
    inputs = Input((3, 4))
    states = layers.Dense(4)(inputs)
    last, _ = ops.scan(lambda c, r: (ops.tanh(c + r), None), states[:, 0], turned(states))
    model = Model(inputs, last)
    model.compile("adam", "mse")
    x = np.random.default_rng(0).uniform(size=(10, 3, 4)).astype("float32")
    losses = model.fit(x, x[:, 0], batch_size=4, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


class Halved(layers.Layer):
    """Every second step; says its shape itself."""

    def call(self, x):
        return x[:, ::2]

    def compute_output_shape(self, shape):
        return (None, None if shape[1] is None else -(-shape[1] // 2), shape[2])


# name -> (shapes of the Inputs, shapes of the data, a function of both)
OPEN = {
    "a matrix as long as the steps": ([(None, None), (None, 4)], [(5, 5), (5, 4)], ops.matmul),
    "a square": ([(None, None), (None, 4)], [(5, 5), (5, 4)],
                 lambda a, b: a + ops.swapaxes(a, 1, 2)),
    "a product with itself": ([(None, None), (None, 4)], [(6, 5), (6, 4)],
                              lambda a, b: ops.matmul(a, ops.swapaxes(a, 1, 2))),
    "one Input a step shorter": ([(None, 4), (None, 4)], [(6, 4), (5, 4)],
                                 lambda a, b: a[:, 1:] + b),
    "windows": ([(None, 4), (None, 4)], [(6, 4), (6, 4)],
                lambda a, b: layers.AveragePooling1D(2, 1)(a) + b[:, :-1]),
    "a layer's own shape": ([(None, 4), (None, 4)], [(7, 4), (7, 4)],
                            lambda a, b: Halved()(a) + b[:, ::2]),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_open_sizes_need_only_fit_when_data_come(name):
    shapes, data, function = OPEN[name]
    inputs = [Input(shape) for shape in shapes]
    model = Model(inputs, function(*inputs))
    given = [np.random.default_rng(0).uniform(size=(3, *s)).astype("float32") for s in data]
    expected = np.asarray(function(*given))
    np.testing.assert_allclose(model.predict_on_batch(given), expected, 1e-5)


def test_sizes_that_never_fit_are_refused():
    a = Input((None, 4))
    with pytest.raises(ShapeError, match="do not broadcast"):
        a + ops.concatenate([a, a], 2)


REFUSED = {
    "a tensor from outside in a loop": (
        lambda t: ops.fori_loop(0, 3, lambda i, c: c + ops.relu(t), t), ConfigError,
        "Pass it in as an argument",
    ),
    "a condition that data decide": (
        lambda t: ops.while_loop(lambda c: ops.sum(c) < 100.0, lambda c: c * 2, t),
        UnsupportedError, "fixed number of turns",
    ),
    "a branch on a tensor from outside": (
        lambda t: ops.cond(ops.sum(t) > 0, lambda: t, lambda: t * 2), TypeError, "Layer's `call`"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_functional_model_cannot_do_is_refused(name):
    function, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        function(Input((3, 4)))
