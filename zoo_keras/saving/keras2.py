"""What Keras 2 wrote in another form than Keras 3: calls of layers, lambdas, one activation.

In: parts of a Keras 2 configuration. Out: the same in Keras 3's layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo_keras import ops
from zoo_keras.configs.registration import register_own
from zoo_keras.ops.symbolic import public


@register_own("keras2>hard_sigmoid")
@public
def hard_sigmoid(x: Any) -> Any:
    """clip(0.2 x + 0.5, 0, 1): what Keras 1 and 2 call hard_sigmoid. Keras 3's is another."""
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


_OLD_FUNCTIONS = {
    "hard_sigmoid": {"module": "builtins", "class_name": "function",
                     "config": "keras2>hard_sigmoid", "registered_name": "function"},
}  # fmt: skip


def with_old_meaning(value: Any, key: str = "") -> Any:
    """The configuration written so that Keras 3 reads out of it what Keras 2 meant.

    hard_sigmoid is another function, and a list of one input or output means the tensor itself.
    """
    if isinstance(value, dict):
        return {k: with_old_meaning(v, k) for k, v in value.items()}
    if key in ("input_layers", "output_layers") and isinstance(value, list) and len(value) == 1:
        return value[0]
    if isinstance(value, list):
        return [with_old_meaning(v) for v in value]
    if key.endswith("activation") and isinstance(value, str):
        return _OLD_FUNCTIONS.get(value, value)
    return value


# What Keras 2.0 and 2.1, whose files do not name the argument, had in mind; Keras 3 does otherwise.
_OLD_DEFAULTS = {name: {"reset_after": False} for name in ("GRU", "GRUCell")}


def with_old_defaults(value: Any) -> Any:
    """The configuration with those arguments named whose defaults Keras 3 has changed."""
    if isinstance(value, list):
        return [with_old_defaults(v) for v in value]
    if not isinstance(value, dict):
        return value
    found = {k: with_old_defaults(v) for k, v in value.items()}
    name, inner = found.get("class_name"), found.get("config")
    if isinstance(name, str) and name in _OLD_DEFAULTS and isinstance(inner, dict):
        found["config"] = {**_OLD_DEFAULTS[name], **inner}
    return found


_RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
              "UnifiedLSTM", "UnifiedGRU", "Bidirectional")  # fmt: skip
ATTENTION = ("Attention", "AdditiveAttention")


def layer_call(layer: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """A call with what Keras 2 had elsewhere: states among the inputs, `causal` in the layer."""
    (inputs,), kwargs = call["args"], call["kwargs"]
    name, config = layer["class_name"], layer["config"]
    if name in _RECURRENT and isinstance(inputs, list):
        constants = config.get("num_constants") or 0
        states = inputs[1 : len(inputs) - constants]
        given = {"initial_state": states, "constants": inputs[len(inputs) - constants :]}
        return {"args": inputs[:1], "kwargs": {**kwargs, **{k: v for k, v in given.items() if v}}}
    if name in ATTENTION and config.get("causal"):
        return {"args": [inputs], "kwargs": {**kwargs, "use_causal_mask": True}}
    return call


def modern_layer_call(layer: dict[str, Any], call: Any, names: set[str]) -> dict[str, Any]:
    """One call of this layer, in Keras 3's layout; `names` as for modern_call."""
    return layer_call(layer, modern_call(call, names))


def modern_call(call: Any, names: set[str]) -> dict[str, Any]:
    """One call of a layer: Keras 2 lists [layer, call, output, kwargs] for every input tensor.

    Args:
        names: of all layers; a list that begins with one of them is a tensor.
    """
    items = [call] if call and isinstance(call[0], str) else call
    tensors = [_tensor(item) for item in items]
    given = (items[0][3] if items and len(items[0]) > 3 else {}) or {}
    kwargs = {k: _argument(v, names) for k, v in given.items() if v is not None}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs}


def _tensor(item: list[Any]) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(item[:3])}}


def _argument(value: Any, names: set[str]) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) >= 3 and isinstance(value[0], str) and value[0] in names:
        return _tensor(value)
    return [_argument(v, names) for v in value]


def renumber_calls(model: dict[str, Any]) -> None:
    """Number the calls of nested models from 0.

    Keras 2 counted the nested model's own construction as its first call, yet left it out of the
    list of calls, so that references to the last one point behind the list.
    """
    counts = {layer["name"]: len(layer["inbound_nodes"]) for layer in model["layers"]}
    histories = list(_histories(model))
    shifted = {h[0] for h in histories if counts.get(h[0], 0) and h[1] >= counts[h[0]]}
    for history in histories:
        if history[0] in shifted:
            history[1] -= 1


def _histories(model: dict[str, Any]) -> Iterator[list[Any]]:
    """All references to tensors: [layer, call, output]."""
    for layer in model["layers"]:
        yield from _references(layer["inbound_nodes"])
    for side in ("input_layers", "output_layers"):
        yield from _ends(model[side])


def _references(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"]
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _ends(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list) and value and isinstance(value[0], str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _ends(item)


_OF_KERAS_2 = ("tf_keras.", "keras.src.engine.", "keras.engine.")  # modules that 3 does not have


def without_modules(value: Any, builtin: tuple[str, ...] = _OF_KERAS_2) -> Any:
    """A configuration in the form that `.h5` files of Keras 2 have: without names of modules.

    Args:
        builtin: how modules begin that need not be told.
    """
    if isinstance(value, list):
        return [without_modules(v, builtin) for v in value]
    if not isinstance(value, dict):
        return value
    told = f"{value.get('module')}.".startswith(builtin)
    left_out = ("module", "registered_name", "build_config") if told else ()
    return {k: without_modules(v, builtin) for k, v in value.items() if k not in left_out}


def lambda_config(config: Any) -> Any:
    """A Lambda's function as Keras 3 keeps it: bytecode by value, or a name."""
    if not isinstance(config, dict):
        return config
    kept = {k: v for k, v in config.items() if k not in _LAMBDA_KEYS}
    function = config.get("function")
    if isinstance(function, list):
        value = dict(zip(("code", "defaults", "closure"), function, strict=False))
        kept["function"] = {"class_name": "__lambda__", "config": value}
    elif isinstance(function, str):
        kept["function"] = {"module": None, "class_name": "function", "config": function,
                            "registered_name": "function"}  # fmt: skip
    return kept


_LAMBDA_KEYS = ("module", "function_type", "output_shape_type", "output_shape_module")
