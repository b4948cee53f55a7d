"""Whole models in the `.h5` layout of Keras 2 and 3.

In: a model, or a file. Out: the file, or the model. The architecture is the JSON attribute
`model_config`, the training state `training_config` and the group `optimizer_weights`.
"""

from __future__ import annotations

import json
import warnings
from typing import Any, NamedTuple

from zoo_keras.configs.serialization import serialize_keras_object
from zoo_keras.errors import FileError
from zoo_keras.models.model import Model
from zoo_keras.saving import config_json, hdf5, int8_layers, layer_groups, slots_by_order
from zoo_keras.saving.layer_groups import KERAS_VERSION, Plan
from zoo_keras.saving.legacy import modern_config
from zoo_keras.saving.legacy_training import modern_training_config, optimizer_order
from zoo_keras.saving.precision import in_own_precision
from zoo_keras.saving.weights_tree import NEVER_TRAINED, seed_generators

# Seeds of Dropout and the like have no place in Keras' layout; Keras passes over this group.
SEEDS = "seed_generators"


def save(model: Model, path: str, include_optimizer: bool = True) -> None:
    """Write architecture, weights and training state."""

    with hdf5.open_for_writing(path) as file:
        file.attrs["keras_version"] = KERAS_VERSION
        file.attrs["backend"] = "tensorflow"
        config = serialize_keras_object(model)
        config.pop("compile_config", None)  # it goes into training_config
        file.attrs["model_config"] = json.dumps(config)
        layer_groups.write(file.create_group("model_weights"), model)
        int8_layers.write(model, file)
        _write_seeds(file, model)
        if include_optimizer and model.compiled:
            _write_training(file, model)


def _write_training(file: Any, model: Model) -> None:
    config = dict(model.get_compile_config())
    config["optimizer_config"] = config.pop("optimizer")
    config["loss"] = _full_names(config["loss"])
    file.attrs["training_config"] = json.dumps(config)
    if model.optimizer.built:
        group = file.create_group("optimizer_weights")
        layer_groups.write_arrays(group, model.optimizer.variables)


def _full_names(loss: Any) -> Any:
    """Names such as "mse" in full: real Keras does not know the short ones in `.h5` files."""
    from zoo_keras import losses

    if isinstance(loss, str):
        return getattr(losses.get(loss), "__name__", loss)
    if isinstance(loss, dict) and "class_name" not in loss:
        return {k: _full_names(v) for k, v in loss.items()}
    return [_full_names(v) for v in loss] if isinstance(loss, list) else loss


def _write_seeds(file: Any, model: Model) -> None:
    for path, generator in seed_generators(model):
        file.require_group(SEEDS)[path] = generator.state.numpy()


# ---- loading -------------------------------------------------------------------------------------


class _Texts(NamedTuple):
    """What an `.h5` file says of its model in JSON, the major version of its Keras, and how many
    numbers it holds."""

    model: str
    training: str | None
    version: int
    numbers: int


def load(path: str, label: str, custom_objects: Any, compile: bool, safe_mode: bool) -> Any:
    """The model of an `.h5` file. `label` is what messages call the file."""
    texts = _read_texts(path, label)
    config = config_json.parse(texts.model, label, "model_config")
    training = config_json.parse(texts.training or "null", label, "training_config")
    with config_json.custom_names(custom_objects, safe_mode), config_json.reading(label):
        config, training = in_own_precision([config, training], label)
        config = modern_config(config, texts.version)
        training = modern_training_config(training) if training and compile else {}
        config_json.check_names(config, training)
        model = config_json.make_model(config, texts.numbers)
        if training:
            model.compile(**{k: config_json.make(v) for k, v in training.items()})
            model.optimizer.build(model.trainable_variables)
    with hdf5.open_for_reading(path, label) as file:
        int8_layers.restore(model, file, label)
        plan = layer_groups.plan(hdf5.child(file, "model_weights", "group"), model)
        plan += _seeds_plan(file, model)
        if training and hdf5.find(file, "optimizer_weights") is not None:
            plan += _optimizer_plan(file, model, label)
    layer_groups.assign(plan)
    return model


def _read_texts(path: str, label: str) -> _Texts:
    with hdf5.open_for_reading(path, label) as file:
        if "model_config" not in file.attrs:
            kind = "no Keras model"
            if layer_groups.is_root(file) or any(map(file.__contains__, _TREE)):
                kind = "only weights"
            raise FileError(
                f"the file holds {kind}: there is no `model_config`. Received: attributes "
                f"{sorted(file.attrs)[:8]}. Build the model in code and use "
                "model.load_weights(path)."
            )
        given = "training_config" in file.attrs
        return _Texts(
            hdf5.read_text(file, "model_config"),
            hdf5.read_text(file, "training_config") if given else None,
            _version(file),
            hdf5.count_numbers(file),
        )


_TREE = ("layers", "vars", "_layer_checkpoint_dependencies")


def _version(file: Any) -> int:
    found = hdf5.read_text(file, "keras_version") if "keras_version" in file.attrs else "1"
    return int(found.split(".")[0]) if found[:1].isdigit() else 1


def _seeds_plan(file: Any, model: Model) -> Plan:
    group = hdf5.find(file, SEEDS)
    generators = [] if group is None else seed_generators(model)
    return [
        (generator.state, hdf5.read_array(group, path, (2,)))
        for path, generator in generators
        if hdf5.find(group, path) is not None
    ]


def _optimizer_plan(file: Any, model: Model, label: str) -> Plan:
    optimizer = model.optimizer
    group = hdf5.child(file, "optimizer_weights", "group")
    names = hdf5.read_names(group, "weight_names")
    order = optimizer_order(names, optimizer) or []
    if all(v is None for v in order) and (plan := slots_by_order.plan(file, model, names)):
        return plan
    shapes = [hdf5.child(group, n, "dataset").shape for n in names]
    if not order and len(names) <= NEVER_TRAINED and not any(shapes):
        return []
    pairs = [(v, n) for v, n in zip(order, names, strict=False) if v is not None]
    if not pairs or any(hdf5.child(group, n, "dataset").shape != v.shape for v, n in pairs):
        warnings.warn(
            f"{label}: the stored optimizer state ({len(names)} arrays) does not fit the optimizer "
            f"{optimizer.name}, which starts afresh.",
            stacklevel=5,
        )
        return []
    return [(v, hdf5.read_array(group, n, v.shape)) for v, n in pairs]
