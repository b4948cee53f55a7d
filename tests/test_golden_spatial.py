"""Convolution, pooling, padding, cropping and upsampling layers against real Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import test_golden_files as file_checks
import test_golden_layers as checks
from golden.cases.spatial_models import MODELS
from golden.store import Golden

GOLDEN = Golden("spatial")
FILES = Golden("spatial_files")
KERAS2 = Golden("spatial_keras2")
WHOLE = [f"{name}{suffix}" for name in FILES.cases for suffix in (".h5", ".keras")]
CASES = list(GOLDEN.cases)
ADDING_LOSS = [n for n in CASES if "added_loss" in GOLDEN.cases[n]]
CHECKS = [
    checks.test_configuration_is_keras,
    checks.test_configuration_of_keras_makes_the_same_layer,
    checks.test_weights_have_the_names_shapes_and_order_of_keras,
    checks.test_shapes_and_parameter_count,
    checks.test_shapes_with_a_free_batch_size,
    checks.test_outputs_on_arrays,
    checks.test_outputs_in_a_model,
    checks.test_gradients,
]


@pytest.fixture(autouse=True)
def golden_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of the other golden layers read the cases of this file."""
    monkeypatch.setattr(checks, "GOLDEN", GOLDEN)
    monkeypatch.setattr(checks, "COMPUTING", CASES)
    monkeypatch.setattr(file_checks, "KERAS3", FILES)
    monkeypatch.setattr(file_checks, "KERAS2", KERAS2)
    monkeypatch.setattr(file_checks, "MODELS", MODELS)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("test_"))
def test_layer_is_keras(check: Callable[[str], None], name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ADDING_LOSS)
def test_regularizers_add_to_the_loss(name: str) -> None:
    checks.test_regularizers_add_to_the_loss(name)


@pytest.mark.parametrize("file", WHOLE)
def test_whole_model_of_keras_opens_and_trains_on(file: str) -> None:
    file_checks.test_whole_model_of_keras_3_predicts_the_same(file)
    file_checks.test_whole_model_of_keras_3_trains_on(file)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_of_keras_load(name: str, suffix: str) -> None:
    file_checks.test_weights_of_keras_3_load_into_the_same_model(name, suffix)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_is_saved_here_opens_here(name: str, suffix: str, tmp_path: Path) -> None:
    file_checks.test_what_is_saved_here_opens_here(name, suffix, tmp_path)


@pytest.mark.parametrize("name", KERAS2.cases)
def test_whole_model_of_keras_2_opens_and_trains_on(name: str) -> None:
    file_checks.test_whole_model_of_keras_2_predicts_the_same(name)
    file_checks.test_whole_model_of_keras_2_trains_on(name)
