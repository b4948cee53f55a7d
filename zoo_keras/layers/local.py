"""Convolutions whose weights are not shared between places, as Keras 1 and 2 had them.

In: (batch, *sizes, channels), or channels first. Out: the same with `filters` channels. Weights lie
as in files of Keras 1 and 2: kernel (places, window * channels, filters), and a bias for each place
and filter. Keras 3 opens a model that holds one when a class of the same name is registered.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.arguments import positive
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options

_OPTIONS = ("activation", "kernel_initializer", "bias_initializer", "kernel_regularizer",
            "bias_regularizer", "kernel_constraint", "bias_constraint")  # fmt: skip


class _LocallyConnected(Layer):
    """What both ranks share."""

    rank: int
    activation: Any

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        implementation: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        kind = type(self).__name__
        if padding != "valid" or implementation != 1:
            raise ConfigError(
                f"{kind}: windows lie within the input and weights by places. Received: "
                f"padding={padding!r}, implementation={implementation}. Use padding='valid' (a "
                "ZeroPadding layer before it) and implementation=1."
            )
        self.filters, self.use_bias = positive(self, "filters", filters), use_bias
        self.kernel_size = self._sizes(kernel_size, "kernel_size")
        self.strides = self._sizes(strides, "strides")
        self.data_format = standard_data_format(self, data_format)
        set_options(
            self, activation=activation, kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )  # fmt: skip
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _sizes(self, given: Any, name: str) -> tuple[int, ...]:
        many = tuple(given) if isinstance(given, (tuple, list)) else (given,) * self.rank
        if len(many) != self.rank:
            raise ConfigError(
                f"{type(self).__name__}: {name} has {self.rank} numbers. Received: {given!r}. Pass "
                "one number, or a tuple."
            )
        return tuple(positive(self, name, n) for n in many)

    def _places(self, shape: Any) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        at = 2 if self.data_format == "channels_first" else 1
        sizes = [known_size(self, shape, at + i) for i in range(self.rank)]
        found = tuple(
            (n - k) // s + 1 for n, k, s in zip(sizes, self.kernel_size, self.strides, strict=True)
        )
        if min(found) < 1:
            raise ShapeError(
                f'{type(self).__name__} "{self.name}": a window does not fit. Received: windows of '
                f"{self.kernel_size}, sizes {tuple(sizes)}. Use a smaller kernel_size."
            )
        return found

    def build(self, input_shape: Any = None) -> None:
        """Make kernel and bias; all sizes must be known."""
        places = self._places(input_shape)
        channels = known_size(self, input_shape, 1 if self.data_format == "channels_first" else -1)
        window = math.prod(self.kernel_size) * channels
        self.kernel = add_weight(self, "kernel", (math.prod(places), window, self.filters))
        self.bias = add_weight(self, "bias", (*places, self.filters)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        """A product for each place."""
        first = self.data_format == "channels_first"
        places = self._places(inputs.shape)
        x = ops.moveaxis(inputs, 1, -1) if first else inputs
        cells = itertools.product(*map(range, self.kernel_size))
        parts = [x[self._window(at, places)] for at in cells]
        windows = ops.stack(parts, axis=-1 if first else -2)
        rows = ops.reshape(windows, (-1, math.prod(places), self.kernel.shape[1]))
        y = ops.moveaxis(ops.matmul(ops.moveaxis(rows, 1, 0), self.kernel), 0, 1)
        y = ops.reshape(y, (-1, *places, self.filters))
        y = y if self.bias is None else ops.add(y, self.bias)
        return self.activation(ops.moveaxis(y, -1, 1) if first else y)

    def _window(self, at: tuple[int, ...], places: tuple[int, ...]) -> tuple[slice, ...]:
        """Where one cell of all windows lies."""
        inner = (
            slice(i, i + s * (n - 1) + 1, s)
            for i, s, n in zip(at, self.strides, places, strict=True)
        )
        return (slice(None), *inner)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """The shape of the outputs."""
        places = self._places(input_shape)
        if self.data_format == "channels_first":
            return (input_shape[0], self.filters, *places)
        return (input_shape[0], *places, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size,
            "strides": self.strides, "padding": "valid", "data_format": self.data_format,
            "use_bias": self.use_bias, "implementation": 1, **options_config(self, *_OPTIONS),
        }  # fmt: skip


class LocallyConnected1D(_LocallyConnected):
    """A convolution over sequences with weights of its own at every place. Source: Keras 2.

    >>> LocallyConnected1D(4, 3)(np.ones((2, 6, 5))).shape
    (2, 4, 4)
    """

    rank = 1


class LocallyConnected2D(_LocallyConnected):
    """A convolution over images with weights of its own at every place. Source: Keras 2.

    >>> LocallyConnected2D(4, 3)(np.ones((2, 6, 6, 5))).shape
    (2, 4, 4, 4)
    """

    rank = 2
