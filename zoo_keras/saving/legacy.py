"""Configurations of older Keras versions -> those of Keras 3, which everything else reads.

In: the JSON of a file written by Keras 2 (or by Keras 3 in its `.h5` form). Out: the same model in
Keras 3's layout: modules named, InputLayers explicit, calls as args and kwargs, unknown keys gone.
"""

from __future__ import annotations

import inspect
from typing import Any

from zoo_keras.errors import FileError, UnsupportedError

FAMILIES = ("layers", "initializers", "regularizers", "constraints", "optimizers", "losses",
            "metrics")  # fmt: skip
RENAMED_CLASSES = {"Model": "Functional", "BatchNormalizationV1": "BatchNormalization",
                   "BatchNormalizationV2": "BatchNormalization"}  # fmt: skip
# (class, old key) -> new key; None drops the key
RENAMED_KEYS = {
    ("LeakyReLU", "alpha"): "negative_slope",
    ("InputLayer", "batch_input_shape"): "batch_shape",
}
MODULES = {"Sequential": "keras", "Functional": "keras.src.models.functional"}


def modern_config(config: Any, version: int) -> Any:
    """A model configuration in Keras 3's layout.

    Args:
        version: major version of the Keras that wrote the file.
    """
    if version < 2 and not _has_module(config):
        raise UnsupportedError(
            "Files of Keras 1 are not supported. Received: keras_version 1. Load the file with "
            "Keras 2.2 and save it again."
        )
    return _object(config)


def _has_module(config: Any) -> bool:
    return isinstance(config, dict) and "module" in config


def _object(value: Any) -> Any:
    """Any part of a configuration."""
    if isinstance(value, list):
        return [_object(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value or "config" not in value:
        return {k: _object(v) for k, v in value.items()}
    name = RENAMED_CLASSES.get(value["class_name"], str(value["class_name"]))
    if name.startswith("__"):
        return value
    if name in MODULES:
        return _model(name, value)
    found = dict(value, class_name=name)
    if "module" not in found:
        found.update(module=_module(name), registered_name=None if _module(name) else name)
        found["config"] = _known_keys(name, found["config"])
    found["config"] = _object(found["config"])
    return found


def _model(name: str, value: dict[str, Any]) -> dict[str, Any]:
    inner = value["config"]
    if isinstance(inner, list):  # Sequential up to Keras 2.2.2
        inner = {"name": "sequential", "layers": inner}
    inner = dict(inner)
    if not isinstance(inner.get("layers"), list):
        raise FileError(
            f"The configuration of a {name} model holds no list of layers. Received: "
            f"{type(inner.get('layers')).__name__}. The file is damaged."
        )
    if name == "Sequential":
        inner["layers"] = _sequential_layers(inner["layers"])
    else:
        inner["layers"] = [_functional_layer(layer) for layer in inner["layers"]]
    found = {k: v for k, v in value.items() if k not in ("class_name", "config")}
    registered = "Functional" if name == "Functional" else None
    return {**found, "module": MODULES[name], "class_name": name, "config": inner,
            "registered_name": registered}  # fmt: skip


def _sequential_layers(layers: list[Any]) -> list[Any]:
    """Layers with the InputLayer that older files leave to the first layer's config."""
    made = []
    for i, layer in enumerate(layers):
        config = layer.get("config", {})
        shape = config.get("batch_input_shape") if isinstance(config, dict) else None
        if i == 0 and shape and layer["class_name"] not in ("InputLayer", *MODULES):
            entry = {"batch_shape": shape, "dtype": _plain(config.get("dtype")),
                     "name": f"{config.get('name', 'first')}_input"}  # fmt: skip
            made.append({"module": "keras.layers", "class_name": "InputLayer", "config": entry,
                         "registered_name": None})  # fmt: skip
        made.append(_object(layer))
    return made


def _plain(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else "float32"


def _functional_layer(layer: dict[str, Any]) -> dict[str, Any]:
    found = _object({k: v for k, v in layer.items() if k != "inbound_nodes"})
    found["name"] = layer.get("name") or layer["config"]["name"]
    found["inbound_nodes"] = [_call(node) for node in layer.get("inbound_nodes", [])]
    return found


def _call(node: Any) -> dict[str, Any]:
    """One call: Keras 2 lists [layer, call, output, kwargs] for every input tensor."""
    if isinstance(node, dict):
        return node
    items = [node] if node and isinstance(node[0], str) else node
    tensors = [_tensor(item) for item in items]
    kwargs = items[0][3] if items and len(items[0]) > 3 else {}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors],
            "kwargs": {k: v for k, v in (kwargs or {}).items() if k != "training"}}  # fmt: skip


def _tensor(item: list[Any]) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(item[:3])}}


def _module(name: str) -> str | None:
    """keras.<family> of a built-in class, None for a custom one."""
    return next((f"keras.{f}" for f in FAMILIES if _builtin(f, name) is not None), None)


def _builtin(family: str, name: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(f"zoo_keras.{family}"), name, None)
    except (UnsupportedError, AttributeError):
        return None


def _known_keys(name: str, config: Any) -> Any:
    """The config with old keys renamed, and keys dropped that the class does not take."""
    if not isinstance(config, dict):
        return config
    renamed = {RENAMED_KEYS.get((name, k), k): v for k, v in config.items()}
    if name == "BatchNormalization" and isinstance(renamed.get("axis"), list):
        renamed["axis"] = renamed["axis"][0]
    module = _module(name)
    if module is None:
        return renamed
    cls = _builtin(module.split(".")[1], name)
    accepted = set(inspect.signature(cls.__init__).parameters) | {"name", "trainable", "dtype"}
    if module != "keras.layers":
        accepted -= {"trainable"} - set(inspect.signature(cls.__init__).parameters)
    return {k: v for k, v in renamed.items() if k in accepted}


def modern_training_config(config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of compile from the `training_config` of an `.h5` file."""
    metrics = config.get("metrics")
    found = {
        "optimizer": _optimizer(config.get("optimizer_config")),
        "loss": _object(config.get("loss")),
        "metrics": _metrics(metrics),
        "loss_weights": config.get("loss_weights"),
        "weighted_metrics": _metrics(config.get("weighted_metrics")),
    }
    return {k: v for k, v in found.items() if v is not None}


def _optimizer(config: Any) -> Any:
    if not isinstance(config, dict) or "module" in config:
        return config
    inner = dict(config["config"])
    if "lr" in inner:
        inner["learning_rate"] = inner.pop("lr")
    decay = inner.pop("decay", None)
    if decay:
        inner["learning_rate"] = {
            "module": "keras.optimizers.schedules", "class_name": "InverseTimeDecay",
            "config": {"initial_learning_rate": inner["learning_rate"], "decay_steps": 1,
                       "decay_rate": decay}, "registered_name": None,
        }  # fmt: skip
    return _object({"class_name": config["class_name"], "config": inner})


def _metrics(metrics: Any) -> Any:
    if isinstance(metrics, dict):
        if "class_name" in metrics:
            return _metric(metrics)
        return {k: _metrics(v) for k, v in metrics.items()}
    if isinstance(metrics, list):
        inner = [_metrics(m) for m in metrics]
        return inner[0] if len(inner) == 1 and isinstance(inner[0], list) else inner
    return metrics


def _metric(config: dict[str, Any]) -> Any:
    """Keras 2 wraps named metrics; the name of the function is enough."""
    inner = config["config"]
    if config["class_name"] == "MeanMetricWrapper" and isinstance(inner.get("fn"), str):
        named = inner.get("name")
        return named if named in ("accuracy", "acc") else inner["fn"]
    return _object(config)
