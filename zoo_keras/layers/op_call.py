"""An op function used directly in a functional model, such as `x + y` or `ops.concatenate`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from zoo_keras.graph import scope
from zoo_keras.layers.operation import CallNode, symbolic_outputs
from zoo_keras.layers.tracking import Tracked
from zoo_keras.naming import auto_name
from zoo_keras.ops.symbolic import any_symbolic, set_hook

# Keras files name the class and module of an op; these differ from the rule "CamelCase of the name".
_CLASS_NAMES = {"getitem": "GetItem", "elu": "Elu", "relu6": "Relu6", "gelu": "Gelu"}


class OpCall(Tracked):
    """Wraps a public op; its other arguments are its configuration, as in Keras' op classes."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        super().__init__()
        self.function = function
        self.name = name or auto_name(_class_name(function))
        self.built = True
        self._inbound_nodes: list[CallNode] = []
        self._constants: dict[str, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any_symbolic(args) or any_symbolic(kwargs.values()):
            outputs = symbolic_outputs(self.function, args, {**self._constants, **kwargs})
            CallNode(self, args, kwargs, outputs)
            return outputs
        with scope(self.name):
            return self.function(*args, **{**self._constants, **kwargs})

    @property
    def class_name(self) -> str:
        return _class_name(self.function)

    @property
    def module(self) -> str:
        """The module that Keras files give for the op."""
        family = self.function.__module__.rsplit(".", 1)[-1]
        return "keras.src.ops.nn" if "nn" in family else "keras.src.ops.numpy"

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._constants}


def _class_name(function: Callable[..., Any]) -> str:
    name = function.__name__.strip("_")
    return _CLASS_NAMES.get(name) or "".join(part.capitalize() for part in name.split("_"))


def _record(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Arguments with tensors are the call's; plain keyword values become the op's constants."""
    call = OpCall(function)
    bound = inspect.signature(function).bind(*args, **kwargs)
    tensors, constants = {}, {}
    for name, value in bound.arguments.items():
        kind = inspect.signature(function).parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL or any_symbolic([value]):
            tensors[name] = value
        elif name in ("x", "x1", "x2", "a", "b", "key", "condition"):
            tensors[name] = value
        else:
            constants[name] = value
    call._constants = constants
    return _call(call, function, tensors)


def _call(call: OpCall, function: Callable[..., Any], tensors: dict[str, Any]) -> Any:
    """Positional where the op allows it, as Keras writes calls into files."""
    names = list(inspect.signature(function).parameters)
    leading = []
    for name in names:
        if name not in tensors:
            break
        leading.append(tensors.pop(name))
    return call(*leading, **tensors)


set_hook(_record)
