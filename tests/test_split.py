"""A prediction computed a few rows at a time gives what the whole batch at once gives."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import native, ops
from zoo_keras.layers import (
    GRU,
    LSTM,
    Add,
    Bidirectional,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    GroupNormalization,
    Input,
    Lambda,
    Layer,
    LayerNormalization,
    MaxPooling2D,
    MultiHeadAttention,
    RMSNormalization,
    SimpleRNN,
    Softmax,
    UpSampling2D,
)
from zoo_keras.passes import split
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.tile_choice import inferring_in


@pytest.fixture
def small_cache(monkeypatch):
    """A cache that holds about one row of these models, and weights that cost nothing."""
    monkeypatch.setattr(split, "CACHE_BYTES", 20_000)
    monkeypatch.setattr(split, "REREADING", 0)


def images(rows=7):
    return np.random.default_rng(rows).standard_normal((rows, 12, 12, 3)).astype("f4")


def convolutional(**extra):
    inputs = Input((12, 12, 3))
    x = Conv2D(16, 3, padding="same", activation="relu")(inputs)
    y = Add()([x, Conv2D(16, 1)(x)])
    y = MaxPooling2D()(Concatenate()([x, y]))
    outputs = [Dense(5, activation="softmax")(Flatten()(y)), GlobalAveragePooling2D()(x)]
    return keras.Model(inputs, outputs, **extra)


def lambda_model(function):
    inputs = Input((12, 12, 3))
    return keras.Model(inputs, Lambda(function)(Conv2D(16, 3, activation="relu")(inputs)))


def parts_of(model, x):
    model.predict_on_batch(x)
    made = [ready for _, ready in model._runtime._programs.items()]
    return made[-1].crew.first.program.parts


def split_only(model, x, monkeypatch):
    """What the model predicts in parts, and at once."""
    in_parts = model.predict_on_batch(x)
    monkeypatch.setattr(split, "CACHE_BYTES", 1 << 40)
    model._runtime._programs.clear()
    return in_parts, model.predict_on_batch(x)


@pytest.mark.parametrize("rows", [1, 2, 6, 7])
def test_parts_give_what_the_whole_batch_gives(small_cache, monkeypatch, rows):
    model = convolutional()
    in_parts, at_once = split_only(model, images(rows), monkeypatch)
    for a, b in zip(in_parts, at_once, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_batch_too_large_for_the_cache_is_cut(small_cache):
    parts = parts_of(convolutional(), images(7))
    assert parts is not None and parts.rows == 7 and parts.each < 7
    done = {row for first in parts.firsts() for row in range(first, first + parts.each)}
    assert done == set(range(7))


def test_bfloat16_takes_half_the_cache(small_cache, monkeypatch):
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    monkeypatch.setattr(split, "CACHE_BYTES", 120_000)
    wide = parts_of(convolutional(), images(12)).each
    with inferring_in("bfloat16"):
        narrow = parts_of(convolutional(), images(12)).each
    assert 2 * wide <= narrow < 12


def test_a_batch_that_fits_is_not_cut():
    assert parts_of(convolutional(), images(7)) is None


def test_weights_too_large_to_read_again_keep_the_batch_whole(small_cache, monkeypatch):
    monkeypatch.setattr(split, "REREADING", 1000)
    assert parts_of(convolutional(), images(7)) is None


def test_several_inputs_are_cut_together(small_cache, monkeypatch):
    a, b = Input((12, 12, 3)), Input((12, 12, 3))
    model = keras.Model([a, b], Flatten()(Add()([Conv2D(16, 3)(a), Conv2D(16, 3)(b)])))
    x = [images(7), images(7) + 1]
    assert parts_of(model, x).each < 7
    np.testing.assert_allclose(*split_only(model, x, monkeypatch), rtol=1e-5, atol=1e-6)


def test_changed_weights_are_used_in_all_parts(small_cache, monkeypatch):
    model = convolutional()
    model.predict_on_batch(images())
    model.set_weights([w * 1.5 for w in model.get_weights()])
    in_parts, at_once = split_only(model, images(), monkeypatch)
    np.testing.assert_allclose(in_parts[0], at_once[0], rtol=1e-5, atol=1e-6)


def test_parts_give_the_same_bits_for_any_thread_count(small_cache):
    model, x, found = convolutional(), images(), []
    for threads in (1, 2, 3):
        model._runtime = None
        with native.using_threads(threads):
            found.append(model.predict_on_batch(x)[0])
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_every_thread_computes_parts_of_its_own(small_cache):
    with native.using_threads(2):
        assert parts_of(convolutional(), images(7)).lanes == 2
        assert parts_of(convolutional(), images(2)).lanes == 1


def test_ops_left_to_the_host_keep_the_batch_whole(small_cache):
    assert parts_of(lambda_model(ops.i0), images(7)) is None


def test_parts_cross_process_borders(small_cache):
    parts = parts_of(convolutional(), images(7))
    assert pickle.loads(pickle.dumps(parts)) == parts


MIXING = {
    "mean over rows": lambda x: x - ops.mean(x, axis=0),
    "softmax over rows": Softmax(axis=0),
    "reversed rows": lambda x: ops.flip(x, axis=0),
    "rows times rows": lambda x: ops.matmul(
        ops.transpose(ops.reshape(x, (len(x), -1))), ops.reshape(x, (len(x), -1))
    ),
    "other rows folded in": lambda x: ops.reshape(x, (-1, 10, 16)),
    "a number for each row": lambda x: x * np.arange(len(x), dtype="f4").reshape(-1, 1, 1, 1),
    "the size of the batch": lambda x: x / x.shape[0],
    "a row added": lambda x: ops.pad(x, ((1, 0), (0, 0), (0, 0), (0, 0))),
    "rows joined": lambda x: ops.concatenate([x, x], axis=0),
}


@pytest.mark.parametrize("function", MIXING.values(), ids=MIXING)
def test_what_mixes_rows_is_never_cut(small_cache, function):
    assert parts_of(lambda_model(function), images(7)) is None


def test_the_same_model_without_mixing_is_cut(small_cache):
    assert parts_of(lambda_model(lambda x: x / 7), images(7)) is not None


class SelfAttention(Layer):
    def build(self, shape):
        self.attention = MultiHeadAttention(2, 16)
        self.attention.build(shape, shape)

    def call(self, x):
        return self.attention(x, x)


def tokens(rows=7):
    return np.random.default_rng(rows).integers(0, 50, (rows, 9)).astype("i4")


ROW_BY_ROW = {
    "LayerNormalization": (images, [LayerNormalization()]),
    "RMSNormalization": (images, [RMSNormalization()]),
    "GroupNormalization": (images, [GroupNormalization(3)]),
    "UpSampling2D": (images, [UpSampling2D(2)]),
    "UpSampling2D, bilinear": (images, [UpSampling2D(2, interpolation="bilinear")]),
    "Cropping2D": (images, [Cropping2D(2)]),
    "Conv2DTranspose": (images, [Conv2DTranspose(8, 3, strides=2)]),
    "Embedding": (tokens, [Embedding(50, 40)]),
    "LSTM": (tokens, [Embedding(50, 8), LSTM(16, return_sequences=True)]),
    "GRU": (tokens, [Embedding(50, 8), GRU(16, return_sequences=True)]),
    "GRU, reset first": (tokens, [Embedding(50, 8), GRU(16, reset_after=False)]),
    "SimpleRNN, masked": (tokens, [Embedding(50, 8, mask_zero=True), SimpleRNN(16)]),
    "Bidirectional": (tokens, [Embedding(50, 8), Bidirectional(LSTM(16))]),
    "attention": (tokens, [Embedding(50, 32), SelfAttention()]),
}


@pytest.mark.parametrize(("data", "inner"), ROW_BY_ROW.values(), ids=ROW_BY_ROW)
def test_layers_that_work_row_by_row_are_cut_and_give_the_same_bits(
    data, inner, small_cache, monkeypatch
):
    monkeypatch.setattr(split, "CACHE_BYTES", 2_000)
    x = data()
    model = keras.Sequential([Input(x.shape[1:], dtype=x.dtype.name), *inner, Flatten(), Dense(4)])
    assert parts_of(model, x) is not None
    np.testing.assert_array_equal(*split_only(model, x, monkeypatch))


# Ops of which a row of the result may depend on all rows of the inputs, or that inference does not
# meet. A new op says `rows=` in its declaration, or stands here.
MIXING_OPS = """
    attention_grad attention_mask_grad avg_pool_grad batch_norm batch_norm_grad batch_norm_relu
    batch_norm_relu_grad cholesky conv_fused conv_fused_add conv_grad_kernel
    conv_grad_kernel_bf16 conv_packed conv_packed_add count_ids cumprod_grad dense dense_add
    dense_packed dense_packed_add det eigh
    fourier gather_grad gather_grad_rows gather_nd gather_nd_grad gather_replayed group_norm_grad
    gru_grad gru_reset_first_grad inv irfft label_beams layer_norm_grad log_softmax_grad
    lstm_grad lstsq lu_factor matrix_rank max_pool_grad max_pool_grad_bf16 note_update observe
    optimizer_update own_gradient pack_bf16 pack_conv pack_dense pack_int8
    pinv product_of_others qr quantile replay_coefficients rfft rms_norm_grad rows_update scan
    scatter_add scatter_reduce scatter_update
    searchsorted segment_reduce settle_rows simple_rnn_grad
    slogdet softmax_cross_entropy softmax_cross_entropy_grad softmax_grad solve
    solve_triangular sort_ids sparse_softmax_cross_entropy sparse_softmax_cross_entropy_grad
    strided_slice_grad svd take_along_axis_grad
    dropout random_normal random_uniform step_sources
"""


def test_every_op_says_whether_rows_stay_apart():
    silent = {name for name, op in registry.items() if op.rows is None}
    assert silent == set(MIXING_OPS.split())
