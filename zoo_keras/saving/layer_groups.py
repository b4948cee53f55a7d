"""The weights of `.h5` files: one group for each layer, its arrays listed in `weight_names`.

In: a model and an open HDF5 group. Out: the group filled, or a plan: the array for each variable,
read and checked before anything is set. Layers go by order, or by name when asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import FileError
from zoo_keras.layers.base.layer import Layer
from zoo_keras.models.model import Model
from zoo_keras.saving import hdf5
from zoo_keras.variables import changing

KERAS_VERSION = "3.15.1"  # the version whose layout is written
TOP_LEVEL = "top_level_model_weights"

Plan = list[tuple[Any, Any]]  # what has assign(), and the array for it


def legacy_weights(layer: Any) -> list[Any]:
    """Weights in the order of `.h5` files: all trainable ones first."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def top_level(layer: Layer) -> list[Any]:
    """The Variables that a layer or model has itself, outside the layers below."""
    return layer.stored_in_order()


def write(group: Any, model: Model) -> None:
    """Write the weights of every layer into its own group."""
    hdf5.write_names(group, "layer_names", [layer.name for layer in model.layers])
    group.attrs["backend"] = "tensorflow"
    group.attrs["keras_version"] = KERAS_VERSION
    for layer in sorted(model.layers, key=lambda item: item.name):
        write_arrays(group.create_group(layer.name), legacy_weights(layer))
    write_arrays(group.create_group(TOP_LEVEL), top_level(model))


def write_arrays(group: Any, variables: Sequence[Any]) -> None:
    """Write Variables under their paths, and the list of these. Equal paths are told apart."""
    used: dict[str, int] = {}
    names = []
    for variable in variables:
        count = used[variable.path] = used.get(variable.path, 0) + 1
        names.append(variable.path if count == 1 else f"{variable.path}_{count}")
        group.create_dataset(names[-1], data=variable.numpy())
    hdf5.write_names(group, "weight_names", names)


def assign(plan: Plan) -> None:
    """Set all variables of a plan."""
    with changing(variable for variable, _ in plan):
        for variable, array in plan:
            variable.assign(array)


def plan(group: Any, model: Model, skip_mismatch: bool = False, by_name: bool = False) -> Plan:
    """The stored array for each variable of the model.

    Raises FileError when layers, numbers of weights or shapes differ; with skip_mismatch such
    layers are left out, with a warning.
    """
    found: Plan = []
    problems: list[str] = []
    for layer, name in _pairs(group, model, skip_mismatch, by_name):
        made, problem = _layer_plan(group, name, legacy_weights(layer), f'layer "{layer.name}"')
        found += made
        problems += problem
    if hdf5.find(group, TOP_LEVEL) is not None and not by_name:
        made, problem = _layer_plan(group, TOP_LEVEL, top_level(model), "the model itself")
        found += made
        problems += problem
    report(problems, skip_mismatch)
    return found


def _pairs(group: Any, model: Model, skip: bool, by_name: bool) -> list[tuple[Any, str]]:
    """(layer, name of its group) for all layers that have weights."""
    listed = hdf5.read_names(group, "layer_names")
    stored = [n for n in listed if _weight_names(group, n)]
    layers = [layer for layer in model.layers if layer.weights]
    if by_name:
        pairs = [(layer, layer.name) for layer in layers if layer.name in stored]
        if pairs:
            return pairs
    elif len(stored) == len(layers) or skip:
        return list(zip(layers, stored, strict=False))
    raise FileError(
        f"the file has weights for {len(stored)} layers, the model has {len(layers)} layers with "
        f"weights{' and none of these names' if by_name else ''}. Received: {stored[:8]}. Use the "
        "model that the file was written from, or load by_name=True what has equal names."
    )


def _weight_names(group: Any, layer: str) -> list[str]:
    return hdf5.read_names(hdf5.child(group, layer, "group"), "weight_names")


def _layer_plan(group: Any, name: str, variables: list[Any], what: str) -> tuple[Plan, list[str]]:
    inner = hdf5.child(group, name, "group")
    names = _weight_names(group, name)
    if len(names) != len(variables):
        return [], [f"{what} has {len(variables)} weights, the file {len(names)}"]
    found: Plan = []
    problems = []
    for stored, variable in zip(names, variables, strict=True):
        shape = hdf5.child(inner, stored, "dataset").shape
        if shape == variable.shape:
            found.append((variable, hdf5.read_array(inner, stored, variable.shape)))
        else:
            problems.append(f"{variable.path} has shape {variable.shape}, in the file {shape}")
    return found, problems


def report(problems: Sequence[str], skip_mismatch: bool) -> None:
    """FileError naming what does not fit, or a warning when that is to be skipped."""
    if not problems:
        return
    some = "; ".join(problems[:8]) + ("; ..." if len(problems) > 8 else "")
    if not skip_mismatch:
        raise FileError(
            f"the file belongs to another model. Received: {some}. Use the model that the file was "
            "written from, or skip_mismatch=True for what fits."
        )
    warnings.warn(f"Weights were not loaded: {some}.", stacklevel=6)
