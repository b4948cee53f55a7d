"""Calls of ops of images: resizing, moving, colours, patches; cases/more_ops.py has others."""

from __future__ import annotations

import numpy as np

from .ops_table import Table, spread, whole

T = Table()
f32 = np.float32

IMAGES, BYTES = spread((2, 5, 6, 3), 0, 1), whole((2, 5, 6, 3), 0, 256, "uint8")
ONE, FIRST = IMAGES[0], IMAGES.transpose(0, 3, 1, 2)
MATRIX = f32([[0.8, 0.3, -2.2, -0.4, 1.1, 1.7, 0, 0], [1.3, 0.2, -4, 0.1, -0.9, 3, 0.01, 0.02]])

for how in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
    T.add("image.resize", IMAGES, (3, 9), interpolation=how)
    T.add("image.resize", ONE, (8, 4), interpolation=how)
    T.add("image.resize", IMAGES, (3, 4), interpolation=how, antialias=how != "nearest")
T.add("image.resize", BYTES, (3, 9))
T.add("image.resize", BYTES, (7, 4), interpolation="nearest")
T.add("image.resize", FIRST, (3, 9), data_format="channels_first")
T.add("image.resize", IMAGES, (4, 4), crop_to_aspect_ratio=True)
T.add("image.resize", IMAGES, (4, 4), pad_to_aspect_ratio=True, fill_value=0.5)
# The gradient that TensorFlow gives a projection is no slope, so it is not asked for.
for how in ("nearest", "bilinear"):
    for mode in ("constant", "nearest", "wrap", "reflect"):
        T.add(
            "image.affine_transform",
            IMAGES,
            MATRIX,
            interpolation=how,
            fill_mode=mode,
            fill_value=0.3,
            grad=False,
        )
    T.add("image.perspective_transform", IMAGES, f32([[[0, 0], [5, 0], [0, 4], [5, 4]]] * 2),
          f32([[[1, 0], [4, 1], [0, 3], [5, 5]], [[0, 1], [6, 0], [1, 4], [4, 4]]]),
          interpolation=how, grad=False)  # fmt: skip
T.add("image.affine_transform", ONE, MATRIX[0], grad=False)
T.add("image.affine_transform", FIRST, MATRIX, data_format="channels_first", grad=False)
for kwargs in ({"top_cropping": 1, "left_cropping": 2, "target_height": 3, "target_width": 2},
               {"top_cropping": 1, "bottom_cropping": 2, "left_cropping": 0, "right_cropping": 3},
               {"bottom_cropping": 1, "right_cropping": 1, "target_height": 2, "target_width": 4},
               ):  # fmt: skip
    T.add("image.crop_images", IMAGES, **kwargs)
    T.add("image.crop_images", ONE, **kwargs)
T.add("image.crop_images", FIRST, 1, 1, 1, 1, data_format="channels_first")
for kwargs in ({"top_padding": 1, "left_padding": 2, "target_height": 9, "target_width": 9},
               {"top_padding": 1, "bottom_padding": 2, "left_padding": 0, "right_padding": 3},
               {"bottom_padding": 1, "right_padding": 1, "target_height": 7, "target_width": 8},
               ):  # fmt: skip
    T.add("image.pad_images", IMAGES, **kwargs)
    T.add("image.pad_images", ONE, **kwargs)
T.add("image.pad_images", BYTES, 1, 1, 1, 1)
T.add(
    "image.elastic_transform",
    IMAGES,
    seed=3,
    grad=False,
    call=lambda ops, x, seed: (
        ops.shape(ops.image.elastic_transform(x, seed=seed)),
        ops.image.elastic_transform(x, alpha=0.0, seed=seed),
    ),
)
for size, kwargs in (
    (2, {}),
    ((2, 3), {"strides": 1}),
    (3, {"strides": (1, 2)}),
    (2, {"dilation_rate": 2, "strides": 1}),
):
    for padding in ("valid", "same"):
        T.add("image.extract_patches", IMAGES, size, padding=padding, **kwargs)
T.add("image.extract_patches", ONE, 2)
T.add("image.extract_patches", FIRST, 2, data_format="channels_first")
VOLUMES = spread((1, 4, 5, 4, 2))
for padding in ("valid", "same"):
    T.add("image.extract_patches_3d", VOLUMES, 2, padding=padding)
    T.add("image.extract_patches_3d", VOLUMES, (1, 2, 3), strides=(1, 2, 1), padding=padding)
COLOURS = "image.rgb_to_grayscale image.rgb_to_hsv image.gaussian_blur"
T.each("image.hsv_to_rgb", IMAGES, grad=False)  # TensorFlow's gradient is 0
T.each("image.hsv_to_rgb", ONE, grad=False)
T.each("image.hsv_to_rgb", FIRST, data_format="channels_first", grad=False)
T.each(f"{COLOURS} image.sobel_edges", IMAGES)
T.each(COLOURS, ONE)
T.each(f"{COLOURS} image.sobel_edges", FIRST, data_format="channels_first")
T.each("image.rgb_to_grayscale image.gaussian_blur image.sobel_edges", IMAGES)
T.add("image.rgb_to_grayscale", BYTES)
T.add("image.rgb_to_hsv", f32([[[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.2]]]), grad=False)
T.add("image.gaussian_blur", IMAGES, kernel_size=(5, 3), sigma=(0.5, 1.5))
for order in (0, 1):
    for mode in ("constant", "nearest", "wrap", "reflect"):
        T.add("image.map_coordinates", spread((5, 6)), spread((2, 3, 7), -3, 9), order,
              fill_mode=mode, fill_value=0.4)  # fmt: skip
T.add("image.map_coordinates", spread((5, 6)), spread((2, 3, 7), 0.1, 3.9), 1)
T.add("image.map_coordinates", whole((5, 6), 0, 50), spread((2, 8), 0, 4), order=1)
for method in ("linear", "cubic", "lanczos3", "lanczos5"):
    for antialias in (True, False):
        T.add("image.scale_and_translate", IMAGES, (2, 3, 8, 3), f32([0.7, 1.4]), f32([0.3, -0.6]),
              (1, 2), method, antialias=antialias)  # fmt: skip
T.add("image.ssim", spread((1, 12, 13, 2), 0, 1), spread((1, 12, 13, 2), 0, 1, 2))
T.add(
    "image.ssim",
    spread((1, 6, 6, 1), 0, 5),
    spread((1, 6, 6, 1), 0, 5, 2),
    max_val=5,
    filter_size=3,
    filter_sigma=0.8,
)
