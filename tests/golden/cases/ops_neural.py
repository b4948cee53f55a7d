"""Calls of ops of neural networks: softmax, losses, normalization, convolution, pooling, CTC."""

from __future__ import annotations

import numpy as np

from .ops_table import Table, spread, whole

T = Table()
f32, inf = np.float32, np.inf

ROWS, CUBE = spread((3, 4), -3, 3), spread((2, 3, 4), -3, 3, 1)
T.each("softmax log_softmax sparsemax", ROWS)
for axis in (0, 1, -2):
    T.each("softmax log_softmax", CUBE, axis=axis)
    T.each("sparsemax", CUBE, axis=axis)
T.each("softmax log_softmax", CUBE, axis=(0, 2))
T.each("softmax log_softmax", CUBE, axis=None)
T.each("softmax log_softmax", ROWS * 100, grad=False)
T.each("softmax", f32([[1, -inf, 2], [-inf, 0, -inf]]), grad=False)
T.each("softmax log_softmax", ROWS.astype("float16"), grad=False)
T.each("softmax log_softmax", np.zeros((0, 3), "float32"))
for axis in (-1, 0, 2):
    T.add("glu", spread((4, 2, 6)), axis=axis)

PROBABILITY, TRUTH = spread((3, 4), 0.02, 0.98), spread((3, 4), 0, 1, 2)
SURE = f32([[0, 1, 0.5], [1, 0, 0.25]])
SHARES = (PROBABILITY / PROBABILITY.sum(-1, keepdims=True)).astype("float32")
for logits, output in ((False, PROBABILITY), (True, ROWS)):
    T.add("binary_crossentropy", TRUTH, output, from_logits=logits)
    T.add("categorical_crossentropy", TRUTH, output, from_logits=logits, grad=not logits)
    T.add("categorical_crossentropy", SHARES, output, from_logits=logits, axis=1, grad=logits)
    T.add("categorical_crossentropy", SHARES, output, from_logits=logits, axis=0, grad=not logits)
    T.add("sparse_categorical_crossentropy", np.int32([1, 0, 3]), output, from_logits=logits)
    T.add("sparse_categorical_crossentropy", np.int32([[1], [0], [3]]), output, from_logits=logits)
    T.add("sparse_categorical_crossentropy", f32([1, 0, 3]), output, from_logits=logits, grad=False)
    T.add("sparse_categorical_crossentropy", whole((2, 3), 0, 4), CUBE if logits else abs(CUBE) + 1,
          from_logits=logits, axis=-1)  # fmt: skip
T.each("binary_crossentropy", f32([[0, 1, 1], [1, 1, 0]]), SURE, grad=False)
T.each("categorical_crossentropy", f32([[0, 1, 0], [1, 0, 0]]), SURE, grad=False)
T.each("binary_crossentropy", TRUTH[0, 0].reshape(1), PROBABILITY[0, :1])

# Normalization
MEAN, VARIANCE = spread((4,), seed=3), spread((4,), 0.2, 2, 4)
OFFSET, SCALE = spread((4,), seed=5), spread((4,), 0.2, 2, 6)
T.add("batch_normalization", CUBE, MEAN, VARIANCE, -1)
T.add("batch_normalization", CUBE, MEAN, VARIANCE, axis=2, offset=OFFSET, scale=SCALE, epsilon=0.1)
T.add("batch_normalization", CUBE, MEAN[:3], VARIANCE[:3], axis=1, scale=SCALE[:3])
T.add("batch_normalization", CUBE, MEAN[:3], VARIANCE[:3], axis=-2, offset=OFFSET[:3])
for axis in (-1, 1):
    n = CUBE.shape[axis]
    T.add("layer_normalization", CUBE, axis=axis)
    T.add("rms_normalization", CUBE, axis=axis)
    T.add("layer_normalization", CUBE, gamma=SCALE[:n], beta=OFFSET[:n], axis=axis)
T.add("layer_normalization", CUBE, gamma=spread((3, 4), 0.5, 1.5), beta=ROWS, axis=(1, 2))
T.add("layer_normalization", CUBE, epsilon=0.5)
T.add("rms_normalization", CUBE, SCALE)
T.add("rms_normalization", CUBE, scale=spread((3, 4), 0.5, 1.5), axis=(1, 2), epsilon=0.1)
for order in (1, 2, 3):
    for axis in (-1, 0):
        T.add("normalize", CUBE, axis=axis, order=order)
T.add("normalize", CUBE, axis=(0, 1))
T.add("normalize", CUBE, axis=None)
T.add("normalize", ROWS, epsilon=5.0)
T.add("normalize", f32([[0, 0], [3, 4]]), grad=False)
T.add("normalize", whole((2, 3), 1, 9))
T.add("psnr", PROBABILITY, TRUTH, 1.0)
T.add("psnr", PROBABILITY * 255, TRUTH * 255, max_val=255)

# Attention: (batch, time, heads, width)
Q, K, VALUE = spread((2, 3, 2, 4)), spread((2, 5, 2, 4), seed=2), spread((2, 5, 2, 4), seed=3)
T.add("dot_product_attention", Q, K, VALUE)
T.add("dot_product_attention", Q, K, VALUE, scale=0.7)
T.add("dot_product_attention", Q, K, VALUE, bias=spread((2, 2, 3, 5), seed=4))
T.add("dot_product_attention", Q, K, VALUE, bias=spread((1, 1, 3, 5), seed=4))
T.add("dot_product_attention", Q, K, VALUE, mask=spread((2, 1, 3, 5), seed=6) > -0.5)
T.add("dot_product_attention", Q, Q * 2, Q + 1, is_causal=True)
T.add("dot_product_attention", Q, K, VALUE, flash_attention=False)

