"""Each layer of Keras 2 (tf-keras) by itself: its config, its weights, and what it computes."""

from __future__ import annotations

import json
import tempfile
import warnings
from typing import Any

import h5py
import tf_keras

from .arrays import generator
from .cases.keras2_layers import BY_KERAS_3, CASES, NOT_ALONE, NOT_HERE, inputs
from .store import Writer


def make() -> None:
    warnings.simplefilter("ignore")  # tf-keras calls .h5 legacy
    writer = Writer("keras2_layers")
    check_complete()
    for name, (arguments, kinds) in CASES.items():
        rng = generator("keras2_layers" + name)
        layer = built(name, arguments | {"name": "layer"})
        given = inputs(kinds, rng)
        ends = [tf_keras.Input(x.shape[1:], dtype="string" if x.dtype.kind == "U" else x.dtype)
                for x in given]  # fmt: skip
        model = tf_keras.Model(ends, called(name, layer, ends))
        weights = [w for w in layer.weights if w.dtype.is_floating]
        for w in weights:
            w.assign(rng.uniform(0.1, 0.6, w.shape))
        y = model.predict(given, verbose=0)
        case = {
            "config": config_in_file(model),
            "inputs": kinds,
            "names": [w.name for w in weights],
        }
        arrays = {"y": y} | {f"w{i}": w.numpy() for i, w in enumerate(weights)}
        numbers = {f"x{i}": x for i, x in enumerate(given) if x.dtype.kind != "U"}
        writer.add(name, case, arrays | numbers)
    writer.write()


def check_complete() -> None:
    """Every layer of Keras 2 stands in one of the tables, under the name of its class."""
    found = {c.__name__ for c in vars(tf_keras.layers).values()
             if isinstance(c, type) and issubclass(c, tf_keras.layers.Layer)}  # fmt: skip
    if told := found ^ (set(CASES) | NOT_ALONE | NOT_HERE | BY_KERAS_3):
        raise ValueError(f"layers of Keras 2 without a case, or cases without a layer: {told}")


def config_in_file(model: Any) -> dict[str, Any]:
    """The layer's config as an .h5 file has it: in Keras 2's own words, not in Keras 3's."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.h5")
        with h5py.File(f"{folder}/model.h5") as file:
            entries = json.loads(file.attrs["model_config"])["config"]["layers"]
    (config,) = [entry["config"] for entry in entries if entry["config"]["name"] == "layer"]
    return dict(config)


def built(name: str, arguments: dict[str, Any]) -> Any:
    """The layer, with the layers among its arguments built before."""
    return getattr(tf_keras.layers, name)(**{k: _argument(v) for k, v in arguments.items()})


def _argument(value: Any) -> Any:
    if isinstance(value, list):
        return [_argument(v) for v in value]
    nested = isinstance(value, tuple) and isinstance(value[0], str)
    return built(*value) if nested else value


def called(name: str, layer: Any, ends: list[Any]) -> Any:
    """Merging layers take a list, MultiHeadAttention arguments."""
    return layer(*ends) if name == "MultiHeadAttention" or len(ends) == 1 else layer(ends)
