"""Model configurations of Keras 1 -> those of Keras 2, which legacy.py reads.

In: the JSON of a file of Keras 1.0 to 1.2. Out: the same model in Keras 2's words: arguments and
layers renamed, `Merge` told apart by its mode, a Sequential that begins with one made a graph.
Knows no weights (keras1_weights.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo_keras.errors import UnsupportedError

_ONLY_IN_KERAS_1 = frozenset(
    "init inner_init border_mode dim_ordering W_regularizer W_constraint output_dim nb_filter "
    "subsample subsample_length pool_length inner_activation consume_less input_dtype "
    "p sigma nb_row".split()
)
_CLASSES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D", "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D", "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose", "Deconv2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D", "TimeDistributedDense": "Dense",
    "Container": "Model",
}  # fmt: skip
_KEYS = {
    "W_regularizer": "kernel_regularizer", "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint", "init": "kernel_initializer",
    "inner_init": "recurrent_initializer", "inner_activation": "recurrent_activation",
    "bias": "use_bias", "dropout_W": "dropout", "dropout_U": "recurrent_dropout",
    "border_mode": "padding", "subsample": "strides", "subsample_length": "strides",
    "nb_filter": "filters", "filter_length": "kernel_size", "dim_ordering": "data_format",
    "atrous_rate": "dilation_rate", "p": "rate", "sigma": "stddev",
    "pool_length": "pool_size", "stride": "strides", "length": "size", "output_dim": "units",
    "beta_init": "beta_initializer", "gamma_init": "gamma_initializer",
}  # fmt: skip
_EMBEDDING = {"output_dim": "output_dim", "init": "embeddings_initializer",
              "W_regularizer": "embeddings_regularizer",
              "W_constraint": "embeddings_constraint"}  # fmt: skip
_KEYS_OF = {
    "Embedding": _EMBEDDING, "InputLayer": {"input_dtype": "dtype"},
    "PReLU": {"init": "alpha_initializer"},
    "MaxoutDense": {},
    "SeparableConv2D": {"init": "depthwise_initializer"},
    "SReLU": {"t_left_init": "t_left_initializer", "a_left_init": "a_left_initializer",
              "t_right_init": "t_right_initializer", "a_right_init": "a_right_initializer"},
    "ParametricSoftplus": {"alpha_init": "alpha", "beta_init": "beta"},
}  # fmt: skip
_OVER = frozenset(("input_dim", "input_length", "consume_less", "weights", "output_shape", "mode"))
_WITH_INPUT_DIM = ("Embedding",)
_FORMATS = {"th": "channels_first", "tf": "channels_last"}
_INITIALIZERS = {"zero": "zeros", "one": "ones", "uniform": "random_uniform",
                 "normal": "random_normal"}  # fmt: skip
_MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum"}
_REGULARIZERS = ("L1L2", "L1L2Regularizer", "WeightRegularizer", "ActivityRegularizer")


def is_keras_1(config: Any) -> bool:
    """Whether a configuration has words that only Keras 1 used."""
    if isinstance(config, dict):
        version = config.get("keras_version")
        if isinstance(version, str):
            return version.startswith(("0.", "1."))
        if "module" in config:  # as Keras 3 writes
            return False
        if "class_name" in config and isinstance(config.get("config"), dict):
            inner = config["config"]
            if not _ONLY_IN_KERAS_1.isdisjoint(inner.keys() - {"output_dim"}):
                return True
            if config["class_name"] == "Merge" and "mode" in inner:
                return True
        config = list(config.values())
    return isinstance(config, list) and any(map(is_keras_1, config))


def as_keras_2(config: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration in Keras 2's words.

    Raises UnsupportedError for what no later Keras can do, naming the layer.
    """
    orders = set(_orders(config))
    if len(orders) == 1:
        config = _with_order(config, orders.pop())
    return _entry(config)


# Keras 1 forgets to write which axis of their inputs has the channels.
_SILENT = ("ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D", "UpSampling2D",
           "UpSampling3D")  # fmt: skip


def _orders(value: Any) -> Iterator[str]:
    """Every dim_ordering in a configuration."""
    if isinstance(value, dict):
        if isinstance(value.get("dim_ordering"), str):
            yield value["dim_ordering"]
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _orders(item)


def _with_order(value: Any, order: str) -> Any:
    """The configuration with that dim_ordering at layers that do not tell."""
    if isinstance(value, list):
        return [_with_order(v, order) for v in value]
    if not isinstance(value, dict):
        return value
    found = {k: _with_order(v, order) for k, v in value.items()}
    if found.get("class_name") in _SILENT and isinstance(found.get("config"), dict):
        found["config"] = {"dim_ordering": order, **found["config"]}
    return found


