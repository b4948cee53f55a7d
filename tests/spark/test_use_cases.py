"""The programs of examples/spark, small: each reaches more than chance would by far."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytestmark = pytest.mark.spark
FOLDER = Path(__file__).resolve().parent.parent.parent / "examples" / "spark"

# name -> arguments, and the least of each result
REACHED = {
    "anomaly_detection": ({"hours": 200, "epochs": 3}, {"found": 0.7}),
    "fraud_detection": ({"rows": 3000, "epochs": 5}, {"auc": 0.8, "caught_weighted": 0.5}),
    "image_augmentation": ({"epochs": 25}, {"augmented": 0.6}),
    "image_similarity": ({"epochs": 3, "asked": 20}, {"same_digit": 0.8}),
    "object_detection": ({"epochs": 28}, {"map": 0.4}),
    "recommendation": (
        {"rows": 3000, "epochs": 5},
        {"neural_cf": 0.65, "wide_and_deep": 0.7, "next_in_first_three": 0.6},
    ),
    "seq2seq": ({"rows": 2000, "epochs": 8, "asked": 20}, {"letters_right": 0.8}),
    "text_classification": (
        {"rows": 500, "epochs": 14},
        {"convolution": 0.8, "lstm": 0.7, "transformer": 0.7},
    ),
    "variational_autoencoder": ({"epochs": 15}, {"neighbour_is_same": 0.35}),
}


def program(name: str):
    spec = importlib.util.spec_from_file_location(f"use_case_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_use_case_is_tried_and_short():
    files = {path.stem: path for path in FOLDER.glob("*.py")}
    assert set(files) == set(REACHED)
    assert all(len(path.read_text().splitlines()) <= 120 for path in files.values())


@pytest.mark.parametrize("name", REACHED)
def test_a_use_case_reaches_its_result(name, local2, sessions):
    arguments, least = REACHED[name]
    found = program(name).main(sessions.get("local[2]"), **arguments)
    assert all(found[key] >= value for key, value in least.items()), found
