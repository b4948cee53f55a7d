"""`zoo_keras.quantizers`: how numbers are rounded to int8, as in `keras.quantizers`.

In: arrays or configurations. Out: int8 arrays with their scales, and the configuration that a
quantised layer keeps. Knows no layer; the ops on int8 numbers are in `ops.int8`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.missing import missing
from zoo_keras.policies import check_mode
from zoo_keras.primitives.int8 import EPSILON, MOST, UNSIGNED_MOST, abs_max_scale

__all__ = [
    "AbsMaxQuantizer", "Int8QuantizationConfig", "QuantizationConfig", "Quantizer",
    "abs_max_quantize", "deserialize", "fake_quant_with_min_max_vars", "get",
    "quantize_and_dequantize", "serialize",
]  # fmt: skip


def abs_max_quantize(
    inputs: Any,
    axis: int | Sequence[int],
    value_range: Sequence[int] = (-MOST, MOST),
    dtype: str = "int8",
    epsilon: float = EPSILON,
    to_numpy: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """(rounded, scale): inputs * scale as whole numbers; the largest magnitude along `axis` becomes
    the range's end. scale keeps the axes with size 1. Source: keras.quantizers.abs_max_quantize.

    >>> abs_max_quantize(np.array([[1.0, -2.0]]), axis=-1)[0]
    array([[  64, -127]], dtype=int8)
    """
    del to_numpy
    x = np.asarray(inputs, np.float32)
    axes = axis if isinstance(axis, int) else tuple(axis)
    low, high = value_range
    largest = np.max(np.abs(x), axes, keepdims=True, initial=0) + np.float32(epsilon)
    scale = (np.float32(high) / largest).astype(np.float32)
    return np.clip(np.rint(x * scale), low, high).astype(dtype), scale


def fake_quant_with_min_max_vars(
    inputs: Any, min_vals: Any, max_vals: Any, num_bits: int = 8, narrow_range: bool = False,
    axis: int | None = None,
) -> Any:  # fmt: skip
    """The inputs as numbers of so many bits between two limits would give them back.

    Gradients pass inside the limits; outside they are those of the limit that was met.

    Args:
        min_vals, max_vals: scalars, or one for each place along `axis`.
        narrow_range: do not use the lowest of the 2 ** num_bits numbers.

    Source: keras.quantizers.fake_quant_with_min_max_vars.
    """
    x = ops.convert_to_tensor(inputs)
    low, high = (ops.convert_to_tensor(v, "float32") for v in (min_vals, max_vals))
    shape = [1] * len(x.shape)
    if axis is not None:
        shape[axis] = -1
    first, last = int(narrow_range), (1 << int(num_bits)) - 1

    @ops.custom_gradient
    def rounded(x: Any, low: Any, high: Any) -> Any:
        wide = [ops.reshape(v, shape) for v in (low, high)]
        scale = (wide[1] - wide[0]) / (last - first)
        zero = ops.round(ops.clip(first - wide[0] / scale, first, last))
        least, most = (first - zero) * scale, (last - zero) * scale
        inside = ops.minimum(ops.maximum(x, least), most) - least
        steps = inside * ((last - first) / (wide[1] - wide[0]))
        whole = ops.floor(steps - ops.floor(-least / scale + 0.5) + 0.5) * scale
        over = [i for i in range(len(x.shape)) if axis is None or i != axis % len(x.shape)]

        def grad(*args: Any, upstream: Any = None) -> Any:
            up = args[0] if upstream is None else upstream
            here = ops.logical_and(x >= least, x <= most)
            sides = [(x <= least, low), (x >= most, high)]
            limits = [
                ops.reshape(ops.sum(ops.where(met, up, 0.0), axis=over), v.shape)
                for met, v in sides
            ]
            return (ops.where(here, up, 0.0), *limits)

        return whole, grad

    return rounded(x, low, high)


_LARGEST = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0}


def quantize_and_dequantize(
    inputs: Any, scale: Any, quantized_dtype: str, compute_dtype: str
) -> Any:
    """The inputs as a narrow float format with a scale gives them back: "float8_e4m3fn" or
    "float8_e5m2". Source: keras.quantizers.quantize_and_dequantize.

    Raises UnsupportedError for other formats.
    """
    if quantized_dtype not in _LARGEST:
        raise UnsupportedError(
            f"quantize_and_dequantize: unknown format. Received: {quantized_dtype!r}. Use one of "
            f"{', '.join(_LARGEST)}."
        )
    most, scale = _LARGEST[quantized_dtype], ops.cast(scale, compute_dtype)
    x = ops.clip(ops.divide(inputs, scale), -most, most)
    bits, lowest = (3, -6) if quantized_dtype == "float8_e4m3fn" else (2, -14)
    size = ops.maximum(ops.abs(x), 2.0**lowest)
    step = ops.power(2.0, ops.floor(ops.log2(size)) - bits)
    return ops.multiply(ops.round(x / step) * step, scale)


class Quantizer:
    """The base of quantizers: output_dtype is the dtype of what they make."""

    keras_module = "keras.quantizers"

    def __init__(self, output_dtype: str = "int8") -> None:
        self.output_dtype = output_dtype

    def get_config(self) -> dict[str, Any]:
        """Arguments from which `from_config` makes an equal quantizer."""
        return {"output_dtype": self.output_dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The quantizer of a configuration."""
        return cls(**config)


