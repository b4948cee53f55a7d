"""The weights of `.h5` files: one group for each layer, its arrays listed in `weight_names`.

In: a model and an open HDF5 group. Out: the group filled, or a plan: the array for each variable,
read and checked before anything is set. Layers go by order, or by name when asked.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import FileError
from zoo_keras.layers.base.layer import Layer
from zoo_keras.models.model import Model
from zoo_keras.saving import hdf5, keras1_weights
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
        group.create_dataset(names[-1], data=np.asarray(variable.numpy()))
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
    old = age(group)
    if old.flipped and (names := keras1_weights.aligned_otherwise(model)):
        warnings.warn(
            "The file was written on Theano, which places windows of padding='same' elsewhere: "
            f"the outputs of these layers differ somewhat. Received: {names}.",
            stacklevel=5,
        )
    for layer, name in pairs(group, model, skip_mismatch, by_name or old.by_name(group, model)):
        what = f'layer "{layer.name}"'
        if old:
            made, problem = _old_plan(group, name, layer, old, what)
        else:
            made, problem = _layer_plan(group, name, legacy_weights(layer), what)
        found += made
        problems += problem
    if hdf5.find(group, TOP_LEVEL) is not None and not by_name:
        made, problem = _layer_plan(group, TOP_LEVEL, top_level(model), "the model itself")
        found += made
        problems += problem
    report(problems, skip_mismatch)
    return found


def pairs(group: Any, model: Model, skip: bool, by_name: bool) -> list[tuple[Any, str]]:
    """(layer, name of its group) for all layers that have weights."""
    listed = _layer_names(group)
    stored = [n for n in listed if weight_names(group, n)]
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


def is_root(group: Any) -> bool:
    """Whether a group holds layers in this layout."""
    return hdf5.has_attribute(group, "layer_names") or "nb_layers" in group.attrs


def _layer_names(group: Any) -> list[str]:
    """The layers' names; Keras 0 and 1.0 number them."""
    if "nb_layers" in group.attrs:
        return _numbered("layer_", group)
    return hdf5.read_names(group, "layer_names")


def weight_names(group: Any, layer: str) -> list[str]:
    """The names of a layer's arrays, in their order."""
    inner = hdf5.child(group, layer, "group")
    if "nb_params" in inner.attrs:
        return _numbered("param_", inner)
    return hdf5.read_names(inner, "weight_names")


def _numbered(start: str, group: Any) -> list[str]:
    """start0, start1, ... as far as they are there."""
    names = (f"{start}{number}" for number in range(len(group)))
    return list(itertools.takewhile(lambda name: hdf5.find(group, name) is not None, names))


class Old(NamedTuple):
    """What has to be done with arrays of a file; false for one of today's layout."""

    keras_1: bool = False
    flipped: bool = False

    def __bool__(self) -> bool:
        return self.keras_1 or self.flipped

    def by_name(self, group: Any, model: Model) -> bool:
        """Whether layers go by name: Keras 1 listed those of merged stacks in another order."""
        stored = {n for n in _layer_names(group) if self.keras_1 and weight_names(group, n)}
        return bool(stored) and stored == {layer.name for layer in model.layers if layer.weights}


def age(group: Any) -> Old:
    """What has to be done with a file's arrays, by the versions and names in it."""
    version, backend = (_noted(group, key) for key in ("keras_version", "backend"))
    if version is None or version.startswith(("0.", "1.")):
        names = [n for layer in _layer_names(group) for n in weight_names(group, layer)]
        return Old(True, keras1_weights.is_of_theano(names, backend))
    return Old(False, backend == "theano" and version.startswith("2."))


def _noted(group: Any, key: str) -> str | None:
    """A text that stands at the group, or at the file."""
    owner = next((g for g in (group, group.file) if key in g.attrs), None)
    return None if owner is None else hdf5.read_text(owner, key)


def _old_plan(group: Any, name: str, layer: Layer, old: Old, what: str) -> tuple[Plan, list[str]]:
    """As _layer_plan, for arrays that are laid out in another way."""
    inner, variables = hdf5.child(group, name, "group"), legacy_weights(layer)
    names = weight_names(group, name)
    shapes = [hdf5.child(inner, n, "dataset").shape for n in names]
    stored = [(n, hdf5.read_array(inner, n, s)) for n, s in zip(names, shapes, strict=True)]
    try:
        arrays = keras1_weights.modern_arrays(layer, stored, *old)
    except FileError as error:
        return [], [str(error)]
    if len(arrays) != len(variables):
        return [], [f"{what} has {len(variables)} weights, the file {len(names)} for it"]
    pairs = list(zip(variables, arrays, strict=True))
    problems = [
        f"{v.path} has shape {v.shape}, in the file {a.shape}"
        for v, a in pairs
        if v.shape != a.shape
    ]
    return [(v, a) for v, a in pairs if v.shape == a.shape], problems


def _layer_plan(group: Any, name: str, variables: list[Any], what: str) -> tuple[Plan, list[str]]:
    inner = hdf5.child(group, name, "group")
    names = weight_names(group, name)
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
