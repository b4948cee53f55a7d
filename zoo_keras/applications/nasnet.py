"""NASNetMobile and NASNetLarge, with the layer names and weights of Keras.

Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition" (2017), cells of
NASNet-A. Images are prepared with `preprocess_input` (mode "tf").
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from zoo_keras import layers
from zoo_keras.applications import imagenet_utils
from zoo_keras.applications.building import (
    STORE,
    File,
    Options,
    Trained,
    classified,
    down_padding,
    finished,
    image_input,
    pooled,
    refuse_channels_first,
    variant,
)
from zoo_keras.applications.imagenet_utils import decode_predictions
from zoo_keras.errors import ShapeError
from zoo_keras.graph import scope
from zoo_keras.models import Model

__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as numbers from -1 to 1; see imagenet_utils."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


class _Size(NamedTuple):
    """Filters of the stem and of the first cells, cells in a row, rows of images; whether cells
    behind a reduction look past it."""

    stem: int
    filters: int
    cells: int
    rows: int
    skips: bool


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.9997, epsilon=1e-3, name=name)(x)


def _relu(x: Any, name: str | None = None) -> Any:
    return layers.Activation("relu", name=name)(x)


def _pointwise(x: Any, filters: int, name: str) -> Any:
    return layers.Conv2D(
        filters, 1, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)  # fmt: skip


def _separable(x: Any, filters: int, kernel: int, name: str, stride: int = 1) -> Any:
    """Two separable convolutions, the first with the stride."""
    with scope(f"separable_conv_block_{name}"):
        x, padding = _relu(x), "same"
        if stride == 2:
            pad = layers.ZeroPadding2D(down_padding(x, kernel), name=f"separable_conv_1_pad_{name}")
            x, padding = pad(x), "valid"
        for i in (1, 2):
            if i == 2:
                x, padding, stride = _relu(x), "same", 1
            x = layers.SeparableConv2D(
                filters, kernel, strides=stride, padding=padding, use_bias=False,
                name=f"separable_conv_{i}_{name}",
            )(x)  # fmt: skip
            x = _norm(x, f"separable_conv_{i}_bn_{name}")
    return x


def _halved(x: Any, filters: int, name: str) -> Any:
    """Every second pixel, and every second beginning with the next, projected side by side."""
    x = _relu(x, f"adjust_relu_1_{name}")
    one = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_1_{name}")(x)
    one = _pointwise(one, filters // 2, f"adjust_conv_1_{name}")
    two = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    two = layers.Cropping2D(((1, 0), (1, 0)))(two)
    two = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_2_{name}")(two)
    two = _pointwise(two, filters // 2, f"adjust_conv_2_{name}")
    return _norm(layers.Concatenate(axis=-1)([one, two]), f"adjust_bn_{name}")


def _adjusted(before: Any, x: Any, filters: int, name: str) -> Any:
    """The output of the cell before the last, with the size of the last one's."""
    with scope("adjust_block"):
        if before is None:
            return x
        if before.shape[-2] != x.shape[-2]:
            with scope(f"adjust_reduction_block_{name}"):
                return _halved(before, filters, name)
        if before.shape[-1] != filters:
            with scope(f"adjust_projection_block_{name}"):
                before = _pointwise(_relu(before), filters, f"adjust_conv_projection_{name}")
                return _norm(before, f"adjust_bn_{name}")
        return before


def _sum(parts: list[Any], name: str | None) -> Any:
    return layers.Add(name=name)(parts)


def _mean(x: Any, name: str) -> Any:
    return layers.AveragePooling2D(3, strides=1, padding="same", name=name)(x)


def _normal_cell(x: Any, before: Any, filters: int, name: str) -> Any:
    """A cell that keeps rows and columns."""
    with scope(f"normal_A_block_{name}"):
        p = _adjusted(before, x, filters, name)
        h = _norm(_pointwise(_relu(x), filters, f"normal_conv_1_{name}"), f"normal_bn_1_{name}")
        with scope("block_1"):
            one = _separable(h, filters, 5, f"normal_left1_{name}")
            one = _sum(
                [one, _separable(p, filters, 3, f"normal_right1_{name}")], f"normal_add_1_{name}"
            )
        with scope("block_2"):
            two = _separable(p, filters, 5, f"normal_left2_{name}")
            two = _sum(
                [two, _separable(p, filters, 3, f"normal_right2_{name}")], f"normal_add_2_{name}"
            )
        with scope("block_3"):
            three = _sum([_mean(h, f"normal_left3_{name}"), p], f"normal_add_3_{name}")
        with scope("block_4"):
            means = [_mean(p, f"normal_left4_{name}"), _mean(p, f"normal_right4_{name}")]
            four = _sum(means, f"normal_add_4_{name}")
        with scope("block_5"):
            five = _sum(
                [_separable(h, filters, 3, f"normal_left5_{name}"), h], f"normal_add_5_{name}"
            )
        parts = [p, one, two, three, four, five]
        return layers.Concatenate(axis=-1, name=f"normal_concat_{name}")(parts)


