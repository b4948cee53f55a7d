"""Files written by real Keras 3 after one training step, with what they must predict.

`continued` holds the logs and weights after one more training step: a file that was loaded
gets there only if the optimizer's state came with it. (Keras itself does not resume from its
.h5 files; from .keras it does, which is checked here.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from .cases import models as table
from .make_models import (
    as_list,
    batch,
    floats,
    joined,
    make_gradients_dense,
    numbered,
    prepared,
)
from .store import DATA, Writer

FILES = DATA / "files"


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    make_gradients_dense()
    writer = Writer("files")
    for name, spec in table.MODELS.items():
        writer.add(name, *golden(name, spec))
    writer.write()
    write_lambda()


def write_lambda() -> None:
    """A model with Python bytecode in its configuration: to be refused."""
    function = eval(compile("lambda x: x * 2", "double", "eval"))  # no path in its bytecode
    double = keras.layers.Lambda(function, name="double")
    model = keras.Sequential([keras.Input((3,)), double], name="with_lambda")
    model.save(FILES / "with_lambda.keras")
    model.save(FILES / "with_lambda.h5")


def golden(name: str, spec: table.Model) -> tuple[dict[str, Any], dict[str, Any]]:
    model, rng = prepared(keras, name, spec)
    x, y = batch(spec.inputs, spec.batch, rng), batch(spec.targets, spec.batch, rng)
    model.train_on_batch(joined(x), joined(y))
    arrays = numbered("x", x) | numbered("y", y) | numbered("weight", model.get_weights())
    arrays |= numbered("predicted", as_list(model.predict_on_batch(joined(x))))
    model.save(FILES / f"{name}.keras")
    model.save_weights(FILES / f"{name}.weights.h5")
    model.save(FILES / f"{name}.h5")  # last: it takes the optimizer out of the compile config
    model.reset_metrics()
    info: dict[str, Any] = {
        "optimizer": [[v.path, list(v.shape)] for v in model.optimizer.variables],
        "continued": floats(model.train_on_batch(joined(x), joined(y), return_dict=True)),
    }
    arrays |= numbered("continued", model.get_weights())
    check_keras_resumes(FILES / f"{name}.keras", joined(x), joined(y), model.get_weights())
    return info, arrays


def check_keras_resumes(path: Path, x: Any, y: Any, expected: list[np.ndarray]) -> None:
    loaded = keras.saving.load_model(path)
    loaded.train_on_batch(x, y)
    for got, want in zip(loaded.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
