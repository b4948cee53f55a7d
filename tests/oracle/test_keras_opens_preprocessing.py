"""Models of words and statistics saved by zoo_keras open in real Keras 3 and compute the same."""

from __future__ import annotations

import numpy as np
from golden.cases.preprocessing import ARCHIVE
from golden.compare import OUTPUT, assert_all_close
from keras_process import found_series, run_keras

import zoo_keras as keras
from zoo_keras import layers


def test_keras_opens_vocabularies_and_statistics_of_ours(tmp_path):
    arrays = [np.array(values, dtype) for values, dtype in ARCHIVE]
    learners = [
        layers.StringLookup(num_oov_indices=3),
        layers.IntegerLookup(output_mode="tf_idf"),
        layers.TextVectorization(output_sequence_length=3),
        layers.Normalization(),
        layers.Discretization(num_bins=3),
    ]
    for layer, array in zip(learners, [*arrays, arrays[-1]], strict=True):
        layer.adapt(array)
    inputs = [
        keras.Input(a.shape[1:], dtype="string" if a.dtype == object else a.dtype.name)
        for a in arrays
    ]
    made = [layer(x) for layer, x in zip(learners, [*inputs, inputs[-1]], strict=True)]
    made.append(layers.Hashing(90)(inputs[0]))
    made.append(layers.StringLookup(vocabulary=["a"], output_mode="count")(inputs[0]))
    joined = layers.Concatenate()([keras.ops.cast(m, "float32") for m in made])
    model = keras.Model(inputs, joined)
    want = model.predict(arrays, verbose=0)
    model.save(tmp_path / "words.keras")
    stored = {f"x{i}": a.astype("U") if a.dtype == object else a for i, a in enumerate(arrays)}
    job = {"file": str(tmp_path / "words.keras"), "inputs": list(stored), "targets": [],
           "train": False}  # fmt: skip
    found = run_keras(tmp_path, [job], stored)
    got = found_series(found, "words.keras", "predicted")
    assert_all_close(got, [want], OUTPUT, ["output"])
