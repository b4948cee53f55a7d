"""Wrapper, and TimeDistributed: one layer applied to every step of (batch, steps, ...)."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.graph import constant, current_trace
from zoo_keras.layers.base.arguments import argument_error
from zoo_keras.layers.base.layer import Layer, shape_error
from zoo_keras.primitives.elementwise import multiply


class Wrapper(Layer):
    """The base of layers that hold another layer. https://keras.io/api/layers/core_layers/wrapper/

    Raises ConfigError unless `layer` is a layer.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise argument_error(self, "layer", "a layer", layer, "Pass one, such as Dense(3).")
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside."""
        if not self.layer.built:
            self.layer.build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A wrapper with this configuration."""
        config = dict(config)
        layer = deserialize_keras_object(config.pop("layer"), custom_objects=custom_objects)
        return cls(layer, **config)


class TimeDistributed(Wrapper):
    """A layer applied to each step of (batch, steps, ...), as if steps were rows of the batch.

    A layer with moving averages meets one step after the other in training, as in Keras.
    https://keras.io/api/layers/recurrent_layers/time_distributed/

    >>> TimeDistributed(Dense(4))(np.ones((2, 3, 5))).shape
    (2, 3, 4)
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        """Build the layer for one step."""
        if len(input_shape) < 3:
            raise shape_error(
                self, "expected (batch, steps, ...)", f"shape {tuple(input_shape)}",
                "Add an axis for the steps.",
            )  # fmt: skip
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """(batch, steps, ...) -> (batch, steps, ...)."""
        if mask is not None and tuple(mask.shape[:2]) != tuple(inputs.shape[:2]):
            raise shape_error(
                self, "The `mask` passed to the `TimeDistributed` layer has a shape that is not "
                "(batch, steps, ...) of the inputs", f"mask {mask.shape}, inputs {inputs.shape}",
                "Give one entry for each step.",
            )  # fmt: skip
        if training and self.layer.non_trainable_weights and self.layer.trainable:
            steps = [self._called(inputs[:, t], None if mask is None else mask[:, t])
                     for t in range(inputs.shape[1])]  # fmt: skip
            return ops.stack(steps, axis=1)
        if training:
            return self._with_own_rows(inputs, mask)
        return self._merged(inputs, mask)

    def _called(self, x: Any, mask: Any) -> Any:
        wanted = mask is not None and "mask" in self.layer._signature().names
        return self.layer(x, mask=mask) if wanted else self.layer(x)

    def _merged(self, x: Any, mask: Any) -> Any:
        """All steps as rows of one batch."""
        batch, steps = x.shape[:2]
        rows = None if mask is None else ops.reshape(mask, (batch * steps, *mask.shape[2:]))
        made = self._called(ops.reshape(x, (batch * steps, *x.shape[2:])), rows)
        return ops.reshape(made, (batch, steps, *made.shape[1:]))

    def _with_own_rows(self, x: Any, mask: Any) -> Any:
        """The same, each row drawing its random numbers wherever its batch is cut."""
        trace = current_trace()
        if trace is None:
            return self._merged(x, mask)
        outer = trace.random_source()
        trace.rng = multiply(outer, constant(np.array([1, x.shape[1]]), "int64"))
        try:
            return self._merged(x, mask)
        finally:
            trace.rng = outer
