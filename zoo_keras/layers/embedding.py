"""Embedding: a vector for each id.

In: ids, any integers shape. Out: (..., output_dim) by gathering rows of the table.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops, quantizers
from zoo_keras.layers.base.arguments import positive, refuse
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.quantized import LargeWeight, Quantizable
from zoo_keras.ops.convert import dtype_of
from zoo_keras.primitives.index import gather
from zoo_keras.primitives.int8 import gather_int8
from zoo_keras.variables import Variable


class Embedding(Quantizable):
    """Row `id` of a table (input_dim, output_dim) for each id; id 0 is padding with mask_zero.

    An id outside 0..input_dim-1 is a DataError when the model runs.
    https://keras.io/api/layers/core_layers/embedding/

    >>> Embedding(100, 8)(np.array([[3, 7, 7]])).shape
    (1, 3, 8)
    """

    embeddings_scale: Variable

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("input_length", None)  # Keras 2 wanted it; the ids tell
        super().__init__(**kwargs)
        refuse(self, lora_rank=lora_rank, lora_alpha=lora_alpha)
        self.set_quantization(quantization_config)
        self.input_dim = positive(self, "input_dim", input_dim)
        self.output_dim = positive(self, "output_dim", output_dim)
        set_options(
            self,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )
        self.mask_zero = mask_zero
        self.supports_masking = bool(mask_zero)
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Make the table; the shape of the ids does not matter."""
        if not self.built:
            shape = (self.input_dim, self.output_dim)
            if self.quantization_mode:
                self.embeddings = self.int8_weight("embeddings", shape)
            else:
                self.embeddings = add_weight(self, "embeddings", shape, autocast=False)

    def large_weight(self) -> LargeWeight:
        """The table, with a scale for each row."""
        return LargeWeight("embeddings", (1,))

    def call(self, inputs: Any) -> Any:
        """(...) ids -> (..., output_dim)."""
        if dtype_of(inputs) not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        if self.quantization_mode:
            return gather_int8(self.embeddings, self.embeddings_scale, inputs)
        return gather(self.embeddings, inputs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True where the id is not 0, with mask_zero."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            **options_config(
                self, "embeddings_initializer", "embeddings_regularizer", "activity_regularizer",
                "embeddings_constraint",
            ),
            "mask_zero": self.mask_zero,
            "quantization_config": quantizers.serialize(self.quantization_config),
        }  # fmt: skip
