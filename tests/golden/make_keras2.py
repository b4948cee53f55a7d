"""Files written by Keras 2 (tf-keras) after one training step, with what they must predict.

`<name>.h5` is the whole model with its optimizer, `<name>_weights.h5` weights alone. The `_old`
ones have optimizers of the old generation (before 2.11): other names and order of the slots, and a
learning rate `decay`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tf_keras

from .arrays import generator
from .cases import keras2 as table
from .cases.models import Model, compile_arguments
from .make_models import as_list, batch, initial_weights, joined, numbered
from .store import DATA, Writer

FILES = DATA / "keras2"


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    writer = Writer("keras2")
    warnings.simplefilter("ignore")  # tf-keras calls .h5 legacy
    for name, spec in table.MODELS.items():
        chosen = spec.compile["optimizer"]
        optimizer = getattr(tf_keras.optimizers, chosen["class_name"])(**chosen["config"])
        writer.add(name, *golden(name, spec, optimizer))
    old = tf_keras.optimizers.legacy
    sgd = old.SGD(learning_rate=0.1, momentum=0.5, decay=0.05)
    writer.add("plain_old", *golden("plain_old", table.MODELS["plain"], sgd))
    adam = old.Adam(learning_rate=0.02)
    writer.add("text_old", *golden("text_old", table.MODELS["text"], adam))
    writer.write()


def golden(name: str, spec: Model, optimizer: Any) -> tuple[dict, dict]:
    rng = generator("keras2" + name)
    model = spec.build(tf_keras)
    model.set_weights(initial_weights(model, rng))
    arguments = compile_arguments(tf_keras, spec)
    model.compile(**(arguments | {"optimizer": optimizer}))
    x, y = batch(spec.inputs, spec.batch, rng), batch(spec.targets, spec.batch, rng)
    model.train_on_batch(joined(x), joined(y))
    arrays = numbered("x", x) | numbered("weight", model.get_weights())
    arrays |= numbered("predicted", as_list(model.predict_on_batch(joined(x))))
    model.save(FILES / f"{name}.h5")
    model.save_weights(FILES / f"{name}_weights.h5")
    arrays |= numbered("y", y)
    model.reset_metrics()
    logs = model.train_on_batch(joined(x), joined(y), return_dict=True)
    info = {"continued": {key: float(np.asarray(v)) for key, v in logs.items()}}
    return info, arrays | numbered("continued", model.get_weights())
