"""Quantised layers inside others (those of MultiHeadAttention): the outer layer's configuration
does not say that they are in int8, so the weights file does.

In: a model and an open HDF5 file. Out: a note in the file; or, before weights are read into a model
that was just made from the file, the same layers in int8. Real Keras passes over the note; what it
writes itself is known by the int8 arrays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras import quantizers
from zoo_keras.layers.quantized import Quantizable
from zoo_keras.models.model import Model
from zoo_keras.saving import config_json, hdf5
from zoo_keras.saving.weights_tree import variables_group, walk

NOTE = "int8_layers"  # bytes of JSON: path of the layer -> its quantization config


def write(model: Model, file: Any) -> None:
    """Note the quantised layers that no model holds directly."""
    inner = {p: x for p, x in _quantizable(model) if x.quantization_mode and not _is_direct(p)}
    if inner:
        configs = {p: quantizers.serialize(x.quantization_config) for p, x in inner.items()}
        file[NOTE] = np.frombuffer(json.dumps(configs).encode(), np.uint8)


def restore(model: Model, file: Any, label: str) -> None:
    """Quantise the layers that are int8 in the file and not yet in the model."""
    noted = _noted(file, label)
    scales = _scales(file)
    for path, layer in _quantizable(model):
        if layer.quantization_mode or not layer.built:
            continue
        if path in noted:
            layer.quantize("int8", quantizers.get(noted[path]), type_check=False)
        elif _is_int8(file, path) or _scale_name(layer) in scales:
            layer.quantize("int8", type_check=False)


def _noted(file: Any, label: str) -> dict[str, Any]:
    if hdf5.find(file, NOTE) is None:
        return {}
    shape = hdf5.child(file, NOTE, "dataset").shape
    found = config_json.parse(hdf5.read_array(file, NOTE, shape).tobytes(), label, NOTE)
    return found if isinstance(found, dict) else {}


def _quantizable(model: Model) -> Iterator[tuple[str, Quantizable]]:
    return ((p, layer) for p, layer in walk(model) if isinstance(layer, Quantizable))


def _is_direct(path: str) -> bool:
    return "/" in path and path.rsplit("/", 2)[-2] == "layers"


def _is_int8(file: Any, path: str) -> bool:
    """Whether the tree layout holds an int8 array for the layer."""
    group = variables_group(file, path)
    first = None if group is None else hdf5.find(group, "0")
    return getattr(first, "dtype", None) == "int8"


def _scale_name(layer: Quantizable) -> str:
    name = layer.large_weight().name
    return f"{layer.own_weight(name).path}_scale"


def _scales(file: Any) -> set[str]:
    """Names of the weights of an `.h5` file that are scales."""
    group = hdf5.find(file, "model_weights")
    layers = [] if group is None else hdf5.read_names(group, "layer_names")
    names = [
        name
        for layer in layers
        for name in hdf5.read_names(hdf5.child(group, layer, "group"), "weight_names")
    ]
    return {name for name in names if name.endswith("_scale")}
