"""EinsumDense: a dense layer whose axes are named by an einsum equation.

In: a tensor that the equation's first term describes. Out: one that its result describes. When the
kernel's summed axes end the input and its others end the output, the layer is one matrix product
with bias and activation, and nothing moves; other equations go through ops.einsum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import activations, initializers, ops, quantizers
from zoo_keras.layers.base.arguments import argument_error, is_whole, refuse
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, shape_error
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.low_rank import LowRank, adapted
from zoo_keras.layers.quantized import LargeWeight, Quantizable
from zoo_keras.variables import Variable

_OPTIONS = (
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "activity_regularizer", "kernel_constraint", "bias_constraint",
)  # fmt: skip
_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TERM = r"[a-zA-Z]+"
_FORMS = (
    rf"(?P<x>{_TERM}),(?P<k>{_TERM})->(?P<y>{_TERM})",
    rf"\.\.\.(?P<x>{_TERM}),(?P<k>{_TERM})->\.\.\.(?P<y>{_TERM})",
    rf"(?P<x>{_TERM})\.\.\.,(?P<k>{_TERM})->(?P<y>{_TERM})\.\.\.",
)
# Activations that look at one element at a time, so the order of axes does not matter to them.
_ELEMENTWISE = ("relu", "tanh", "sigmoid", "gelu", "silu", "elu", "linear")


class _Plan(NamedTuple):
    """The equation with a letter for every axis, and the shapes that follow from it."""

    x: str
    kernel: str
    y: str
    kernel_shape: tuple[int, ...]
    output_shape: tuple[int | None, ...]
    bias_shape: tuple[int, ...] | None
    bias: str  # the letters of the bias, from the first one that bias_axes names


class EinsumDense(LowRank, Quantizable):
    """activation(einsum(equation, inputs, kernel) + bias).

    `output_shape` holds the sizes of the output without the batch and without what "..." stands
    for; None where a size is the input's. `bias_axes` names the output axes along which the bias
    varies. Raises ConfigError for an equation that is not of the form "X,Y->Z", "...X,Y->...Z" or
    "X...,Y->Z...". https://keras.io/api/layers/core_layers/einsum_dense/

    >>> EinsumDense("abc,cd->abd", output_shape=(None, 8), bias_axes="d")(np.ones((2, 3, 4))).shape
    (2, 3, 8)
    """

    kernel = adapted("kernel")
    kernel_initializer: Any
    kernel_regularizer: Any
    kernel_constraint: Any
    kernel_scale: Variable

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        gptq_unpacked_column_size: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        refuse(self, gptq_unpacked_column_size=gptq_unpacked_column_size)
        self.set_low_rank(lora_rank, lora_alpha)
        self.set_quantization(quantization_config)
        self.equation = equation
        self._parsed = _parse(self, equation)
        self.partial_output_shape = (
            (output_shape,) if is_whole(output_shape) else tuple(output_shape)
        )
        self.bias_axes = bias_axes
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

    def build(self, input_shape: Any = None) -> None:
        """Make kernel and bias for inputs of this shape."""
        plan = self._plan(tuple(input_shape))
        self.input_spec = InputSpec(ndim=len(input_shape))
        make = self.int8_weight if self.quantization_mode else self._float_kernel
        self.kernel = make("kernel", plan.kernel_shape)
        self.bias = None if plan.bias_shape is None else add_weight(self, "bias", plan.bias_shape)
        self.build_factors()

    def large_weight(self) -> LargeWeight:
        """The kernel, with a scale for each of its columns."""
        _, kernel, y = self._parsed
        return LargeWeight("kernel", tuple(i for i, c in enumerate(kernel) if c not in y))

    def scale_shape(self, kept: Sequence[int]) -> tuple[int, ...]:
        """The scale lies along the output's axes; those that the kernel does not have are 1."""
        x, kernel, y = self._parsed
        sizes = dict(zip((c for c in kernel if c in y), kept, strict=True))
        missing = self.input_spec.ndim - len(x.replace(".", ""))
        return tuple(sizes.get(c, 1) for c in y.replace("...", "." * missing))

    def arranged_scale(self, scale: np.ndarray) -> np.ndarray:
        """The scale in the order of the output's axes."""
        _, kernel, y = self._parsed
        order = [kernel.index(c) for c in y if c in kernel]
        return scale.transpose([*order, *(i for i in range(len(kernel)) if i not in order)])

    def _float_kernel(self, name: str, shape: Sequence[int]) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self._fan_aware_initializer(),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def _fan_aware_initializer(self) -> Any:
        """The kernel's initializer, told which axes are summed unless the user said so."""
        given = self.kernel_initializer
        _, kernel, y = self._parsed
        if not isinstance(given, initializers.VarianceScaling):
            return given
        if given.input_axes is not None and given.output_axes is not None:
            return given
        made = {i: letter in y for i, letter in enumerate(kernel)}
        axes = {
            "seed": given.seed,
            "input_axes": [i for i, is_output in made.items() if not is_output],
            "output_axes": [i for i, is_output in made.items() if is_output],
        }
        return type(given).from_config({**given.get_config(), **axes})

    def _plan(self, input_shape: tuple[int | None, ...]) -> _Plan:
        x, kernel, y = self._parsed
        missing = len(input_shape) - len(x.replace(".", ""))
        if missing < 0 or (missing and "..." not in x):
            raise shape_error(
                self, f"the equation {self.equation!r} does not fit the inputs' rank",
                f"input shape {input_shape}", "Name each axis, or use '...'.",
            )  # fmt: skip
        spare = "".join(c for c in _SPARE if c not in self.equation)[:missing]
        x, y = x.replace("...", spare), y.replace("...", spare)
        sizes = dict(zip(x, input_shape, strict=True))
        out = self._output_sizes(y, sizes, spare)
        kernel_shape = [out.get(c) or sizes.get(c) for c in kernel]
        if None in kernel_shape:
            raise shape_error(
                self, f"every axis of the kernel {kernel!r} needs a size",
                f"input shape {input_shape}, output_shape={self.partial_output_shape}",
                "Give the Input a full shape, and output_shape the sizes that are not the input's.",
            )  # fmt: skip
        bias, bias_shape = self._bias(y, spare, out)
        output_shape = tuple(out[c] for c in y)
        return _Plan(x, kernel, y, tuple(kernel_shape), output_shape, bias_shape, bias)  # type: ignore[arg-type]

    def _output_sizes(
        self, y: str, sizes: dict[str, int | None], spare: str
    ) -> dict[str, int | None]:
        """The size of each output axis as Keras states it: None where output_shape says so."""
        named = [c for c in y if c not in spare]
        if not spare or y[0] != spare[0]:
            named = named[1:]  # the batch, which output_shape leaves out
        if len(named) != len(self.partial_output_shape):
            raise argument_error(
                self, "output_shape", f"one size for each of the axes {''.join(named)!r}",
                self.partial_output_shape, "Leave out the batch and what '...' stands for.",
            )  # fmt: skip
        out = {c: sizes[c] for c in spare} | {y[0]: next(iter(sizes.values()))}
        out |= dict(zip(named, self.partial_output_shape, strict=True))
        for c, size in out.items():
            if size is not None and sizes.get(c, size) not in (None, size):
                raise shape_error(
                    self, f"axis {c!r} has two sizes", f"{sizes[c]} in the inputs, {size} in "
                    "output_shape", "Make them equal, or write None.",
                )  # fmt: skip
        return out

    def _bias(
        self, y: str, spare: str, out: dict[str, int | None]
    ) -> tuple[str, tuple[int, ...] | None]:
        if self.bias_axes is None:
            return "", None
        if not self.bias_axes or any(c not in y or c in spare for c in self.bias_axes):
            raise argument_error(
                self, "bias_axes", f"letters of the output {y!r}", self.bias_axes,
                "Name output axes.",
            )  # fmt: skip
        letters = y[min(y.index(c) for c in self.bias_axes) :]
        shape = tuple(out[c] if c in self.bias_axes else 1 for c in letters)
        return letters, shape  # type: ignore[return-value]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As Keras has it: None for a size that output_shape leaves open."""
        return self._plan(tuple(input_shape)).output_shape

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors with all sizes that are known."""
        from zoo_keras.layers.base.functional import symbolic_outputs

        return symbolic_outputs(self._call_traced, args, kwargs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The product with the kernel, plus bias, through the activation."""
        del training
        inputs = self.observed(inputs)
        plan = self._plan(tuple(inputs.shape))
        inner = "".join(c for c in plan.kernel if c not in plan.y)
        columns = plan.kernel[len(inner) :]
        rows = plan.x[: len(plan.x) - len(inner)]
        whole_bias = plan.bias_shape is None or self.bias_axes == columns
        is_matrix = plan.kernel == inner + columns and plan.x == rows + inner
        if inner and is_matrix and plan.y == rows + columns and whole_bias:
            return self._as_matrix(inputs, len(rows))
        outputs = self._einsum(plan, inputs)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return activations.get(self.activation)(outputs)

    def _as_matrix(self, inputs: Any, lead: int) -> Any:
        """One product of (rows, summed) and (summed, columns)."""
        rows, inner = inputs.shape[:lead], math.prod(inputs.shape[lead:])
        columns = self.kernel.shape[len(inputs.shape) - lead :]
        width = math.prod(columns)
        kernel = ops.reshape(self.kernel, (inner, width))
        bias = None if self.bias is None else ops.reshape(self.bias, (width,))
        inputs = ops.reshape(inputs, (math.prod(rows), inner))
        name = getattr(self.activation, "__name__", "")
        known = name in _ELEMENTWISE and self.activation is getattr(activations, name)
        early = self.activation if known else activations.linear
        if self.quantization_mode:
            scale = ops.reshape(self.kernel_scale, (width,))
            outputs = self.int8_product(inputs, kernel, scale, bias, early)
        else:
            outputs = ops.matmul(inputs, kernel)
            outputs = early(outputs if bias is None else ops.add(outputs, bias))
        outputs = ops.reshape(outputs, (*rows, *columns))
        return outputs if known else activations.get(self.activation)(outputs)

    def _einsum(self, plan: _Plan, inputs: Any) -> Any:
        """Any equation. Rounded inputs and weights are summed in float32, exactly up to 2^24."""
        equation = f"{plan.x},{plan.kernel}->{plan.y}"
        if not self.quantization_mode:
            return ops.einsum(equation, inputs, self.kernel)
        kernel = ops.cast(self.kernel, self.variable_dtype)
        if not self.rounds_inputs:
            return ops.divide(ops.einsum(equation, inputs, kernel), self.kernel_scale)
        summed = [i for i, c in enumerate(plan.x) if c not in plan.y]
        inputs, scale = self.rounded_inputs(inputs, summed)
        kept = "".join(c for c in plan.y if c in plan.x)
        sizes = dict(zip(plan.x, inputs.shape, strict=True))
        scale = ops.reshape(
            ops.einsum(f"{plan.x}->{kept}", scale), tuple(sizes.get(c, 1) for c in plan.y)
        )
        return ops.divide(
            ops.einsum(equation, inputs, kernel), ops.multiply(scale, self.kernel_scale)
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "output_shape": self.partial_output_shape,
            "equation": self.equation,
            **options_config(self, "activation"),
            "bias_axes": self.bias_axes,
            **options_config(self, *_OPTIONS),
            "quantization_config": quantizers.serialize(self.quantization_config),
            **self.low_rank_config(),
        }


def _parse(layer: Layer, equation: Any) -> Sequence[str]:
    """The terms of the input, the kernel and the output, with "..." where it stands."""
    text = equation.replace(" ", "") if isinstance(equation, str) else ""
    for i, form in enumerate(_FORMS):
        if found := re.fullmatch(form, text):
            before, after = ("..." if i == 1 else ""), ("..." if i == 2 else "")
            x, k, y = found["x"], found["k"], found["y"]
            if all(c in x or c in k for c in y) and all(c in x or c in y for c in k):
                return before + x + after, k, before + y + after
    raise argument_error(
        layer, "equation", 'of the form "X,Y->Z", "...X,Y->...Z" or "X...,Y->Z..."', equation,
        "Letters of the kernel must be in the input or the output, those of the output in either.",
    )  # fmt: skip
