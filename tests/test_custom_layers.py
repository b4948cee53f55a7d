"""Layers, models and losses of users, written in zoo_keras.ops: they train and travel like ours."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import Sequential, layers, metrics, ops

RNG = np.random.default_rng(3)
X = RNG.normal(size=(8, 4)).astype(np.float32)
Y = RNG.normal(size=(8, 1)).astype(np.float32)


@zk.saving.register_keras_serializable("tests")
class Gated(layers.Layer):
    """x @ kernel * sigmoid(gate), with a counter of training steps."""

    def __init__(self, units, penalty=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.penalty = units, penalty

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="kernel"
        )
        self.gate = self.add_weight(shape=(self.units,), initializer="zeros", name="gate")
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")

    def call(self, x, training=False):
        if training:
            self.steps.assign_add(1.0)
        if self.penalty:
            self.add_loss(self.penalty * ops.sum(ops.square(self.gate - 1.0)))
        return ops.matmul(x, self.kernel) * ops.sigmoid(self.gate)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "penalty": self.penalty}


class Residual(layers.Layer):
    """Sublayers made in build, called in call."""

    def build(self, input_shape):
        self.inner = layers.Dense(input_shape[-1], activation="tanh")
        self.norm = layers.BatchNormalization()

    def call(self, x, training=None):
        return x + self.norm(self.inner(x), training=training)


def by_hand(kernel, gate):
    return X @ kernel / (1 + np.exp(-gate))


def test_a_custom_layer_computes_what_numpy_does():
    layer = Gated(3)
    y = layer(X)
    np.testing.assert_allclose(y, by_hand(layer.kernel.numpy(), layer.gate.numpy()), rtol=1e-5)


def test_a_custom_layer_trains_by_the_gradient_of_its_ops():
    model = zk.Sequential([zk.Input((4,)), Gated(1)])
    model.compile(zk.optimizers.SGD(0.1), "mse")
    kernel, gate, _ = model.get_weights()
    half = X @ kernel / 2
    slope = 2 * (half - Y) / Y.size
    model.train_on_batch(X, Y)
    after = model.get_weights()
    np.testing.assert_allclose(after[0], kernel - 0.1 * X.T @ (slope / 2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after[1], gate - 0.1 * (slope * half / 2).sum(0), rtol=1e-4)


def test_assignments_in_call_happen_once_per_training_step():
    model = zk.Sequential([zk.Input((4,)), Gated(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=2, epochs=3, verbose=0)
    assert float(model.layers[0].steps) == 12
    model.predict(X, verbose=0)
    assert float(model.layers[0].steps) == 12


def test_losses_added_in_call_join_the_training_loss():
    model = zk.Sequential([zk.Input((4,)), Gated(2, penalty=0.5)])
    model.compile("sgd", "mse")
    targets = model.predict(X, verbose=0)
    assert model.test_on_batch(X, targets) == pytest.approx(1.0, rel=1e-5)


def test_sublayers_made_in_build_train_and_update_their_statistics():
    model = zk.Sequential([zk.Input((4,)), Residual(), layers.Dense(1)])
    assert len(model.trainable_weights) == 6
    assert len(model.non_trainable_weights) == 2
    model.compile("adam", "mse")
    before = model.get_weights()
    model.train_on_batch(X, Y)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed)


def test_a_registered_layer_travels_in_a_configuration():
    model = zk.Sequential([zk.Input((4,)), Gated(2, penalty=0.1, name="gated")])
    again = zk.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(X), model(X))
    assert again.layers[0].penalty == 0.1


def test_an_unregistered_layer_needs_custom_objects():
    text = zk.Sequential([zk.Input((4,)), Residual(name="r")]).to_json()
    with pytest.raises(zk.errors.ConfigError, match="Residual"):
        zk.models.model_from_json(text)
    again = zk.models.model_from_json(text, custom_objects={"Residual": Residual})
    assert len(again.weights) == 6


class Pair(zk.Model):
    """A subclassed model with two inputs by name and a list of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.towers = [layers.Dense(3, activation="relu") for _ in range(2)]
        self.drop = layers.Dropout(0.5, seed=1)
        self.end = layers.Dense(1)

    def call(self, inputs, training=False):
        parts = [tower(inputs[k]) for tower, k in zip(self.towers, ("a", "b"), strict=True)]
        return self.end(self.drop(ops.concatenate(parts, axis=-1), training=training))


