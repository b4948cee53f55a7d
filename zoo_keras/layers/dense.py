"""Dense: every output is a weighted sum of all inputs.

In: (batch, ..., features). Out: (batch, ..., units), through ops.matmul, a bias and an activation,
which the engine runs as one instruction.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import activations, ops, quantizers
from zoo_keras.layers.base.arguments import positive
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.low_rank import LowRank, adapted
from zoo_keras.layers.quantized import LargeWeight, Quantizable
from zoo_keras.variables import Variable

_OPTIONS = (
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "kernel_constraint", "bias_constraint",
)  # fmt: skip


class Dense(LowRank, Quantizable):
    """activation(inputs @ kernel + bias), kernel (features, units), bias (units,).

    Raises ConfigError unless units is a positive integer; ShapeError when the number of features
    is not that of the first call. https://keras.io/api/layers/core_layers/dense/

    >>> Dense(3)(np.ones((2, 4))).shape
    (2, 3)
    """

    meets_inputs = True
    kernel = adapted("kernel")
    kernel_scale: Variable

    def __init__(
        self,
        units: int,
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
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.set_low_rank(lora_rank, lora_alpha)
        self.set_quantization(quantization_config)
        self.units = positive(self, "units", units)
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
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        """Make kernel and bias for inputs of this shape."""
        features = known_size(self, input_shape, -1)
        shape = (features, self.units)
        if self.quantization_mode:
            self.kernel = self.int8_weight("kernel", shape)
        else:
            self.kernel = add_weight(self, "kernel", shape)
        self.bias = add_weight(self, "bias", (self.units,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})
        self.build_factors()

    def large_weight(self) -> LargeWeight:
        """The kernel, with a scale for each unit."""
        return LargeWeight("kernel", (0,))

    def call(self, inputs: Any, training: Any = None) -> Any:
        """(batch, ..., features) -> (batch, ..., units)."""
        del training
        if self.quantization_mode:
            scale, bias = self.kernel_scale, self.bias
            return self.int8_product(
                inputs, self.kernel, scale, bias, activations.get(self.activation)
            )
        outputs = ops.matmul(self.observed(inputs), self.kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return activations.get(self.activation)(outputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            **options_config(self, "activation"),
            "use_bias": self.use_bias,
            **options_config(self, *_OPTIONS),
            "quantization_config": quantizers.serialize(self.quantization_config),
            **self.low_rank_config(),
        }
