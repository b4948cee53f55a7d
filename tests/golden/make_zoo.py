"""A zoo of files: each net of cases/zoo.py by Keras 3 (.keras, .h5) and tf-keras (.h5, .keras).

Each is written after a training step. `predicted` is what the net made then, `continued` what it
makes after one more step, with the optimizer that is in the file.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import keras
import numpy as np
import tf_keras

from .arrays import array, generator
from .cases.zoo import NETS, OPTIMIZERS
from .make_models import as_list, initial_weights, joined, make_gradients_dense, numbered
from .store import DATA, Writer

FILES = DATA / "zoo"
ROWS = 4


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    make_gradients_dense()
    warnings.simplefilter("ignore")  # both call .h5 legacy
    writer = Writer("zoo")
    for maker, k in (("keras3", keras), ("keras2", tf_keras)):
        for name, chosen in zip(NETS, itertools.cycle(OPTIMIZERS), strict=False):
            writer.add(f"{maker}_{name}", *golden(k, f"{maker}_{name}", name, chosen))
    writer.write()


def golden(k: Any, file: str, name: str, chosen: tuple) -> tuple[dict, dict]:
    k.utils.set_random_seed(0)
    net, rng = NETS[name], generator(file)
    model = net.build(k)
    model.set_weights(initial_weights(model, rng))
    model.compile(getattr(k.optimizers, chosen[0])(**chosen[1]), "mse", metrics=["mae"])
    x = [array(kind, (ROWS, *shape), rng) for kind, shape in net.inputs.values()]
    y = array("prob", (ROWS, *net.outputs), rng)
    model.train_on_batch(joined(x), y)
    arrays = numbered("x", x) | {"y0": y} | numbered("predicted", predicted(model, x))
    model.save(FILES / f"{file}.keras")
    model.save(FILES / f"{file}.h5")
    model.train_on_batch(joined(x), y)
    return {"optimizer": chosen[0]}, arrays | numbered("continued", predicted(model, x))


def predicted(model: Any, x: list[np.ndarray]) -> list[np.ndarray]:
    return as_list(model.predict_on_batch(joined(x)))
