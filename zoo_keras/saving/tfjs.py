"""Layers models of TensorFlow.js: `model.json` and the files of weights beside it.

In: the path of the JSON. Out: a model. The weights go by the layers' order; only files in the same
folder are read, and sizes are checked first. Source: the format of tensorflowjs_converter.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving import config_json, files, layer_groups
from zoo_keras.saving.legacy import modern_config, version_of
from zoo_keras.saving.precision import in_own_precision

_DTYPES = ("float32", "int32", "bool", "uint8", "uint16", "float16")


def from_tfjs(filepath: Any, custom_objects: Any = None) -> Any:
    """The model of a `model.json` that TensorFlow.js or its converter wrote.

    Args:
        filepath: of the JSON; its files of weights lie in the same folder.
        custom_objects: classes and functions of your own by name.

    Weights of 8 or 16 bits come back as the floats that they stand for. Raises FileError for what
    is no such model, UnsupportedError for graph models, which have no layers.

    >>> model = from_tfjs("web/model.json")
    """
    label = files.path_text(filepath)
    with files.readable(label) as path:
        with open(path, "rb") as file:
            told = config_json.parse(file.read(), label, "the file")
        topology = told.get("modelTopology") if isinstance(told, dict) else None
        if not isinstance(topology, dict):
            raise FileError(f"{label}: there is no modelTopology. It is no model of TensorFlow.js.")
        if "node" in topology:
            raise UnsupportedError(
                f"{label}: a graph model has no layers. Received: a GraphDef. Convert the Keras "
                "model as a layers model."
            )
        with config_json.custom_names(custom_objects, True), config_json.reading(label):
            arrays = list(_arrays(told.get("weightsManifest") or [], os.path.dirname(path)))
            model = _model({**topology, **topology.get("model_config", topology)}, label, arrays)
            layer_groups.assign(_plan(model, arrays))
    return model


def _model(config: dict[str, Any], label: str, arrays: list[np.ndarray]) -> Any:
    version = min(version_of(config), 2) if "keras_version" not in config else version_of(config)
    config = modern_config(in_own_precision(config, label), version)
    config_json.check_names(config)
    return config_json.make_model(config, sum(array.size for array in arrays))


def _plan(model: Any, arrays: list[np.ndarray]) -> layer_groups.Plan:
    variables = [v for layer in model.layers for v in layer_groups.legacy_weights(layer)]
    shapes = [array.shape for array in arrays], [v.shape for v in variables]
    if shapes[0] != shapes[1]:
        raise FileError(
            f"the weights do not fit the layers. Received: shapes {shapes[0][:8]} for "
            f"{shapes[1][:8]}. The file is damaged, or belongs to another model."
        )
    return list(zip(variables, arrays, strict=True))


def _arrays(manifest: list[Any], folder: str) -> Iterator[np.ndarray]:
    """All arrays of a manifest, in its order."""
    for group in manifest:
        data = b"".join(_shard(folder, name) for name in group["paths"])
        place = 0
        for weight in group["weights"]:
            array, place = _array(weight, data, place)
            yield array


def _shard(folder: str, name: str) -> bytes:
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.dirname(path) != os.path.realpath(folder) or not os.path.isfile(path):
        raise FileError(
            f"weights lie in files of their own. Received: {name!r}, which is not in the model's "
            "folder. Place it there."
        )
    with open(path, "rb") as file:
        return file.read()


def _array(weight: dict[str, Any], data: bytes, place: int) -> tuple[np.ndarray, int]:
    """(one array, where the next one begins)."""
    packed = weight.get("quantization") or {}
    kind = packed.get("dtype", weight["dtype"])
    shape = tuple(int(size) for size in weight["shape"])
    if kind not in _DTYPES:
        raise UnsupportedError(f"Weights are numbers. Received: {weight['name']!r} of {kind}.")
    count, width = math.prod(shape), np.dtype(kind).itemsize
    if min(shape, default=0) < 0 or place + count * width > len(data):
        raise FileError(
            f"{weight['name']!r} of shape {shape} is larger than its file. The file is cut off."
        )
    values = np.frombuffer(data, kind, count, place).reshape(shape)
    if "scale" in packed:
        values = values.astype(np.float32) * np.float32(packed["scale"])
        values = values + np.float32(packed["min"])
    return values.astype(weight["dtype"]), place + count * width
