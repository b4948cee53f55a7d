"""Cases of convolution, pooling, padding, cropping and upsampling layers beyond cases/layers.py.

Rows are made as there; they become data/spatial.json and data/spatial.npz.
"""

from __future__ import annotations

from typing import Any

from .layers import Case, keras_object

CASES: list[Case] = []
FIRST = {"data_format": "channels_first"}


def add(layer: str, label: str, *inputs: Any, **kwargs: Any) -> None:
    CASES.append(Case(layer, label, list(inputs), kwargs, {}))


# Conv3D
add("Conv3D", "plain", (2, 4, 5, 3, 2), filters=3, kernel_size=2)
add("Conv3D", "same", (1, 4, 3, 5, 3), filters=4, kernel_size=[3, 2, 3], padding="same",
    activation="relu")
add("Conv3D", "strided_same", (2, 5, 4, 6, 2), filters=17, kernel_size=3, strides=[2, 1, 3],
    padding="same", use_bias=False)
add("Conv3D", "dilated", (1, 6, 5, 5, 2), filters=2, kernel_size=2, dilation_rate=[2, 1, 3])
add("Conv3D", "groups", (1, 3, 4, 3, 4), filters=6, kernel_size=2, groups=2)
add("Conv3D", "regularized", (1, 3, 3, 3, 2), filters=2, kernel_size=2, activation="tanh",
    kernel_regularizer="l2", activity_regularizer="l1", bias_constraint="non_neg",
    kernel_initializer="he_uniform")
add("Conv3D", "channels_first", (2, 3, 4, 3, 5), filters=5, kernel_size=2, **FIRST)

# Transposed convolutions
add("Conv1DTranspose", "plain", (2, 5, 3), filters=4, kernel_size=3)
add("Conv1DTranspose", "strided", (2, 5, 3), filters=2, kernel_size=3, strides=2)
add("Conv1DTranspose", "strided_same", (1, 6, 2), filters=3, kernel_size=4, strides=3,
    padding="same", activation="relu")
add("Conv1DTranspose", "stride_above_kernel", (2, 4, 2), filters=3, kernel_size=2, strides=3)
add("Conv1DTranspose", "output_padding", (2, 4, 3), filters=2, kernel_size=3, strides=2,
    output_padding=1)
add("Conv1DTranspose", "same_output_padding", (2, 5, 3), filters=2, kernel_size=3, strides=2,
    padding="same", output_padding=0)
add("Conv1DTranspose", "dilated", (2, 5, 3), filters=2, kernel_size=3, dilation_rate=2)
add("Conv1DTranspose", "channels_first", (2, 3, 5), filters=4, kernel_size=3, strides=2, **FIRST)
add("Conv2DTranspose", "plain", (2, 4, 3, 3), filters=5, kernel_size=3)
add("Conv2DTranspose", "strided", (1, 3, 4, 2), filters=3, kernel_size=[3, 2], strides=[2, 3])
add("Conv2DTranspose", "strided_same", (2, 3, 4, 3), filters=17, kernel_size=4, strides=2,
    padding="same", use_bias=False)
add("Conv2DTranspose", "pointwise", (2, 3, 4, 5), filters=3, kernel_size=1)
add("Conv2DTranspose", "output_padding", (1, 3, 3, 2), filters=3, kernel_size=3, strides=[2, 3],
    output_padding=[1, 0])
add("Conv2DTranspose", "same_output_padding", (1, 4, 3, 2), filters=3, kernel_size=[3, 5],
    strides=[3, 2], padding="same", output_padding=[2, 1])
add("Conv2DTranspose", "dilated_same", (1, 4, 5, 2), filters=3, kernel_size=3, padding="same",
    dilation_rate=[2, 1])
add("Conv2DTranspose", "regularized", (1, 3, 3, 2), filters=3, kernel_size=2, activation="elu",
    kernel_regularizer="l1", kernel_constraint=keras_object(
        "constraints", "MaxNorm", max_value=1.0, axis=[0, 1, 2]), bias_initializer="ones")
add("Conv2DTranspose", "channels_first", (2, 3, 4, 3), filters=4, kernel_size=3, strides=2,
    padding="same", **FIRST)
