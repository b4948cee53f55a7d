"""Functional models to and from Keras 3 configurations."""

from __future__ import annotations

from typing import Any

from zoo_keras.configs.serialization import (
    add_resolver,
    deserialize_keras_object,
    serialize_keras_object,
)
from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.functional import CallNode
from zoo_keras.layers.base.op_layer import OpCall
from zoo_keras.layers.base.op_names import op_function
from zoo_keras.models.function_graph import FunctionGraph
from zoo_keras.nest import map_structure
from zoo_keras.ops.symbolic import KerasTensor


def functional_config(model: Any, graph: FunctionGraph) -> dict[str, Any]:
    """The configuration in Keras' layout: layers with their calls, inputs and outputs."""
    where = _histories(graph)
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": [_layer_config(graph, op, where) for op in graph.operations],
        "input_layers": _ends(graph.inputs_structure, where),
        "output_layers": _ends(graph.outputs_structure, where),
    }


History = tuple[str, int, int]


def _histories(graph: FunctionGraph) -> dict[int, History]:
    """(layer name, call number within the model, output number) of every tensor, by id."""
    found = {}
    for operation in graph.operations:
        for number, node in enumerate(graph.nodes_of(operation)):
            for i, tensor in enumerate(node.outputs):
                found[id(tensor)] = (operation.name, number, i)
    for tensor in graph.inputs:
        found.setdefault(id(tensor), (graph.input_name(tensor), 0, 0))
    return found


def _ends(structure: Any, where: dict[int, History]) -> Any:
    if isinstance(structure, KerasTensor):
        return list(where[id(structure)])
    if isinstance(structure, dict):
        return {k: _ends(v, where) for k, v in structure.items()}
    found = [_ends(t, where) for t in structure]
    return tuple(found) if isinstance(structure, tuple) else found


def _layer_config(graph: FunctionGraph, operation: Any, where: dict[int, History]) -> Any:
    if isinstance(operation, OpCall):
        config: dict[str, Any] = {
            "module": operation.module,
            "class_name": operation.class_name,
            "config": {k: _serialize(v, where) for k, v in operation.get_config().items()},
            "registered_name": operation.class_name,
        }
    else:
        config = serialize_keras_object(operation)
    config["name"] = operation.name
    is_input = type(operation).__name__ == "InputLayer"
    nodes: list[CallNode] = [] if is_input else graph.nodes_of(operation)
    config["inbound_nodes"] = [
        {
            "args": [_serialize(a, where) for a in node.args],
            "kwargs": {k: _serialize(v, where) for k, v in _keywords(node).items()},
        }
        for node in nodes
    ]
    return config


def _keywords(node: CallNode) -> dict[str, Any]:
    """The call's keywords; Keras also writes `mask` when a layer takes one."""
    if isinstance(node.operation, OpCall):
        return node.kwargs
    signature = node.operation._signature()
    bound = signature.bind(node.args, node.kwargs)
    if "mask" not in signature.names or "mask" in bound:
        return node.kwargs
    return {**node.kwargs, "mask": map_structure(lambda t: None, signature.first_tensors(bound))}


def _serialize(value: Any, where: dict[int, History]) -> Any:
    if isinstance(value, KerasTensor):
        return {
            "class_name": "__keras_tensor__",
            "config": {
                "shape": list(value.shape),
                "dtype": value.dtype,
                "keras_history": list(where[id(value)]),
            },
        }
    if isinstance(value, dict):
        return {k: _serialize(v, where) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_serialize(v, where) for v in value]
    return serialize_keras_object(value)


def functional_from_config(cls: Any, config: dict[str, Any], custom_objects: Any = None) -> Any:
    """The model of a Keras 3 configuration. Layers are called as their inputs become known."""
    return _Builder(config, custom_objects).model(cls)


