"""Int8Conv: what the convolutions that may keep their kernel in int8 share.

In: images, channels last, and the layer's geometry. Out: the sums over all windows, by int8
products when the layer is quantised. Bias and activation follow as ops of their own; the passes
take them into the product. Real Keras has no int8 convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import native, ops
from zoo_keras.errors import UnsupportedError
from zoo_keras.layers.quantized import Quantizable, in_float32
from zoo_keras.ops.convolution import cells
from zoo_keras.primitives.conv_choice import suits_winograd
from zoo_keras.primitives.conv_int8 import (
    DEPTHWISE_TAPS,
    conv_int8,
    depthwise_int8,
    depthwise_most,
    pack_conv_int8,
    round_int8,
)
from zoo_keras.primitives.int8 import LONGEST
from zoo_keras.quantizers import abs_max_quantize, serialize
from zoo_keras.variables import Variable

LEAST_PRODUCTS = (16, 32)  # of a sum that pays, in a window of one cell and in others
LEAST_FILTERS = 8
WITHOUT_TILES = 128  # products, and twice the filters, that pay without AMX
_ALONE = {"activation": "linear", "scale": 0.0, "both": False}  # what passes may add to a product


class Int8Conv(Quantizable):
    """A convolution of 1 or 2 axes whose kernel may be int8 with a scale for each filter."""

    meets_inputs = True
    kernel: Variable
    kernel_scale: Variable
    rank: int
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    float_kernel: Callable[..., Variable]  # (shape) -> the kernel of a layer that is not quantised
    float_convolved: Callable[..., Any]  # (x, kernel, padding) -> the sums over the windows

    def new_kernel(self, shape: tuple[int, ...]) -> Variable:
        """The kernel's Variable."""
        return (
            self.int8_weight("kernel", shape)
            if self.quantization_mode
            else self.float_kernel(shape)
        )

    def quantization_options(self) -> dict[str, Any]:
        """How the layer is quantised, for its configuration; Keras' layers don't know the word."""
        config = self.quantization_config
        return {} if config is None else {"quantization_config": serialize(config)}

    def why_float(self) -> str | None:
        """Why int8 would not be quicker than float32: measured by shape, on CPUs with tiles, with
        byte products (VNNI, AVX2) and without. The machine that quantises is asked."""
        *window, channels, filters = self.kernel.shape
        products, isa = math.prod(window) * channels, native.instruction_set()
        if not self._has_int8_form():
            return "has no int8 form for groups"
        if isa == "base":
            return "stays float32, which is quicker without instructions for bytes"
        if native.has_tiles():
            few = products < LEAST_PRODUCTS[math.prod(window) > 1] or filters < LEAST_FILTERS
            narrow = channels < LEAST_FILTERS if self.is_depthwise else few
            return "stays float32, which is quicker for few weights" if narrow else None
        geometry = {"strides": self.strides, "dilation": self.dilation_rate}
        quick = self.is_depthwise or suits_winograd(self.kernel.shape, geometry)
        few = products < WITHOUT_TILES or filters < WITHOUT_TILES // 2
        return "stays float32, which is quicker without AMX" if quick or few else None

    def check_quantize(self, mode: Any) -> None:
        """ConfigError as for all layers; UnsupportedError for groups and several filters a channel,
        and for sums that would not be exact."""
        super().check_quantize(mode)
        if not self._has_int8_form():
            raise UnsupportedError(
                f'{type(self).__name__} "{self.name}": has no int8 form. Received: a kernel of '
                f"shape {self.kernel.shape}. One group, or depthwise with depth_multiplier=1, has. "
                "Leave the layer out with `filters`."
            )

    def _has_int8_form(self) -> bool:
        *window, channels, filters = self.kernel.shape
        taps = math.prod(window)
        if self.is_depthwise:
            return filters == 1 and taps <= DEPTHWISE_TAPS
        return getattr(self, "groups", 1) == 1 and taps * channels <= LONGEST

    def int8_weight(self, name: str, shape: Sequence[int]) -> Variable:
        """A weight of whole numbers and its scale: int16 where each channel has its own filters,
        whose few weights may nearly cancel."""
        return self.whole_weight(name, shape, "int16" if self.is_depthwise else "int8")

    def rounded_weight(self, weight: np.ndarray, axes: Sequence[int]) -> Any:
        if not self.is_depthwise or self._config.weight_quantizer is not None:
            return super().rounded_weight(weight, axes)
        most = depthwise_most(math.prod(weight.shape[:-2]))
        return abs_max_quantize(weight, axes, (-most, most), "int16")

    def mean_inputs(self, count: int) -> np.ndarray | None:
        """Without a sample all alike: behind a ReLU that is nearer than zero. (Dense layers then
        have Keras' numbers.)"""
        found = super().mean_inputs(count)
        return np.ones(count) if found is None else found

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has filters of its own."""
        return len(self.large_weight().summed) == self.rank

    def convolved(self, x: Any, padding: str) -> Any:
        """The sums over the windows of x (batch, *spatial, channels)."""
        if not self.quantization_mode:
            return self.float_convolved(self.observed(x), self.kernel, padding)
        if self.rounds_inputs:
            return self._int8_convolved(x, padding)
        kernel = ops.divide(ops.cast(self.kernel, self.variable_dtype), self.kernel_scale)
        return self.float_convolved(x, ops.cast(kernel, self.compute_dtype), padding)

    def _int8_convolved(self, x: Any, padding: str) -> Any:
        *window, channels, filters = self.kernel.shape
        many = channels * filters if self.is_depthwise else filters
        config = self._config
        positive = self.is_depthwise and config.is_positive()
        q, step = round_int8(in_float32(x), scale=config.input_scale(positive), unsigned=positive)
        wstep = ops.reshape(ops.divide(np.float32(1), in_float32(self.kernel_scale)), (many,))
        how = {
            "kernel_shape": tuple(self.kernel.shape),
            "strides": self.strides,
            "padding": cells(padding, x.shape[1:-1], window, self.strides, self.dilation_rate),
            "dilation": self.dilation_rate,
            **_ALONE,
        }
        if self.is_depthwise:
            w, product = ops.reshape(self.kernel, (math.prod(window), many)), depthwise_int8
        else:
            given = {"strides": self.strides, "dilation": self.dilation_rate}
            w, product = pack_conv_int8(self.kernel, **given), conv_int8
        y = product(q, step, w, wstep, np.zeros(many, np.float32), **how)
        return y if self.compute_dtype == "float32" else ops.cast(y, self.compute_dtype)
