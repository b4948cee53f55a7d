"""Opens files in real Keras and writes down what they predict and how they train on.

Run by the tests beside it in a Python that has keras: open_in_keras.py JOBS.json RESULTS.npz.
A job that fails leaves its error as the result "failed".
JOBS lists {"file", "inputs", "targets", "weights_of", "write"}; inputs and targets are keys of
jobs.npz beside it, weights_of is the model file whose architecture takes a weights file. A job
with "write" makes that model of custom_models.py, trains it for a step, and writes the files.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import custom_models
import keras
import numpy as np
import tensorflow as tf


def make_gradients_dense() -> None:
    """As in golden/make_models.py: Adam on a list of rows is not Adam where an id repeats."""
    original = tf.GradientTape.gradient

    def dense_gradient(*args: object) -> list:
        return [None if g is None else tf.convert_to_tensor(g) for g in original(*args)]

    tf.GradientTape.gradient = dense_gradient


def joined(items: list) -> object:
    return items[0] if len(items) == 1 else items


def opened(job: dict) -> keras.Model:
    if "weights_of" not in job:
        return keras.saving.load_model(job["file"])
    model = keras.saving.load_model(job["weights_of"], compile=False)
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(job["file"])
    return model


def written(job: dict, x: object, y: object) -> keras.Model:
    model = custom_models.MODELS[job["write"]](keras)
    model.train_on_batch(x, y)
    for path in job["files"]:
        (model.save_weights if path.endswith(".weights.h5") else model.save)(path)
    return model


def results(job: dict, arrays: dict) -> dict[str, np.ndarray]:
    x, y = (joined([arrays[k] for k in job[key]]) for key in ("inputs", "targets"))
    model = written(job, x, y) if "write" in job else opened(job)
    predicted = model.predict_on_batch(x)
    predicted = predicted if isinstance(predicted, (list, tuple)) else [predicted]
    found = {f"predicted{i}": p for i, p in enumerate(predicted)}
    if job["train"]:
        model.train_on_batch(x, y)
        found |= {f"continued{i}": w for i, w in enumerate(model.get_weights())}
    return found


def _plain(value: object) -> np.ndarray:
    """An array that numpy can store; bfloat16 is a type of another package."""
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.kind == "V" else array


def main(jobs: Path, out: Path) -> None:
    make_gradients_dense()
    for make in (custom_models.scale_layer, custom_models.block_layer, custom_models.subclassed):
        make(keras)  # registers the classes
    with np.load(jobs.with_suffix(".npz")) as stored:
        arrays = dict(stored)
    made = {}
    for job in json.loads(jobs.read_text()):
        try:
            found = results(job, arrays)
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"[:2000]}
        made |= {f"{Path(job['file']).name}/{k}": _plain(v) for k, v in found.items()}
    np.savez(out, **made)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
