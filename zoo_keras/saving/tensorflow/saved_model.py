"""Folders of SavedModels: by the configuration that tf-keras left in them, or else by their graph.

In: a folder. Out: a model. A configuration brings the layers and the training state; without one,
as in what Keras 3 exports, the graph of a signature becomes a functional model.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

from zoo_keras.errors import FileError
from zoo_keras.models.model import Model
from zoo_keras.saving import config_json, layer_groups
from zoo_keras.saving import protobuf as pb
from zoo_keras.saving.legacy import modern_config
from zoo_keras.saving.legacy_training import modern_training_config, optimizer_order
from zoo_keras.saving.onnx import model_file
from zoo_keras.saving.onnx.graph import labelled
from zoo_keras.saving.precision import in_own_precision
from zoo_keras.saving.tensorflow import messages
from zoo_keras.saving.tensorflow.flat import Flattener, restored
from zoo_keras.saving.tensorflow.graph import model_of
from zoo_keras.saving.tensorflow.messages import Port, Saved
from zoo_keras.saving.tensorflow.table import DTYPES, Checkpoint, mapped
from zoo_keras.saving.tfjs import named_variables

GRAPH, METADATA = "saved_model.pb", "keras_metadata.pb"
_SIGNATURES = ("serve", "serving_default")
_TRAINING = ("optimizer", "keras_api")
_CHECKPOINT = "_CHECKPOINTABLE_OBJECT_GRAPH"


def is_saved_model(path: str) -> bool:
    """Whether a path is the folder of one."""
    return os.path.isfile(os.path.join(path, GRAPH))


def load(path: str, custom_objects: Any, compile: bool, safe_mode: bool) -> Any:
    """The model of a folder, which messages call by its path."""
    with labelled(path):
        saved = messages.saved(mapped(os.path.join(path, GRAPH)))
        checkpoint = Checkpoint(os.path.join(path, "variables", "variables"))
        told = _told(path, saved)
        if not told:
            return _of_graph(path, saved, checkpoint)
    with config_json.custom_names(custom_objects, safe_mode), config_json.reading(path):
        return _of_config(path, told, checkpoint, compile, checkpoint.numbers())


# ---- by the graph --------------------------------------------------------------------------------


def _of_graph(path: str, saved: Saved, checkpoint: Checkpoint) -> Model:
    name = next((n for n in _SIGNATURES if n in saved.signatures), None)
    if name is None:
        raise FileError(
            f"there is no signature to predict with. Received: {sorted(saved.signatures)}. Export "
            "the model again, or save it as .keras."
        )
    keys = restored(saved.graph, saved.library, saved.restore)
    flat = Flattener(saved.library, lambda v: checkpoint.array(keys[v]) if v in keys else None)
    inputs, outputs = ([*sorted(ports, key=_natural)] for ports in saved.signatures[name])
    ends = flat.add(saved.graph, [port.tensor for port in outputs], {})
    starts = [(_whole(port.tensor), _named(port)) for port in inputs]
    stem = re.sub(r"\W+", "_", os.path.basename(os.path.realpath(path))) or "model"
    return model_of(flat.flat, starts, ends, stem)


def _natural(port: Port) -> list[Any]:
    """A key that sorts output_10 behind output_9."""
    parts = re.split(r"(\d+)", port.name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)]


def _whole(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _named(port: Port) -> model_file.Port:
    return model_file.Port(port.name, DTYPES.get(port.dtype, "unknown"), port.shape)


# ---- by the configuration ------------------------------------------------------------------------


def _told(path: str, saved: Saved) -> dict[str, Any]:
    """What tf-keras says of the model; empty when it says nothing."""
    beside = os.path.join(path, METADATA)
    if os.path.isfile(beside):
        rows = pb.messages(pb.fields(mapped(beside)), 1)
        texts = [pb.text(row, 5) for row in rows if pb.text(row, 3) == "root"]
    else:  # up to TensorFlow 2.4
        node: pb.Fields = next(pb.messages(saved.objects, 1), {})
        texts = [pb.text(pb.message(node, 4), 3)]
    found = config_json.parse(texts[0], path, METADATA) if texts and texts[0] else {}
    has_config = isinstance(found, dict) and isinstance(found.get("config"), dict)
    return found if has_config and found.get("class_name") else {}


def _of_config(
    path: str, told: dict[str, Any], checkpoint: Checkpoint, compile: bool, numbers: int
) -> Any:
    told = in_own_precision(_plain(told), path)
    config = modern_config({"class_name": told["class_name"], "config": told["config"]}, 2)
    training = told.get("training_config") if compile else None
    training = modern_training_config(training) if isinstance(training, dict) else {}
    config_json.check_names(config, training)
    model = config_json.make_model(config, numbers)
    stored = _Objects(checkpoint)
    plan = _plan(checkpoint, model, stored)
    if training:
        model.compile(**{k: config_json.make(v) for k, v in training.items()})
        model.optimizer.build(model.trainable_variables)
        plan += _optimizer_plan(path, model.optimizer, checkpoint, stored)
    layer_groups.assign(plan)
    return model


def _plain(value: Any) -> Any:
    """A configuration with lists for what tf-keras marks as tuples and shapes."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
        return _plain(value["items"])
    return {k: _plain(v) for k, v in value.items()}


