"""Models quantised and saved by zoo_keras open in real Keras 3 and predict the same.

Left out is MultiHeadAttention: Keras cannot open its own files of one with int8 layers inside.
"""

from __future__ import annotations

import warnings

import pytest
from golden.cases.int8 import MODELS
from golden.compare import OUTPUT, assert_all_close
from golden.store import Golden, series
from keras_process import as_list, found_series, joined, run_keras

import zoo_keras as zk

GOLDEN = Golden("int8")
NAMES = [name for name in GOLDEN.cases if name != "text"]
FILES = [f"{n}{suffix}" for n in NAMES for suffix in (".keras", ".h5", ".weights.h5")]


def quantised(name, **more):
    model = MODELS[name].build(zk)
    model.set_weights(series(GOLDEN.arrays(name), "float"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layers without an int8 form
        model.quantize(**MODELS[name].arguments(zk), **more)
    return model


@pytest.fixture(scope="module")
def expected_and_found(tmp_path_factory):
    """What models predict here, and what real Keras gets from their files.

    "calibrated.keras" holds the range of a sample, which Keras passes over: there it predicts as
    the model that was not calibrated.
    """
    folder = tmp_path_factory.mktemp("int8")
    jobs, stored, expected = [], {}, {}
    for name in NAMES:
        model, x = quantised(name), series(GOLDEN.arrays(name), "x")
        stored |= {f"{name}.x{i}": v for i, v in enumerate(x)}
        inputs = [f"{name}.x{i}" for i in range(len(x))]
        for file in (f for f in FILES if f.startswith(f"{name}.")):
            is_weights = file.endswith(".weights.h5")
            (model.save_weights if is_weights else model.save)(folder / file)
            of = {"weights_of": str(folder / f"{name}.keras")} if is_weights else {}
            jobs.append({"file": str(folder / file), "inputs": inputs, **of})
        expected[name] = as_list(model.predict_on_batch(joined(x)))
    x = joined(series(GOLDEN.arrays("mlp"), "x"))
    quantised("mlp", sample=x).save(folder / "calibrated.keras")
    jobs.append({"file": str(folder / "calibrated.keras"), "inputs": ["mlp.x0"]})
    expected["calibrated"] = expected["mlp"]
    jobs = [{"targets": [], "train": False, **job} for job in jobs]
    return expected, run_keras(folder, jobs, stored)


@pytest.mark.parametrize("file", [*FILES, "calibrated.keras"])
def test_keras_predicts_the_same_from_our_file(expected_and_found, file):
    expected, found = expected_and_found
    want = expected[file.partition(".")[0]]
    assert_all_close(found_series(found, file, "predicted"), want, OUTPUT, range(len(want)))
