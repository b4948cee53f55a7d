"""Conv1DTranspose, Conv2DTranspose and Conv3DTranspose: a convolution run backwards.

In: (batch, *places, channels), or channels first. Out: (batch, *spatial, filters), such that a
convolution of the same window and strides would lead back to the places.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import activations, ops
from zoo_keras.layers.base.arguments import argument_error, int_tuple, one_of, positive
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.channels import channel_axis, from_last, to_last
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.convolution import CONV_OPTIONS


class BaseConvTranspose(Layer):
    """What the transposed convolutions share; `rank` is the number of spatial axes."""

    rank = 0

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive(self, "filters", filters)
        self.padding = one_of(self, "padding", padding, ("valid", "same"))
        self._set_geometry(kernel_size, strides, dilation_rate, output_padding)
        self.data_format = standard_data_format(self, data_format)
        self.use_bias = use_bias
        self.activation: Any = None
        set_options(
            self,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _set_geometry(self, kernel_size: Any, strides: Any, dilation: Any, extra: Any) -> None:
        self.kernel_size = int_tuple(self, "kernel_size", kernel_size, self.rank)
        self.strides = int_tuple(self, "strides", strides, self.rank)
        self.dilation_rate = int_tuple(self, "dilation_rate", dilation, self.rank)
        self.output_padding = None
        if extra is not None:
            self.output_padding = int_tuple(self, "output_padding", extra, self.rank, least=0)
            if any(e >= s for e, s in zip(self.output_padding, self.strides, strict=True)):
                raise argument_error(
                    self, "output_padding", f"below strides={self.strides} on each axis", extra,
                    "Pass less, or leave it out.",
                )  # fmt: skip
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise argument_error(
                self, "strides", f"1 with dilation_rate={self.dilation_rate}", strides,
                "Use strides or dilation, not both.",
            )  # fmt: skip

    def build(self, input_shape: Any = None) -> None:
        """Make kernel (*kernel_size, filters, channels) and bias (filters,)."""
        axis = channel_axis(self.data_format)
        channels = known_size(self, input_shape, axis)
        self.kernel = add_weight(self, "kernel", (*self.kernel_size, self.filters, channels))
        self.bias = add_weight(self, "bias", (self.filters,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs: Any) -> Any:
        """Each place's answer spread over its window, and summed."""
        x = ops.conv_transpose(
            to_last(inputs, self.data_format), self.kernel, strides=self.strides,
            padding=self.padding, output_padding=self.output_padding,
            data_format="channels_last", dilation_rate=self.dilation_rate,
        )  # fmt: skip
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return activations.get(self.activation)(from_last(x, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            **options_config(self, "activation"),
            "use_bias": self.use_bias,
            **options_config(self, *CONV_OPTIONS),
        }


class Conv1DTranspose(BaseConvTranspose):
    """Transposed convolution along time: (batch, places, channels) -> (batch, steps, filters).

    https://keras.io/api/layers/convolution_layers/convolution1d_transpose/

    >>> Conv1DTranspose(4, 3, strides=2)(np.ones((2, 5, 3))).shape
    (2, 11, 4)
    """

    rank = 1


class Conv2DTranspose(BaseConvTranspose):
    """Transposed convolution of images: (batch, *places, channels) -> (batch, *spatial, filters).

    https://keras.io/api/layers/convolution_layers/convolution2d_transpose/

    >>> Conv2DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 5, 6, 3))).shape
    (1, 10, 12, 4)
    """

    rank = 2


class Conv3DTranspose(BaseConvTranspose):
    """Transposed convolution of volumes; data_format stands before output_padding, as in Keras.

    https://keras.io/api/layers/convolution_layers/convolution3d_transpose/

    >>> Conv3DTranspose(2, 3)(np.ones((1, 3, 4, 5, 3))).shape
    (1, 5, 6, 7, 2)
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Any = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )  # fmt: skip
