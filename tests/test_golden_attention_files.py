"""A small transformer in files of real Keras 3 opens here, and again after it was saved here."""

from __future__ import annotations

import numpy as np
import pytest
from golden.compare import OUTPUT, assert_close
from golden.store import DATA, Golden

import zoo_keras as zk

GOLDEN = Golden("attention")
FILES = DATA / "attention"


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_files_of_keras_are_read_and_written_again(name, tmp_path):
    arrays = GOLDEN.arrays("file")
    model = zk.saving.load_model(FILES / name)
    outputs = model.predict(arrays["inputs"], verbose=0)
    assert_close(outputs, arrays["outputs"], OUTPUT)
    model.save(tmp_path / name)
    again = zk.saving.load_model(tmp_path / name)
    np.testing.assert_array_equal(again.predict(arrays["inputs"], verbose=0), outputs)


def test_weights_of_keras_are_read_into_the_same_architecture():
    arrays = GOLDEN.arrays("file")
    model = zk.saving.load_model(FILES / "model.keras")
    for weight in model.weights:
        weight.assign(np.zeros_like(weight))
    model.load_weights(FILES / "model.weights.h5")
    assert_close(model.predict(arrays["inputs"], verbose=0), arrays["outputs"], OUTPUT)
