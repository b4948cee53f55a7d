"""Function and Operation: graphs of calls, and their parts, without training.

In: KerasTensors, or tensors and arrays. Out: the same kinds.
"""

from __future__ import annotations

import inspect
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.captured import all_arguments
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.base.op_layer import OpCall
from zoo_keras.layers.input_layer import InputLayer
from zoo_keras.models.model import Functional
from zoo_keras.nest import flatten
from zoo_keras.ops.symbolic import KerasTensor


class _AnyOperation(type):
    """Layers and calls of ops in a model are operations, too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is Operation and isinstance(instance, (Layer, OpCall)):
            return True
        return super().__instancecheck__(instance)


class Operation(Layer, metaclass=_AnyOperation):
    """A base class for computations without weights: define `call`, and `compute_output_spec` where
    shapes cannot be found by tracing. Source: keras.Operation.

    >>> class Twice(Operation):
    ...     def call(self, x):
    ...         return 2 * x
    """

    keras_module = "keras"

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; its name alone for classes that add theirs."""
        if type(self).get_config is not Operation.get_config:
            return {"name": self.name}
        found = all_arguments(self)
        return {**found, "name": self.name} if "name" in found or _takes_names(self) else found


def _takes_names(operation: Any) -> bool:
    parameters = inspect.signature(type(operation).__init__).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


class Function(Functional):
    """The calls between input and output KerasTensors as one function of arrays or tensors.

    Source: keras.Function.

    >>> Function(inputs, outputs)(np.ones((2, 3)))
    """

    keras_module = "keras.src.ops.function"

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            if not flatten(given):
                raise ConfigError(
                    f"Function: `{what}` argument cannot be empty. Received: {given!r}. Pass "
                    "KerasTensors."
                )
        for tensor in flatten(inputs):
            if isinstance(tensor, KerasTensor) and tensor.history is None:
                InputLayer(input_tensor=tensor)  # data enter here, too
        super().__init__(inputs, outputs, name=name)

    @property
    def operations(self) -> list[Any]:
        """All layers and ops, inputs first."""
        return list(self._graph().operations)