class _Builder:
    def __init__(self, config: dict[str, Any], custom_objects: Any) -> None:
        self.config, self.custom_objects = config, custom_objects
        self.layers: dict[str, Any] = {}
        self.calls: dict[tuple[str, int], CallNode] = {}

    def model(self, cls: Any) -> Any:
        waiting = []
        for layer_config in self.config["layers"]:
            layer = self._layer(layer_config)
            self.layers[layer_config["name"]] = layer
            if type(layer).__name__ == "InputLayer":
                self.calls[layer_config["name"], 0] = layer._inbound_nodes[0]
            for i, node in enumerate(layer_config["inbound_nodes"]):
                waiting.append((layer_config["name"], i, node))
        self._call_all(waiting)
        made = cls(
            inputs=self._ends(self.config["input_layers"]),
            outputs=self._ends(self.config["output_layers"]),
            name=self.config.get("name"),
        )
        if self.config.get("trainable") is False:
            made.trainable = False
        return made

    def _layer(self, config: dict[str, Any]) -> Any:
        if _is_op(config):
            return op_call_from_config(config)
        return deserialize_keras_object(config, custom_objects=self.custom_objects)

    def _call_all(self, waiting: list[tuple[str, int, dict[str, Any]]]) -> None:
        while waiting:
            later = [w for w in waiting if not self._call(*w)]
            if len(later) == len(waiting):
                names = sorted({name for name, _, _ in later})
                raise ConfigError(
                    f"The configuration of model {self.config.get('name')!r} has layers whose "
                    f"inputs are never made. Received: {names}. The file is damaged or was edited."
                )
            waiting = later

    def _call(self, name: str, number: int, node: dict[str, Any]) -> bool:
        """Make one call; False when an input of it does not exist yet."""
        if number and (name, number - 1) not in self.calls:
            return False
        if not all(self._ready(h) for h in _tensor_histories(node)):
            return False
        layer = self.layers[name]
        args = [self._value(a) for a in node["args"]]
        if (
            isinstance(layer, OpCall)
            and layer.class_name == "GetItem"
            and isinstance(args[1], list)
        ):
            args[1] = tuple(args[1])  # JSON made a list of x[:, 1:]'s key
        kwargs = {k: self._value(v) for k, v in node["kwargs"].items()}
        layer(*args, **kwargs)
        self.calls[name, number] = layer._inbound_nodes[-1]
        return True

    def _ready(self, history: list[Any]) -> bool:
        return (history[0], history[1]) in self.calls

    def _tensor(self, history: list[Any]) -> KerasTensor:
        name, number, index = history[:3]
        if (name, number) not in self.calls:
            raise ConfigError(
                "The configuration refers to a call that it does not hold. Received: call "
                f"{number} "
                f"of layer {name!r}. The file is damaged or was edited."
            )
        tensor: KerasTensor = self.calls[name, number].outputs[index]
        return tensor

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return self._tensor(value["config"]["keras_history"])
        if isinstance(value, dict) and "class_name" not in value:
            return {k: self._value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._value(v) for v in value]
        return deserialize_keras_object(value, custom_objects=self.custom_objects)

    def _ends(self, structure: Any) -> Any:
        if isinstance(structure, dict):
            return {k: self._ends(v) for k, v in structure.items()}
        if structure and isinstance(structure[0], str):
            return self._tensor(structure)
        found = [self._ends(s) for s in structure]
        return tuple(found) if isinstance(structure, tuple) else found


def _tensor_histories(value: Any) -> list[Any]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return [value["config"]["keras_history"]]
    if isinstance(value, dict):
        return [h for v in value.values() for h in _tensor_histories(v)]
    if isinstance(value, list):
        return [h for v in value for h in _tensor_histories(v)]
    return []


def op_call_from_config(config: dict[str, Any]) -> OpCall:
    """The op of a Keras configuration, found by its class name among zoo_keras.ops."""
    function = op_function(config["class_name"])
    if function is None:
        raise ConfigError(
            f"The model uses the op {config['class_name']!r}, which zoo_keras does not have. "
            "Replace it by a layer, or cut the model before it."
        )
    constants = dict(config["config"])
    name = constants.pop("name", None)
    return OpCall(function, constants, name)


def _find_op(module: str, name: str) -> Any:
    """For the check that all classes of a configuration are known."""
    return OpCall if _is_op({"module": module}) and op_function(name) else None


def _is_op(config: dict[str, Any]) -> bool:
    return str(config.get("module", "")).startswith("keras.src.ops")


add_resolver(_find_op)
