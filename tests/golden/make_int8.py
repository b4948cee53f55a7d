"""Models quantised by real Keras: their int8 weights, what they predict, and files of them."""

from __future__ import annotations

import json
import warnings
from typing import Any

import keras

from .arrays import generator
from .cases import int8 as table
from .make_models import as_list, batch, initial_weights, joined, numbered
from .store import DATA, Writer

FILES = DATA / "int8"


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    writer = Writer("int8")
    for name, spec in table.MODELS.items():
        writer.add(name, *golden(name, spec))
    writer.write()


def golden(name: str, spec: table.Int8Model) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(name)
    model = spec.build(keras)
    model.set_weights(initial_weights(model, rng))
    x = batch(spec.inputs, spec.batch, rng)
    arrays = numbered("x", x) | numbered("float", model.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layers that Keras leaves as they are
        model.quantize(**spec.arguments(keras))
    arrays |= numbered("weight", model.get_weights())
    arrays |= numbered("predicted", as_list(model.predict_on_batch(joined(x))))
    info = {
        "weights": [
            [w.path, list(w.shape), str(w.dtype), bool(w.trainable)] for w in model.weights
        ],
        "config": {layer["config"]["name"]: quantization(layer) for layer in layers_of(model)},
    }
    for suffix in (".keras", ".h5", ".weights.h5"):
        save = model.save_weights if suffix == ".weights.h5" else model.save
        save(FILES / f"{name}{suffix}")
    return info, arrays


def layers_of(model: Any) -> list[Any]:
    return json.loads(model.to_json())["config"]["layers"]


def quantization(layer: Any) -> dict[str, Any]:
    return {k: layer["config"].get(k) for k in ("dtype", "quantization_config")}
