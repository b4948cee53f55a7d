"""Depthwise and separable convolutions of 1 and 2 axes: each channel is convolved by itself.

In: (batch, *spatial, channels), or channels first. Out: (batch, *places, channels *
depth_multiplier), or what a pointwise convolution makes of it.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import activations, ops
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.arguments import int_tuple, one_of, positive
from zoo_keras.layers.base.channels import channel_axis, from_last, to_last
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.quantized import LargeWeight
from zoo_keras.layers.quantized_convolution import Int8Conv
from zoo_keras.variables import Variable

_DEPTHWISE = (
    "depthwise_initializer", "bias_initializer", "depthwise_regularizer", "bias_regularizer",
    "activity_regularizer", "depthwise_constraint", "bias_constraint",
)  # fmt: skip
_SEPARABLE = (*_DEPTHWISE, "pointwise_initializer", "pointwise_regularizer", "pointwise_constraint")


class _PerChannel(Layer):
    """What both families share; `rank` is the number of spatial axes."""

    rank = 0
    use_bias: bool
    bias: Any

    def _set_geometry(
        self, kernel_size: Any, strides: Any, padding: Any, data_format: Any, dilation: Any,
        depth_multiplier: Any,
    ) -> None:  # fmt: skip
        self.kernel_size = int_tuple(self, "kernel_size", kernel_size, self.rank)
        self.strides = int_tuple(self, "strides", strides, self.rank)
        self.padding = one_of(self, "padding", padding, ("valid", "same"))
        self.data_format = standard_data_format(self, data_format)
        self.dilation_rate = int_tuple(self, "dilation_rate", dilation, self.rank)
        self.depth_multiplier = positive(self, "depth_multiplier", depth_multiplier)
        self.activation: Any = None
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _channels(self, input_shape: Any) -> int:
        axis = channel_axis(self.data_format)
        channels: int = known_size(self, input_shape, axis)
        self.input_spec = InputSpec(min_ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _convolved(self, convolution: Any, inputs: Any, *kernels: Any) -> Any:
        """The convolution with its kernels, then bias and activation."""
        x = convolution(
            to_last(inputs, self.data_format), *kernels, strides=self.strides,
            padding=self.padding, data_format="channels_last", dilation_rate=self.dilation_rate,
        )  # fmt: skip
        return self._ended(x)

    def _ended(self, x: Any) -> Any:
        """Bias and activation behind sums, channels last."""
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return activations.get(self.activation)(from_last(x, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "depth_multiplier": self.depth_multiplier,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            **options_config(self, "activation"),
            "use_bias": self.use_bias,
        }


class BaseDepthwiseConv(Int8Conv, _PerChannel):
    """Each channel convolved with `depth_multiplier` filters of its own."""

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.set_quantization(quantization_config)
        self._set_geometry(
            kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier
        )
        self.use_bias = use_bias
        set_options(
            self,
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any = None) -> None:
        """Make kernel (*kernel_size, channels, depth_multiplier) and a bias for each filter."""
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self.new_kernel(shape)
        filters = channels * self.depth_multiplier
        self.bias = add_weight(self, "bias", (filters,)) if self.use_bias else None

    def float_kernel(self, shape: tuple[int, ...]) -> Variable:
        """The kernel of a layer that is not quantised."""
        return add_weight(self, "kernel", shape, option="depthwise")

    def call(self, inputs: Any) -> Any:
        """The filters' answers, those of one channel side by side."""
        return self._ended(self.convolved(to_last(inputs, self.data_format), self.padding))

    def float_convolved(self, x: Any, kernel: Any, padding: str) -> Any:
        """The sums over the windows of x, channels last."""
        return ops.depthwise_conv(
            x, kernel, strides=self.strides, padding=padding, data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            **options_config(self, *_DEPTHWISE),
            **self.quantization_options(),
        }


class DepthwiseConv1D(BaseDepthwiseConv):
    """Depthwise convolution along time.

    https://keras.io/api/layers/convolution_layers/depthwise_convolution1d/

    >>> DepthwiseConv1D(3, depth_multiplier=2)(np.ones((2, 10, 5))).shape
    (2, 8, 10)
    """

    rank = 1

    def large_weight(self) -> LargeWeight:
        """The kernel, with a scale for each filter."""
        return LargeWeight("kernel", tuple(range(self.rank)))


class DepthwiseConv2D(BaseDepthwiseConv):
    """Depthwise convolution over images.

    https://keras.io/api/layers/convolution_layers/depthwise_convolution2d/

    >>> DepthwiseConv2D(3, padding="same")(np.ones((1, 8, 8, 5))).shape
    (1, 8, 8, 5)
    """

    rank = 2

    def large_weight(self) -> LargeWeight:
        """The kernel, with a scale for each filter."""
        return LargeWeight("kernel", tuple(range(self.rank)))


class BaseSeparableConv(_PerChannel):
    """A depthwise convolution, then a pointwise one that mixes the channels."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive(self, "filters", filters)
        self._set_geometry(
            kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier
        )
        self.use_bias = use_bias
        set_options(
            self,
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any = None) -> None:
        """Make depthwise_kernel (*kernel_size, channels, depth_multiplier), pointwise_kernel
        (1, .., channels * depth_multiplier, filters) and bias (filters,)."""
        channels = self._channels(input_shape)
        spread = channels * self.depth_multiplier
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = add_weight(self, "depthwise_kernel", shape, option="depthwise")
        shape = (*[1] * self.rank, spread, self.filters)
        self.pointwise_kernel = add_weight(self, "pointwise_kernel", shape, option="pointwise")
        self.bias = add_weight(self, "bias", (self.filters,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        """The filters' answers at every place."""
        kernels = self.depthwise_kernel, self.pointwise_kernel
        return self._convolved(ops.separable_conv, inputs, *kernels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "filters": self.filters, **options_config(self, *_SEPARABLE)}


class SeparableConv1D(BaseSeparableConv):
    """Separable convolution along time.

    https://keras.io/api/layers/convolution_layers/separable_convolution1d/

    >>> SeparableConv1D(4, 3)(np.ones((2, 10, 5))).shape
    (2, 8, 4)
    """

    rank = 1


class SeparableConv2D(BaseSeparableConv):
    """Separable convolution over images.

    https://keras.io/api/layers/convolution_layers/separable_convolution2d/

    >>> SeparableConv2D(4, 3, padding="same")(np.ones((1, 8, 8, 5))).shape
    (1, 8, 8, 4)
    """

    rank = 2
