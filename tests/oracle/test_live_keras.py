"""Live models go from real Keras and tf-keras to zoo_keras and back, and train on the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def distances():
    """Name of a pair of models -> how far apart before and after a step."""
    found = subprocess.run(
        [os.environ["KERAS_PYTHON"], str(HERE / "live_models.py")],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    rows = (line.split() for line in found.stdout.splitlines())
    return {name: [float(a), float(b)] for name, a, b in rows}


@pytest.mark.parametrize("name", ["from_keras", "from_tf_keras", "to_keras"])
def test_both_predict_and_train_on_the_same(distances, name):
    assert max(distances[name]) < 1e-4
