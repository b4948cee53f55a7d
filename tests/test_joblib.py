"""joblib, as scikit-learn uses it: models in files, and in calls by threads and by processes."""

from __future__ import annotations

import joblib
import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype("float32"), RNG.normal(size=(40, 2)).astype("float32")


def compiled() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.BatchNormalization()(layers.Dense(8, activation="relu", name="first")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def trained() -> keras.Model:
    model = compiled()
    model.fit(X, Y, batch_size=10, epochs=2, verbose=0)
    return model


@pytest.fixture(params=["compiled", "trained", "loaded"])
def model(request, tmp_path):
    made = compiled() if request.param == "compiled" else trained()
    if request.param == "loaded":
        made.save(tmp_path / "model.keras")
        made = keras.models.load_model(tmp_path / "model.keras")
    made.predict(X, verbose=0)  # programs are there, and must not travel
    return made


def predictions(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    return model.predict(rows, verbose=0)


def after_training(model: keras.Model) -> list[np.ndarray]:
    model.fit(X, Y, batch_size=10, epochs=1, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("compress", [0, 3])
def test_a_dumped_model_predicts_and_trains_on_as_the_original(model, compress, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib", compress=compress)
    made = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(predictions(made, X), predictions(model, X))
    for mine, other in zip(after_training(made), after_training(model), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_calls_of_one_model_give_what_it_gives_alone(model, backend):
    parts = np.split(X, 4)
    with joblib.Parallel(n_jobs=2, backend=backend) as parallel:
        found = parallel(joblib.delayed(predictions)(model, part) for part in parts)
    np.testing.assert_array_equal(np.concatenate(found), predictions(model, X))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_models_trained_in_parallel_get_the_weights_they_get_alone(model, backend, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    copies = [joblib.load(tmp_path / "model.joblib") for _ in range(2)]
    want = after_training(model)
    with joblib.Parallel(n_jobs=2, backend=backend) as parallel:
        found = parallel(joblib.delayed(after_training)(copy) for copy in copies)
    for weights in found:
        for mine, other in zip(weights, want, strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.fixture(scope="module", autouse=True)
def no_workers_left():
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
