"""MultiHeadAttention and GroupQueryAttention: projections around the attention op.

In: query, value and key of (batch, time, ..., width). Out: the attended values, projected. Without
returned scores and with one time axis the attention kernel runs, which keeps no scores in memory;
otherwise the same is written with einsum and Softmax. Masks of the inputs are merged here.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from zoo_keras import ops, random
from zoo_keras.layers.activation_layers import Softmax
from zoo_keras.layers.base.arguments import argument_error, axes, number, positive
from zoo_keras.layers.base.layer import Layer, shape_error
from zoo_keras.layers.base.weight_options import options_config, set_options
from zoo_keras.layers.einsum_dense import EinsumDense
from zoo_keras.layers.regularization import Dropout
from zoo_keras.primitives.attention import attention

_OPTIONS = (
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "activity_regularizer", "kernel_constraint", "bias_constraint",
)  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _HeadedAttention(Layer):
    """Masks, sublayers and the two ways to attend that both layers share."""

    _query_dense: EinsumDense
    _key_dense: EinsumDense
    _value_dense: EinsumDense
    _gate_dense: EinsumDense
    _output_dense: EinsumDense
    _softmax: Softmax
    _dropout_layer: Dropout

    def _set(
        self,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        use_gate: bool,
        seed: int | None,
        options: dict[str, Any],
    ) -> None:
        self.supports_masking = True
        self._dropout = number(self, "dropout", dropout, 0, 1)
        self._use_bias, self._use_gate, self.seed = use_bias, use_gate, seed
        if sliding_window is not None:
            sliding_window = positive(self, "sliding_window", sliding_window)
        self.sliding_window = sliding_window
        if flash_attention and self._dropout > 0:
            raise argument_error(
                self, "flash_attention", "None or False when dropout is above 0", flash_attention,
                "Leave it out: the kernel that keeps no scores is used whenever it can be.",
            )  # fmt: skip
        self._flash_attention = flash_attention
        activity = options.pop("activity_regularizer")
        set_options(self, **options)
        set_options(self, _activity_regularizer=activity)

    def _projection(
        self, equation: str, sizes: list[int | None], bias: str, name: str, **more: Any
    ) -> EinsumDense:
        """A sublayer with initializers of its own, as each must draw other numbers."""
        return EinsumDense(
            equation,
            output_shape=sizes,
            bias_axes=bias if self._use_bias else None,
            name=name,
            kernel_initializer=_copied(self.kernel_initializer),  # type: ignore[attr-defined]
            bias_initializer=_copied(self.bias_initializer),  # type: ignore[attr-defined]
            kernel_regularizer=self.kernel_regularizer,  # type: ignore[attr-defined]
            bias_regularizer=self.bias_regularizer,  # type: ignore[attr-defined]
            activity_regularizer=self._activity_regularizer,  # type: ignore[attr-defined]
            kernel_constraint=self.kernel_constraint,  # type: ignore[attr-defined]
            bias_constraint=self.bias_constraint,  # type: ignore[attr-defined]
            dtype=self.dtype_policy,
            **more,
        )

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """The attended values, and the scores (batch, heads, ...) when asked for.

        attention_mask is True where a query (batch, time, key time) uses a key; all masks and the
        causal one must allow a pair.
        """
        key = value if key is None else key
        if return_attention_scores and self._flash_attention:
            raise argument_error(
                self, "return_attention_scores", "False with flash_attention=True", True,
                "Leave flash_attention out.",
            )  # fmt: skip
        masks = self._masks(query, value, query_mask, value_mask, key_mask, attention_mask)
        fused = not return_attention_scores and len(query.shape) == 3 == len(value.shape)
        if use_causal_mask and not fused:
            masks.append(np.tri(query.shape[1], value.shape[1])[None] > 0)
        mask = reduce(ops.logical_and, masks) if masks else None
        gate = self._gate_dense(query) if self._use_gate else None
        q, k, v = self._query_dense(query), self._key_dense(key), self._value_dense(value)
        scores = None
        if fused:
            outputs = self._fused(q, k, v, mask, use_causal_mask, training)
        else:
            outputs, scores = self._composed(q, k, v, mask, training)
        outputs = outputs if gate is None else ops.multiply(outputs, gate)
        outputs = self._output_dense(outputs)
        return (outputs, scores) if return_attention_scores else outputs

    def _masks(
        self, query: Any, value: Any, query_mask: Any, value_mask: Any, key_mask: Any, more: Any
    ) -> list[Any]:
        """Boolean masks that broadcast to (batch, query time, key time)."""
        found = []
        if query_mask is not None:
            found.append(ops.expand_dims(ops.cast(query_mask, "bool"), -1))
        for mask in (value_mask, key_mask):
            if mask is not None:
                found.append(ops.expand_dims(ops.cast(mask, "bool"), -2))
        if self.sliding_window is not None:
            rows, columns = np.arange(query.shape[1]), np.arange(value.shape[1])
            found.append(np.abs(rows[:, None] - columns)[None] < self.sliding_window)
        if more is not None:
            found.append(self._with_heads(ops.cast(more, "bool"), found))
        return found

    def _with_heads(self, mask: Any, others: list[Any]) -> Any:
        """An attention mask with a heads axis: the others get one too, so that they broadcast."""
        if len(mask.shape) == 4:
            others[:] = [ops.expand_dims(m, 1) for m in others]
        return mask

    def _fused(self, q: Any, k: Any, v: Any, mask: Any, causal: bool, training: Any) -> Any:
        more, drop = [], {}
        if mask is not None:
            more.append(_spread(mask, 4, 2))
        if training and self._dropout > 0:
            rng, seed = random.source_and_seed(self._dropout_layer.seed_generator)
            more.append(rng)
            drop = {"rate": float(self._dropout), "seed": seed}
        how = {"scale": self._scale(), "causal": bool(causal), "blank": self._dropout > 0}
        return attention(q, k, v, *more, **how, **drop)[0]

    def _composed(self, q: Any, k: Any, v: Any, mask: Any, training: Any) -> tuple[Any, Any]:
        """The same with all scores in memory."""
        scores_of, values_of, time = self._equations(len(q.shape))
        k, v = self._per_query_head(k), self._per_query_head(v)
        scores = ops.einsum(scores_of, k, ops.multiply(q, self._scale()))
        if mask is not None:
            mask = _spread(mask, len(scores.shape), 2 * time)
        scores = self._softmax(scores, mask=mask)
        dropped = self._dropout_layer(scores, training=training) if self._dropout > 0 else scores
        return ops.einsum(values_of, dropped, v), scores

    def _per_query_head(self, x: Any) -> Any:
        """Keys or values with as many heads as the queries."""
        return x

    def _equations(self, rank: int) -> tuple[str, str, int]:
        """einsum for (keys, queries) -> scores and (scores, values) -> outputs; time axes."""
        return _attention_equations(rank, (1,))

    def _scale(self) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define _scale().")

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors like the outputs: one, or two with the scores."""
        from zoo_keras.layers.base.functional import symbolic_outputs

        self._prepare(args, kwargs)
        return symbolic_outputs(self._call_traced, args, kwargs)

    def _check_lengths(self, value_shape: Any, key_shape: Any) -> None:
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise shape_error(
                self, "the lengths of value and key must be equal",
                f"value {tuple(value_shape)}, key {tuple(key_shape)}", "Pass one key per value.",
            )  # fmt: skip

    def _options_config(self) -> dict[str, Any]:
        own = [name for name in _OPTIONS if name != "activity_regularizer"]
        config = options_config(self, *own)
        activity = options_config(self, "_activity_regularizer")["_activity_regularizer"]
        return {**config, "activity_regularizer": activity, "seed": self.seed}


