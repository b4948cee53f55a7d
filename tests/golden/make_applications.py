"""Golden applications: digests of layers, weights and configuration, the outputs for one image;
one small file of Keras. The pixels for preprocess_input come along.

    python -m golden.make_applications resnet50    # shows what the digests are made of
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .arrays import generator
from .cases.applications import CASES, Case, digest, facts, image, seeded_weights
from .store import DATA, Writer


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
    info = {key: digest(value) for key, value in facts(model).items()} | {"name": model.name}
    if not case.compared:
        return info, {}
    model.set_weights(seeded_weights(name, model.weights))
    x = image(name, tuple(case.kwargs["input_shape"]))
    return info, {"output": keras.ops.convert_to_numpy(model(x, training=False))}


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


if __name__ == "__main__":
    case = CASES[sys.argv[1]]
    found = facts(getattr(keras.applications, case.application)(**case.kwargs))
    sys.stdout.write(json.dumps(found, indent=1))
