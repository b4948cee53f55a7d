"""A dozen facts about the whole, end to end, in a few seconds: the first file to run."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.errors import ShapeError
from zoo_keras.random import set_random_seed


@pytest.fixture(autouse=True)
def _seeded():
    set_random_seed(0)


def points(rows: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane, and whether they lie inside a circle."""
    x = np.random.default_rng(0).uniform(-1, 1, (rows, 2)).astype("f")
    return x, (x**2).sum(1, keepdims=True) < 0.5


def classifier() -> zk.Model:
    made = zk.Sequential([zk.Input((2,)), layers.Dense(32, activation="relu"),
                          layers.Dense(1, activation="sigmoid")])  # fmt: skip
    made.compile(zk.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    return made


def test_a_small_model_learns():
    model, (x, y) = classifier(), points()
    history = model.fit(x, y, epochs=30, batch_size=32, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 2
    assert model.evaluate(x, y, verbose=0)[1] > 0.9


def test_predict_equals_the_formula_in_numpy():
    model, x = classifier(), points()[0]
    w1, b1, w2, b2 = model.get_weights()
    want = 1 / (1 + np.exp(-(np.maximum(x @ w1 + b1, 0) @ w2 + b2)))
    np.testing.assert_allclose(model.predict(x, verbose=0), want, 1e-5, 1e-6)


def test_one_sgd_step_equals_the_formula_in_numpy():
    model = zk.Sequential([zk.Input((3,)), layers.Dense(1)])
    model.compile(zk.optimizers.SGD(0.1), "mse")
    x, y = np.eye(3, dtype="f"), np.ones((3, 1), "f")
    w, b = model.get_weights()
    error = x @ w + b - y
    loss = model.train_on_batch(x, y)
    np.testing.assert_allclose(loss, np.mean(error**2), 1e-5)
    np.testing.assert_allclose(model.get_weights()[0], w - 0.2 / 3 * x.T @ error, 1e-5)
    np.testing.assert_allclose(model.get_weights()[1], b - 0.2 / 3 * error.sum(0), 1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not():
    def trained(seed: int) -> bytes:
        set_random_seed(seed)
        model = classifier()
        model.fit(*points(), verbose=0)
        return b"".join(w.tobytes() for w in model.get_weights())

    assert trained(1) == trained(1) != trained(2)


def test_a_convolutional_model_trains_and_normalises_when_it_predicts():
    model = zk.Sequential([
        zk.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.2), layers.Dense(3),
    ])  # fmt: skip
    loss = zk.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("f")
    history = model.fit(x, np.arange(24) % 3, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), 1e-4, 1e-5)


def test_a_functional_model_has_branches_and_several_outputs():
    a, b = zk.Input((3,), name="a"), zk.Input((2,), name="b")
    joined = layers.Concatenate()([layers.Dense(4)(a), b])
    model = zk.Model([a, b], {"sum": ops.sum(joined, axis=-1), "score": layers.Dense(1)(joined)})
    model.compile("sgd", {"sum": None, "score": "mse"})
    x = {"a": np.ones((4, 3), "f"), "b": np.ones((4, 2), "f")}
    model.fit(x, {"score": np.ones((4, 1), "f")}, verbose=0)
    shapes = {k: v.shape for k, v in model.predict(x, verbose=0).items()}
    assert shapes == {"sum": (4,), "score": (4, 1)}


def test_a_layer_of_ones_own_trains_like_a_built_in_one():
    class Scale(layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")

        def call(self, x):
            return ops.tanh(x * self.factor)

    model = zk.Sequential([zk.Input((2,)), Scale(), layers.Dense(1)])
    model.compile("adam", lambda y, p: ops.mean(ops.square(y - p)))
    model.fit(*points(64), verbose=0)
    assert (model.layers[0].factor.numpy() != 1).all()


def test_layers_compute_on_arrays_at_once():
    dense = layers.Dense(2, kernel_initializer="ones", bias_initializer="ones")
    assert dense(np.ones((1, 3), "f")).tolist() == [[4, 4]]
    assert layers.Softmax()(np.zeros((1, 4), "f")).tolist() == [[0.25] * 4]


def test_a_model_comes_back_from_its_configuration():
    model = classifier()
    other = zk.Sequential.from_config(model.get_config())
    other.set_weights(model.get_weights())
    x = points(8)[0]
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_model_comes_back_from_a_file(tmp_path):
    model, x = classifier(), points(8)[0]
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        other = zk.models.load_model(tmp_path / name)
        np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


def test_frozen_layers_do_not_change():
    model = classifier()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(*points(), verbose=0)
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


def test_a_wrong_width_is_refused_with_the_layers_name():
    with pytest.raises(ShapeError, match=r"shape \(None, 2\).*Received.*\(4, 5\)"):
        classifier().predict(np.zeros((4, 5), "f"), verbose=0)
