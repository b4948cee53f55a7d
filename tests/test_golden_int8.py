"""Quantisation as real Keras does it: the same int8 weights, the same predictions, its files."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from golden.cases.int8 import MODELS
from golden.compare import OUTPUT, assert_all_close, assert_close, differences
from golden.store import DATA, Golden, series

import zoo_keras as zk

KERAS = Golden("int8")
every_model = pytest.mark.parametrize("name", KERAS.cases)
FILES = [f"{name}{suffix}" for name in KERAS.cases for suffix in (".h5", ".keras")]


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def quantised(name):
    """The model built and quantised here, from Keras' float weights."""
    spec = MODELS[name]
    model = spec.build(zk)
    model.set_weights(series(KERAS.arrays(name), "float"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layers that have no int8 form
        model.quantize(**spec.arguments(zk))
    return model


def assert_predicts(model, arrays):
    assert_close(model.predict_on_batch(joined(series(arrays, "x"))), arrays["predicted0"], OUTPUT)


@every_model
def test_weights_are_rounded_as_in_keras(name):
    model = quantised(name)
    rows = [[w.path, list(w.shape), w.dtype, w.trainable] for w in model.weights]
    assert rows == KERAS.cases[name]["weights"]
    for got, want in zip(model.get_weights(), series(KERAS.arrays(name), "weight"), strict=True):
        if want.dtype == np.int8:
            assert np.array_equal(got, want)
        else:
            assert_close(got, want, 1e-6)


@every_model
def test_a_model_quantised_here_predicts_as_in_keras(name):
    assert_predicts(quantised(name), KERAS.arrays(name))


@every_model
def test_configurations_are_those_of_keras(name):
    layers = json.loads(quantised(name).to_json())["config"]["layers"]
    found = {
        layer["config"]["name"]: {
            k: layer["config"].get(k) for k in ("dtype", "quantization_config")
        }
        for layer in layers
    }
    assert not differences(found, KERAS.cases[name]["config"])


@pytest.mark.parametrize("file", FILES)
def test_files_of_keras_open_and_predict_the_same(file):
    arrays = KERAS.arrays(file.partition(".")[0])
    model = zk.saving.load_model(DATA / "int8" / file)
    want = series(arrays, "weight")
    assert_all_close(model.get_weights(), want, 0.0, [w.path for w in model.weights])
    assert_predicts(model, arrays)


@every_model
def test_weights_of_keras_load_into_a_model_quantised_here(name):
    model = quantised(name)
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(DATA / "int8" / f"{name}.weights.h5")
    assert_predicts(model, KERAS.arrays(name))


@every_model
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_is_saved_here_opens_here(name, suffix, tmp_path):
    zk.saving.load_model(DATA / "int8" / f"{name}.keras").save(tmp_path / f"again{suffix}")
    assert_predicts(zk.saving.load_model(tmp_path / f"again{suffix}"), KERAS.arrays(name))
