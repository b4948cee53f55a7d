"""Model configurations of older Keras versions -> those of Keras 3, which everything else reads.

In: the JSON of a file written by Keras 1 or 2 (or by Keras 3 in its `.h5` form). Out: the model in
Keras 3's layout: modules named, InputLayers explicit, calls as args and kwargs, unknown keys gone.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.layers.base.op_names import op_function
from zoo_keras.paths import RENAMED
from zoo_keras.saving import keras1, keras2

FAMILIES = ("layers", "initializers", "regularizers", "constraints", "optimizers",
            "optimizers.schedules", "losses", "metrics", "applications.convnext",
            "applications.inception_resnet_v2")  # fmt: skip
RENAMED_CLASSES = {"Model": "Functional", "BatchNormalizationV1": "BatchNormalization",
                   "BatchNormalizationV2": "BatchNormalization", "ThresholdedReLU": "ReLU",
                   "UnifiedLSTM": "LSTM", "UnifiedGRU": "GRU",
                   "GroupedQueryAttention": "GroupQueryAttention"}  # fmt: skip
RENAMED_KEYS = {
    ("LeakyReLU", "alpha"): "negative_slope",
    ("InputLayer", "batch_input_shape"): "batch_shape",
    ("ReLU", "theta"): "threshold",
    # Layers of preprocessing while they were experimental, up to Keras 2.5.
    ("CategoryEncoding", "max_tokens"): "num_tokens",
    ("Discretization", "bins"): "bin_boundaries",
    ("IntegerLookup", "max_values"): "max_tokens",
    ("IntegerLookup", "mask_value"): "mask_token",
    ("IntegerLookup", "oov_value"): "oov_token",
}
_OLD_OUTPUTS = {"binary": "multi_hot", "tf-idf": "tf_idf"}
# Arguments of layers that Keras 3 has no more and that change no result.
HARMLESS = frozenset(
    "batch_input_shape input_dtype input_length input_shape fused virtual_batch_size fn "
    "implementation quantization_config optional sparse ragged query_shape key_shape value_shape "
    "trainable vocabulary_size".split()
)
# Arguments that Keras 2 inherits for these layers and does not read.
UNREAD = {
    name: frozenset(("kernel_initializer", "kernel_regularizer", "kernel_constraint"))
    for name in ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
}
MODULES = {"Sequential": "keras", "Functional": "keras.src.models.functional"}


def modern_config(config: Any, version: int) -> Any:
    """A model configuration in Keras 3's layout.

    Args:
        version: major version of the Keras that wrote the file.

    Raises ConfigError for what does not describe a model.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ConfigError(
            f"The configuration describes no model. Received: {str(config)[:80]!r}. Pass what "
            "to_json() of a model, or a file of Keras, holds."
        )
    if version < 2 and keras1.is_keras_1(config):
        config = keras1.as_keras_2(config)
    if version < 3:
        config = keras2.with_old_defaults(keras2.without_modules(config))
    modern = modern_object(config)
    return keras2.with_old_meaning(modern) if version < 3 else modern


def version_of(config: Any) -> int:
    """The major version of the Keras that gave a model as JSON or YAML; Keras 3 does not say."""
    if keras1.is_keras_1(config):
        return 1
    version = config.get("keras_version") if isinstance(config, dict) else None
    return 2 if str(version).startswith("2.") else 3


