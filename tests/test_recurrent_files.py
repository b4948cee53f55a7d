"""Files of Keras 3 and Keras 2 with recurrent layers open here, predict the same and train on."""

from __future__ import annotations

import pytest
import test_golden_files as checks
from golden.cases.recurrent_models import MODELS
from golden.store import Golden

FILES = Golden("recurrent_files")
KERAS2 = Golden("recurrent_keras2")
WHOLE = [f"{name}{suffix}" for name in FILES.cases for suffix in (".h5", ".keras")]


@pytest.fixture(autouse=True)
def golden_files(monkeypatch):
    """The checks of the other golden files read the cases of this file."""
    monkeypatch.setattr(checks, "KERAS3", FILES)
    monkeypatch.setattr(checks, "KERAS2", KERAS2)
    monkeypatch.setattr(checks, "MODELS", MODELS)


@pytest.mark.parametrize("file", WHOLE)
def test_whole_model_of_keras_opens_and_trains_on(file):
    checks.test_whole_model_of_keras_3_predicts_the_same(file)
    checks.test_whole_model_of_keras_3_trains_on(file)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_of_keras_load_into_the_same_model(name, suffix):
    checks.test_weights_of_keras_3_load_into_the_same_model(name, suffix)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_is_saved_here_opens_here(name, suffix, tmp_path):
    checks.test_what_is_saved_here_opens_here(name, suffix, tmp_path)


@pytest.mark.parametrize("name", KERAS2.cases)
def test_model_and_weights_of_keras_2_open(name):
    checks.test_whole_model_of_keras_2_predicts_the_same(name)
    checks.test_weights_of_keras_2_load_into_the_same_model(name)
    checks.test_whole_model_of_keras_2_trains_on(name)
