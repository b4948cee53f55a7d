"""Whole models and weights in the `.h5` layout of Keras 1 to 3.

In: a model, or a file. Out: the file, or the model's weights, loaded layer by layer in order. The
architecture is the JSON attribute `model_config`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import FileError
from zoo_keras.saving import hdf5
from zoo_keras.saving.legacy import modern_config, modern_training_config
from zoo_keras.saving.serialization import (
    deserialize_keras_object,
    safe_mode_scope,
    serialize_keras_object,
)

KERAS_VERSION = "3.15.1"  # the version whose layout is written


def legacy_weights(layer: Any) -> list[Any]:
    """Weights in the order of `.h5` files: all trainable ones first."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def save(model: Any, path: str, include_optimizer: bool = True) -> None:
    """Write architecture, weights and training state."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = KERAS_VERSION.encode()
        file.attrs["backend"] = b"tensorflow"
        config = {"class_name": type(model).__name__, "config": model.get_config()}
        serialized = serialize_keras_object(config)
        file.attrs["model_config"] = json.dumps(serialized).encode()
        write_weights(file.create_group("model_weights"), model)
        if include_optimizer and model.compiled:
            _write_training(file, model)


def _write_training(file: Any, model: Any) -> None:
    given = model._compile_arguments
    config = {
        "loss": serialize_keras_object(given["loss"]),
        "metrics": serialize_keras_object(given["metrics"]),
        "weighted_metrics": serialize_keras_object(given["weighted_metrics"]),
        "loss_weights": given["loss_weights"],
        "optimizer_config": serialize_keras_object(model.optimizer),
    }
    file.attrs["training_config"] = json.dumps(config).encode()
    variables = model.optimizer.variables
    if model.optimizer.built and variables:
        _write_arrays(file.create_group("optimizer_weights"), variables)


def write_weights(group: Any, model: Any) -> None:
    """Write the weights of every layer into its own group."""
    hdf5.write_names(group, "layer_names", [layer.name for layer in model.layers])
    group.attrs["backend"] = b"tensorflow"
    group.attrs["keras_version"] = KERAS_VERSION.encode()
    for layer in sorted(model.layers, key=lambda item: item.name):
        _write_arrays(group.create_group(layer.name), legacy_weights(layer))
    _write_arrays(group.create_group("top_level_model_weights"), _top_level(model))


def _top_level(model: Any) -> list[Any]:
    own = model._variables
    return [v for v in own if v.trainable] + [v for v in own if not v.trainable]


def _write_arrays(group: Any, variables: Sequence[Any]) -> None:
    hdf5.write_names(group, "weight_names", [v.path for v in variables])
    for variable in variables:
        group.create_dataset(variable.path, data=np.asarray(variable.numpy()))


def load(path: str, name: str, custom_objects: Any, compile: bool, safe_mode: bool) -> Any:
    """The model of an `.h5` file. `name` is what messages call the file."""
    with hdf5.open_for_reading(path, name) as file:
        config = _model_config(file, name)
        with safe_mode_scope(safe_mode):
            model = deserialize_keras_object(
                modern_config(config, _version(file)), custom_objects=custom_objects,
                safe_mode=safe_mode,
            )  # fmt: skip
        read_weights(hdf5.child(file, "model_weights", "group"), model)
        if compile and "training_config" in file.attrs:
            _compile(file, model, custom_objects)
    return model


def _model_config(file: Any, name: str) -> Any:
    if "model_config" not in file.attrs:
        kind = "only weights" if "layer_names" in file.attrs else "no Keras model"
        raise FileError(
            f"{name}: the file holds {kind}: there is no `model_config`. Build the model in code "
            "and use model.load_weights(path)."
        )
    try:
        return json.loads(hdf5.text(file.attrs["model_config"]))
    except json.JSONDecodeError as error:
        raise FileError(f"{name}: `model_config` is no JSON ({error}). The file is damaged.") from None


def _version(file: Any) -> int:
    found = hdf5.text(file.attrs.get("keras_version", "1"))
    return int(found.split(".")[0]) if found[:1].isdigit() else 1


def _compile(file: Any, model: Any, custom_objects: Any) -> None:
    config = modern_training_config(json.loads(hdf5.text(file.attrs["training_config"])))
    arguments = {k: deserialize_keras_object(v, custom_objects=custom_objects)
                 for k, v in config.items()}  # fmt: skip
    model.compile(**arguments)
    if "optimizer_weights" not in file:
        return
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    group = hdf5.child(file, "optimizer_weights", "group")
    names = hdf5.read_names(group, "weight_names")
    if len(names) == len(optimizer.variables):
        _assign(group, names, optimizer.variables, skip=True)


def read_weights(group: Any, model: Any, skip_mismatch: bool = False, by_name: bool = False) -> None:
    """Load the weights of all layers, in order or by layer name. All is checked before any is set."""
    stored = [n for n in hdf5.read_names(group, "layer_names") if _weight_names(group, n)]
    layers = [layer for layer in model.layers if layer.weights]
    if by_name:
        wanted = {layer.name: layer for layer in layers}
        pairs = [(wanted[n], n) for n in stored if n in wanted]
    else:
        if len(stored) != len(layers) and not skip_mismatch:
            raise FileError(
                f"{group.file.filename}: the file has weights for {len(stored)} layers, the model "
                f"has {len(layers)} layers with weights. Received: {stored[:8]}. Use the model "
                "that the file was written from, or by_name=True."
            )
        pairs = list(zip(layers, stored, strict=False))
    for check in (True, False):
        for layer, name in pairs:
            inner = hdf5.child(group, name, "group")
            _assign(inner, _weight_names(group, name), legacy_weights(layer), skip_mismatch, check)
    if "top_level_model_weights" in group and model._variables and not by_name:
        names = _weight_names(group, "top_level_model_weights")
        inner = hdf5.child(group, "top_level_model_weights", "group")
        _assign(inner, names, _top_level(model), skip_mismatch)


def _weight_names(group: Any, layer: str) -> list[str]:
    return hdf5.read_names(hdf5.child(group, layer, "group"), "weight_names")


def _assign(
    group: Any, names: Sequence[str], variables: Sequence[Any], skip: bool, check_only: bool = False
) -> None:
    if len(names) != len(variables):
        if skip:
            return
        raise FileError(
            f"{group.file.filename}: {group.name} holds {len(names)} weights, the layer has "
            f"{len(variables)}. Received: {list(names)[:8]}. The file belongs to another model."
        )
    for name, variable in zip(names, variables, strict=True):
        stored = hdf5.child(group, name, "dataset").shape
        if tuple(stored) != tuple(variable.shape):
            if skip:
                continue
            raise FileError(
                f"{group.file.filename}: weight {name!r} has shape {tuple(stored)}, "
                f'"{variable.path}" has {variable.shape}. The file belongs to another model.'
            )
        if not check_only:
            variable.assign(hdf5.read_array(group, name, variable.shape))
