"""SpectralNormalization, Pipeline, ReversibleEmbedding, ConvLSTM: what golden cases don't reach."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras.errors import ConfigError, ShapeError


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


@pytest.mark.parametrize("tied", [True, False])
def test_a_reversible_embedding_projects_back(tied):
    layer = zk.layers.ReversibleEmbedding(9, 4, tie_weights=tied, logit_soft_cap=2.0)
    x = rows(2, 5, 4)
    assert layer(np.array([[1, 8]])).shape == (1, 2, 4)
    kernel = layer.weights[0].numpy().T if tied else layer.weights[1].numpy()
    np.testing.assert_allclose(layer(x, reverse=True), 2 * np.tanh(x @ kernel / 2), 1e-5, 1e-6)


def divided(kernel, u, times):
    flat = kernel.reshape(-1, kernel.shape[-1])
    for _ in range(times):
        v = u @ flat.T
        v /= np.linalg.norm(v)
        u = v @ flat
        u /= np.linalg.norm(u)
    return kernel / (v @ flat @ u.T), u


@pytest.mark.parametrize(
    ("inner", "shape", "times"),
    [(zk.layers.Dense(3), (4, 5), 1), (zk.layers.Conv2D(3, 2), (2, 4, 4, 2), 3)],
)
def test_a_spectral_norm_is_divided_in_training_and_kept(inner, shape, times):
    layer = zk.layers.SpectralNormalization(inner, power_iterations=times)
    layer.build(shape)
    kernel, u = inner.kernel.numpy(), layer.vector_u.numpy()
    x = rows(*shape)
    before = layer(x)
    np.testing.assert_array_equal(inner.kernel.numpy(), kernel)
    made = layer(x, training=True)
    kernel, u = divided(kernel, u, times)
    np.testing.assert_allclose(inner.kernel.numpy(), kernel, 1e-5, 1e-6)
    np.testing.assert_allclose(layer.vector_u.numpy(), u, 1e-5, 1e-6)
    np.testing.assert_allclose(made, layer(x), 1e-5, 1e-6)
    assert not np.allclose(before, made)


def test_a_step_starts_at_the_divided_kernel():
    inner = zk.layers.Dense(3, use_bias=False)
    model = zk.Sequential([zk.Input((5,)), zk.layers.SpectralNormalization(inner)])
    model.compile(zk.optimizers.SGD(0.1), "mse")
    x, y = rows(4, 5), rows(4, 3, seed=1)
    kernel, _ = divided(inner.kernel.numpy(), model.layers[0].vector_u.numpy(), 1)
    model.train_on_batch(x, y)
    gradient = x.T @ (x @ kernel - y) * 2 / y.size
    np.testing.assert_allclose(inner.kernel.numpy(), kernel - 0.1 * gradient, 1e-4, 1e-6)


def test_a_layer_without_a_kernel_has_no_spectral_norm():
    with pytest.raises(ConfigError, match="kernel or embeddings"):
        zk.layers.SpectralNormalization(zk.layers.ReLU())(rows(2, 3))


def test_a_pipeline_runs_layers_in_order_and_round_trips():
    layer = zk.layers.Pipeline([zk.layers.Rescaling(2.0), zk.layers.Dropout(0.5)])
    x = rows(2, 3)
    np.testing.assert_array_equal(layer(x, training=False), 2 * x)
    assert (layer(x) != 2 * x).any()  # a pipeline trains unless it is told not to
    again = zk.layers.deserialize(zk.layers.serialize(layer))
    assert [type(each).__name__ for each in again.layers] == ["Rescaling", "Dropout"]
    model = zk.Sequential([zk.Input((3,)), layer])
    np.testing.assert_array_equal(model.predict(x, verbose=0), 2 * x)


def test_crossed_columns_need_one_shape():
    layer = zk.layers.HashedCrossing(5)
    with pytest.raises(ShapeError, match="two or more columns"):
        layer([np.array([1, 2])])
    with pytest.raises(ShapeError, match="two or more columns"):
        layer([np.array([1, 2]), np.array([[1], [2]])])


def test_a_recurrent_convolution_trains_with_masks_dropout_and_states():
    layer = zk.layers.ConvLSTM2D(3, 2, dropout=0.5, recurrent_dropout=0.5, return_state=True)
    x = rows(4, 3, 5, 5, 2)
    out, h, c = layer(x, training=True, mask=np.array([[True, True, False]] * 4))
    assert out.shape == h.shape == c.shape == (4, 4, 4, 3)
    plain = layer(x)
    np.testing.assert_array_equal(layer(x[:, :2])[1], layer(x, mask=np.arange(3) < [[2]] * 4)[1])
    assert not np.allclose(plain[0], out)
    model = zk.Sequential([zk.Input((3, 5, 5, 2)), zk.layers.ConvLSTM2D(3, 2, dropout=0.1)])
    model.compile("adam", "mse")
    losses = [model.train_on_batch(x, np.ones((4, 4, 4, 3), "f4")) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_a_stateful_recurrent_convolution_goes_on():
    layer = zk.layers.ConvLSTM1D(2, 2, stateful=True)
    x = rows(2, 4, 6, 3)
    whole = zk.layers.ConvLSTM1D.from_config({**layer.get_config(), "stateful": False})
    layer(x[:, :2])
    whole.build(x.shape)
    whole.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x[:, 2:]), whole(x), 1e-5, 1e-6)


def test_what_runs_a_functional_model_decides_whether_it_trains():
    x = zk.Input((8, 8, 3))
    y = zk.layers.RandomErasing(seed=1)(x, training=True)  # files of Keras say so for such layers
    model = zk.Model(x, zk.layers.Dropout(0.5)(y, training=True))
    given = rows(2, 8, 8, 3)
    np.testing.assert_array_equal(model.predict(given, verbose=0), given)
    assert (model(given) != given).any()
