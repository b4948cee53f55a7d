"""Real Keras trains on from files written here: every optimizer's state, and mixed precision."""

from __future__ import annotations

import numpy as np
import pytest
from golden.cases.zoo import OPTIMIZERS
from golden.compare import OUTPUT, STEP, assert_all_close
from keras_process import as_list, found_series, run_keras

import zoo_keras as zk

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(6, 2)).astype("float32")
MORE = [
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    ("Adafactor", {"learning_rate": 0.01}),
    ("Adam", {"learning_rate": 0.01, "global_clipnorm": 0.5, "use_ema": True}),
    ("Adam", {"learning_rate": 0.01, "weight_decay": 0.1, "clipvalue": 0.02}),
]
CASES = [(name, config, "float32") for name, config in [*OPTIMIZERS, *MORE]]
CASES += [("Adam", {"learning_rate": 0.01}, "mixed_bfloat16")]
ROUNDED = {"bfloat16": 2e-2}
FILES = [f"{i}_{name}_{dtype}.keras" for i, (name, _, dtype) in enumerate(CASES)]


def trained(name, config, dtype):
    zk.utils.set_random_seed(1)
    layers = zk.layers
    model = zk.Sequential([
        zk.Input((4,)), layers.Dense(5, activation="tanh", dtype=dtype),
        layers.BatchNormalization(dtype=dtype), layers.Dense(2, dtype=dtype)])  # fmt: skip
    model.compile(getattr(zk.optimizers, name)(**config), "mse")
    for _ in range(2):
        model.train_on_batch(X, Y)
    return model


@pytest.fixture(scope="module")
def expected_and_found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimizers")
    jobs, expected = [], {}
    for file, case in zip(FILES, CASES, strict=True):
        model = trained(*case)
        model.save(folder / file)
        jobs.append({"file": str(folder / file), "inputs": ["x"], "targets": ["y"], "train": True})
        expected[file] = {"predicted": as_list(model.predict_on_batch(X))}
        model.train_on_batch(X, Y)
        expected[file]["continued"] = model.get_weights()
    return expected, run_keras(folder, jobs, {"x": X, "y": Y})


@pytest.mark.parametrize("file", FILES)
def test_keras_predicts_and_trains_on(expected_and_found, file):
    expected, found = expected_and_found
    rounding = next((v for k, v in ROUNDED.items() if k in file), 0.0)
    for what, tolerance in (("predicted", OUTPUT), ("continued", STEP)):
        want = [np.asarray(v, np.float64) for v in expected[file][what]]
        got = [np.asarray(v, np.float64) for v in found_series(found, file, what)]
        assert_all_close(got, want, max(tolerance, rounding), range(len(want)))
