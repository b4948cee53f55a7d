"""The attention kernels against the float64 reference: sizes across block edges, masks, groups of
heads, dropout; and the public dot_product_attention."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import check_kernel, run_kernel

from zoo_keras import ops
from zoo_keras.errors import ShapeError
from zoo_keras.primitives.attention import attention, attention_grad

# batch, queries, keys, heads, heads of k, width, depth
SIZES = [
    (1, 1, 1, 1, 1, 1, 1),
    (1, 1, 300, 2, 2, 8, 8),
    (2, 130, 131, 2, 1, 5, 19),
    (1, 129, 257, 3, 3, 16, 16),
    (3, 64, 128, 1, 1, 33, 32),
    (1, 700, 90, 1, 1, 4, 4),
    (2, 7, 16, 4, 2, 64, 3),
]
OPTIONS = [
    ({}, None),
    ({"causal": True}, None),
    ({"causal": True}, "rows"),
    ({}, "keys"),
    ({}, "added"),
    ({"blank": True, "rate": 0.3, "seed": 11}, "full"),
    ({"causal": True, "rate": 0.5, "seed": 2}, None),
]


def made(size, options, mask):
    batch, queries, keys, heads, key_heads, width, depth = size
    rng = np.random.default_rng(queries + keys)
    shapes = [(batch, queries, heads, width), (batch, keys, key_heads, width)]
    arrays = [rng.normal(size=s).astype("f4") for s in [*shapes, (batch, keys, key_heads, depth)]]
    if mask == "rows":
        arrays.append(rng.uniform(size=(batch, 1, queries, keys)) < 0.8)
    if mask == "keys":
        arrays.append(rng.uniform(size=(batch, 1, 1, keys)) < 0.8)
    if mask == "full":
        arrays.append(rng.uniform(size=(batch, heads, queries, keys)) < 0.5)
    if mask == "added":
        arrays.append(rng.normal(size=(1, heads, queries, keys)).astype("f4"))
    if options.get("rate"):
        arrays.append(np.array([7, 3], np.int64))
    return arrays, {"scale": width**-0.5, **options}


@pytest.mark.parametrize("options, mask", OPTIONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_forward_of_any_size(size, options, mask):
    check_kernel(attention, *made(size, options, mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options, mask", OPTIONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_backward_of_any_size(size, options, mask):
    arrays, attrs = made(size, options, mask)
    y, stats = attention(*arrays, **attrs)
    g = np.random.default_rng(1).normal(size=y.shape).astype("f4")
    check_kernel(attention_grad, [g, y, stats, *arrays], attrs, 1e-4, 2e-5)


def test_large_scores_do_not_overflow():
    arrays, attrs = made((1, 5, 140, 1, 1, 4, 4), {}, None)
    y, _ = run_kernel(attention, [arrays[0] * 1000, *arrays[1:]], attrs)
    assert np.isfinite(y).all()


def test_a_query_without_keys_is_the_mean_or_blank():
    arrays, attrs = made((1, 3, 5, 1, 1, 4, 4), {}, None)
    mask = np.zeros((1, 1, 1, 5), bool)
    y, _ = run_kernel(attention, [*arrays, mask], {**attrs, "causal": True})
    np.testing.assert_allclose(y[0, 0, 0], arrays[2][0, :, 0].mean(0), rtol=1e-5)
    y, _ = run_kernel(attention, [*arrays, mask], {**attrs, "blank": True})
    assert not y.any()


def test_dropout_of_a_row_does_not_depend_on_the_rows_before():
    arrays, attrs = made((4, 9, 70, 2, 2, 4, 4), {"rate": 0.5, "seed": 3}, None)
    whole, _ = run_kernel(attention, arrays, attrs)
    half = [a[2:] for a in arrays[:3]]
    part, _ = run_kernel(attention, [*half, np.array([7, 5], np.int64)], attrs)
    assert whole[2:].tobytes() == part.tobytes()


def test_heads_must_be_grouped_evenly():
    q, k = np.zeros((1, 2, 3, 4), "f4"), np.zeros((1, 2, 2, 4), "f4")
    with pytest.raises(ShapeError, match="multiple of the heads"):
        attention(q, k, k, scale=1.0)


def test_public_attention_adds_bias_and_mask():
    (q, k, v), _ = made((2, 3, 4, 2, 2, 5, 5), {}, None)
    bias = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype("f4")
    mask = np.arange(4) < 3
    found = ops.dot_product_attention(q, k, v, bias=bias, mask=mask, scale=0.5)
    scores = np.einsum("btnh,bsnh->bnts", q, k) * 0.5 + bias
    shares = np.exp(np.where(mask, scores, -np.inf))
    shares /= shares.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, np.einsum("bnts,bsnh->btnh", shares, v), rtol=1e-5, atol=1e-6)
