"""Files written by zoo_keras open in real Keras 3, predict the same and train on the same.

Needs a Python with keras and tensorflow, named by the environment variable KERAS_PYTHON (see
conftest.py). The files are written in this process and opened in that one.
"""

from __future__ import annotations

import pytest
from golden.cases import models, recurrent_models, spatial_models
from golden.cases.models import compile_arguments
from golden.compare import OUTPUT, STEP, assert_all_close
from golden.store import Golden, series
from keras_process import as_list, found_series, joined, run_keras

import zoo_keras as zk

MODELS = models.MODELS | spatial_models.MODELS | recurrent_models.MODELS
AREAS = ("files", "spatial_files", "recurrent_files")
GOLDEN = {n: golden for golden in map(Golden, AREAS) for n in golden.cases}
NAMES = list(GOLDEN)
FILES = [f"{n}{suffix}" for n in NAMES for suffix in (".keras", ".h5", ".weights.h5")]


def trained(name):
    """The model of the golden files after the same first step, trained here."""
    arrays = GOLDEN[name].arrays(name)
    model = MODELS[name].build(zk)
    model.set_weights(series(arrays, "weight"))
    model.compile(**compile_arguments(zk, MODELS[name]))
    model.train_on_batch(joined(series(arrays, "x")), joined(series(arrays, "y")))
    return model, arrays


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
    return expected, run_keras(folder, jobs, stored)


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