add("Conv3DTranspose", "plain", (1, 3, 2, 3, 2), filters=3, kernel_size=2)
add("Conv3DTranspose", "strided_same", (1, 2, 3, 2, 3), filters=2, kernel_size=3,
    strides=[2, 1, 2], padding="same", activation="relu")
add("Conv3DTranspose", "output_padding", (1, 2, 2, 3, 2), filters=2, kernel_size=2, strides=2,
    output_padding=1)
add("Conv3DTranspose", "channels_first", (1, 2, 3, 2, 3), filters=3, kernel_size=2, **FIRST)

# Depthwise convolutions
add("DepthwiseConv1D", "plain", (2, 7, 3), kernel_size=3)
add("DepthwiseConv1D", "multiplied", (2, 8, 4), kernel_size=3, depth_multiplier=3, strides=2,
    padding="same", activation="relu")
add("DepthwiseConv1D", "dilated", (1, 9, 2), kernel_size=3, dilation_rate=2, use_bias=False)
add("DepthwiseConv1D", "channels_first", (2, 3, 8), kernel_size=3, **FIRST)
add("DepthwiseConv2D", "plain", (2, 5, 6, 3), kernel_size=3)
add("DepthwiseConv2D", "same", (2, 5, 4, 17), kernel_size=[3, 5], padding="same")
add("DepthwiseConv2D", "multiplied", (1, 6, 5, 3), kernel_size=2, depth_multiplier=2)
add("DepthwiseConv2D", "strided_same", (2, 7, 6, 3), kernel_size=3, strides=2, padding="same",
    depth_multiplier=3, activation="relu6")
add("DepthwiseConv2D", "dilated", (1, 7, 6, 2), kernel_size=3, dilation_rate=2, padding="same")
add("DepthwiseConv2D", "one_channel", (2, 5, 5, 1), kernel_size=3, depth_multiplier=4)
add("DepthwiseConv2D", "regularized", (1, 4, 4, 3), kernel_size=2, depthwise_regularizer="l2",
    bias_regularizer="l1", depthwise_constraint="non_neg", depthwise_initializer="he_normal",
    activity_regularizer="l2", bias_initializer="ones")
add("DepthwiseConv2D", "channels_first", (2, 3, 6, 5), kernel_size=3, depth_multiplier=2, **FIRST)

# Separable convolutions
add("SeparableConv1D", "plain", (2, 7, 3), filters=4, kernel_size=3)
add("SeparableConv1D", "multiplied", (2, 8, 2), filters=5, kernel_size=4, depth_multiplier=3,
    strides=2, padding="same", activation="relu")
add("SeparableConv1D", "dilated", (1, 9, 3), filters=2, kernel_size=3, dilation_rate=2,
    use_bias=False)
add("SeparableConv1D", "channels_first", (2, 3, 8), filters=4, kernel_size=3, **FIRST)
add("SeparableConv2D", "plain", (2, 5, 6, 3), filters=4, kernel_size=3)
add("SeparableConv2D", "multiplied", (1, 6, 5, 2), filters=17, kernel_size=[2, 3],
    depth_multiplier=2, padding="same")
add("SeparableConv2D", "strided", (2, 7, 6, 3), filters=4, kernel_size=3, strides=2,
    activation="tanh")
add("SeparableConv2D", "dilated_same", (1, 6, 7, 2), filters=3, kernel_size=3, padding="same",
    dilation_rate=2)
add("SeparableConv2D", "regularized", (1, 4, 4, 3), filters=2, kernel_size=2,
    depthwise_regularizer="l2", pointwise_regularizer="l1", pointwise_constraint="non_neg",
    pointwise_initializer="he_normal", depthwise_initializer="ones", bias_constraint="non_neg")
add("SeparableConv2D", "channels_first", (2, 3, 6, 5), filters=4, kernel_size=3, **FIRST)