class AbsMaxQuantizer(Quantizer):
    """The largest magnitude along an axis becomes the end of the range.

    Source: keras.quantizers.AbsMaxQuantizer. Raises UnsupportedError for a range that is not
    symmetric within -127..127 or an output other than int8.
    """

    def __init__(
        self,
        axis: Any = None,
        value_range: Sequence[int] = (-MOST, MOST),
        epsilon: float = EPSILON,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)
        low, high = value_range
        if output_dtype != "int8" or low != -high or not 0 < high <= MOST:
            raise UnsupportedError(
                "AbsMaxQuantizer: the output must be int8 within a symmetric range. Received: "
                f"output_dtype={output_dtype!r}, value_range={value_range}. Use 'int8' and "
                "(-127, 127)."
            )
        self.axis = None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.value_range, self.epsilon = (low, high), epsilon

    def __call__(self, x: Any, axis: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """See abs_max_quantize; the axis given here goes before that of the constructor."""
        axes = axis if axis is not None else self.axis if self.axis is not None else -1
        return abs_max_quantize(x, axes, self.value_range, self.output_dtype, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "value_range": self.value_range,
            "epsilon": self.epsilon,
            "output_dtype": self.output_dtype,
        }
        return config if self.axis is None else {**config, "axis": self.axis}

    def is_usual(self) -> bool:
        """Whether this is what the engine does as it rounds inputs: -127..127, epsilon 1e-7."""
        return self.value_range == (-MOST, MOST) and self.epsilon == EPSILON


class QuantizationConfig:
    """Which quantizers round weights and inputs. Source: keras.quantizers.QuantizationConfig."""

    keras_module = "keras.quantizers"

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = None) -> None:
        self.weight_quantizer = get(weight_quantizer)
        self.activation_quantizer = get(activation_quantizer)

    @property
    def mode(self) -> str:
        """The quantization mode; subclasses say which."""
        raise NotImplementedError("Use a subclass of QuantizationConfig, which has a mode.")

    def get_config(self) -> dict[str, Any]:
        """Arguments from which `from_config` makes an equal configuration."""
        return {
            "weight_quantizer": serialize(self.weight_quantizer),
            "activation_quantizer": serialize(self.activation_quantizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The object of a configuration."""
        return cls(**config)


class Int8QuantizationConfig(QuantizationConfig):
    """int8 weights; inputs in int8 too, or in float32 with activation_quantizer=None.

    Args:
        input_range: (lowest, highest) input that a calibration saw. Inputs are then rounded by
            one scale; without it each row of the inputs has its own. Keras passes over it.

    Source: keras.quantizers.Int8QuantizationConfig.
    """

    def __init__(
        self,
        weight_quantizer: Any = None,
        activation_quantizer: Any = "default",
        input_range: Sequence[float] | None = None,
    ) -> None:
        if activation_quantizer == "default":
            activation_quantizer = AbsMaxQuantizer()
        super().__init__(weight_quantizer, activation_quantizer)
        if self.activation_quantizer is not None and not self.activation_quantizer.is_usual():
            raise UnsupportedError(
                "Int8QuantizationConfig: inputs are rounded to -127..127 with epsilon 1e-7. "
                f"Received: {self.activation_quantizer.get_config()}. Use AbsMaxQuantizer()."
            )
        self.input_range = None if input_range is None else (input_range[0], input_range[1])

    @property
    def mode(self) -> str:
        return "int8"

    def is_positive(self) -> bool:
        """Whether a calibration saw no input below zero."""
        return self.input_range is not None and self.input_range[0] >= 0

    def input_scale(self, unsigned: bool = False) -> float:
        """The scale of all inputs, to int8 or uint8; 0 when each row has its own."""
        if self.input_range is None:
            return 0.0
        if unsigned:
            return UNSIGNED_MOST / (self.input_range[1] + EPSILON)
        return float(abs_max_scale(max(-self.input_range[0], self.input_range[1])))

    def calibrated(self, low: float, high: float) -> Int8QuantizationConfig:
        """The same for inputs in this range."""
        return type(self)(self.weight_quantizer, self.activation_quantizer, (low, high))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.input_range is not None:
            config["input_range"] = self.input_range
        return config


def resolve_config(mode: Any, config: Any) -> Int8QuantizationConfig:
    """The configuration that the arguments `mode` and `config` of `quantize` mean.

    Raises ConfigError when neither is given or they contradict each other.
    """
    if isinstance(config, str):
        mode, config = config, None
    if mode is None and config is None:
        raise ConfigError(
            "quantize: either `mode` or `config` is needed. Received: none. Pass 'int8'."
        )
    if config is None:
        check_mode(mode)
        return Int8QuantizationConfig()
    if not isinstance(config, Int8QuantizationConfig):
        raise ConfigError(
            f"quantize: `config` must be an Int8QuantizationConfig. Received: {config!r}. "
            "Make one, or leave it out."
        )
    if mode is not None and check_mode(mode) != config.mode:
        raise ConfigError(
            f"quantize: mode and config contradict each other. Received: mode={mode!r}, a config "
            f"for {config.mode!r}. Leave one out."
        )
    return config


def serialize(quantizer: Any) -> Any:
    """The configuration of a quantizer or quantization config; None stays None."""
    from zoo_keras.configs.serialization import serialize_keras_object

    return serialize_keras_object(quantizer)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The quantizer or quantization config of a configuration."""
    from zoo_keras.configs.serialization import deserialize_keras_object

    return deserialize_keras_object(config, custom_objects)


def get(identifier: Any) -> Any:
    """A quantizer, or the one of a configuration or of a class name; None stays None."""
    if identifier is None or isinstance(identifier, (Quantizer, QuantizationConfig)):
        return identifier
    if isinstance(identifier, str):
        identifier = {"module": "keras.quantizers", "class_name": identifier, "config": {}}
    if isinstance(identifier, dict):
        return deserialize(identifier)
    raise ConfigError(
        f"No quantizer. Received: {identifier!r}. Pass an AbsMaxQuantizer or its configuration."
    )


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.quantizers", name)
