"""Optimizer state whose arrays have names that say nothing, as Keras 1 to 2.2 wrote it.

In: an `.h5` file of a whole model. Out: the array for each slot, or None when they do not fit. The
arrays go slot by slot through the trained weights: in the model's order, in Keras 1 by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.models.model import Model
from zoo_keras.saving import hdf5, keras1_weights, layer_groups
from zoo_keras.saving.layer_groups import Plan

_SLOTS = {
    "SGD": ("momentum",), "RMSprop": ("velocity",), "Adagrad": ("accumulator",),
    "Adadelta": ("accumulated_grad", "accumulated_delta_var"), "Adam": ("momentum", "velocity"),
    "Adamax": ("momentum", "norm"),
}  # fmt: skip


def plan(file: Any, model: Model, names: Sequence[str]) -> Plan | None:
    """(variable, array) for all slots and the number of steps."""
    optimizer = model.optimizer
    slots = _SLOTS.get(type(optimizer).__name__)
    group = hdf5.child(file, "model_weights", "group")
    old = layer_groups.age(group)
    if slots is None or old.flipped:  # Theano sorted by names that are not in the file
        return None
    stored = hdf5.child(file, "optimizer_weights", "group")
    arrays = [_array(stored, name) for name in names]
    found: Plan = []
    if arrays and arrays[0].shape == ():
        found.append((optimizer.steps_done, arrays.pop(0)))
    layers = [(layer, _trained(group, layer, name)) for layer, name in _pairs(group, model)]
    order = [name for _, trained in layers for name in trained]
    order = sorted(order) if old.keras_1 else order
    if len(set(order)) != len(order) or len(arrays) < len(slots) * len(order):
        return None
    for number, slot in enumerate(slots):
        part = arrays[number * len(order) : (number + 1) * len(order)]
        by_name = dict(zip(order, part, strict=True))
        made = [_modern(layer, [(n, by_name[n]) for n in names], old) for layer, names in layers]
        found += _fitting(optimizer, slot, layers, made)
    return found if all(v.shape == a.shape for v, a in found) else None


def _array(group: Any, name: str) -> np.ndarray:
    return hdf5.read_array(group, name, hdf5.child(group, name, "dataset").shape)


def _pairs(group: Any, model: Model) -> list[tuple[Any, str]]:
    by_name = layer_groups.age(group).by_name(group, model)
    return layer_groups.pairs(group, model, False, by_name)


def _trained(group: Any, layer: Any, name: str) -> list[str]:
    """The stored names of the layer's trained weights, which come first."""
    names = layer_groups.weight_names(group, name)
    return names[: len(names) - len(layer.non_trainable_weights)]


def _modern(layer: Any, stored: list[tuple[str, np.ndarray]], old: Any) -> list[np.ndarray]:
    if not layer.trainable_weights:
        return []
    return keras1_weights.modern_arrays(layer, stored, old.keras_1, False, trained_only=True)


def _fitting(optimizer: Any, slot: str, layers: Any, made: list[list[np.ndarray]]) -> Plan:
    """(variable, array) for one slot; nothing when the optimizer goes without it."""
    variables = optimizer.slots().get(slot)
    if variables is None:
        return []
    weights = [w for layer, _ in layers for w in layer.trainable_weights]
    place = {id(w): i for i, w in enumerate(optimizer._trainable_variables)}
    arrays = [array for part in made for array in part]
    if len(arrays) != len(weights):
        return [(variables[0], np.zeros(0))]  # does not fit
    pairs = zip(weights, arrays, strict=True)
    return [(variables[place[id(w)]], array) for w, array in pairs if id(w) in place]
