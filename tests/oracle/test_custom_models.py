"""Custom layers, ops, shared and nested layers: files go both ways between here and real Keras."""

from __future__ import annotations

import custom_models
import h5py
import numpy as np
import pytest
from golden.compare import OUTPUT, STEP, assert_all_close
from keras_process import found_series, run_keras

import zoo_keras as zk

NAMES = list(custom_models.MODELS)
SUFFIXES = (".keras", ".h5", ".weights.h5")
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(6, 2)).astype("float32")
NOT_BUILT = "subclassed.h5"  # Keras never builds the subclassed model of an .h5 file
OURS = [f"{n}{s}" for n in NAMES for s in SUFFIXES if f"{n}{s}" != NOT_BUILT]
THEIRS = [f"{n}{s}" for n in NAMES for s in SUFFIXES]


def save(model, path):
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("custom")


@pytest.fixture(scope="module")
def expected_and_found(folder):
    jobs, expected = [], {}
    for name in NAMES:
        model = custom_models.MODELS[name](zk)
        model.train_on_batch(X, Y)
        job = {"inputs": ["x"], "targets": ["y"], "train": True}
        for file in (f for f in OURS if f.startswith(f"{name}.")):
            save(model, folder / file)
            more = {"weights_of": str(folder / f"{name}.keras")} if "weights" in file else {}
            whole = file.endswith(".keras")
            jobs.append(job | more | {"file": str(folder / file), "train": whole})
        theirs = [str(folder / f"keras_{name}{s}") for s in SUFFIXES]
        jobs.append(job | {"file": f"keras_{name}", "write": name, "files": theirs})
        expected[name] = [model.predict_on_batch(X)]
        model.train_on_batch(X, Y)
        expected[f"{name} continued"] = model.get_weights()
    return expected, run_keras(folder, jobs, {"x": X, "y": Y})


@pytest.mark.parametrize("file", OURS)
def test_keras_predicts_the_same_from_our_file(expected_and_found, file):
    expected, found = expected_and_found
    want = expected[file.partition(".")[0]]
    assert_all_close(found_series(found, file, "predicted"), want, OUTPUT, range(len(want)))


@pytest.mark.parametrize("name", NAMES)
def test_keras_trains_on_from_our_file(expected_and_found, name):
    expected, found = expected_and_found
    want = expected[f"{name} continued"]
    got = found_series(found, f"{name}.keras", "continued")
    assert_all_close(got, want, STEP, range(len(want)))


@pytest.mark.parametrize("file", THEIRS)
def test_file_of_keras_predicts_the_same_here_and_trains_on(expected_and_found, folder, file):
    name, _, kind = file.partition(".")
    _, found = expected_and_found
    path = folder / f"keras_{file}"
    if kind == "weights.h5" or file == NOT_BUILT:
        model = custom_models.MODELS[name](zk)
        model.load_weights(path)
    else:
        model = zk.saving.load_model(path)
    want = found_series(found, f"keras_{name}", "predicted")
    assert_all_close([model.predict_on_batch(X)], want, OUTPUT, range(1))
    if kind == "keras":
        model.train_on_batch(X, Y)
        want = found_series(found, f"keras_{name}", "continued")
        assert_all_close(model.get_weights(), want, STEP, range(len(want)))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "subclassed"])
def test_groups_are_those_of_keras(expected_and_found, folder, name):
    assert expected_and_found
    theirs = tree(folder / f"keras_{name}.weights.h5")
    assert tree(folder / f"{name}.weights.h5") == theirs


def tree(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: getattr(item, "shape", None)}))
    return {n: shape for n, shape in found.items() if "seed_generator" not in n}
