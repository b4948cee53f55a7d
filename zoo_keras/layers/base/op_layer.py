"""An op function used directly in a functional model, such as `x + y` or `ops.concatenate`.

In: a public op and KerasTensors. Out: new KerasTensors, and a node of the model that holds the op.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.graph import Tensor, scope
from zoo_keras.layers.base.functional import CallNode, symbolic_outputs
from zoo_keras.layers.base.op_names import CALL_ARGUMENTS, class_name, module_name
from zoo_keras.layers.base.tracking import Tracked
from zoo_keras.naming import auto_name
from zoo_keras.nest import flatten
from zoo_keras.ops.symbolic import KerasTensor as KerasTensor
from zoo_keras.ops.symbolic import any_symbolic, set_hook


class OpCall(Tracked):
    """Wraps a public op; its other arguments are its configuration, as in Keras' op classes."""

    def __init__(
        self,
        function: Callable[..., Any],
        constants: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.name = name or auto_name(self.class_name)
        self.built = True
        self._inbound_nodes: list[CallNode] = []
        self._constants = dict(constants or {})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any_symbolic(args) or any_symbolic(kwargs.values()):
            outputs = symbolic_outputs(self._run, args, kwargs)
            CallNode(self, args, kwargs, outputs)
            return outputs
        with scope(self.name):
            return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        given, named = iter(args), {**self._constants, **kwargs}
        front = [named.pop(n) if n in named else next(given) for n in _before_spread(self.function)]
        return self.function(*front, *given, **named)

    @property
    def class_name(self) -> str:
        return class_name(self.function)

    @property
    def module(self) -> str:
        """The module that Keras files give for the op."""
        return module_name(self.function)

    def get_config(self) -> dict[str, Any]:
        """The name and the arguments that are not the call's."""
        return {"name": self.name, **self._constants}

    def copy(self) -> OpCall:
        """The same op, called by nobody yet."""
        return OpCall(self.function, self._constants, self.name)


@functools.cache
def _before_spread(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments in front of `*operands`, which cannot be passed by name."""
    parameters = list(inspect.signature(function).parameters.values())
    kinds = [p.kind for p in parameters]
    spread = inspect.Parameter.VAR_POSITIONAL
    return [p.name for p in parameters[: kinds.index(spread)]] if spread in kinds else []


def _record(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Arguments with tensors are the call's; the others become the op's configuration."""
    if any(isinstance(leaf, Tensor) for leaf in flatten((args, kwargs))):
        raise ConfigError(
            f"ops.{function.__name__}: a KerasTensor cannot be used within a function that is "
            "traced, such as the body of a loop or the `call` of a layer. Received: a KerasTensor "
            "made outside of it. Pass it in as an argument: loop variable, xs, operand or input."
        )
    signature = inspect.signature(function)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    called: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    spread: tuple[Any, ...] = ()
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            spread = value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            constants.update(value)
        elif name in CALL_ARGUMENTS or any_symbolic([value]):
            called[name] = value
        else:
            constants[name] = value
    return _call(OpCall(function, constants), called, spread)


def _call(op: OpCall, called: dict[str, Any], spread: tuple[Any, ...]) -> Any:
    """Positional where the op allows it, as Keras writes calls into files."""
    leading = []
    for name in inspect.signature(op.function).parameters:
        if name not in called:
            break
        leading.append(called.pop(name))
    return op(*leading, *spread, **called)


set_hook(_record)