def test_a_subclassed_model_trains_on_a_dict_of_arrays():
    model = Pair()
    model.compile(zk.optimizers.Adam(0.05), "mse")
    x = {"a": X, "b": 2 * X}
    history = model.fit(x, Y, batch_size=8, epochs=30, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert len(model.weights) == 6
    assert model.predict(x, verbose=0).shape == (8, 1)


def test_functions_of_users_serve_as_loss_metric_and_activation():
    def clipped(y_true, y_pred):
        return ops.mean(ops.minimum(ops.abs(y_true - y_pred), 1.0), axis=-1)

    model = zk.Sequential([zk.Input((4,)), layers.Dense(1, activation=lambda x: ops.tanh(x) * 2.0)])
    model.compile("sgd", clipped, metrics=[clipped])
    logs = model.test_on_batch(X, Y, return_dict=True)
    kernel, bias = model.get_weights()
    expected = np.minimum(np.abs(Y - 2 * np.tanh(X @ kernel + bias)), 1).mean()
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["clipped"] == pytest.approx(expected, rel=1e-4)


def test_python_branches_on_tensors_are_refused_with_advice():
    class Branching(layers.Layer):
        def call(self, x):
            return x if ops.sum(x) > 0 else -x

    with pytest.raises(TypeError, match=r"ops\.where"):
        Branching()(X)


def test_numpy_on_tensors_is_refused_with_advice():
    class Numpy(layers.Layer):
        def call(self, x):
            return np.tanh(x)

    with pytest.raises(TypeError, match=r"zoo_keras\.ops"):
        Numpy()(X)


def test_an_error_in_a_custom_layer_names_it():
    class Wrong(layers.Layer):
        def call(self, x):
            return ops.matmul(x, np.ones((9, 2), np.float32))

    with pytest.raises(zk.errors.ShapeError, match='layer "mine"'):
        Wrong(name="mine")(X)


class Calls(layers.Layer):
    """The identity, which counts its calls and averages what it sees."""

    def __init__(self, dtype):
        super().__init__()
        self.count = self.add_weight((), "zeros", dtype, trainable=False)
        self.seen = metrics.Mean(name="seen")

    def call(self, x):
        self.count.assign_add(1)
        self.seen.update_state(x)
        return x + ops.cast(self.count, "float32")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_what_a_layer_assigns_lasts_from_every_kind_of_call(dtype):
    layer = Calls(dtype)
    model = Sequential([layers.Input((3,)), layer])
    model.compile("sgd", "mse")
    x, found = np.zeros((10, 3), np.float32), []
    rows = model.predict(x, batch_size=5, verbose=0)[:, 0]
    for call in (lambda: model.evaluate(x, x, batch_size=5, verbose=0),
                 lambda: model.predict_on_batch(x[:5]), lambda: model.predict_on_batch(x[:5]),
                 lambda: model.predict(np.zeros((4000, 3), np.float32), 4000, verbose=0),
                 lambda: model(x)):  # fmt: skip
        call()
        found.append(int(layer.count.numpy()))
    assert rows.tolist() == [1] * 5 + [2] * 5
    assert found == [4, 5, 6, 7, 8]


class Last(layers.Layer):
    """The identity, which keeps the last batch."""

    def __init__(self, shape):
        super().__init__()
        self.kept = self.add_weight(shape, "zeros", trainable=False)

    def call(self, x):
        self.kept.assign(x)
        return x * 1.0


def test_a_batch_is_not_cut_where_a_layer_keeps_all_its_rows(monkeypatch):
    monkeypatch.setattr("zoo_keras.passes.split.CACHE_BYTES", 1 << 16)
    last = Last((16, 32, 32, 4))
    first = layers.Conv2D(4, 1)
    model = Sequential([layers.Input(batch_shape=(16, 32, 32, 4)), first, last])
    outputs = model.predict(RNG.random((16, 32, 32, 4), np.float32), 16, verbose=0)
    np.testing.assert_array_equal(last.kept.numpy(), outputs)