# Convolution and pooling
LINE, PLANE, BLOCK = spread((2, 7, 3)), spread((2, 6, 5, 4)), spread((1, 4, 5, 4, 2))
KERNELS = {
    1: spread((3, 3, 2), seed=2),
    2: spread((3, 2, 4, 3), seed=2),
    3: spread((2, 3, 2, 2, 3), seed=2),
}
FIRST = (0, 3, 1, 2)
for padding in ("valid", "same"):
    for x, n in ((LINE, 1), (PLANE, 2), (BLOCK, 3)):
        for kwargs in ({}, {"strides": 2}, {"dilation_rate": 2}):
            if n < 3 or "dilation_rate" not in kwargs:
                T.add("conv", x, KERNELS[n], padding=padding, **kwargs)
    T.add("conv", PLANE, KERNELS[2], strides=(2, 1), padding=padding)
    T.add("conv", PLANE, spread((2, 2, 2, 4), seed=3), padding=padding)  # two groups
    T.add(
        "conv",
        PLANE.transpose(FIRST),
        KERNELS[2],
        padding=padding,
        data_format="channels_first",
        grad=False,
    )
    for x, kernel in ((LINE, spread((3, 2, 3), seed=4)), (PLANE, spread((3, 2, 3, 4), seed=4))):
        for strides in (1, 2, 3):
            T.add("conv_transpose", x, kernel, strides=strides, padding=padding)
    T.add("conv_transpose", PLANE, spread((2, 3, 3, 4), seed=4), strides=(2, 1), padding=padding)
    T.add(
        "conv_transpose",
        LINE,
        spread((3, 2, 3), seed=4),
        strides=2,
        output_padding=1,
        padding=padding,
    )
    T.add("conv_transpose", BLOCK, spread((2, 3, 2, 3, 2), seed=4), strides=2, padding=padding)
    for kwargs in ({}, {"strides": 2}, {"dilation_rate": 2}):
        T.add("depthwise_conv", PLANE, spread((3, 2, 4, 2), seed=5), padding=padding, **kwargs)
        T.add("depthwise_conv", LINE, spread((3, 3, 1), seed=5), padding=padding, **kwargs)
        T.add("separable_conv", PLANE, spread((2, 2, 4, 1), seed=5), spread((1, 1, 4, 3), seed=6),
              padding=padding, **kwargs)  # fmt: skip
    T.add(
        "separable_conv",
        LINE,
        spread((3, 3, 2), seed=5),
        spread((1, 6, 2), seed=6),
        padding=padding,
    )
    for x in (LINE, PLANE, BLOCK):
        T.each("max_pool average_pool", x, 2, padding=padding)
        T.each("max_pool average_pool", x, 2, strides=1, padding=padding)
    T.each("max_pool average_pool", PLANE, (3, 2), strides=(2, 3), padding=padding)
    T.each(
        "max_pool average_pool",
        PLANE.transpose(FIRST),
        2,
        padding=padding,
        data_format="channels_first",
        grad=False,
    )
POOLS = "adaptive_average_pool adaptive_max_pool"
T.each("adaptive_average_pool", PLANE, 1)  # TensorFlow's largest of all divides by 0
T.each("adaptive_average_pool", LINE, 1)
for size in (2, (3, 2), (6, 5), (4, 3)):
    T.each(POOLS, PLANE, size)
    T.each(POOLS, PLANE.transpose(FIRST), size, data_format="channels_first")
for size in (3, 5):
    T.each(POOLS, LINE, size)
T.each(POOLS, BLOCK, (2, 3, 2))
STACK = spread((2, 3, 6, 5))  # channels first
for kwargs in (
    {},
    {"stride": 2},
    {"padding": 1},
    {"dilation": 2},
    {"padding": (1, 0), "stride": (1, 2)},
):
    T.add("unfold", STACK, 2, **kwargs)
    T.add("unfold", STACK, (3, 2), **kwargs)
T.add("fold", spread((2, 12, 20)), (6, 5), 2)
T.add("fold", spread((2, 12, 6)), (6, 5), 2, stride=2)
T.add("fold", spread((2, 12, 42)), output_size=(6, 5), kernel_size=(2, 2), padding=1)
T.add("fold", spread((2, 12, 12)), (6, 5), (2, 2), dilation=2)
for form in ("channels_last", "channels_first"):
    T.add(
        "depth_to_space",
        spread((2, 8, 3, 8)) if form[9] == "l" else spread((2, 8, 3, 4)),
        2,
        data_format=form,
    )
    T.add("space_to_depth", spread((2, 4, 6, 4)), 2, data_format=form)
T.add("depth_to_space", spread((1, 2, 2, 9)), 3)

# CTC
SCORES = spread((3, 7, 5), -2, 2)
LABELS = np.int32([[1, 2, 4], [3, 3, 1], [2, 1, 4]])
T.add("ctc_loss", LABELS, SCORES, np.int32([3, 3, 3]), np.int32([7, 7, 7]))
T.add("ctc_loss", LABELS, SCORES, np.int32([3, 1, 2]), np.int32([7, 5, 6]))
T.add("ctc_loss", LABELS % 4, SCORES, np.int32([3, 2, 1]), np.int32([7, 6, 7]), mask_index=4)
LENGTHS = np.int32([7, 4, 6])
T.add("ctc_decode", SCORES, LENGTHS, grad=False)
T.add("ctc_decode", SCORES, LENGTHS, merge_repeated=False, grad=False)
T.add("ctc_decode", SCORES, LENGTHS, mask_index=4, grad=False)
T.add("ctc_decode", SCORES, LENGTHS, strategy="beam_search", top_paths=2, beam_width=40, grad=False)
