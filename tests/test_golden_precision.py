"""Files in half precision or with low-rank adapters score as the Keras that wrote them did."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from golden.store import DATA, Golden

import zoo_keras as zk
from zoo_keras.errors import UnsupportedError

AREA = Golden("precision")
FILES = [(name, file) for name in AREA.cases for file in AREA.cases[name]["files"]]
# How far the writing Keras was from the exact result itself.
AS_THEY_ARE = ("adapters", "bfloat16")
ROUNDING = {"mixed_float16": 2e-3, "float16": 5e-3, "bfloat16": 3e-2, "adapters": 1e-6}


def warned(name):
    """What is computed in float32 is said so; adapters and bfloat16 are as they were."""
    if name in AS_THEY_ARE:
        return warnings.catch_warnings(record=True)
    return pytest.warns(UserWarning, match="computed in float32")


@pytest.mark.parametrize("name,file", FILES)
def test_a_file_scores_as_where_it_was_written(name, file):
    arrays = AREA.arrays(name)
    with warned(name) as said:
        model = zk.saving.load_model(DATA / "precision" / file)
    words = [w for w in said if "adam" not in str(w.message)]
    assert len(words) == (0 if name in AS_THEY_ARE else 1)
    found = model.predict_on_batch(arrays["x"])
    np.testing.assert_allclose(found, arrays["predicted"], atol=ROUNDING[name])
    dtype = "bfloat16" if name == "bfloat16" else "float32"
    assert found.dtype == "float32" and {v.dtype for v in model.weights} == {dtype}


@pytest.mark.parametrize("name,file", FILES)
def test_its_weights_load_into_a_model_of_ours_and_train(name, file, tmp_path):
    arrays = AREA.arrays(name)
    with warned(name):
        model = zk.saving.load_model(DATA / "precision" / file, compile=False)
    again = zk.models.clone_model(model)
    again.load_weights(DATA / "precision" / file)
    np.testing.assert_array_equal(
        again.predict_on_batch(arrays["x"]), model.predict_on_batch(arrays["x"])
    )
    model.compile("adam", "mse")
    losses = model.fit(arrays["x"], arrays["predicted"] * 0, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / file)
    zk.saving.load_model(tmp_path / file)  # and says no more


def test_a_policy_of_ones_own_is_still_refused():
    with pytest.raises(UnsupportedError, match="range of float32"):
        zk.layers.Dense(3, dtype="mixed_float16")


def test_int8_over_half_precision_is_int8_over_float32():
    text = zk.Sequential([zk.Input((4,)), zk.layers.Dense(2)]).to_json()
    given = text.replace(
        '{"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, '
        '"registered_name": null}', '"int8_from_mixed_float16"',
    )  # fmt: skip
    with pytest.warns(UserWarning, match="mixed_float16"):
        model = zk.models.model_from_json(given)
    assert model.layers[0].dtype_policy.name == "int8_from_float32"
