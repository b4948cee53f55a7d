"""Embedding: a vector for each id.

In: ids, any integers shape. Out: (..., output_dim) by gathering rows of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops, quantizers
from zoo_keras.layers.base.arguments import positive
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.low_rank import LowRank, adapted
from zoo_keras.layers.quantized import LargeWeight, Quantizable
from zoo_keras.ops.convert import dtype_of
from zoo_keras.primitives.index import gather
from zoo_keras.primitives.int8 import gather_int8
from zoo_keras.variables import Variable


class Embedding(LowRank, Quantizable):
    """Row `id` of a table (input_dim, output_dim) for each id; id 0 is padding with mask_zero.

    An id outside 0..input_dim-1 is a DataError when the model runs.
    https://keras.io/api/layers/core_layers/embedding/

    >>> Embedding(100, 8)(np.array([[3, 7, 7]])).shape
    (1, 3, 8)
    """

    adapts = "embeddings"
    embeddings = adapted("embeddings")
    embeddings_scale: Variable
    embeddings_initializer: Any

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
        self.set_low_rank(lora_rank, lora_alpha)
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
            self.build_factors()

    def large_weight(self) -> LargeWeight:
        """The table, with a scale for each row."""
        return LargeWeight("embeddings", (1,))

    def call(self, inputs: Any) -> Any:
        """(...) ids -> (..., output_dim)."""
        if dtype_of(inputs) not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        if self.quantization_mode:
            return gather_int8(self.embeddings, self.embeddings_scale, inputs)
        if not self.lora_enabled:
            return gather(self.embeddings, inputs)
        a, b = self.factors()  # of the rows that are asked for, not of the whole table
        correction = ops.multiply(ops.matmul(gather(a, inputs), b), np.float32(self.strength))
        return ops.add(gather(self.own_weight("embeddings"), inputs), correction)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
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
            **self.low_rank_config(),
        }  # fmt: skip


class ReversibleEmbedding(Embedding):
    """An Embedding that also maps hidden states to logits of the ids: `layer(x, reverse=True)`.

    With tie_weights the table itself, transposed, is the projection. logit_soft_cap bounds logits
    by c * tanh(logits / c). https://keras.io/api/layers/core_layers/reversible_embedding/

    >>> layer = ReversibleEmbedding(100, 8)
    >>> layer(layer(np.array([[3, 7]])), reverse=True).shape
    (1, 2, 100)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_dim, output_dim, embeddings_initializer, embeddings_regularizer,
            embeddings_constraint, mask_zero, **kwargs,
        )  # fmt: skip
        self.tie_weights, self.reverse_dtype = tie_weights, reverse_dtype
        self.logit_soft_cap = logit_soft_cap

    def build(self, input_shape: Any = None) -> None:
        """Make the table, and one of its own for the way back unless they are tied."""
        if not self.built:
            super().build(input_shape)
            if not self.tie_weights:
                shape = (self.output_dim, self.input_dim)
                self.reverse_embeddings = self.add_weight(
                    shape=shape, initializer=self.embeddings_initializer, name="reverse_embeddings"
                )

    def quantize(self, mode: Any = None, config: Any = None, type_check: bool = True) -> None:
        """Refused: its table is a factor of two kinds."""
        Layer.quantize(self, mode, config, type_check)

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """(...) ids -> (..., output_dim), or (..., output_dim) -> (..., input_dim)."""
        if not reverse:
            return super().call(inputs)
        kernel = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        if self.reverse_dtype is not None:
            inputs = ops.cast(inputs, self.reverse_dtype)
            kernel = ops.cast(kernel, self.reverse_dtype)
        logits, cap = ops.matmul(inputs, kernel), self.logit_soft_cap
        return logits if cap is None else ops.tanh(logits / cap) * cap

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where the id is not 0, with mask_zero; none for logits."""
        ids = dtype_of(inputs) in ("int32", "int64")
        return super().compute_mask(inputs, mask) if ids else None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "tie_weights": self.tie_weights,
            "reverse_dtype": self.reverse_dtype,
            "logit_soft_cap": self.logit_soft_cap,
        }
