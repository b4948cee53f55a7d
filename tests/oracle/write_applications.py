"""Writes image models of real Keras, with seeded weights, into files.

Run by the test beside it in a Python that has keras: write_applications.py FOLDER NAME...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
from golden.cases.applications import CASES, seeded_weights


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        keras.utils.clear_session()
        case = CASES[name]
        model = getattr(keras.applications, case.application)(**case.kwargs)
        model.set_weights(seeded_weights(name, model.weights))
        model.save(folder / f"{name}.h5")
        model.save_weights(folder / f"{name}.weights.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
