"""Files written by zoo_keras open in real Keras 3, predict the same and train on the same.

Needs a Python with keras and tensorflow, named by the environment variable KERAS_PYTHON (see
conftest.py). The files are written in this process and opened in that one.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from golden.cases.models import MODELS, compile_arguments
from golden.compare import OUTPUT, STEP, assert_all_close
from golden.store import Golden, series

import zoo_keras as zk

GOLDEN = Golden("files")
NAMES = list(GOLDEN.cases)
# Keras cannot read the loss "mse" back from a legacy .h5, not even from its own.
H5_CASES = [n for n in NAMES if MODELS[n].compile["loss"] != "mse"]
FILES = (
    [f"{n}.keras" for n in NAMES]
    + [f"{n}.h5" for n in H5_CASES]
    + [f"{n}.weights.h5" for n in NAMES]
)
SCRIPT = Path(__file__).with_name("open_in_keras.py")


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def trained(name):
    """The model of the golden files after the same first step, trained here."""
    arrays = GOLDEN.arrays(name)
    model = MODELS[name].build(zk)
    model.set_weights(series(arrays, "weight"))
    model.compile(**compile_arguments(zk, MODELS[name]))
    model.train_on_batch(joined(series(arrays, "x")), joined(series(arrays, "y")))
    return model, arrays


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


@pytest.fixture(scope="module")
def expected_and_found(tmp_path_factory):
    """Every file written here, its values here, and the values real Keras gets from it."""
    folder = tmp_path_factory.mktemp("ours")
    jobs, stored, expected = [], {}, {}
    for name in NAMES:
        model, arrays = trained(name)
        x, y = series(arrays, "x"), series(arrays, "y")
        stored |= {f"{name}.x{i}": v for i, v in enumerate(x)}
        stored |= {f"{name}.y{i}": v for i, v in enumerate(y)}
        files = [f for f in FILES if f.startswith(f"{name}.")]
        for file in files:
            is_weights = file.endswith(".weights.h5")
            (model.save_weights if is_weights else model.save)(folder / file)
            job = {"file": str(folder / file), "train": file.endswith(".keras")}
            job["inputs"] = [f"{name}.x{i}" for i in range(len(x))]
            job["targets"] = [f"{name}.y{i}" for i in range(len(y))]
            jobs.append(job | ({"weights_of": str(folder / f"{name}.keras")} if is_weights else {}))
        expected[name] = {"predicted": as_list(model.predict_on_batch(joined(x)))}
        model.train_on_batch(joined(x), joined(y))
        expected[name]["continued"] = model.get_weights()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    np.savez(folder / "jobs.npz", **stored)
    return expected, run_keras(folder)


def run_keras(folder):
    python = os.environ["KERAS_PYTHON"]
    command = [python, str(SCRIPT), str(folder / "jobs.json"), str(folder / "found.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(folder / "found.npz") as found:
        return dict(found)


def found_series(found, file, prefix):
    return series({k.partition("/")[2]: v for k, v in found.items() if k.startswith(f"{file}/")},
                  prefix)  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_keras_predicts_the_same_from_our_file(expected_and_found, file):
    expected, found = expected_and_found
    want = expected[file.partition(".")[0]]["predicted"]
    assert_all_close(found_series(found, file, "predicted"), want, OUTPUT, range(len(want)))


@pytest.mark.parametrize("name", NAMES)
def test_keras_trains_on_from_our_file(expected_and_found, name):
    expected, found = expected_and_found
    want = expected[name]["continued"]
    got = found_series(found, f"{name}.keras", "continued")
    assert_all_close(got, want, STEP, range(len(want)))
