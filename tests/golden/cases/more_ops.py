"""Calls of public ops: name, inputs (shape, least, largest, dtype), and arguments as JSON.

The table must not import keras or zoo_keras.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    op: str
    inputs: list[tuple[list[int], float, float, str]]
    kwargs: dict[str, Any]


CASES: list[Case] = []
IMAGES = ([2, 5, 6, 3], 0, 1, "float32")
BYTES = ([2, 5, 6, 3], 0, 255, "uint8")


def add(op: str, *inputs: Any, **kwargs: Any) -> None:
    CASES.append(Case(op, list(inputs), kwargs))


MODES = ("constant", "nearest", "wrap", "reflect")
MATRIX = [[0.8, 0.3, -2.2, -0.4, 1.1, 1.7, 0.0, 0.0], [1.3, 0.2, -4.0, 0.1, -0.9, 3.0, 0.01, 0.02]]
for how in ("nearest", "bilinear"):
    for mode in MODES:
        add("image.affine_transform", IMAGES, transform=MATRIX, interpolation=how, fill_mode=mode,
            fill_value=0.3)
    add("image.affine_transform", BYTES, transform=MATRIX[0], interpolation=how,
        fill_mode="reflect")
    add("image.perspective_transform", IMAGES, interpolation=how, fill_value=0.2,
        start_points=[[[0, 0], [5, 0], [0, 4], [5, 4]]] * 2,
        end_points=[[[1, 0], [4, 1], [0, 3], [5, 5]], [[0, 1], [6, 0], [1, 4], [4, 4]]])
add("image.affine_transform", ([5, 6, 3], 0, 1, "float32"), transform=MATRIX[1])
for order in (0, 1):
    for mode in ("constant", "nearest", "wrap"):
        add("image.map_coordinates", ([5, 6], 0, 1, "float32"), ([2, 3, 7], -3, 9, "float32"),
            order=order, fill_mode=mode, fill_value=0.4)
for how in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area"):
    for size in ((3, 9), (8, 4)):
        add("image.resize", IMAGES, size=size, interpolation=how)
        if how not in ("nearest", "area"):
            add("image.resize", IMAGES, size=size, interpolation=how, antialias=True)
add("image.resize", IMAGES, size=(4, 4), crop_to_aspect_ratio=True)
add("image.resize", IMAGES, size=(4, 4), pad_to_aspect_ratio=True, fill_value=0.5)
for method in ("linear", "cubic", "lanczos3", "lanczos5"):
    for antialias in (True, False):
        add("image.scale_and_translate", IMAGES, output_shape=[2, 3, 8, 3], scale=[0.7, 1.4],
            translation=[0.3, -0.6], spatial_dims=[1, 2], method=method, antialias=antialias)
add("image.rgb_to_hsv", IMAGES)
add("image.hsv_to_rgb", IMAGES)
add("image.rgb_to_grayscale", IMAGES)
add("image.sobel_edges", IMAGES)
add("image.gaussian_blur", IMAGES, kernel_size=(3, 3), sigma=(1.0, 2.0))
add("image.gaussian_blur", IMAGES, kernel_size=(5, 3), sigma=(0.5, 1.5))
add("image.ssim", ([2, 12, 13, 3], 0, 1, "float32"), ([2, 12, 13, 3], 0, 1, "float32"))
for padding in ("valid", "same"):
    add("image.extract_patches", IMAGES, size=(2, 3), strides=1, padding=padding)
    add("image.extract_patches", IMAGES, size=2, padding=padding)
    add("image.extract_patches_3d", ([1, 4, 5, 6, 2], 0, 1, "float32"), size=2, strides=(1, 2, 3),
        padding=padding)
add("image.extract_patches", IMAGES, size=2, strides=1, dilation_rate=2)

# Signals
SOUND = ([2, 70], -1, 1, "float32")
FRAMES = ([2, 7, 9], -1, 1, "float32")
for kwargs in (
    {}, {"window": "hamming"}, {"window": None}, {"center": False},
    {"sequence_length": 10, "sequence_stride": 3}, {"window": [0.5] * 16},
):
    base = {"sequence_length": 16, "sequence_stride": 4, "fft_length": 16} | kwargs
    add("stft", SOUND, **base)
    add("istft", FRAMES, FRAMES, **base)
add("istft", FRAMES, FRAMES, sequence_length=16, sequence_stride=5, fft_length=16, length=20)

# keras.backend of tf.keras, whose functions older scripts call.
A, B = ([2, 3, 4], -1, 1, "float32"), ([2, 4, 5], -1, 1, "float32")
ROWS, COLUMNS = ([3, 4], -1, 1, "float32"), ([4, 5], -1, 1, "float32")
SHARES, TRUE = ([3, 4], 0.1, 0.9, "float32"), ([3, 4], 0, 1, "float32")
IDS = ([3], 0, 4, "int32")
for name in ("abs", "cos", "exp", "sigmoid", "softplus", "softsign", "tanh", "square", "sign",
             "relu", "elu", "hard_sigmoid", "softmax", "round", "l2_normalize", "flatten",
             "batch_flatten", "zeros_like", "ones_like"):
    add(f"K.{name}", A)
for name in ("mean", "sum", "max", "min", "prod", "std", "var"):
    add(f"K.{name}", A, axis=1)
    add(f"K.{name}", A, axis=[0, 2], keepdims=True)
for name in ("argmax", "argmin", "cumsum", "cumprod"):
    add(f"K.{name}", A, axis=1)
add("K.mean", ([3, 4], 0, 9, "int32"))
add("K.dot", A, COLUMNS)
add("K.batch_dot", A, B)
add("K.batch_dot", A, B, axes=[2, 1])
add("K.batch_dot", ROWS, ROWS)
add("K.batch_dot", ROWS, ROWS, axes=1)
add("K.bias_add", A, ([4], -1, 1, "float32"))
add("K.clip", A, min_value=-0.2, max_value=0.3)
add("K.pow", SHARES, a=3)
add("K.in_top_k", ROWS, IDS, k=2)
add("K.gather", COLUMNS, IDS)
add("K.one_hot", IDS, num_classes=5)
add("K.repeat", ROWS, n=3)
add("K.repeat_elements", A, rep=2, axis=1)
add("K.reverse", A, axes=1)
add("K.permute_dimensions", A, pattern=[2, 0, 1])
add("K.expand_dims", A, axis=1)
add("K.temporal_padding", A, padding=[1, 2])
add("K.spatial_2d_padding", IMAGES, padding=[[1, 0], [2, 1]])
add("K.resize_images", IMAGES, height_factor=2, width_factor=3, data_format="channels_last")
add("K.resize_volumes", ([1, 2, 3, 2, 2], 0, 1, "float32"), depth_factor=2, height_factor=1,
    width_factor=3, data_format="channels_last")
add("K.binary_crossentropy", TRUE, SHARES)
add("K.categorical_crossentropy", TRUE, SHARES)
add("K.sparse_categorical_crossentropy", IDS, SHARES)
add("K.binary_focal_crossentropy", TRUE, SHARES, apply_class_balancing=True)
add("K.categorical_focal_crossentropy", TRUE, SHARES, gamma=1.5)
KERNEL = ([2, 3, 3, 4], -1, 1, "float32")
add("K.conv1d", A, ([2, 4, 5], -1, 1, "float32"), padding="causal", data_format="channels_last")
add("K.conv2d", IMAGES, KERNEL, strides=[2, 1], padding="same", data_format="channels_last")
add("K.depthwise_conv2d", IMAGES, ([2, 2, 3, 2], -1, 1, "float32"), data_format="channels_last")
add("K.pool2d", IMAGES, pool_size=[2, 2], strides=[2, 2], pool_mode="avg")
add("K.batch_normalization", A, *[([4], 0.5, 1, "float32")] * 4, epsilon=0.01)

# CTC
LOGITS, LABELS = ([3, 7, 5], -2, 2, "float32"), ([3, 3], 1, 5, "int32")

for kwargs in ({}, {"target_length": [3, 1, 2]}, {"output_length": [7, 5, 6]}):
    lengths = {"target_length": [3, 3, 3], "output_length": [7, 7, 7]}
    add("ctc_loss", LABELS, LOGITS, **lengths | kwargs)
add("ctc_loss", ([3, 3], 0, 4, "int32"), LOGITS, target_length=[3, 2, 0], output_length=[7, 6, 5],
    mask_index=4)
for kwargs in ({}, {"merge_repeated": False}, {"strategy": "beam_search"}, {"mask_index": 4},
               {"strategy": "beam_search", "top_paths": 3, "beam_width": 60}):
    add("ctc_decode", LOGITS, sequence_lengths=[7, 4, 6], **kwargs)
CHANCES = ([3, 7, 5], 0.01, 1, "float32")
add("K.ctc_batch_cost", ([3, 3], 0, 4, "int32"), CHANCES, input_length=[[7], [6], [5]],
    label_length=[[3], [1], [2]])