def _in_order(model: Any) -> list[Any]:
    """Variables of a model as tf-keras lists them: layer by layer, also in models within it."""
    found: dict[int, Any] = {}
    for layer in model.layers:
        inner = _in_order(layer) if isinstance(layer, Model) else layer_groups.legacy_weights(layer)
        found.update((id(v), v) for v in inner)
    return list(found.values())


def _plan(checkpoint: Checkpoint, model: Any, stored: _Objects) -> layer_groups.Plan:
    """The stored array for each variable: by the list of all, or by names where it is not kept."""
    rows = stored.listed("variables")
    variables: list[Any] | None = _in_order(model)
    if not rows:  # saved without traces
        rows = stored.below(0)
        variables = named_variables(model, [name for name, _ in rows])
    arrays = [checkpoint.array(key) for _, key in rows]
    shapes = [a.shape for a in arrays], [v.shape for v in variables or ()]
    if shapes[0] != shapes[1] or len(arrays) != len(model.weights):
        raise FileError(
            f"the weights do not fit the layers. Received: shapes {shapes[0][:8]} for "
            f"{shapes[1][:8]}. The folder is damaged, or made of layers of your own."
        )
    return list(zip(variables or (), arrays, strict=True))


class _Objects:
    """The objects of a checkpoint by their numbers: children by name, and the array of each."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.nodes = list(pb.messages(pb.fields(checkpoint.text(_CHECKPOINT)), 1))

    def children(self, number: int) -> dict[str, int]:
        """Name -> number of an object's children."""
        if not 0 <= number < len(self.nodes):
            raise FileError(
                f"the checkpoint has {len(self.nodes)} objects. Received: number {number}. It is "
                "damaged."
            )
        rows = pb.messages(self.nodes[number], 1)
        return {pb.text(row, 2): pb.integer(row, 1) for row in rows}

    def listed(self, *path: str) -> list[tuple[str, str]]:
        """(name, key) of the arrays in the list that a path leads to from the root, in order."""
        number = self.find(*path)
        if number is None:
            return []
        inner = self.children(number)
        order = sorted((k for k in inner if k.isdigit()), key=int)
        return [found for k in order if (found := self.array(inner[k]))]

    def find(self, *path: str) -> int | None:
        """The number of the object at a path from the root."""
        number: int | None = 0
        for name in path:
            number = None if number is None else self.children(number).get(name)
        return number

    def below(self, number: int) -> list[tuple[str, str]]:
        """(name, key) of all arrays in and below an object, but those of the training state."""
        found: dict[int, tuple[str, str] | None] = {}
        waiting = [number]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found[number] = self.array(number)
                inner = self.children(number)
                waiting += [n for name, n in inner.items() if name not in _TRAINING]
        return [row for row in found.values() if row is not None]

    def array(self, number: int | None) -> tuple[str, str] | None:
        """(name, key) of an object's array."""
        if number is None or not 0 <= number < len(self.nodes):
            return None
        row = next(pb.messages(self.nodes[number], 2), None)
        return None if row is None else (pb.text(row, 2), pb.text(row, 3))


def _optimizer_plan(
    path: str, optimizer: Any, checkpoint: Checkpoint, stored: _Objects
) -> layer_groups.Plan:
    """The stored array for each variable of the optimizer; none when they do not fit."""
    rows = stored.listed("optimizer", "_variables")
    if not rows:
        return []
    order = optimizer_order([f"{name}:0" for name, _ in rows], optimizer) or []
    pairs = [(v, key) for v, (_, key) in zip(order, rows, strict=False) if v is not None]
    plan = [(v, checkpoint.array(key)) for v, key in pairs]
    if not plan or any(a.shape != v.shape for v, a in plan):
        warnings.warn(
            f"{path}: the stored optimizer state ({len(rows)} arrays) does not fit the optimizer "
            f"{optimizer.name}, which starts afresh.",
            stacklevel=5,
        )
        return []
    return plan
