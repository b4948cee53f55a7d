"""Golden applications: layers, weights and the outputs for one image; one small file of Keras.

The pixels for preprocess_input and the best classes of decode_predictions come along.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .arrays import generator
from .cases.applications import CASES, Case, image, seeded_weights
from .make_layers import plain
from .store import DATA, Writer

WITH_CONFIG = ("resnet50", "mobilenet_v2")


def make() -> None:
    writer = Writer("applications")
    for name, case in CASES.items():
        writer.add(name, *golden(name, case))
    write_small_file(DATA / "files" / "mobilenet_v2_tiny.h5")
    for mode in ("caffe", "tf", "torch"):
        writer.add(f"preprocess_{mode}", {}, preprocessed(mode))
    writer.write()


def golden(name: str, case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    keras.utils.clear_session()
    model = getattr(keras.applications, case.application)(**case.kwargs)
    layers = [[type(layer).__name__, layer.name] for layer in model.layers]
    info: dict[str, Any] = {
        "layers": layers,
        "name": model.name,
        "weights": [[w.path, list(w.shape)] for w in model.weights],
    }
    if name in WITH_CONFIG:
        info["config"] = plain(json.loads(model.to_json()))["config"]
    if not case.compared:
        return info, {}
    model.set_weights(seeded_weights(name, model.weights))
    x = image(name, tuple(case.kwargs["input_shape"]))
    return info, {"output": model.predict(x, verbose=0)}


def write_small_file(path: Path) -> None:
    model = keras.applications.MobileNetV2(
        alpha=0.01, weights=None, input_shape=(32, 32, 3), classes=3, name="tiny"
    )
    model.set_weights(seeded_weights("tiny", model.weights))
    model.save(path)


def preprocessed(mode: str) -> dict[str, np.ndarray]:
    pixels = generator(mode).uniform(0, 255, (2, 3, 4, 3)).astype(np.float32)
    function = keras.applications.imagenet_utils.preprocess_input
    first = function(pixels.transpose(0, 3, 1, 2).copy(), "channels_first", mode)
    return {"pixels": pixels, "last": function(pixels.copy(), mode=mode), "first": first}