def _entry(value: dict[str, Any]) -> dict[str, Any]:
    """A layer or model with its class and arguments renamed; calls stay as they are."""
    name, config = value["class_name"], value["config"]
    if name == "Sequential":
        return _sequential(value)
    if name == "Graph":
        raise UnsupportedError(
            "Graph models of Keras 0 are not supported. Received: class_name 'Graph'. Save the "
            "model again as a functional Model."
        )
    if name in ("Model", "Container"):
        layers = [_entry(layer) for layer in config["layers"]]
        return {**value, "class_name": "Model", "config": {**config, "layers": layers}}
    name, config = _layer(_CLASSES.get(name, name), name, config)
    return {**value, "class_name": name, "config": config}


# ---- layers --------------------------------------------------------------------------------------


def _layer(name: str, old_name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if name == "Merge":
        return _merge(config)
    if name == "BatchNormalization":
        name = _batch_norm(config)
    if name == "Lambda":
        return name, _named_function(config, "function", ("arguments", "output_shape"))
    named = {**_KEYS, **_KEYS_OF.get(name, {})}
    found = {}
    for key, value in config.items():
        if key in _OVER and not (key == "input_dim" and name in _WITH_INPUT_DIM):
            continue
        key = named.get(key, key)
        found[key] = _value(key, value)
    _sizes(name, config, found)
    _units(name, config, found)
    _constraint_axes(name, config, found)
    return name, found


def _value(key: str, value: Any) -> Any:
    if key == "data_format":
        return _FORMATS.get(value, value)
    if key.endswith("initializer"):
        return _INITIALIZERS.get(value, value) if isinstance(value, str) else value
    if key.endswith("regularizer") and isinstance(value, dict) and "name" in value:
        return _regularizer(value)
    if key.endswith("constraint") and isinstance(value, dict) and "name" in value:
        return _constraint(value)
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        return _entry(value)  # of TimeDistributed and Bidirectional
    return value


def _regularizer(value: dict[str, Any]) -> dict[str, Any]:
    if value["name"] not in _REGULARIZERS:
        raise UnsupportedError(
            f"Regularizers of Keras 1 are L1 and L2 here. Received: {value['name']!r}. Save the "
            "model again without it."
        )
    return {"class_name": "L1L2", "config": {k: value.get(k, 0.0) for k in ("l1", "l2")}}


def _constraint(value: dict[str, Any]) -> dict[str, Any]:
    config = {k: v for k, v in value.items() if k != "name"}
    if "m" in config:
        config["max_value"] = config.pop("m")
    return {"class_name": value["name"], "config": config}


def _sizes(name: str, old: dict[str, Any], found: dict[str, Any]) -> None:
    """What Keras 1 keeps in an argument for each axis."""
    for keys in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if keys[0] in old:
            found["kernel_size"] = [old[k] for k in keys]
            for key in keys:
                found.pop(key)
    padding = old.get("padding")
    if name == "ZeroPadding2D":
        if isinstance(padding, dict):
            padding = [padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
        if isinstance(padding, (list, tuple)) and len(padding) == 4:
            found["padding"] = [list(padding[:2]), list(padding[2:])]
    if name == "ZeroPadding1D" and isinstance(padding, dict):
        found["padding"] = [padding.get("left_pad", 0), padding.get("right_pad", 0)]


def _units(name: str, old: dict[str, Any], found: dict[str, Any]) -> None:
    """Arguments that need more than another name."""
    if "forget_bias_init" in found:
        found["unit_forget_bias"] = found.pop("forget_bias_init") == "one"
    if name == "Embedding" and found.pop("dropout", 0):
        raise UnsupportedError(
            f'Embedding "{old.get("name")}": dropout of whole words is gone since Keras 2. '
            f"Received: dropout={old['dropout']}. Save the model again with SpatialDropout1D."
        )
    if name == "Flatten":
        found["data_format"] = "channels_last"  # Keras 1 flattens what lies there, in its order
    if name == "SeparableConv2D" and "depthwise_initializer" in found:
        found["pointwise_initializer"] = found["depthwise_initializer"]


def _constraint_axes(name: str, old: dict[str, Any], found: dict[str, Any]) -> None:
    """Axes of kernels that had their filters first."""
    constraint = found.get("kernel_constraint")
    if old.get("dim_ordering") != "th" or not isinstance(constraint, dict):
        return
    rank = {"Conv2D": 2, "Conv3D": 3}.get(name)
    axis = constraint["config"].get("axis")
    if rank is None or axis is None:
        return
    moved = [rank + 1, rank, *range(rank)]
    axes = [moved[a] for a in axis] if isinstance(axis, list) else moved[axis]
    constraint["config"]["axis"] = axes


_NORMS = {0: "BatchNormalization", 1: "SampleNormalization", 2: "BatchOnlyNormalization"}


def _batch_norm(config: dict[str, Any]) -> str:
    return _NORMS[config.get("mode", 0)]


# ---- merging -------------------------------------------------------------------------------------


def _merge(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A Merge layer by its mode."""
    mode = config.get("mode", "sum")
    name = {"name": config.get("name"), "trainable": True}
    if config.get("mode_type", "raw") != "raw" or not isinstance(mode, str):
        keys = ("arguments", "output_shape")
        return "Lambda", _named_function({**config, "function_type": "lambda"}, "mode", keys)
    if mode in _MERGES:
        return _MERGES[mode], name
    if mode == "concat":
        return "Concatenate", {**name, "axis": config.get("concat_axis", -1)}
    if mode in ("dot", "cos"):
        axes = config.get("dot_axes", -1)
        if isinstance(axes, (list, tuple)):
            axes = [a[0] if isinstance(a, (list, tuple)) else a for a in axes]
        return ("Dot" if mode == "dot" else "Cosine"), {**name, "axes": axes}
    raise UnsupportedError(
        f'Merge "{config.get("name")}": this mode is not known. Received: {mode!r}. The file is '
        "damaged."
    )


def _named_function(config: dict[str, Any], key: str, kept: tuple[str, ...]) -> dict[str, Any]:
    """A Lambda whose function has to come from custom_objects, under the layer's name.

    Its bytecode is of a Python that is no more.
    """
    found = {"name": config["name"], "function": config[key]}
    if config.get("function_type") == "lambda" or not isinstance(config[key], str):
        found["function"] = config["name"]
    if config.get("batch_input_shape"):
        found["batch_input_shape"] = config["batch_input_shape"]
    if config.get("arguments"):
        found["arguments"] = config["arguments"]
    shape = config.get("output_shape")
    if isinstance(shape, (list, tuple)) and all(isinstance(n, int) for n in shape):
        found["output_shape"] = list(shape)
    return found


# ---- stacks --------------------------------------------------------------------------------------


def _sequential(value: dict[str, Any]) -> dict[str, Any]:
    config = value["config"]
    layers = config["layers"] if isinstance(config, dict) else config
    if not _begins_with_merge(layers):
        made = [_entry(layer) for layer in layers]
        inner = {**config, "layers": made} if isinstance(config, dict) else {"layers": made}
        return {**value, "config": inner}
    graph = _Graph()
    output = graph.stack(layers)
    name = config.get("name") if isinstance(config, dict) else None
    return {**value, "class_name": "Model", "config": graph.config(name or "model", output)}


def _begins_with_merge(layers: list[Any]) -> bool:
    return bool(layers) and layers[0]["class_name"] == "Merge"


class _Graph:
    """A Sequential that begins with Merge, as a functional model with the layers of all parts."""

    def __init__(self) -> None:
        self.layers: dict[str, dict[str, Any]] = {}
        self.inputs: list[list[Any]] = []

    def config(self, name: str, output: list[Any]) -> dict[str, Any]:
        return {"name": name, "layers": list(self.layers.values()), "input_layers": self.inputs,
                "output_layers": [output]}  # fmt: skip

    def stack(self, layers: list[Any]) -> list[Any]:
        """Add the layers of a Sequential; its output as [layer, call, tensor]."""
        first = layers[0]
        if first["class_name"] == "Merge":
            parts = [self.part(part) for part in first["config"]["layers"]]
            rest = {k: v for k, v in first["config"].items() if k != "layers"}
            output = self.call({**first, "config": rest}, parts)
        elif first["class_name"] in ("Sequential", "Model"):
            output = self.part(first)
        else:
            output = self.call(first, [self.input(first["config"])])
        for layer in layers[1:]:
            output = self.call(layer, [output])
        return output

    def part(self, value: dict[str, Any]) -> list[Any]:
        """Add a part of a Merge: a Sequential, a functional model, or a layer with its shape."""
        config = value["config"]
        if value["class_name"] == "Sequential":
            return self.stack(config["layers"] if isinstance(config, dict) else config)
        if value["class_name"] != "Model":
            return self.call(value, [self.input(config)])
        for layer in config["layers"]:
            self.layers.setdefault(layer["name"], _entry(layer))
        self.inputs += config["input_layers"]
        output: list[Any] = list(config["output_layers"][0])
        return output

    def input(self, config: dict[str, Any]) -> list[Any]:
        name = f"{config['name']}_input"
        if name not in self.layers:
            entry = {"batch_input_shape": config["batch_input_shape"], "name": name,
                     "dtype": config.get("input_dtype") or "float32"}  # fmt: skip
            self.layers[name] = {"class_name": "InputLayer", "config": entry, "name": name,
                                 "inbound_nodes": []}  # fmt: skip
            self.inputs.append([name, 0, 0])
        return [name, 0, 0]

    def call(self, value: dict[str, Any], inputs: list[list[Any]]) -> list[Any]:
        """Call a layer; one that is there already is shared."""
        made = _entry(value)
        name = made["config"].get("name") or f"{made['class_name'].lower()}_{len(self.layers)}"
        layer = self.layers.setdefault(name, {**made, "name": name, "inbound_nodes": []})
        layer["inbound_nodes"].append([[*i, {}] for i in inputs])
        return [name, len(layer["inbound_nodes"]) - 1, 0]
