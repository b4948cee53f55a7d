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


def exact():
    """A Dense layer without bias of which the answer is known."""
    made = keras.Sequential(
        [keras.Input((2,), dtype="float64"), layers.Dense(1, use_bias=False, dtype="float64")]
    )
    made.compile("sgd", "mse")
    made.set_weights([np.array([[1.0], [-1.0]])])
    return made


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.parametrize("given", [
    lambda m, x: m.predict(x, verbose=0),
    lambda m, x: m.predict_on_batch(x),
    lambda m, x: m.predict(iter([x]), verbose=0),
    lambda m, x: m.predict(x.tolist(), verbose=0),
    lambda m, x: m(x),
])  # fmt: skip
def test_inputs_of_a_float64_model_keep_their_digits(given, floatx):
    x = np.array([[1.0 + 2.0**-40, 1.0]])  # 1 and 1 in float32
    keras.config.set_floatx(floatx)
    try:
        assert float(given(exact(), x)[0, 0]) == 2.0**-40
    finally:
        keras.config.set_floatx("float32")


def test_targets_and_validation_of_a_float64_model_keep_their_digits(wide):
    made, x, y = exact(), np.array([[1.0, 1.0]]), np.array([[2.0**-40]])
    assert made.evaluate(x, y, verbose=0) == 2.0**-80
    assert made.test_on_batch(x, y) == 2.0**-80
    found = made.fit(x, y, validation_data=(x + [[y.item(), 0.0]], y), verbose=0)
    assert found.history["loss"] == [2.0**-80]
    gradient = -2 * y.item() * x[0]  # of the one step; the rate is 0.01
    kernel = np.array([1.0, -1.0]) - np.float64(np.float32(0.01)) * gradient
    np.testing.assert_allclose(made.get_weights()[0][:, 0], kernel, rtol=0, atol=1e-15)


def test_inputs_of_other_models_are_cut_to_what_the_engine_computes_in():
    made = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    assert made.predict(X[:, :2], verbose=0).dtype == np.float32


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
