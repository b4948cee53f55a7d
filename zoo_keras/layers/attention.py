"""Attention and AdditiveAttention: weighted means of values, weighted by queries and keys.

In: a list [query, value] or [query, value, key] of (batch, time, width). Out: (batch, query time,
value width). Dot products without returned scores run in the attention kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops, random
from zoo_keras.layers.base.arguments import number, one_of
from zoo_keras.layers.base.layer import Layer, is_shape, shape_error
from zoo_keras.primitives.attention import attention

_FAR_BELOW = -1.0e9  # what Keras adds to the scores of masked keys


class Attention(Layer):
    """softmax(query @ key') @ value, as Luong et al. 2015.

    `use_scale` adds a trainable factor of the scores; score_mode "concat" scores by
    tanh(query + key) summed over the width. mask is [query_mask, value_mask]: rows of the output
    where the query is masked are 0, masked values do not count.
    https://keras.io/api/layers/attention_layers/attention/

    >>> Attention()([np.ones((1, 2, 3)), np.ones((1, 4, 3))]).shape
    (1, 2, 3)
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.use_scale = use_scale
        self.score_mode = one_of(self, "score_mode", score_mode, ("dot", "concat"))
        self.dropout = number(self, "dropout", dropout, 0, 1)
        self.seed = seed
        if self.dropout > 0:
            self.seed_generator = random.SeedGenerator(seed)
        self.scale: Any = None
        self.concat_score_weight: Any = None

    def build(self, input_shape: Any = None) -> None:
        """Make the factors of the scores, if any."""
        self._check(input_shape, "input shapes")
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                name="concat_score_weight", shape=(), initializer="ones"
            )

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: Any = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """(batch, query time, value width), and the scores after softmax when asked for."""
        self._check(inputs, "inputs")
        query, value, key = [*inputs, inputs[1]][:3]
        if mask is not None:
            self._check_masks(mask)
        query_mask, value_mask = (None, None) if mask is None else (mask[0], mask[1])
        added = self._added(query, key, value_mask, use_causal_mask)
        if return_attention_scores or not self._has_kernel(query, value):
            outputs, shares = self._composed(query, key, value, added, training)
        else:
            outputs = self._fused(query, key, value, added, training)
        if query_mask is not None:
            seen = ops.expand_dims(ops.cast(query_mask, "bool"), -1)
            outputs = ops.where(seen, outputs, 0.0)
        return (outputs, shares) if return_attention_scores else outputs

    def _added(self, query: Any, key: Any, value_mask: Any, causal: bool) -> Any:
        """What is added to the scores: 0, or far below where a key does not count."""
        seen = None
        if value_mask is not None:
            seen = ops.expand_dims(ops.cast(value_mask, "bool"), -2)
        if causal:
            past = np.tri(query.shape[-2], key.shape[-2])[None] > 0
            seen = past if seen is None else ops.logical_and(seen, past)
        return None if seen is None else ops.where(seen, 0.0, _FAR_BELOW)

    def _has_kernel(self, query: Any, value: Any) -> bool:
        return self.score_mode == "dot" and len(query.shape) == len(value.shape) == 3

    def _fused(self, query: Any, key: Any, value: Any, added: Any, training: Any) -> Any:
        """One head in the attention kernel."""
        if self.scale is not None:
            query = ops.multiply(query, self.scale)
        q, k, v = (ops.expand_dims(x, 2) for x in (query, key, value))
        more = [] if added is None else [ops.expand_dims(added, 1)]
        drop = {}
        if training and self.dropout > 0:
            rng, seed = random.source_and_seed(self.seed_generator)
            more.append(rng)
            drop = {"rate": float(self.dropout), "seed": seed}
        return ops.squeeze(attention(q, k, v, *more, scale=1.0, **drop)[0], 2)

    def _composed(
        self, query: Any, key: Any, value: Any, added: Any, training: Any
    ) -> tuple[Any, Any]:
        scores = self._calculate_scores(query, key)
        if added is not None:
            scores = ops.add(scores, added)
        shares = ops.softmax(scores, axis=-1)
        if training and self.dropout > 0:
            shares = random.dropout(shares, self.dropout, seed=self.seed_generator)
        return ops.matmul(shares, value), shares

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
            return scores if self.scale is None else ops.multiply(scores, self.scale)
        both = ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3))
        both = both if self.scale is None else ops.multiply(both, self.scale)
        return ops.multiply(ops.sum(ops.tanh(both), axis=-1), self.concat_score_weight)

    def _check(self, inputs: Any, what: str) -> None:
        if not isinstance(inputs, (list, tuple)) or is_shape(inputs):
            raise shape_error(
                self, "must be called on a list of inputs", f"{what} {inputs}",
                "Pass [query, value] or [query, value, key].",
            )  # fmt: skip
        if len(inputs) not in (2, 3):
            raise shape_error(
                self, "takes a list of length 2 or 3", f"{len(inputs)} {what}",
                "Pass [query, value] or [query, value, key].",
            )  # fmt: skip

    def _check_masks(self, mask: Any) -> None:
        """Masks of the query, the value and perhaps the key; each may be None."""
        if not isinstance(mask, (list, tuple)):
            raise shape_error(
                self, "the layer mask must be a list", f"mask={mask!r}",
                "Pass [query_mask, value_mask].",
            )  # fmt: skip
        if not 2 <= len(mask) <= 3:
            raise shape_error(
                self, "the mask is a list of length 2 or 3", f"{len(mask)} masks",
                "Pass [query_mask, value_mask], None for one that there is not.",
            )  # fmt: skip

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The query's mask."""
        self._check(inputs, "inputs")
        if mask is None:
            return None
        self._check_masks(mask)
        return None if mask[0] is None else ops.convert_to_tensor(mask[0])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The query's shape with the width of the value."""
        return (*input_shape[0][:-1], input_shape[1][-1])

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors like the outputs: one, or two with the scores."""
        from zoo_keras.layers.base.functional import symbolic_outputs

        return symbolic_outputs(self._call_traced, args, kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "score_mode": self.score_mode,
            "dropout": self.dropout,
            "seed": self.seed,
        }


class AdditiveAttention(Attention):
    """Attention whose scores are scale * tanh(query + key), summed over the width.

    Bahdanau et al. 2015. https://keras.io/api/layers/attention_layers/additive_attention/

    >>> AdditiveAttention()([np.ones((1, 2, 3)), np.ones((1, 4, 3))]).shape
    (1, 2, 3)
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any = None) -> None:
        """Make the scale, one number for each feature."""
        self._check(input_shape, "input shapes")
        if self.use_scale:
            self.scale = self.add_weight(
                name="scale", shape=(input_shape[0][-1],), initializer="glorot_uniform"
            )

    def _has_kernel(self, query: Any, value: Any) -> bool:
        return False

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        both = ops.tanh(ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3)))
        return ops.sum(both if self.scale is None else ops.multiply(both, self.scale), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["score_mode"]
        return config