def modern_object(value: Any, key: str = "") -> Any:
    """Any part of a configuration in Keras 3's layout. `key` is the name that it has there."""
    if isinstance(value, list):
        return [modern_object(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"type", "value"}:  # a number that Keras up to 2.2 held in an array
        return value["value"]
    if not isinstance(value.get("class_name"), str) or "config" not in value:
        return {k: modern_object(v, k) for k, v in value.items()}
    name: str = RENAMED_CLASSES.get(value["class_name"]) or value["class_name"]
    if name.startswith("__"):
        return value
    if name in ("Policy", "PolicyV1"):
        return value["config"]["name"]
    if _holds_layers(value["config"], name):
        return _model(name, value)
    found = dict(value, class_name=name)
    if "module" not in found:
        found = _with_module(found, key)
    found["config"] = modern_object(found["config"])
    return found


def _holds_layers(config: Any, name: str) -> bool:
    if isinstance(config, dict):
        layers = config.get("layers")
        return name in MODULES or (isinstance(layers, list) and "input_layers" in config)
    return name == "Sequential" and isinstance(config, list)


def _with_module(found: dict[str, Any], key: str) -> dict[str, Any]:
    name = found["class_name"].removeprefix("Custom>")  # Keras 2.11 called its own Adam so
    module = module_of(name, key)
    if name == "Lambda":
        found["config"] = keras2.lambda_config(found["config"])
    if module is None:
        return {**found, "module": None, "registered_name": found["class_name"]}
    config = _known_keys(name, module, found["config"])
    return {**found, "class_name": name, "module": module, "registered_name": None,
            "config": config}  # fmt: skip


# ---- models --------------------------------------------------------------------------------------


def _model(name: str, value: dict[str, Any]) -> dict[str, Any]:
    inner = value["config"]
    if isinstance(inner, list):  # Sequential up to Keras 2.2.2
        inner = {"layers": inner}
    if not isinstance(inner.get("layers"), list):
        raise ConfigError(
            f"The configuration of a {name} model holds no list of layers. Received: "
            f"{type(inner.get('layers')).__name__}. The file is damaged."
        )
    is_stack = name == "Sequential" or "input_layers" not in inner
    inner = {**inner, "layers": (_stack if is_stack else _graph)(inner["layers"])}
    if not is_stack:
        keras2.renumber_calls(inner)
    known = {"module": MODULES.get(name), "registered_name": None if is_stack else name}
    return {**known, **value, "class_name": name, "config": inner}


def _stack(layers: list[Any]) -> list[Any]:
    """Layers with the InputLayer that older files leave to the first layer's config."""
    made = [modern_object(layer) for layer in layers]
    config = _first(layers)
    shape = config.get("batch_input_shape")
    if shape and layers[0]["class_name"] != "InputLayer":
        dtype = config.get("input_dtype") or config.get("dtype")
        entry = {"batch_shape": shape, "dtype": dtype if isinstance(dtype, str) else "float32",
                 "name": f"{config.get('name', 'first')}_input"}  # fmt: skip
        made.insert(0, {"module": "keras.layers", "class_name": "InputLayer", "config": entry,
                        "registered_name": None})  # fmt: skip
    return made


def _first(layers: list[Any]) -> dict[str, Any]:
    """The configuration of the first layer, or of the first one in it when that is a stack."""
    config = layers[0]["config"] if layers else {}
    if isinstance(config, dict) and "input_layers" not in config and "layers" in config:
        config = config["layers"]
    if isinstance(config, list):
        return _first(config)
    return config if isinstance(config, dict) else {}


def _graph(layers: list[Any]) -> list[Any]:
    names = {layer.get("name") or layer["config"]["name"] for layer in layers}
    return [_graph_layer(layer, names) for layer in layers]


def _graph_layer(layer: dict[str, Any], names: set[str]) -> dict[str, Any]:
    rest = {k: v for k, v in layer.items() if k not in ("inbound_nodes", "name")}
    if layer["class_name"] in keras2.ATTENTION:  # `causal` moves into the calls
        rest["config"] = {k: v for k, v in rest["config"].items() if k != "causal"}
    found: dict[str, Any] = _op(rest) if _is_op(rest) else modern_object(rest)
    found["name"] = layer.get("name") or layer["config"]["name"]
    if isinstance(layer["config"], list):  # a Sequential up to Keras 2.2.2 does not tell its own
        found["config"] = {"name": found["name"], **found["config"]}
    calls = layer.get("inbound_nodes", [])
    found["inbound_nodes"] = [
        call if isinstance(call, dict) else keras2.modern_layer_call(layer, call, names)
        for call in calls
    ]
    return found


def _is_op(layer: dict[str, Any]) -> bool:
    """Whether a graph's entry is an op: Keras 3 writes `x + y` into .h5 as "Add" without module."""
    config = layer.get("config")
    plain = isinstance(config, dict) and "trainable" not in config and "dtype" not in config
    return plain and "module" not in layer and op_function(layer["class_name"]) is not None


def _op(layer: dict[str, Any]) -> dict[str, Any]:
    return {**layer, "module": "keras.src.ops", "registered_name": layer["class_name"]}


# ---- classes and their arguments -----------------------------------------------------------------


def module_of(name: str, key: str = "") -> str | None:
    """keras.<family> of a built-in class, None for a custom one. There is a layer Identity and an
    initializer; a key such as `kernel_initializer` tells which."""
    told = (f for f in FAMILIES if key.endswith(f.removesuffix("s")))
    return next((f"keras.{f}" for f in (*told, *FAMILIES) if _class(f"keras.{f}", name)), None)


def _class(module: str, name: str) -> Any:
    family = importlib.import_module(module.replace("keras", "zoo_keras", 1))
    found = getattr(family, name, None)
    own = isinstance(found, type) and f"{module.partition('.')[2]}.{name}" not in RENAMED
    return found if own else None


def _known_keys(name: str, module: str, config: Any) -> Any:
    """The config with old keys renamed, and keys dropped that the class does not take."""
    if not isinstance(config, dict):
        return config
    renamed = {RENAMED_KEYS.get((name, k)) or k: v for k, v in config.items()}
    if name == "BatchNormalization" and isinstance(renamed.get("axis"), list):
        renamed["axis"] = renamed["axis"][0]
    if renamed.get("output_mode") in _OLD_OUTPUTS:
        renamed["output_mode"] = _OLD_OUTPUTS[renamed["output_mode"]]
    if renamed.get("reduction") == "auto":
        renamed["reduction"] = "sum_over_batch_size"
    parameters = inspect.signature(_class(module, name).__init__).parameters
    accepted = set(parameters)
    if module == "keras.layers" or module.startswith("keras.applications"):
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            accepted |= {"name", "trainable", "dtype", "activity_regularizer"}
        _check_dropped(name, renamed, accepted)
    return {k: v for k, v in renamed.items() if k in accepted and not _is_default(k, v)}


def _is_default(key: str, value: Any) -> bool:
    return key == "epsilon" and value is None  # Keras up to 2.2: the backend's 1e-7


def _check_dropped(name: str, config: dict[str, Any], accepted: set[str]) -> None:
    """An argument of a layer that is not known here may be dropped only if it says nothing."""
    known = accepted | HARMLESS | UNREAD.get(name, frozenset())
    lost = {k: v for k, v in config.items() if k not in known and v}
    if lost.get("groups") == 1:  # of depthwise and transposed convolutions
        del lost["groups"]
    if lost:
        raise UnsupportedError(
            f'{name} "{config.get("name")}": the file sets arguments that zoo_keras does not have. '
            f"Received: {lost}. Save the model again without them."
        )
