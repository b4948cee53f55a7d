"""Weights in float64 and float16 are trained, by steps that are traced whole; ranks refuse them."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import UnsupportedError
from zoo_keras.training.own_steps import refuse_beside_float32

pytestmark = pytest.mark.filterwarnings("ignore:.*computed by numpy")
RNG = np.random.default_rng(3)
X, Y = (RNG.standard_normal((12, n)).astype(np.float32).astype(float) for n in (3, 2))
KERNEL = RNG.standard_normal((3, 2))


def model(dtype, optimizer="sgd", **given):
    made = keras.Sequential([keras.Input((3,), dtype=dtype), layers.Dense(2, dtype=dtype, **given)])
    made.compile(optimizer, "mse", metrics=["mae"])
    made.set_weights([KERNEL, np.zeros(2)])
    return made


@pytest.fixture
def wide():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def test_a_step_in_float64_is_exact(wide):
    made = model("float64", keras.optimizers.SGD(0.125))
    made.train_on_batch(X, Y)
    want = KERNEL - 0.125 * X.T @ (X @ KERNEL - Y) / 12  # rows are float32, exactly
    got = made.get_weights()[0]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)


def momentum():
    return keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "optimizer"),
    [
        ("float64", 2e-5, momentum),
        ("float16", 2e-2, momentum),
        ("float64", 2e-5, lambda: keras.optimizers.Adam(0.01, clipnorm=0.5)),
        ("float64", 2e-5, lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True)),
        ("float64", 2e-5, lambda: keras.optimizers.RMSprop(gradient_accumulation_steps=2)),
    ],
)
def test_fit_goes_as_in_float32(dtype, tolerance, optimizer):
    given = {"kernel_regularizer": "l2", "bias_constraint": "non_neg"}
    narrow, other = (model(d, optimizer(), **given) for d in ("float32", dtype))
    arguments = {"epochs": 2, "batch_size": 5, "shuffle": False, "verbose": 0,
                 "sample_weight": np.arange(12.0), "validation_data": (X, Y)}  # fmt: skip
    want, got = (m.fit(X, Y, **arguments).history for m in (narrow, other))
    assert list(got) == list(want)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=tolerance)
    for a, b in zip(other.get_weights(), narrow.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    losses = (m.evaluate(X, Y, verbose=0) for m in (other, narrow))
    np.testing.assert_allclose(*losses, rtol=tolerance)


def test_floatx_float64_trains_a_model_that_is_built_by_data(wide):
    made = keras.Sequential([layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)])
    made.compile("adam", "mse")
    before, weights = made.predict(X, verbose=0), made.get_weights()
    made.fit(X, Y, verbose=0)
    after = made.predict(X, verbose=0)
    assert all((a != b).any() for a, b in zip(weights, made.get_weights(), strict=True))
    assert before.dtype == after.dtype == np.float64
    assert (before != after).any()


def test_one_layer_in_float64_beside_others_is_trained():
    made = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(2, dtype="float64")])
    made.compile("sgd", "mse")
    before = made.get_weights()
    made.train_on_batch(X, Y)
    assert all((a != b).any() for a, b in zip(before, made.get_weights(), strict=True))


def test_saved_training_in_float64_goes_on(tmp_path):
    made = model("float64", "adam")
    made.fit(X, Y, verbose=0)
    made.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for each in (made, loaded):
        each.train_on_batch(X, Y)
    for a, b in zip(made.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ranks_refuse_weights_in_float64_by_name():
    with pytest.raises(UnsupportedError, match=r"dense.*/kernel.*float64.*train on arrays"):
        refuse_beside_float32(model("float64"))
    refuse_beside_float32(model("float32"))
