"""clone_model: the same architecture with new layers and new weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.op_layer import OpCall
from zoo_keras.layers.input_layer import Input, InputLayer
from zoo_keras.models.function_graph import FunctionGraph
from zoo_keras.models.model import Functional, Model
from zoo_keras.models.sequential import Sequential
from zoo_keras.nest import flatten, pack_as
from zoo_keras.ops.symbolic import KerasTensor


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model built like this one, with layers made by clone_function(layer).

    Args:
        input_tensors: KerasTensors to build on; new Inputs by default.
        clone_function: makes a layer from a layer; by default from its configuration.
        call_function: call_function(layer, *args, **kwargs) instead of calling the new layer.
        recursive: clone the layers of nested models too, with the same functions.

    Raises ConfigError for a subclassed model together with these arguments.
    Source: keras.models.clone_model.
    """
    if not isinstance(model, Model):
        raise ConfigError(
            f"clone_model: only models can be cloned. Received: {type(model).__name__}. "
            "Make a layer from its configuration: Class.from_config(layer.get_config())."
        )
    clone = _Cloner(clone_function, call_function, recursive)
    if isinstance(model, Sequential):
        made = clone.sequential(model, input_tensors)
    elif model._function is not None:
        made = clone.functional(model, model._function, input_tensors)
    else:
        made = _from_config(model, input_tensors, clone_function, call_function)
    if getattr(model, "compiled", False) and not getattr(made, "compiled", False):
        made.compile_from_config(model.get_compile_config() or {})
    return made


def _from_config(model: Any, *arguments: Any) -> Any:
    if any(a is not None for a in arguments):
        raise ConfigError(
            f'clone_model: "{model.name}" is a subclassed model. Received: input_tensors, '
            "clone_function or call_function. Leave them out, or build it from Input(...)."
        )
    names = {type(model).__name__: type(model)}
    return deserialize_keras_object(serialize_keras_object(model), custom_objects=names)


class _Cloner:
    """Clones layers, each once, so that shared layers stay shared."""

    def __init__(self, clone: Any, call: Any, recursive: bool) -> None:
        self.clone = clone or (lambda layer: type(layer).from_config(layer.get_config()))
        self.call, self.recursive = call, recursive
        self.made: dict[int, Any] = {}

    def layer(self, layer: Any) -> Any:
        if id(layer) not in self.made:
            self.made[id(layer)] = self._new(layer)
        return self.made[id(layer)]

    def _new(self, layer: Any) -> Any:
        if isinstance(layer, OpCall):
            return layer.copy()
        if self.recursive and isinstance(layer, Sequential):
            return self.sequential(layer, None)
        if self.recursive and isinstance(layer, Model) and layer._function is not None:
            return self.functional(layer, layer._function, None)
        return self.clone(layer)

    def sequential(self, model: Sequential, input_tensors: Any) -> Sequential:
        if self.call is not None and not self.recursive:
            raise ConfigError(
                f'clone_model: "{model.name}" is a Sequential, whose layers are not called one by '
                "one. Received: call_function. Use it with functional models."
            )
        layers = [self.layer(layer) for layer in model.layers]
        first = model._stack[0] if model._stack else None
        if input_tensors is not None:
            layers.insert(0, flatten(input_tensors)[0])
        elif isinstance(first, InputLayer):
            layers.insert(0, InputLayer.from_config(first.get_config()))
        return Sequential(layers, name=model.name, trainable=model.trainable)

    def functional(self, model: Any, graph: FunctionGraph, input_tensors: Any) -> Any:
        given = _inputs(graph) if input_tensors is None else flatten(input_tensors)
        named = isinstance(graph.inputs_structure, dict)
        if input_tensors is not None and named != isinstance(input_tensors, dict):
            raise ConfigError(
                f"clone_model: `input_tensors` must have the same structure as model.input of "
                f'"{model.name}". Received: {input_tensors}. Nest them alike.'
            )
        _check(model, graph, given)
        inputs = pack_as(graph.inputs_structure, given)
        outputs = graph.run_with(given, self._call)
        plain = type(model) in (Model, Functional)
        return (Functional if plain else type(model))(inputs, outputs, name=model.name)

    def _call(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        new = self.layer(layer)
        return self.call(new, *args, **kwargs) if self.call else new(*args, **kwargs)


def _inputs(graph: FunctionGraph) -> list[KerasTensor]:
    return [
        Input(batch_shape=t.shape, dtype=t.dtype, name=graph.input_name(t)) for t in graph.inputs
    ]


def _check(model: Any, graph: FunctionGraph, given: list[Any]) -> None:
    right = len(given) == len(graph.inputs) and all(isinstance(t, KerasTensor) for t in given)
    if not right:
        raise ConfigError(
            f'clone_model: "{model.name}" needs {len(graph.inputs)} KerasTensor(s). Received: '
            f"input_tensors={given}. Make them with Input(...)."
        )