def _reduction_cell(x: Any, before: Any, filters: int, name: str) -> Any:
    """A cell that halves rows and columns."""
    with scope(f"reduction_A_block_{name}"):
        p = _adjusted(before, x, filters, name)
        h = _pointwise(_relu(x), filters, f"reduction_conv_1_{name}")
        h = _norm(h, f"reduction_bn_1_{name}")
        padded = layers.ZeroPadding2D(down_padding(h, 3), name=f"reduction_pad_1_{name}")(h)
        with scope("block_1"):
            one = _separable(h, filters, 5, f"reduction_left1_{name}", 2)
            other = _separable(p, filters, 7, f"reduction_right1_{name}", 2)
            one = _sum([one, other], f"reduction_add_1_{name}")
        with scope("block_2"):
            two = layers.MaxPooling2D(3, strides=2, name=f"reduction_left2_{name}")(padded)
            other = _separable(p, filters, 7, f"reduction_right2_{name}", 2)
            two = _sum([two, other], f"reduction_add_2_{name}")
        with scope("block_3"):
            three = layers.AveragePooling2D(3, strides=2, name=f"reduction_left3_{name}")(padded)
            other = _separable(p, filters, 5, f"reduction_right3_{name}", 2)
            three = _sum([three, other], f"reduction_add3_{name}")
        with scope("block_4"):
            four = _sum([two, _mean(one, f"reduction_left4_{name}")], None)
        with scope("block_5"):
            five = _separable(one, filters, 3, f"reduction_left4_{name}")
            other = layers.MaxPooling2D(3, strides=2, name=f"reduction_right5_{name}")(padded)
            five = _sum([five, other], f"reduction_add4_{name}")
        return layers.Concatenate(axis=-1, name=f"reduction_concat_{name}")(
            [two, three, four, five]
        )


def _net(size: _Size, options: Options) -> Model:
    refuse_channels_first(options)
    if options.application == "NASNetMobile" and not options.include_top:
        options.input_shape = options.input_shape or (size.rows, size.rows, 3)
    image = image_input(options, size.rows)
    if None in image.shape[1:3]:
        raise ShapeError(
            f"{options.application}: cells are joined by their sizes, so images have a known size. "
            f"Received: {image.shape}. Pass input_shape."
        )
    x = layers.Conv2D(
        size.stem, 3, strides=2, use_bias=False, kernel_initializer="he_normal", name="stem_conv1"
    )(image)  # fmt: skip
    x, filters = _norm(x, "stem_bn1"), size.filters
    stem = x
    x = _reduction_cell(stem, None, filters // 4, "stem_1")
    x, before = _reduction_cell(x, stem, filters // 2, "stem_2"), x
    for group in range(3):
        if group:
            reduced = _reduction_cell(x, before, filters << group, f"reduce_{group * size.cells}")
            before, x = before if size.skips else x, reduced
        for i in range(size.cells):
            number = group * size.cells + i + (group > 0)
            x, before = _normal_cell(x, before, filters << group, f"{number}"), x
    x = _relu(x)
    if options.include_top:
        x = classified(layers.GlobalAveragePooling2D()(x), options)
    else:
        x = pooled(x, options, name=False)
    return finished(image, x, options)


def _trained(kind: str, whole: str, bare: str) -> Trained:
    file, name = f"{STORE}nasnet/NASNet-{kind}", f"nasnet_{kind}"
    return Trained(
        File(f"{file}.h5", whole, f"{name}.h5"),
        File(f"{file}-no-top.h5", bare, f"{name}_no_top.h5"),
    )


NASNetMobile = variant(
    partial(_net, _Size(32, 44, 4, 224, False)), "NASNetMobile", "nasnet_mobile",
    _trained("mobile", "020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
    "NASNet for small machines. https://keras.io/api/applications/nasnet/",
)  # fmt: skip
NASNetLarge = variant(
    partial(_net, _Size(96, 168, 6, 331, True)), "NASNetLarge", "nasnet_large",
    _trained("large", "11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"),
    "NASNet with 12 layers to a cell. https://keras.io/api/applications/nasnet/",
)  # fmt: skip
