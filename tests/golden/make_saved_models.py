"""Folders of SavedModels and frozen graphs, with what Keras makes of the same inputs.

`keras2_<net>` are of tf-keras, with its configuration; `keras3_<net>` are exported by Keras 3, a
graph alone; `frozen_<net>.pb` are graphs whose variables became constants.
"""

from __future__ import annotations

import shutil
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from .arrays import array, generator
from .cases.zoo import NETS
from .make_models import as_list, initial_weights, joined, make_gradients_dense, numbered
from .store import DATA, Writer

FILES = DATA / "saved_models"
ROWS = 4
OF_KERAS2 = ("mobile", "words_both_ways", "inner_models", "recommender", "transformer")
LOOPS = ("words_both_ways", "seq2seq", "frames", "next_frame", "regularized", "stacked_cells")
GRAPHS = [name for name in NETS if name not in LOOPS]
FROZEN = ("mobile", "siamese", "transformer", "u_net")


def make() -> None:
    shutil.rmtree(FILES, ignore_errors=True)
    FILES.mkdir(parents=True)
    make_gradients_dense()
    warnings.simplefilter("ignore")
    writer = Writer("saved_models")
    for name in OF_KERAS2:
        writer.add(f"keras2_{name}", {}, of_keras2(name))
    for name in [*GRAPHS, "frames"]:  # frames has a loop: to be refused
        model, x, arrays = made(keras, f"keras3_{name}", name)
        model.export(FILES / f"keras3_{name}", verbose=False)
        writer.add(f"keras3_{name}", {}, arrays)
    for name in FROZEN:
        model, x, arrays = made(tf_keras, f"frozen_{name}", name)
        freeze(model, x, FILES / f"frozen_{name}.pb")
        writer.add(f"frozen_{name}", {}, arrays)
    for left in FILES.glob("*/fingerprint.pb"):
        left.unlink()
    writer.write()


def made(k: Any, case: str, name: str) -> tuple[Any, list[np.ndarray], dict[str, np.ndarray]]:
    k.utils.set_random_seed(0)
    k.backend.clear_session()
    net, rng = NETS[name], generator(case)
    model = net.build(k)
    model.set_weights(initial_weights(model, rng))
    x = [array(kind, (ROWS, *shape), rng) for kind, shape in net.inputs.values()]
    predicted = as_list(model.predict_on_batch(joined(x)))
    return model, x, numbered("x", x) | numbered("predicted", predicted)


def of_keras2(name: str) -> dict[str, np.ndarray]:
    model, x, arrays = made(tf_keras, f"keras2_{name}", name)
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    y = np.zeros_like(arrays["predicted0"])
    model.train_on_batch(joined(x), y)
    arrays |= numbered("predicted", as_list(model.predict_on_batch(joined(x))))
    model.save(FILES / f"keras2_{name}", save_traces=name == "mobile")
    model.train_on_batch(joined(x), y)
    return arrays | numbered("continued", as_list(model.predict_on_batch(joined(x))))


def freeze(model: Any, x: list[np.ndarray], path: Any) -> None:
    specs = [tf.TensorSpec((None, *a.shape[1:]), a.dtype, name=f"x{i}") for i, a in enumerate(x)]
    call = tf.function(lambda *tensors: model(joined(list(tensors)), training=False))
    frozen = convert_variables_to_constants_v2(call.get_concrete_function(*specs))
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
