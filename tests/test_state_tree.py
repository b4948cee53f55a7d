"""get_state_tree and set_state_tree: Variables by their paths."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, ShapeError

X = np.linspace(-1, 1, 12, dtype="f4").reshape(4, 3)


def net():
    x = layers.Input((3,))
    model = zk.Model(x, layers.Dense(1, name="out")(layers.BatchNormalization(name="bn")(x)))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def test_a_state_tree_holds_all_variables_by_their_paths():
    model = net()
    model.fit(X, X[:, :1], verbose=0)
    tree = model.get_state_tree("numpy_array")
    np.testing.assert_array_equal(
        tree["trainable_variables"]["out"]["kernel"], model.get_layer("out").kernel
    )
    assert set(tree["non_trainable_variables"]["bn"]) == {"moving_mean", "moving_variance"}
    assert tree["optimizer_variables"][model.optimizer.name]["iteration"] == 1
    assert set(tree["metrics_variables"]["loss"]) == {"total", "count"}
    assert len(model.metrics_variables) == 4


def test_another_model_goes_on_from_a_state_tree():
    first, second = net(), net()
    first.fit(X, X[:, :1], verbose=0)
    second.train_on_batch(X, X[:, :1])
    tree = first.get_state_tree("numpy_array")
    second.set_state_tree({k: tree[k] for k in ("trainable_variables", "non_trainable_variables")})
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


def test_paths_are_found_once_and_known():
    model = zk.Sequential([layers.Input((3,)), layers.Dense(3, name="a")])
    model.compile("sgd", "mse")
    before = model.get_weights()[1].copy()
    wrong = {"trainable_variables": {"a": {"bias": np.ones(3)}, "b": {"bias": np.ones(3)}}}
    with pytest.raises(ConfigError, match="no such variables"):
        model.set_state_tree(wrong)
    np.testing.assert_array_equal(model.get_weights()[1], before)
    with pytest.raises(ConfigError, match="unknown groups"):
        model.set_state_tree({"weights": {}})
    with pytest.raises(ConfigError, match="value_format"):
        model.get_state_tree("torch")


def test_two_variables_of_one_path_are_refused():
    class Twice(zk.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(3, name="same"), layers.Dense(3, name="same")

        def call(self, x):
            return self.second(self.first(x))

    model = Twice()
    model(X)
    with pytest.raises(ConfigError, match="found twice"):
        model.get_state_tree()


def test_a_value_of_another_shape_changes_nothing():
    model = net()
    before = model.get_weights()
    wrong = {"trainable_variables": {"out": {"kernel": np.ones((3, 1)), "bias": np.ones(3)}}}
    with pytest.raises(ShapeError, match=r"out/bias has shape \(1,\)"):
        model.set_state_tree(wrong)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
