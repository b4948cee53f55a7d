"""Makes tests/golden/data with real Keras 3.

Needs a Python with keras >= 3.15, tensorflow (CPU), torch and tf-keras:

    python -m pip install keras tensorflow-cpu torch tf-keras scipy onnx onnxruntime
    cd tests && python -m golden.make            # everything
    cd tests && python -m golden.make layers     # one area

Areas: layers, more_layers, spatial and recurrent (more layers, and files of them), more_ops,
image_generator, picture_changes (by tf-keras), onnx, elementary (activations, initializers,
regularizers, constraints, schedules),
losses, metrics, functions (of both, and merging ones), identifiers (words of `get`), logs (what
callbacks are told), masked (both in a model with a mask and weights), optimizers, more_optimizers,
models, own_steps (models with a train_step), ctc, int8 (quantised models), preprocessing,
applications, files (.h5, .keras, .weights.h5 by Keras 3 on TensorFlow), torch (the same of one
model on torch), precision (files in half precision and with adapters), keras2, spatial_keras2 and
recurrent_keras2 (.h5 by Keras 2), programs (short ones of all kinds), promotion (dtypes), ops
(every public op), zoo (20 nets by Keras 3 and tf-keras, in files), saved_models (SavedModels and
frozen graphs), torchvision (state dicts; needs torchvision), caffe (needs opencv-python-headless
below 5), keras2_layers (each layer by itself), keras2_arguments (layers that it told in another
way, and what it made of half precision). Files of Keras 1 and of early Keras 2 are made by
make_keras1.py and make_keras2_early.py, which need an old Python. The tests themselves read only
data/ and need none of these packages. Inputs come from numpy generators seeded by the case's name,
so an area made again differs only by rounding.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

MAKERS = {
    "layers": "tensorflow",
    "elementary": "tensorflow",
    "losses": "tensorflow",
    "logs": "tensorflow",
    "identifiers": "tensorflow",
    "functions": "tensorflow",
    "metrics": "tensorflow",
    "masked": "tensorflow",
    "optimizers": "tensorflow",
    "more_optimizers": "tensorflow",
    "models": "tensorflow",
    "files": "tensorflow",
    "torch": "torch",
    "keras2": "tensorflow",
    "spatial": "tensorflow",
    "attention": "tensorflow",
    "spatial_keras2": "tensorflow",
    "applications": "tensorflow",
    "recurrent": "tensorflow",
    "recurrent_keras2": "tensorflow",
    "int8": "tensorflow",
    "precision": "tensorflow",
    "keras2_arguments": "tensorflow",
    "keras2_layers": "tensorflow",
    "preprocessing": "tensorflow",
    "own_steps": "tensorflow",
    "ctc": "tensorflow",
    "more_layers": "tensorflow",
    "more_ops": "tensorflow",
    "image_generator": "tensorflow",
    "picture_changes": "tensorflow",
    "programs": "tensorflow",
    "promotion": "tensorflow",
    "ops": "tensorflow",
    "onnx": "torch",
    "zoo": "tensorflow",
    "saved_models": "tensorflow",
    "torchvision": "torch",
    "caffe": "numpy",
}


def main() -> None:
    areas = sys.argv[1:] or list(MAKERS)
    if len(areas) > 1:  # a process each: Keras has one backend per process
        for area in areas:
            subprocess.run([sys.executable, "-m", "golden.make", area], check=True)
        return
    os.environ["KERAS_BACKEND"] = MAKERS[areas[0]]
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_module(f"golden.make_{areas[0]}").make()


if __name__ == "__main__":
    main()