# Pooling
for _kind in ("Max", "Average"):
    add(f"{_kind}Pooling3D", "plain", (2, 4, 5, 6, 3), pool_size=2)
    add(f"{_kind}Pooling3D", "same_overlap", (1, 5, 4, 3, 17), pool_size=3, strides=2,
        padding="same")
    add(f"{_kind}Pooling3D", "uneven", (2, 4, 6, 5, 1), pool_size=[2, 3, 1], strides=[1, 2, 3])
    add(f"{_kind}Pooling3D", "channels_first", (2, 3, 4, 5, 4), pool_size=2, **FIRST)
    add(f"Global{_kind}Pooling3D", "plain", (2, 3, 4, 2, 5))
    add(f"Global{_kind}Pooling3D", "keepdims", (1, 2, 4, 3, 2), keepdims=True)
    add(f"Global{_kind}Pooling3D", "channels_first", (2, 3, 4, 2, 5), **FIRST)
    add(f"Adaptive{_kind}Pooling1D", "even", (2, 8, 3), output_size=4)
    add(f"Adaptive{_kind}Pooling1D", "uneven", (2, 7, 3), output_size=3)
    add(f"Adaptive{_kind}Pooling1D", "channels_first", (2, 3, 7), output_size=2, **FIRST)
    add(f"Adaptive{_kind}Pooling2D", "even", (1, 6, 4, 3), output_size=2)
    add(f"Adaptive{_kind}Pooling2D", "uneven", (2, 7, 5, 2), output_size=[3, 4])
    add(f"Adaptive{_kind}Pooling2D", "channels_first", (2, 2, 7, 5), output_size=3, **FIRST)
    add(f"Adaptive{_kind}Pooling3D", "even", (1, 4, 2, 6, 3), output_size=2)
    add(f"Adaptive{_kind}Pooling3D", "uneven", (1, 5, 4, 7, 2), output_size=[2, 3, 3])
    add(f"Adaptive{_kind}Pooling3D", "one", (2, 3, 4, 5, 2), output_size=1)
add("MaxPooling3D", "defaults", (1, 4, 4, 4, 2))

# Upsampling
add("UpSampling1D", "by_three", (2, 3, 4), size=3)
add("UpSampling1D", "defaults", (1, 4, 2))
add("UpSampling1D", "once", (2, 3, 1), size=1)
add("UpSampling2D", "defaults", (2, 3, 4, 2))
add("UpSampling2D", "uneven", (1, 2, 3, 3), size=[3, 1])
add("UpSampling2D", "channels_first", (2, 3, 2, 4), size=2, **FIRST)
# TensorFlow rounds the places of bicubic weights to 1/1024.
for _how, _size in (("bilinear", 3), ("bicubic", 4), ("lanczos3", 3), ("lanczos5", 3)):
    add("UpSampling2D", _how, (2, 4, 5, 3), size=[2, _size], interpolation=_how)
add("UpSampling2D", "bilinear_channels_first", (1, 2, 3, 4), size=2, interpolation="bilinear",
    **FIRST)
add("UpSampling3D", "defaults", (1, 2, 3, 2, 3))
add("UpSampling3D", "uneven", (2, 2, 1, 3, 2), size=[1, 3, 2])
add("UpSampling3D", "channels_first", (1, 2, 2, 3, 2), size=2, **FIRST)

# Borders
add("Cropping1D", "defaults", (2, 5, 3))
add("Cropping1D", "uneven", (1, 6, 2), cropping=[0, 3])
add("Cropping1D", "both", (2, 7, 1), cropping=2)
add("Cropping2D", "per_axis", (1, 5, 6, 3), cropping=[1, 2])
add("Cropping2D", "per_side", (2, 4, 6, 2), cropping=[[0, 1], [2, 3]])
add("Cropping2D", "channels_first", (1, 2, 4, 5), cropping=1, **FIRST)
add("Cropping3D", "defaults", (1, 3, 4, 5, 2))
add("Cropping3D", "per_side", (2, 4, 3, 5, 1), cropping=[[0, 2], [1, 0], [1, 2]])
add("Cropping3D", "channels_first", (1, 2, 4, 5, 3), cropping=1, **FIRST)
add("ZeroPadding3D", "defaults", (1, 2, 1, 3, 2))
add("ZeroPadding3D", "per_side", (2, 1, 2, 2, 3), padding=[[0, 2], [1, 0], [3, 1]])
add("ZeroPadding3D", "per_axis", (1, 2, 2, 1, 2), padding=[0, 1, 2])
add("ZeroPadding3D", "channels_first", (1, 2, 2, 3, 1), padding=1, **FIRST)