def _copied(initializer: Any) -> Any:
    """An equal initializer that draws numbers of its own."""
    if not hasattr(initializer, "get_config"):
        return initializer
    return type(initializer).from_config(initializer.get_config())


def _spread(mask: Any, rank: int, last: int) -> Any:
    """The mask with axes of size 1 before its `last` last ones, as many as the rank wants."""
    at = max(len(mask.shape) - last, 0)
    return ops.reshape(mask, (*mask.shape[:at], *(1,) * (rank - len(mask.shape)), *mask.shape[at:]))


def _projection_equation(free: int, bound: int, made: int) -> tuple[str, str]:
    """The einsum of a projection of `bound` last axes to `made` ones, and its bias axes."""
    lead, inner = _LETTERS[:free], _LETTERS[free : free + bound]
    outer = _LETTERS[free + bound : free + bound + made]
    return f"{lead}{inner},{inner}{outer}->{lead}{outer}", outer


def _attention_equations(rank: int, over: tuple[int, ...]) -> tuple[str, str, int]:
    """einsum for (keys, queries) -> scores and (scores, values) -> outputs, with attention over
    the axes `over` of arrays (batch, ..., heads, width) of this rank; and how many these are."""
    queries = _LETTERS[:rank]
    renamed = dict(zip((queries[a] for a in over), _LETTERS[rank:], strict=False))
    keys = "".join(renamed.get(c, c) for c in queries)
    batch = "".join(c for i, c in enumerate(queries) if i not in over and i != rank - 1)
    scores = batch + "".join(queries[a] for a in over) + "".join(keys[a] for a in over)
    return f"{keys},{queries}->{scores}", f"{scores},{keys}->{queries}", len(over)


