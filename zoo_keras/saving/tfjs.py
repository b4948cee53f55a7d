"""Layers models of TensorFlow.js: `model.json` and the files of weights beside it.

In: the path of the JSON. Out: a model. The weights go by their names, or else by the order of who
wrote the file; only files in the same folder are read, and sizes are checked first. Source: the
formats of tensorflowjs_converter and of TensorFlow.js' own save.
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
Stored = tuple[str, np.ndarray]  # a weight's name and values


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
            raise FileError(
                f"{label}: there is no modelTopology. Received: {type(told).__name__} "
                f"{list(told)[:8] if isinstance(told, dict) else ''}. It is no model of "
                "TensorFlow.js."
            )
        if "node" in topology:
            raise UnsupportedError(
                f"{label}: a graph model has no layers. Received: a GraphDef. Convert the Keras "
                "model as a layers model."
            )
        with config_json.custom_names(custom_objects, True), config_json.reading(label):
            stored = list(_arrays(told.get("weightsManifest") or [], os.path.dirname(path)))
            config = {**topology, **topology.get("model_config", topology)}
            model = _model(config, label, [array for _, array in stored])
            by_browser = str(config.get("keras_version")).startswith("tfjs-layers")
            layer_groups.assign(_plan(model, stored, by_browser))
    return model


def _model(config: dict[str, Any], label: str, arrays: list[np.ndarray]) -> Any:
    version = min(version_of(config), 2)  # whoever wrote it, TensorFlow.js has Keras 2's layers
    config = modern_config(in_own_precision(config, label), version)
    config_json.check_names(config)
    return config_json.make_model(config, sum(array.size for array in arrays))


def _plan(model: Any, stored: list[Stored], by_browser: bool) -> layer_groups.Plan:
    names, arrays = [name for name, _ in stored], [array for _, array in stored]
    variables = named_variables(model, names)
    if variables is None and by_browser:
        variables = layer_groups.legacy_weights(model)
    elif variables is None:
        variables = [v for layer in model.layers for v in layer_groups.legacy_weights(layer)]
    shapes = [array.shape for array in arrays], [v.shape for v in variables]
    if shapes[0] != shapes[1]:
        raise FileError(
            f"the weights do not fit the layers. Received: shapes {shapes[0][:8]} for "
            f"{shapes[1][:8]}. The file is damaged, or belongs to another model."
        )
    return list(zip(variables, arrays, strict=True))


def named_variables(model: Any, names: list[str]) -> list[Any] | None:
    """The Variable of each name; None unless every one has its own."""
    weights: list[Any] = []
    whole: dict[str, list[int]] = {}
    other: dict[str, list[int]] = {}
    for layer in model.layers:
        for variable in layer_groups.legacy_weights(layer):
            parts = variable.path.split("/")
            at = parts.index(layer.name) if layer.name in parts else None
            parts = [layer.name, *parts] if at is None else parts[at:]
            whole.setdefault("/".join(parts), []).append(len(weights))
            for name in _aliases([model.name, *parts]):
                other.setdefault(name, []).append(len(weights))
            weights.append(variable)
    known = other | whole  # whole names win over parts of others
    found = [known.get(name.removesuffix(":0"), []) for name in names]
    if sorted(found) != [[number] for number in range(len(weights))]:
        return None
    return [weights[number] for (number,) in found]


def _aliases(parts: list[str]) -> set[str]:
    """Names that files have for a Variable: from any layer on, with or without those between."""
    starts = range(len(parts) - 1)
    return {"/".join(parts[i:]) for i in starts} | {f"{parts[i]}/{parts[-1]}" for i in starts}


def _arrays(manifest: list[Any], folder: str) -> Iterator[Stored]:
    """(name, array) of a manifest, in its order."""
    seen: set[str] = set()
    for group in manifest:
        data = b"".join(_shard(folder, name, seen) for name in group["paths"])
        place = 0
        for weight in group["weights"]:
            array, place = _array(weight, data, place)
            yield weight["name"], array


def _shard(folder: str, name: str, seen: set[str]) -> bytes:
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.dirname(path) != os.path.realpath(folder) or not os.path.isfile(path):
        raise FileError(
            f"weights lie in files of their own. Received: {name!r}, which is not in the model's "
            "folder. Place it there."
        )
    if path in seen:
        raise FileError(f"the manifest names a file twice. Received: {name!r}. It is damaged.")
    seen.add(path)
    with open(path, "rb") as file:
        return file.read()


def _array(weight: dict[str, Any], data: bytes, place: int) -> tuple[np.ndarray, int]:
    """(one array, where the next one begins)."""
    packed = weight.get("quantization") or {}
    kind = packed.get("dtype", weight["dtype"])
    shape = tuple(int(size) for size in weight["shape"])
    for dtype in (kind, weight["dtype"]):
        if dtype not in _DTYPES:
            raise UnsupportedError(f"Weights are numbers. Received: {weight['name']!r} of {dtype}.")
    count, width = math.prod(shape), np.dtype(kind).itemsize
    if min(shape, default=0) < 0 or place + count * width > len(data):
        raise FileError(
            f"{weight['name']!r} does not fit into its file. Received: shape {shape} at {place} of "
            f"{len(data)} bytes. The file is cut off."
        )
    values = np.frombuffer(data, kind, count, place).reshape(shape)
    if "scale" in packed:
        values = values.astype(np.float32) * np.float32(packed["scale"])
        values = values + np.float32(packed["min"])
    return values.astype(weight["dtype"]), place + count * width
