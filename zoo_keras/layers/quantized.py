"""Quantizable: what layers share that may keep their large weights in int8.

In: a built float layer and a quantization config. Out: the same layer with int8 weights and their
scales, and products on them through `ops.int8`. The layers say where the weights are and which of
their axes are summed; nothing here knows how they compute otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import activations, ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.graph import not_tracing
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.mean_rounding import keep_sums
from zoo_keras.ops.convert import dtype_of
from zoo_keras.policies import QuantizedDTypePolicy
from zoo_keras.primitives.int8 import EPSILON, MOST, Range, dense_int8, observe, pack_int8
from zoo_keras.primitives.products import FUSED_ACTIVATIONS
from zoo_keras.quantizers import AbsMaxQuantizer, Int8QuantizationConfig, get, resolve_config
from zoo_keras.variables import Variable


class LargeWeight(NamedTuple):
    """The weight that goes to int8: its name, and the axes along which a scale stays the same."""

    name: str
    summed: tuple[int, ...]


class Quantizable(Layer):
    """A layer whose large weights may be int8 with a scale for each of their rows or columns.

    A quantised layer only predicts: it has no gradient. `computes` names the method by which a
    class shows that it computes by itself: a subclass that has none of its own is not quantised
    unasked.
    """

    computes = "large_weight"
    meets_inputs = False  # the large weight is (.., inputs, outputs): a sample's means round it

    quantization_config: Int8QuantizationConfig | None = None
    seen: Range | None = None  # set while a sample is run to find the range of the inputs
    bias: Variable | None = None

    def set_quantization(self, config: Any) -> None:
        """Keep the constructor's argument `quantization_config`, an object or a configuration."""
        self.quantization_config = get(config)

    def large_weight(self) -> LargeWeight:
        """Which weight goes to int8."""
        raise NotImplementedError(f"{type(self).__name__} must define large_weight().")

    def own_weight(self, name: str) -> Variable:
        """A large weight as the layer keeps it, without a correction of low rank."""
        kept = self.__dict__.get(f"_{name}")
        found: Variable = getattr(self, name) if kept is None else kept
        return found

    def large_weights(self) -> Sequence[LargeWeight]:
        """All weights that go to int8, large_weight() first; the same axes of all are summed."""
        return (self.large_weight(),)

    def why_float(self) -> str | None:
        """Why Model.quantize leaves a layer of this shape in float32; None when it does not."""
        return None

    def scale_shape(self, kept: Sequence[int]) -> tuple[int, ...]:
        """The shape in which the scale is kept, given the sizes of the axes that are not summed."""
        return tuple(kept)

    # ---- from float to int8 --------------------------------------------------------------------

    def quantize(self, mode: Any = None, config: Any = None, type_check: bool = True) -> None:
        """Replace the large weights by int8 numbers and their scales; see Model.quantize.

        Raises ConfigError when the layer is not built or quantised already; UnsupportedError for a
        subclass of the layer, which may compute in another way, unless type_check is False.
        """
        config = resolve_config(mode, config)
        if type_check and self.computes not in type(self).__dict__:
            raise UnsupportedError(
                f'{type(self).__name__} "{self.name}": a subclass is not quantised by itself. '
                "Received: quantize(). Pass type_check=False if it computes as its base class does."
            )
        self.check_quantize(mode)
        if getattr(self, "lora_enabled", False):
            self.fold()  # type: ignore[attr-defined]
        self.quantization_config = config
        self.dtype_policy = QuantizedDTypePolicy(config.mode, self.dtype_policy.name)
        for weight in self.large_weights():
            self._round_weight(*weight)

    def _round_weight(self, name: str, summed: tuple[int, ...]) -> None:
        weight = getattr(self, name)
        values, scale = self.rounded_weight(weight.numpy(), summed)
        self._own_variables[:] = [v for v in self._own_variables if v is not weight]
        with not_tracing():
            made = self.int8_weight(name, weight.shape)
        made.path = weight.path
        made.assign(values)
        kept = getattr(self, f"{name}_scale")
        kept.path = f"{weight.path}_scale"
        kept.assign(self.arranged_scale(scale).reshape(kept.shape))
        setattr(self, name, made)

    def rounded_weight(self, weight: np.ndarray, axes: Sequence[int]) -> tuple[Any, Any]:
        """(whole numbers, their scale) of a weight, the scale with its summed axes of size 1."""
        own = self._config.weight_quantizer
        values, scale = (own or AbsMaxQuantizer())(weight, axis=axes)
        mean = None if own is not None else self.mean_inputs(weight.shape[-2])
        return (
            values if mean is None else keep_sums(values, weight * scale, mean[:, None], axes),
            scale,
        )

    def mean_inputs(self, count: int) -> np.ndarray | None:
        """(count,) inputs of the large weight on average, if a sample says so."""
        if not self.meets_inputs or self.seen is None:
            return None
        mean = self.seen.mean
        return mean if mean.shape == (count,) and np.isfinite(mean).all() else None

    def check_quantize(self, mode: Any) -> None:
        """ConfigError when the layer is not built, or quantised already."""
        own = f'{type(self).__name__} "{self.name}"'
        if not self.built:
            raise ConfigError(
                f"{own}: cannot be quantised before it is built. Received: quantize(). Call it on "
                "data, or build it, first."
            )
        if self.quantization_mode is not None:
            raise ConfigError(
                f"{own}: is quantised already, with dtype policy {self.dtype_policy.name!r}. "
                f"Received: mode={mode!r}. Quantise a layer once."
            )

    def arranged_scale(self, scale: np.ndarray) -> np.ndarray:
        """The scale, with its summed axes of size 1, in the order in which the layer keeps it."""
        return scale

    def int8_weight(self, name: str, shape: Sequence[int]) -> Variable:
        """An int8 weight of zeros; its scale is made too, as attribute `<name>_scale`."""
        return self.whole_weight(name, shape, "int8")

    def whole_weight(self, name: str, shape: Sequence[int], dtype: str) -> Variable:
        """The same of another dtype of whole numbers."""
        summed = [axis % len(shape) for axis in self.large_weight().summed]
        kept = [size for axis, size in enumerate(shape) if axis not in summed]
        made = self.add_weight(shape, "zeros", dtype, trainable=False, name=name)
        scale = self.add_weight(
            self.scale_shape(kept), "ones", trainable=False, name=f"{name}_scale"
        )
        setattr(self, f"{name}_scale", scale)
        return made

    def stored_variables(self) -> list[Variable]:
        """A quantised layer's weights in the order of Keras' files: kernels, bias, scales."""
        names = [w.name for w in self.large_weights()]
        scales = [getattr(self, f"{name}_scale") for name in names]
        first = [*[getattr(self, name) for name in names], self.bias, *scales]
        found = [v for v in [*first, *self._own_variables] if v is not None]
        return list({id(v): v for v in found}.values())

    # ---- products ------------------------------------------------------------------------------

    def observed(self, inputs: Any) -> Any:
        """The inputs; while a sample is run, their range is noted."""
        return inputs if self.seen is None else observe(inputs, seen=self.seen)

    @property
    def rounds_inputs(self) -> bool:
        """Whether inputs are rounded too, and not the weights alone."""
        return self._config.activation_quantizer is not None

    @property
    def _config(self) -> Int8QuantizationConfig:
        return self.quantization_config or Int8QuantizationConfig()

    def int8_product(self, inputs: Any, kernel: Any, scale: Any, bias: Any, activation: Any) -> Any:
        """activation(inputs @ kernel / scale + bias); kernel (K, N) int8, scale and bias (N,)."""
        units = kernel.shape[-1]
        if bias is None:
            bias = in_dtype(np.zeros(units), self.variable_dtype)
        if not self.rounds_inputs:
            return activation(ops.add(ops.matmul(inputs, self._unrounded(kernel, scale)), bias))
        fused = next((n for n in FUSED_ACTIVATIONS if activation is getattr(activations, n)), None)
        inputs, scale, bias = (in_float32(x) for x in (inputs, scale, bias))
        outputs = dense_int8(
            inputs, pack_int8(kernel), scale, bias, units=units, activation=fused or "linear",
            input_scale=self._config.input_scale(),
        )  # fmt: skip
        if self.compute_dtype != "float32":
            outputs = ops.cast(outputs, self.compute_dtype)
        return outputs if fused else activation(outputs)

    def in_float(self, name: str) -> Any:
        """A large weight for products in float32: its numbers over their scales once it is int8."""
        weight = getattr(self, name)
        if weight.dtype != "int8":
            return weight
        return self._unrounded(weight, getattr(self, f"{name}_scale"))

    def _unrounded(self, weight: Any, scale: Any) -> Any:
        return ops.divide(ops.cast(weight, self.variable_dtype), scale)

    def rounded_inputs(self, inputs: Any, axes: Sequence[int]) -> tuple[Any, Any]:
        """(whole numbers in float32, their scale): the inputs rounded with one scale along `axes`,
        which the scale keeps with size 1."""
        largest = ops.max(ops.abs(inputs), axis=tuple(axes), keepdims=True)
        scale = ops.divide(np.float32(MOST), ops.add(largest, EPSILON))
        if fixed := self._config.input_scale():
            scale = ops.full_like(scale, fixed)
        whole = ops.clip(ops.round(ops.multiply(inputs, scale)), -MOST, MOST)
        return whole, scale


def in_float32(x: Any) -> Any:
    """What the int8 product reads beside int8 numbers."""
    return x if dtype_of(x) == "float32" else ops.cast(x, "float32")