class MultiHeadAttention(_HeadedAttention):
    """Attention with several heads, each on a projection of its own (Vaswani et al. 2017).

    Weights: kernels query (width, heads, key_dim), key, value (.., value_dim) and attention_output
    (heads, value_dim, width), each with a bias. `output_shape` replaces the query's width,
    `attention_axes` are the time axes (all by default), `sliding_window` lets a query see keys
    closer than that. https://keras.io/api/layers/attention_layers/multi_head_attention/

    >>> MultiHeadAttention(2, key_dim=4)(np.ones((1, 3, 8)), np.ones((1, 5, 8))).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = locals()
        self._num_heads = positive(self, "num_heads", num_heads)
        self._key_dim = positive(self, "key_dim", key_dim)
        value_dim = self._key_dim if value_dim is None else value_dim
        self._value_dim = positive(self, "value_dim", value_dim)
        sizes = output_shape and axes(self, "output_shape", output_shape)
        self._output_shape = tuple(np.atleast_1d(sizes).tolist()) if sizes else None
        over = None if attention_axes is None else axes(self, "attention_axes", attention_axes)
        self._attention_axes = None if over is None else tuple(np.atleast_1d(over).tolist())
        options = {name: given[name] for name in _OPTIONS}
        self._set(dropout, use_bias, sliding_window, flash_attention, use_gate, seed, options)

    def build(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Make the projections for inputs of these shapes."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_lengths(value_shape, key_shape)
        heads, width, depth = self._num_heads, self._key_dim, self._value_dim
        self._query_dense = self._head_projection(query_shape, width, "query")
        self._key_dense = self._head_projection(key_shape, width, "key")
        if self._use_gate:
            self._gate_dense = self._head_projection(query_shape, depth, "gate", "sigmoid")
        self._value_dense = self._head_projection(value_shape, depth, "value")
        rank = len(query_shape)
        over = self._attention_axes or tuple(range(1, rank - 1))
        self._attention_axes = tuple(a if a >= 0 else rank + a for a in over)
        time = len(self._attention_axes)
        self._softmax = Softmax(axis=list(range(-time, 0)), dtype=self.dtype_policy)
        self._dropout_layer = Dropout(self._dropout, seed=self.seed, dtype=self.dtype_policy)
        made = list(self._output_shape or (query_shape[-1],))
        equation, bias = _projection_equation(rank - 1, 2, len(made))
        open_sizes: list[int | None] = [None] * (rank - 2)
        self._output_dense = self._projection(
            equation, [*open_sizes, *made], bias, "attention_output"
        )
        self._output_dense.build((*query_shape[:-1], heads, depth))

    def _head_projection(
        self, shape: Any, width: int, name: str, activation: str | None = None
    ) -> EinsumDense:
        equation, bias = _projection_equation(len(shape) - 1, 1, 2)
        open_sizes: list[int | None] = [None] * (len(shape) - 2)
        sizes = [*open_sizes, self._num_heads, width]
        made = self._projection(equation, sizes, bias, name, activation=activation)
        made.build(shape)
        return made

    def _equations(self, rank: int) -> tuple[str, str, int]:
        return _attention_equations(rank, self._attention_axes or (1,))

    def _scale(self) -> float:
        return 1.0 / math.sqrt(self._key_dim)

    def compute_output_shape(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> tuple[int | None, ...]:
        """The query's shape, with output_shape for its width."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_lengths(value_shape, key_shape)
        return (*query_shape[:-1], *(self._output_shape or query_shape[-1:]))

    @property
    def num_heads(self) -> int:
        """How many heads."""
        return self._num_heads

    @property
    def key_dim(self) -> int:
        """The size of each head's queries and keys."""
        return self._key_dim

    @property
    def value_dim(self) -> int:
        """The size of each head's values."""
        return self._value_dim

    @property
    def dropout(self) -> float:
        """The share of attention weights that training drops."""
        return self._dropout

    @property
    def use_bias(self) -> bool:
        """Whether the projections have biases."""
        return self._use_bias

    @property
    def attention_axes(self) -> tuple[int, ...] | None:
        """The axes that are attended over."""
        return self._attention_axes

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of queries."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of keys."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of values."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of what the heads give."""
        return self._output_dense

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self._num_heads,
            "key_dim": self._key_dim,
            "value_dim": self._value_dim,
            "dropout": self._dropout,
            "use_bias": self._use_bias,
            "use_gate": self._use_gate,
            "output_shape": self._output_shape,
            "attention_axes": self._attention_axes,
            "sliding_window": self.sliding_window,
            **self._options_config(),
        }


