"""Conv1D, Conv2D and Conv3D: learned filters slid along 1 to 3 axes.

In: (batch, *spatial, channels), or channels first. Out: (batch, *places, filters). Convolution,
bias and activation become one instruction of the engine.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import activations, ops
from zoo_keras.layers.base.arguments import argument_error, int_tuple, one_of, positive, refuse
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.channels import channel_axis, from_last, to_last
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, known_size, shape_error
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.low_rank import LowRank, adapted
from zoo_keras.layers.quantized import LargeWeight
from zoo_keras.layers.quantized_convolution import Int8Conv
from zoo_keras.variables import Variable

CONV_OPTIONS = (
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "activity_regularizer", "kernel_constraint", "bias_constraint",
)  # fmt: skip


def set_windows(layer: Any, kernel_size: Any, strides: Any, padding: Any, dilation: Any) -> None:
    """Set the layer's attributes of these names, for its `rank` and `paddings`."""
    layer.kernel_size = int_tuple(layer, "kernel_size", kernel_size, layer.rank)
    layer.strides = int_tuple(layer, "strides", strides, layer.rank)
    layer.dilation_rate = int_tuple(layer, "dilation_rate", dilation, layer.rank)
    layer.padding = one_of(layer, "padding", padding, layer.paddings)
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise argument_error(
            layer, "strides", f"1 with dilation_rate={layer.dilation_rate}", strides,
            "Use strides or dilation, not both.",
        )  # fmt: skip


class BaseConv(LowRank, Layer):
    """What the convolutions share; `rank` is the number of spatial axes."""

    rank = 0
    paddings: tuple[str, ...] = ("valid", "same")
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    padding: str
    kernel = adapted("kernel")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        **kwargs: Any,
    ) -> None:
        quantization = kwargs.pop("quantization_config", None)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.set_low_rank(lora_rank, lora_alpha)
        self.set_quantization(quantization)
        self._set_geometry(filters, kernel_size, strides, padding, dilation_rate, groups)
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
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def set_quantization(self, config: Any) -> None:
        """Refuse the configuration of int8 weights; the kinds that have them override this."""
        refuse(self, quantization_config=config)

    def _set_geometry(
        self, filters: Any, kernel_size: Any, strides: Any, padding: Any, dilation: Any, groups: Any
    ) -> None:
        self.filters = positive(self, "filters", filters)
        self.groups = positive(self, "groups", groups)
        set_windows(self, kernel_size, strides, padding, dilation)
        if self.filters % self.groups:
            raise argument_error(
                self, "filters", f"a multiple of groups={self.groups}", filters,
                "Change filters or groups.",
            )  # fmt: skip

    def build(self, input_shape: Any = None) -> None:
        """Make kernel (*kernel_size, channels // groups, filters) and bias (filters,)."""
        axis = channel_axis(self.data_format)
        channels = known_size(self, input_shape, axis)
        if channels % self.groups:
            raise shape_error(
                self, f"the channels must be a multiple of groups={self.groups}",
                f"an input of shape {tuple(input_shape)} with {channels} channels",
                "Change groups or the layer before.",
            )  # fmt: skip
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.new_kernel(shape)
        self.bias = add_weight(self, "bias", (self.filters,)) if self.use_bias else None
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        self.build_factors()

    def new_kernel(self, shape: tuple[int, ...]) -> Variable:
        """The kernel's Variable."""
        return self.float_kernel(shape)

    def float_kernel(self, shape: tuple[int, ...]) -> Variable:
        """The kernel of a layer that is not quantised."""
        return add_weight(self, "kernel", shape)

    def call(self, inputs: Any) -> Any:
        """The filters' answers at every place."""
        x, padding = to_last(inputs, self.data_format), self.padding
        if padding == "causal":
            ahead = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            x, padding = ops.pad(x, ((0, 0), (ahead, 0), (0, 0))), "valid"
        x = self.convolved(x, padding)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return activations.get(self.activation)(from_last(x, self.data_format))

    def convolved(self, x: Any, padding: str) -> Any:
        """The sums over the windows of x, channels last."""
        return self.float_convolved(x, self.kernel, padding)

    def float_convolved(self, x: Any, kernel: Any, padding: str) -> Any:
        """The same in the dtype of x."""
        return ops.conv(
            x, kernel, strides=self.strides, padding=padding, data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            **options_config(self, "activation"),
            "use_bias": self.use_bias,
            **options_config(self, *CONV_OPTIONS),
            **self.quantization_options(),
            **self.low_rank_config(),
        }

    def quantization_options(self) -> dict[str, Any]:
        """How the layer is quantised, for its configuration."""
        return {}


class Conv1D(Int8Conv, BaseConv):
    """Convolution along time: (batch, steps, channels) -> (batch, places, filters).

    padding is "valid", "same" or "causal" (a place sees no later step). Strides and dilation do not
    go together. https://keras.io/api/layers/convolution_layers/convolution1d/

    >>> Conv1D(4, 3)(np.ones((2, 10, 5))).shape
    (2, 8, 4)
    """

    rank = 1
    paddings = ("valid", "same", "causal")

    def large_weight(self) -> LargeWeight:
        """The kernel, with a scale for each filter."""
        return LargeWeight("kernel", tuple(range(self.rank + 1)))


class Conv2D(Int8Conv, BaseConv):
    """Convolution over images: (batch, rows, columns, channels) -> (batch, *places, filters).

    https://keras.io/api/layers/convolution_layers/convolution2d/

    >>> Conv2D(8, 3, padding="same")(np.ones((1, 28, 28, 1))).shape
    (1, 28, 28, 8)
    """

    rank = 2

    def large_weight(self) -> LargeWeight:
        """The kernel, with a scale for each filter."""
        return LargeWeight("kernel", tuple(range(self.rank + 1)))


class Conv3D(BaseConv):
    """Convolution over volumes: (batch, *3 axes, channels) -> (batch, *places, filters).

    https://keras.io/api/layers/convolution_layers/convolution3d/

    >>> Conv3D(4, 3)(np.ones((1, 5, 6, 7, 2))).shape
    (1, 3, 4, 5, 4)
    """

    rank = 3
