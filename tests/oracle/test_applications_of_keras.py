"""Weights that real Keras saved of its image models load here: in order, by name, and as
.weights.h5."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from golden.cases.applications import CASES, FAMILIES, seeded_weights

import zoo_keras as zk
from zoo_keras import applications

SCRIPT = Path(__file__).with_name("write_applications.py")


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_of_keras_load_in_every_way(name, tmp_path):
    command = [os.environ["KERAS_PYTHON"], str(SCRIPT), str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    case = CASES[name]
    make = getattr(applications, case.application)
    loaded = [make(**{**case.kwargs, "weights": str(tmp_path / f"{name}{suffix}")})
              for suffix in (".h5", ".weights.h5")]  # fmt: skip
    zk.utils.clear_session()  # names of layers begin anew, as in the file
    by_name = make(**case.kwargs)
    by_name.load_weights(tmp_path / f"{name}.h5", by_name=True)
    whole = zk.saving.load_model(tmp_path / f"{name}.h5", compile=False)
    for model in (*loaded, by_name, whole):
        wanted = seeded_weights(name, model.weights)
        for weight, want in zip(model.weights, wanted, strict=True):
            np.testing.assert_array_equal(weight.numpy(), want, err_msg=weight.path)