class GroupedQueryAttention(_HeadedAttention):
    """Multi-head attention in which groups of query heads share a head of keys and values; its
    public name is GroupQueryAttention, as in Keras.

    num_query_heads must be a multiple of num_key_value_heads; 1 of these is multi-query attention.
    Weights as MultiHeadAttention's, with num_key_value_heads heads in key and value. Ainslie et al.
    2023. https://keras.io/api/layers/attention_layers/group_query_attention/

    >>> GroupQueryAttention(4, 4, 2)(np.ones((1, 3, 8)), np.ones((1, 5, 8))).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = locals()
        self.head_dim = positive(self, "head_dim", head_dim)
        self.num_query_heads = positive(self, "num_query_heads", num_query_heads)
        self.num_key_value_heads = positive(self, "num_key_value_heads", num_key_value_heads)
        if self.num_query_heads % self.num_key_value_heads:
            raise argument_error(
                self, "num_query_heads", f"a multiple of num_key_value_heads={num_key_value_heads}",
                num_query_heads, "Change one of the two.",
            )  # fmt: skip
        options = {name: given[name] for name in _OPTIONS}
        self._set(dropout, use_bias, sliding_window, flash_attention, use_gate, seed, options)

    def build(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Make the projections for inputs of these shapes."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_lengths(value_shape, key_shape)
        for_queries = [None, self.num_query_heads, self.head_dim]
        for_keys = [None, self.num_key_value_heads, self.head_dim]
        self._query_dense = self._projection("bqm,muh->bquh", for_queries, "uh", "query")
        self._query_dense.build(query_shape)
        self._key_dense = self._projection("bkm,mvh->bkvh", for_keys, "vh", "key")
        self._key_dense.build(key_shape)
        if self._use_gate:
            self._gate_dense = self._projection(
                "bqm,muh->bquh", for_queries, "uh", "gate", activation="sigmoid"
            )
            self._gate_dense.build(query_shape)
        self._value_dense = self._projection("bkm,mvh->bkvh", for_keys, "vh", "value")
        self._value_dense.build(value_shape)
        self._softmax = Softmax(axis=-1, dtype=self.dtype_policy)
        self._dropout_layer = Dropout(self._dropout, seed=self.seed, dtype=self.dtype_policy)
        self._output_dense = self._projection(
            "bquh,uhm->bqm", [None, query_shape[-1]], "m", "attention_output"
        )
        self._output_dense.build((None, None, self.num_query_heads, self.head_dim))

    def _per_query_head(self, x: Any) -> Any:
        return ops.repeat(x, self.num_query_heads // self.num_key_value_heads, axis=2)

    def _scale(self) -> float:
        return 1.0 / math.sqrt(self.head_dim)

    def compute_output_shape(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> tuple[int | None, ...]:
        """The query's shape."""
        if query_shape[-1] != value_shape[-1]:
            raise shape_error(
                self, "the widths of query and value must be equal",
                f"query {tuple(query_shape)}, value {tuple(value_shape)}", "Project one of them.",
            )  # fmt: skip
        key_shape = value_shape if key_shape is None else key_shape
        self._check_lengths(value_shape, key_shape)
        return tuple(query_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "head_dim": self.head_dim,
            "num_query_heads": self.num_query_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "use_bias": self._use_bias,
            "use_gate": self._use_gate,
            "sliding_window": self.sliding_window,
            "dropout": self._dropout,
            **self._options_config(),
        }
