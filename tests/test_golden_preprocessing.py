"""Preprocessing layers against real Keras: outputs, configurations, and what adapt learns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from golden.cases.preprocessing import ARCHIVE
from golden.store import DATA, Golden

from zoo_keras import layers, models
from zoo_keras.saving import deserialize_keras_object, serialize_keras_object

GOLDEN = Golden("preprocessing")
CASES = [name for name in GOLDEN.cases if name != "archive"]
FILES = DATA / "preprocessing"


def made(case: dict[str, Any]) -> Any:
    kwargs = dict(case["kwargs"])
    if isinstance(kwargs.get("ngrams"), list):
        kwargs["ngrams"] = tuple(kwargs["ngrams"])
    layer = getattr(layers, case["class"])(name="layer", **kwargs)
    if "adapt" in case:
        layer.adapt(np.array(case["adapt"], numpy_dtype(case)))
    return layer


def numpy_dtype(case: dict[str, Any]) -> Any:
    return object if case["dtype"] == "string" else case["dtype"]


def inputs_of(name: str) -> Any:
    case, arrays = GOLDEN.cases[name], GOLDEN.arrays(name)
    if case["dtype"] == "columns":
        kinds = [object if isinstance(np.ravel(v)[0], str) else "int64" for v in case["inputs"]]
        return [np.array(v, k) for v, k in zip(case["inputs"], kinds, strict=True)]
    return arrays["image"] if "image" in arrays else np.array(case["inputs"], numpy_dtype(case))


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_keras(name):
    case, arrays = GOLDEN.cases[name], GOLDEN.arrays(name)
    got = made(case)(inputs_of(name))
    if "texts" in case:
        assert got.reshape(-1).tolist() == case["texts"]
        assert list(got.shape) == case["shape"]
        return
    if arrays["output"].dtype == np.uint8:
        assert got.dtype == np.uint8
        assert np.abs(got.astype(int) - arrays["output"]).max() <= 1  # a half rounds either way
        return
    np.testing.assert_allclose(got, arrays["output"], 2e-6, 2e-4 if "image" in arrays else 1e-6)


@pytest.mark.parametrize("name", [n for n in CASES if "vocabulary" in GOLDEN.cases[n]])
def test_vocabularies_are_keras(name):
    case = GOLDEN.cases[name]
    assert made(case).get_vocabulary() == case["vocabulary"]


@pytest.mark.parametrize("name", CASES)
def test_configurations_are_keras(name):
    case = GOLDEN.cases[name]
    layer = made(case)
    config = json.loads(json.dumps(serialize_keras_object(layer)["config"]))
    wanted = case["config"]
    for key in ("bin_boundaries", "dtype"):
        assert str(config.pop(key, None))[:6] == str(wanted.pop(key, None))[:6]
    assert config == wanted
    again = deserialize_keras_object(serialize_keras_object(layer))
    assert serialize_keras_object(again) == serialize_keras_object(layer)


def test_an_archive_of_keras_brings_its_vocabularies_and_statistics(tmp_path):
    x = [np.array(values, dtype) for values, dtype in ARCHIVE]
    want = GOLDEN.arrays("archive")["output"]
    model = models.load_model(FILES / "model.keras")
    np.testing.assert_allclose(model.predict(x, verbose=0), want, 1e-6, 1e-6)
    model.get_layer("scaled").adapt(np.array([[5.0, 6.0], [7.0, 7.0]]))
    assert not np.allclose(model.predict(x, verbose=0), want)
    model.load_weights(FILES / "model.weights.h5")
    np.testing.assert_allclose(model.predict(x, verbose=0), want, 1e-6, 1e-6)
    model.save(tmp_path / "ours.keras")
    again = models.load_model(tmp_path / "ours.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
