"""Makes tests/golden/data with real Keras 3.

Needs a Python with keras >= 3.15, tensorflow (CPU) and tf-keras:

    python -m pip install keras tensorflow-cpu tf-keras
    cd tests && python -m golden.make            # everything
    cd tests && python -m golden.make layers     # one area

Areas: layers, elementary (activations, initializers, regularizers, constraints), losses,
metrics, optimizers, models, files (.h5, .keras, .weights.h5 by Keras 3), keras2 (.h5 by Keras 2).
The tests themselves read only data/ and need none of these packages. Inputs come from numpy
generators seeded by the case's name, so an area made again differs only by rounding.
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from importlib import import_module

MAKERS = {
    "layers": "make_layers",
    "elementary": "make_elementary",
    "losses": "make_losses",
    "metrics": "make_metrics",
    "optimizers": "make_optimizers",
    "models": "make_models",
    "files": "make_files",
    "keras2": "make_keras2",
}


def main() -> None:
    for area in sys.argv[1:] or MAKERS:
        import_module(f"golden.{MAKERS[area]}").make()


if __name__ == "__main__":
    main()
