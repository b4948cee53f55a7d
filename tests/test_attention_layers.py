"""Attention layers, normalizations and training-only layers: masks, dropout, errors, training."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, ShapeError


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype("f4")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("layer", [
    lambda: layers.MultiHeadAttention(2, 4), lambda: layers.GroupQueryAttention(4, 4, 2),
])  # fmt: skip
def test_the_kernel_and_the_form_with_scores_agree(layer, causal):
    layer, x, mask = layer(), normal(2, 7, 6), np.arange(7)[None, None] < 5
    mask = np.repeat(mask, 7, 1)
    fused = layer(x, x, attention_mask=mask, use_causal_mask=causal)
    composed, scores = layer(
        x, x, attention_mask=mask, use_causal_mask=causal, return_attention_scores=True
    )
    np.testing.assert_allclose(fused, composed, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.sum(-1), np.ones(scores.shape[:-1]), rtol=1e-5)
    assert not scores[..., 5:].any()


def test_masks_of_embeddings_reach_the_attention_and_go_on():
    embedding, attention = layers.Embedding(9, 4, mask_zero=True), layers.MultiHeadAttention(1, 4)
    ids = zk.Input((6,), dtype="int32")
    x = embedding(ids)
    attended = attention(x, x)
    model = zk.Model(ids, [attended, layers.GlobalAveragePooling1D()(attended)])
    given = np.array([[3, 5, 1, 0, 0, 0]], "int32")
    outputs, mean = model.predict(given, verbose=0)
    words = embedding(given)[:, :3]
    short = attention(words, words)
    np.testing.assert_allclose(outputs[:, :3], short, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, outputs[:, :3].mean(1), rtol=1e-4, atol=1e-6)


def test_dropout_of_scores_acts_in_training_only():
    layer, x = layers.MultiHeadAttention(2, 4, dropout=0.5, seed=1), normal(3, 5, 6)
    still = layer(x, x, training=False)
    np.testing.assert_array_equal(still, layer(x, x))
    first, second = layer(x, x, training=True), layer(x, x, training=True)
    assert np.abs(first - still).max() > 1e-3 and np.abs(first - second).max() > 1e-3


def test_dropout_keeps_the_mean_of_the_outputs():
    x = np.ones((64, 40, 1), "f4")
    kept = layers.Attention(dropout=0.25)([x, x], training=True)
    assert np.mean(kept) == pytest.approx(1, abs=0.02) and np.std(kept) > 0.01


def test_an_encoder_learns_and_repeats_itself():
    def losses():
        zk.utils.set_random_seed(3)
        inputs = zk.Input((6, 8))
        x = layers.MultiHeadAttention(2, 4, dropout=0.1)(inputs, inputs, use_causal_mask=True)
        x = layers.LayerNormalization()(layers.Add()([inputs, x]))
        x = layers.Dense(8, activation="gelu")(layers.EinsumDense("abc,cd->abd", (None, 5))(x))
        x = layers.GroupNormalization(2)(layers.RMSNormalization()(x))
        model = zk.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))
        model.compile(zk.optimizers.Adam(0.02), "mse")
        given = normal(32, 6, 8)
        history = model.fit(given, given[:, -1, :1], epochs=15, batch_size=8, verbose=0)
        return history.history["loss"]

    first = losses()
    assert first[-1] < 0.5 * first[0]
    assert first == losses()


@pytest.mark.parametrize("make", [
    lambda: layers.MultiHeadAttention(0, 4), lambda: layers.MultiHeadAttention(2, 4, dropout=1.5),
    lambda: layers.MultiHeadAttention(2, 4, sliding_window=0),
    lambda: layers.MultiHeadAttention(2, 4, dropout=0.5, flash_attention=True),
    lambda: layers.GroupQueryAttention(4, 4, 3), lambda: layers.Attention(score_mode="sum"),
    lambda: layers.EinsumDense("ab,bc", 3), lambda: layers.EinsumDense("ab,bc->ad", 3),
    lambda: layers.GroupNormalization(0), lambda: layers.GroupNormalization(4)(normal(2, 6)),
    lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="x")(normal(2, 4)),
    lambda: layers.EinsumDense("ab,bc->ac", (3, 4))(normal(2, 4)),
])  # fmt: skip
def test_wrong_arguments_are_named(make):
    with pytest.raises(ConfigError, match="Received: "):
        make()


@pytest.mark.parametrize("call", [
    lambda: layers.Attention()(normal(2, 3, 4)),
    lambda: layers.MultiHeadAttention(2, 4)(normal(2, 3, 4), normal(2, 5, 4), normal(2, 6, 4)),
    lambda: layers.EinsumDense("ab,bc->ac", 3)(normal(2, 3, 4)),
])  # fmt: skip
def test_wrong_shapes_are_named(call):
    with pytest.raises(ShapeError, match="Received: "):
        call()


def test_spatial_dropout_3d_drops_whole_channels():
    kept = layers.SpatialDropout3D(0.5, seed=2)(np.ones((4, 2, 3, 2, 20), "f4"), training=True)
    each = kept.reshape(4, 12, 20)
    assert (each == each[:, :1]).all() and 0.2 < np.mean(each == 0) < 0.8
    first = layers.SpatialDropout3D(0.5, "channels_first", 2)
    kept = first(np.ones((4, 20, 2, 3, 2), "f4"), training=True).reshape(4, 20, 12)
    assert (kept == kept[..., :1]).all()


def test_alpha_dropout_keeps_mean_and_deviation():
    x = np.random.default_rng(0).normal(size=(400, 50)).astype("f4")
    kept = layers.AlphaDropout(0.2, seed=1)(x, training=True)
    assert np.mean(kept) == pytest.approx(0, abs=0.03)
    assert np.std(kept) == pytest.approx(1, abs=0.03)
    shared = layers.AlphaDropout(0.5, noise_shape=(None, 1), seed=1)(x, training=True)
    assert sum(len(set(row)) == 1 for row in shared) in range(100, 300)


def test_queries_and_values_of_other_widths_are_named():
    layer = layers.GroupedQueryAttention(2, 4, 2, sliding_window=3)
    assert layer.sliding_window == layer.get_config()["sliding_window"] == 3
    with pytest.raises(ShapeError, match="widths of query and value must be equal"):
        layer.compute_output_shape((2, 4, 8), (2, 2, 7))


def test_no_width_of_values_is_none_and_not_0():
    with pytest.raises(ConfigError, match="value_dim must be"):
        layers.MultiHeadAttention(2, 4, value_dim=0)
