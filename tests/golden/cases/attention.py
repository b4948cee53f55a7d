"""Cases of attention layers, EinsumDense, normalizations and training-only layers.

A row names the layer, its arguments, the shapes of the positional inputs of the call, and keyword
arguments of the call; a `Mask` there becomes a boolean array. With `listed`, the inputs are one
list.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .layers import EVAL, TRAIN, init, l1l2


class Mask(NamedTuple):
    """A boolean array of this shape, about two thirds of it True."""

    shape: tuple[int, ...]


class Case(NamedTuple):
    layer: str
    label: str
    inputs: list[Any]
    kwargs: dict[str, Any]
    call: dict[str, Any]
    listed: bool = False

    @property
    def name(self) -> str:
        return f"{self.layer}-{self.label}"


CASES: list[Case] = []


def add(layer: str, label: str, *inputs: Any, call: dict | None = None, **kwargs: Any) -> None:
    listed = layer in ("Attention", "AdditiveAttention")
    CASES.append(Case(layer, label, list(inputs), kwargs, call or {}, listed))


# MultiHeadAttention
add("MultiHeadAttention", "plain", (2, 5, 6), (2, 7, 6), num_heads=2, key_dim=4)
add("MultiHeadAttention", "key", (2, 5, 6), (2, 7, 8), (2, 7, 3), num_heads=3, key_dim=5,
    value_dim=2)
add("MultiHeadAttention", "causal", (2, 6, 4), (2, 6, 4), num_heads=2, key_dim=4, use_bias=False,
    call={"use_causal_mask": True})
add("MultiHeadAttention", "mask", (2, 4, 5), (2, 6, 5), num_heads=2, key_dim=3,
    call={"attention_mask": Mask((2, 4, 6))})
add("MultiHeadAttention", "mask_causal", (2, 6, 5), (2, 6, 5), num_heads=2, key_dim=3,
    call={"attention_mask": Mask((2, 6, 6)), "use_causal_mask": True})
add("MultiHeadAttention", "mask_heads", (2, 4, 5), (2, 6, 5), num_heads=2, key_dim=3,
    call={"attention_mask": Mask((2, 2, 4, 6))})
add("MultiHeadAttention", "padding", (2, 4, 5), (2, 6, 5), num_heads=1, key_dim=3,
    call={"value_mask": Mask((2, 6))})
add("MultiHeadAttention", "window", (1, 9, 4), (1, 9, 4), num_heads=2, key_dim=4,
    sliding_window=3, call={"use_causal_mask": True})
add("MultiHeadAttention", "output", (2, 5, 6), (2, 7, 6), num_heads=2, key_dim=4, output_shape=[3],
    kernel_initializer=init("GlorotUniform", seed=3, input_axes=None, output_axes=None),
    kernel_regularizer="l2", bias_constraint="non_neg")
add("MultiHeadAttention", "gate", (2, 5, 6), (2, 3, 6), num_heads=2, key_dim=4, use_gate=True)
add("MultiHeadAttention", "dropout_eval", (2, 5, 6), (2, 3, 6), num_heads=2, key_dim=4,
    dropout=0.5, seed=2, call=EVAL | {"attention_mask": Mask((2, 5, 3))})
add("MultiHeadAttention", "two_axes", (2, 3, 4, 6), (2, 3, 2, 6), num_heads=2, key_dim=4)
add("MultiHeadAttention", "one_of_two_axes", (2, 3, 4, 6), (2, 3, 5, 6), num_heads=2, key_dim=4,
    attention_axes=[2])
add("MultiHeadAttention", "long", (1, 130, 8), (1, 140, 8), num_heads=1, key_dim=8)

# GroupQueryAttention
add("GroupQueryAttention", "plain", (2, 5, 6), (2, 7, 6), head_dim=4, num_query_heads=4,
    num_key_value_heads=2)
add("GroupQueryAttention", "multi_query", (2, 5, 6), (2, 7, 6), head_dim=3, num_query_heads=3,
    num_key_value_heads=1, use_bias=False, call={"attention_mask": Mask((2, 5, 7))})
add("GroupQueryAttention", "causal", (2, 6, 6), (2, 6, 6), head_dim=4, num_query_heads=2,
    num_key_value_heads=2, use_gate=True, call={"use_causal_mask": True})
add("GroupQueryAttention", "window", (1, 6, 6), (1, 6, 6), head_dim=4, num_query_heads=4,
    num_key_value_heads=2, sliding_window=2, kernel_regularizer=l1l2(0.1, 0.2))

# Attention, AdditiveAttention
add("Attention", "plain", (2, 3, 4), (2, 5, 4))
add("Attention", "key_scale", (2, 3, 4), (2, 5, 6), (2, 5, 4), use_scale=True)
add("Attention", "causal", (2, 4, 3), (2, 4, 3), call={"use_causal_mask": True})
add("Attention", "masks", (2, 3, 4), (2, 5, 4), use_scale=True,
    call={"mask": [Mask((2, 3)), Mask((2, 5))]})
add("Attention", "masks_causal", (2, 5, 4), (2, 5, 4),
    call={"mask": [Mask((2, 5)), Mask((2, 5))], "use_causal_mask": True})
add("Attention", "concat", (2, 3, 4), (2, 5, 4), score_mode="concat", use_scale=True)
add("Attention", "concat_no_scale", (2, 3, 4), (2, 5, 4), score_mode="concat", dropout=0.5, seed=1)
add("AdditiveAttention", "plain", (2, 3, 4), (2, 5, 4))
add("AdditiveAttention", "no_scale", (2, 3, 4), (2, 5, 4), (2, 5, 4), use_scale=False)
add("AdditiveAttention", "masks", (2, 4, 3), (2, 4, 3), dropout=0.25,
    call={"mask": [Mask((2, 4)), Mask((2, 4))], "use_causal_mask": True})

# EinsumDense
add("EinsumDense", "dense", (3, 4), equation="ab,bc->ac", output_shape=5, bias_axes="c")
add("EinsumDense", "sequence", (2, 3, 4), equation="abc,cd->abd", output_shape=[None, 6],
    bias_axes="d", activation="relu")
add("EinsumDense", "heads", (2, 3, 4), equation="abc,cde->abde", output_shape=[None, 2, 5],
    bias_axes="de", activation="gelu")
add("EinsumDense", "join_heads", (2, 3, 2, 5), equation="abcd,cde->abe", output_shape=[None, 7],
    bias_axes="e", activation="softmax")
add("EinsumDense", "some_bias", (2, 3, 4), equation="abc,cde->abde", output_shape=[None, 2, 5],
    bias_axes="d")
add("EinsumDense", "left", (2, 3, 4), equation="...x,xy->...y", output_shape=5, bias_axes="y")
add("EinsumDense", "right", (2, 3, 2, 4), equation="ab...,bc->ac...", output_shape=[5],
    bias_axes="c", activation="tanh")
add("EinsumDense", "turned_kernel", (2, 3, 4), equation="abc,dc->abd", output_shape=[None, 5])
add("EinsumDense", "middle", (2, 3, 4), equation="abc,bd->adc", output_shape=[5, 4],
    bias_axes="dc")
add("EinsumDense", "no_sum", (2, 3, 4), equation="abc,bcd->abcd", output_shape=[3, 4, 2])
add("EinsumDense", "options", (3, 4), equation="ab,bc->ac", output_shape=5, bias_axes="c",
    kernel_initializer="he_normal", kernel_regularizer="l2", bias_constraint="non_neg")

# Normalizations
for _axis in ([-1], [1, 2], -1):
    _label = "last" if _axis == -1 else "_".join(map(str, _axis)).replace("-", "m")
    add("RMSNormalization", f"axis_{_label}", (2, 3, 5), axis=_axis)
add("RMSNormalization", "wide", (3, 70))
add("LayerNormalization", "rms_wide", (3, 40), rms_scaling=True)
add("GroupNormalization", "plain", (2, 5, 8), groups=4)
add("GroupNormalization", "instance", (2, 3, 3, 4), groups=-1, epsilon=0.01)
add("GroupNormalization", "one_group", (3, 6), groups=1, scale=False)
add("GroupNormalization", "axis_1", (2, 6, 5), groups=3, axis=1, center=False)
add("GroupNormalization", "options", (2, 70, 64), groups=32, gamma_regularizer="l2",
    beta_initializer="ones", gamma_constraint="non_neg")
add("UnitNormalization", "wide", (3, 33))
add("UnitNormalization", "axis_1", (2, 3, 5), axis=1)
add("UnitNormalization", "axes", (2, 3, 5), axis=[1, 2])

# Layers that act in training only: the deterministic cases
add("SpatialDropout1D", "eval", (2, 3, 4), rate=0.5, call=EVAL)
add("SpatialDropout2D", "eval", (2, 3, 4, 2), rate=0.25, data_format="channels_first", call=EVAL)
add("SpatialDropout3D", "eval", (2, 3, 4, 2, 2), rate=0.5, seed=3, call=EVAL)
add("SpatialDropout3D", "first", (2, 3, 4, 2, 2), rate=0.5, data_format="channels_first",
    call=EVAL)
add("SpatialDropout3D", "rate_zero", (2, 3, 4, 2, 2), rate=0.0, call=TRAIN)
add("GaussianNoise", "eval", (3, 4), stddev=0.5, seed=5, call=EVAL)
add("GaussianDropout", "eval", (3, 4), rate=0.5, seed=5, call=EVAL)
add("AlphaDropout", "eval", (3, 4), rate=0.5, seed=5, call=EVAL)
add("AlphaDropout", "noise_shape", (2, 3, 4), rate=0.1, noise_shape=[2, 1, 4], call=EVAL)
add("AlphaDropout", "rate_zero", (3, 4), rate=0.0, call=TRAIN)
