"""Convolution kernels against float64 numpy: random geometry and the shapes at which the engine
changes its way of working, in every instruction set of this machine, with 1, 2 and 3 threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, instruction_set, run_kernel

from zoo_keras import native
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.conv import conv, conv_grad_input, conv_grad_kernel
from zoo_keras.primitives.conv_fused import (
    conv_fused,
    conv_fused_add,
    conv_packed,
    conv_packed_add,
    pack_conv,
)
from zoo_keras.primitives.op import Op
from zoo_keras.primitives.products import FUSED_ACTIVATIONS

KERNELS = (
    conv_fused_add,
    conv_packed_add,
    conv,
    conv_fused,
    conv_grad_input,
    conv_grad_kernel,
    conv_packed,
)
HOW = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}


def random_geometry(rng: np.random.Generator, axes: int) -> tuple[Any, Any, dict[str, Any]]:
    """Shapes of x and w, and attributes."""

    def numbers(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(n) for n in rng.integers(low, high, axes))

    kernel, dilation = numbers(1, 5), numbers(1, 4)
    padding = tuple(zip(numbers(0, 4), numbers(0, 4), strict=True))
    size = [
        max(int(rng.integers(1, 20 if axes < 3 else 8)), d * (k - 1) + 1 - sum(p))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    groups, channels, filters = [
        (1, int(rng.integers(1, 4)), int(rng.integers(1, 40))),
        (1, int(rng.integers(1, 70)), int(rng.integers(1, 18))),
        (int(rng.integers(2, 5)), int(rng.integers(1, 7)), int(rng.integers(1, 20))),
        (int(rng.integers(1, 40)), 1, 1),
        (int(rng.integers(2, 20)), int(rng.integers(1, 6)), int(rng.integers(1, 6))),
    ][rng.integers(5)]
    how = {"strides": numbers(1, 4), "padding": padding, "dilation": dilation, "groups": groups}
    batch = int(rng.integers(1, 5))
    return (batch, *size, groups * channels), (*kernel, channels, groups * filters), how


def check_all(x_shape: Any, w_shape: Any, how: dict[str, Any], activation: str = "relu") -> None:
    """Forward, fused, packed and both gradients of one convolution."""
    rng = np.random.default_rng(3)

    def array(*shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype("float32")

    x, w, b = array(*x_shape), array(*w_shape), array(w_shape[-1])
    y = conv.infer(Spec(x.shape, "float32"), Spec(w.shape, "float32"), **how)[0]
    g = array(*y.shape)
    fused = {**how, "activation": activation}
    packed = pack_conv(w, groups=how["groups"])
    close = {"rtol": 1e-4, "atol": 1e-4}
    check_kernel(conv, [x, w], how, **close)
    check_kernel(conv_fused, [x, w, b], fused, **close)
    check_kernel(conv_packed, [x, packed, b], {**fused, "kernel_shape": w_shape}, **close)
    check_kernel(conv_fused_add, [x, w, b, g], fused, **close)
    check_kernel(conv_packed_add, [x, packed, b, g], {**fused, "kernel_shape": w_shape}, **close)
    check_kernel(conv_grad_input, [g, w], {**how, "input_shape": x_shape}, **close)
    check_kernel(conv_grad_kernel, [x, g], {**how, "kernel_shape": w_shape}, **close)


@pytest.mark.parametrize(("axes", "cases"), [(1, 25), (2, 25), (3, 15)])
def test_random_geometry_equals_numpy(axes: int, cases: int) -> None:
    rng = np.random.default_rng(axes)
    for i in range(cases):
        check_all(*random_geometry(rng, axes), list(FUSED_ACTIVATIONS)[i % 4])


# More pixels than one band holds; filters on both sides of a panel; several pieces of work.
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "padding"),
    [
        ((20, 28, 28, 1), (5, 5, 1, 6), 2),  # LeNet-5
        ((20, 14, 14, 6), (5, 5, 6, 16), 0),
        ((2, 20, 21, 3), (3, 3, 3, 64), 1),
        ((9, 7, 7, 70), (3, 3, 70, 130), 1),
        ((1, 1, 500, 20), (1, 3, 20, 24), 0),
        ((6, 4, 4, 40), (1, 1, 40, 24), 0),
        ((2, 17, 19, 40), (1, 1, 40, 100), 0),
        ((1, 5, 5, 300), (3, 3, 300, 17), 1),
    ],
)
def test_large_shapes_equal_numpy(x_shape: Any, w_shape: Any, padding: int) -> None:
    check_all(x_shape, w_shape, {**HOW, "padding": ((padding, padding),) * 2})


# Maps so small that threads share out channels or filters, and not rows.
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride"),
    [
        ((1, 7, 7, 200), (3, 3, 1, 200), 1),
        ((1, 14, 14, 150), (3, 3, 1, 150), 2),
        ((3, 4, 5, 300), (5, 5, 1, 300), 1),
        ((1, 7, 7, 60), (1, 1, 60, 160), 1),
        ((1, 14, 14, 10), (1, 1, 10, 330), 1),
        ((1, 7, 7, 24), (3, 3, 24, 170), 2),
    ],
)
def test_small_maps_of_many_channels_equal_numpy(x_shape: Any, w_shape: Any, stride: int) -> None:
    side, groups = w_shape[0] // 2, x_shape[-1] // w_shape[2]
    how = {"strides": (stride,) * 2, "padding": ((side, side),) * 2, "groups": groups}
    check_all(x_shape, w_shape, {**HOW, **how}, "relu6")


@pytest.mark.parametrize("width", [193, 224, 257, 300])
@pytest.mark.parametrize(("channels", "filters"), [(3, 20), (40, 5)])
def test_rows_longer_than_a_band_equal_numpy(width: int, channels: int, filters: int) -> None:
    how = {**HOW, "padding": ((1, 1), (1, 1))}
    check_all((2, 4, width, channels), (3, 3, channels, filters), how)


# One to four panels of a tile, full or not, and several tiles of them; 1 to 13 pixels of a tile,
# runs of channels on both sides of the unrolled loop's steps.
@pytest.mark.parametrize("filters", [15, 17, 32, 33, 47, 49, 64, 65, 80, 97, 112, 130])
def test_filters_of_any_number_of_panels_equal_numpy(filters: int) -> None:
    for pixels, channels in ((1, 3), (5, 4), (7, 9), (13, 66)):
        check_all((1, 1, pixels, channels), (1, 1, channels, filters), HOW)
    strided = {**HOW, "strides": (2, 2), "padding": ((1, 1), (1, 1))}
    check_all((5, 7, 6, 18), (3, 3, 18, filters), strided)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride"),
    [
        ((9, 7, 7, 40), (1, 1, 40, 70), 1),
        ((30, 7, 7, 24), (3, 3, 24, 50), 2),  # images in a stack
        ((9, 12, 13, 3), (7, 7, 3, 64), 1),
    ],
)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(
    name: str, x_shape: Any, w_shape: Any, stride: int
) -> None:
    rng = np.random.default_rng(4)
    x, w = (rng.uniform(-1, 1, s).astype("float32") for s in (x_shape, w_shape))
    half = w_shape[0] // 2
    how = {**HOW, "strides": (stride, stride), "padding": ((half, half),) * 2}
    with instruction_set(name):
        (together,) = run_kernel(conv, [x, w], how)
        for i in range(len(x)):
            for threads in (1, 2):
                (alone,) = run_kernel(conv, [x[i : i + 1], w], how, threads)
                assert alone.tobytes() == together[i].tobytes()


@pytest.mark.parametrize("channels", [2, 7, 8, 33, 80])
def test_depthwise_equals_numpy(channels: int) -> None:
    how = {**HOW, "strides": (2, 1), "padding": ((1, 1), (0, 2)), "groups": channels}
    check_all((3, 11, 12, channels), (3, 3, 1, channels), how)


# Every window that has a loop of its own; rows on both sides of the pixels computed together.
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("step", [1, 2])
def test_depthwise_rows_of_any_length_equal_numpy(taps: int, step: int) -> None:
    for size, before in ((1, taps // 2), (7, 0), (8, taps - 1), (16, taps // 2), (29, 1)):
        behind = max(taps - 1 - before, 0)
        how = {**HOW, "strides": (1, step), "padding": ((1, 1), (before, behind)), "groups": 19}
        check_all((2, 3, size, 19), (2, taps, 1, 19), how)


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 1, 2), (1, 3, 2)])
@pytest.mark.parametrize("channels", [3, 17, 40])
def test_depthwise_over_three_axes_equals_numpy(channels: int, strides: Any) -> None:
    how = {"strides": strides, "padding": ((1, 1), (2, 0), (1, 1)), "dilation": (1, 2, 1)}
    check_all((2, 5, 6, 9, channels), (3, 2, 3, 1, channels), {**how, "groups": channels})


# Groups that lie in one vector, in two, and in more; fewer filters than a vector holds.
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("filters", [1, 2, 3, 4, 7, 8])
def test_few_channels_a_group_equal_numpy(channels: int, filters: int) -> None:
    for groups, step in ((2, 1), (5, 2), (13, 1)):
        how = {**HOW, "strides": (step, step), "padding": ((1, 1), (2, 0)), "groups": groups}
        check_all((2, 5, 9, groups * channels), (3, 3, channels, groups * filters), how)


def test_few_channels_a_group_in_several_bands_equal_numpy() -> None:
    how = {**HOW, "padding": ((2, 2), (1, 1)), "dilation": (2, 1), "groups": 6}
    check_all((1, 67, 81, 18), (3, 3, 3, 24), how)
    how = {"strides": (1,), "padding": ((3, 3),), "dilation": (1,), "groups": 5}
    check_all((2, 1200, 10), (7, 2, 10), how)


def test_stride_along_depth_alone_leaves_the_planes_between_untouched() -> None:
    how = {"strides": (3, 1, 1), "padding": ((1, 1), (3, 0), (1, 0)), "dilation": (2, 3, 2)}
    check_all((3, 5, 6, 3, 2), (3, 1, 1, 2, 3), {**how, "groups": 1})


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_and_single_batches_of_groups(batch: int) -> None:
    for channels, filters in ((1, 1), (2, 2)):
        how = {**HOW, "groups": 8}
        check_all((batch, 6, 6, 8 * channels), (3, 3, channels, 8 * filters), how)


def test_window_wider_than_input_needs_padding() -> None:
    check_all((2, 1, 1, 5), (3, 3, 5, 4), {**HOW, "padding": ((1, 1), (1, 1))})
    check_all((2, 2, 1, 5), (7, 5, 5, 4), {**HOW, "padding": ((6, 6), (3, 4))})


def test_stride_beyond_the_window_leaves_cells_without_gradient() -> None:
    how = {**HOW, "strides": (3, 4)}
    check_all((2, 10, 9, 3), (1, 2, 3, 4), how)


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_and_single_batches(batch: int) -> None:
    check_all((batch, 6, 6, 3), (3, 3, 3, 5), HOW)


def test_gradients_are_adjoint_to_the_convolution() -> None:
    rng = np.random.default_rng(0)
    for sample in conv.samples:
        x, w = (a.astype("float64") for a in sample.inputs(rng))
        y = conv(x, w, **sample.attrs)
        g = rng.normal(size=y.shape)
        dx = conv_grad_input(g, w, input_shape=x.shape, **sample.attrs)
        dw = conv_grad_kernel(x, g, kernel_shape=w.shape, **sample.attrs)
        np.testing.assert_allclose([np.vdot(dx, x), np.vdot(dw, w)], np.vdot(g, y), rtol=1e-9)


def test_input_that_is_not_a_number_stays_so() -> None:
    x = np.full((1, 3, 3, 2), np.nan, "float32")
    w, b = np.ones((3, 3, 2, 5), "float32"), np.zeros(5, "float32")
    for name in SETS:
        with instruction_set(name):
            for activation in FUSED_ACTIVATIONS:
                (y,) = run_kernel(conv_fused, [x, w, b], {**HOW, "activation": activation})
                assert np.isnan(y).all(), (name, activation)


def test_four_spatial_axes_and_other_dtypes_run_on_the_host() -> None:
    double = Spec((1, 4, 4, 2), "float64"), Spec((2, 2, 2, 3), "float64")
    assert not conv.fits(Spec((1, 4, 4, 4, 4, 2), "float32"), Spec((2, 2, 2, 2, 2, 3), "float32"))
    assert not conv.fits(*double)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "changed", "message"),
    [
        ((1, 4, 4, 3), (3, 3, 2, 5), {}, "channels of x"),
        ((1, 4, 4, 4), (3, 3, 2, 5), {"groups": 2}, "multiple of groups"),
        ((1, 4, 4, 3), (3, 3, 5), {}, "as many axes"),
        ((4, 3), (3, 3), {}, "batch axis"),
        ((1, 2, 9, 3), (3, 3, 3, 5), {}, "does not fit"),
        ((1, 4, 4, 3), (3, 3, 3, 5), {"strides": (1,)}, "strides must have 2 entries"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    x_shape: Any, w_shape: Any, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        conv(np.zeros(x_shape, "float32"), np.zeros(w_shape, "float32"), **{**HOW, **changed})


def test_wrong_gradient_bias_and_packed_shapes_are_refused() -> None:
    x, w = np.zeros((1, 4, 4, 3), "float32"), np.zeros((3, 3, 3, 5), "float32")
    g, b = np.zeros((1, 3, 3, 5), "float32"), np.zeros(5, "float32")
    with pytest.raises(ShapeError, match="gradient must have"):
        conv_grad_input(g, w, input_shape=x.shape, **HOW)
    with pytest.raises(ShapeError, match="gradient must have"):
        conv_grad_kernel(x, g, kernel_shape=w.shape, **HOW)
    with pytest.raises(ShapeError, match="bias must hold 5"):
        conv_fused(x, w, b[:4], **HOW)
    with pytest.raises(ShapeError, match="packed, must have"):
        conv_packed(x, np.zeros((1, 9, 4, 16), "float32"), b, kernel_shape=w.shape, **HOW)
    with pytest.raises(ConfigError, match="cannot be fused"):
        conv_fused(x, w, b, activation="gelu", **HOW)


def run_in_place(op: Op, arrays: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    """The op's kernel with its last input's memory as its output."""
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    numbers = np.array([*op.attrs_to_c(attrs, ins, op.infer(*ins, **attrs))], np.float64)
    arrays = [arrays[-1].copy(), *arrays]
    args, instrs = np.zeros(len(arrays), native.ARG), np.zeros(1, native.INSTR)
    spaces = [*range(1, len(arrays)), 1]
    for i, a in enumerate(arrays):
        native.fill_arg(args[i], spaces[i], 0, a.shape, "float32")
    kernel = native.KERNELS[str(op.kernel)]
    instrs[0] = (kernel, 1, len(ins), 0, 0, len(numbers), 0)
    arena = native.aligned(native.scratch_bytes(instrs, args, numbers, 2))
    memory = [arena, *arrays[:-1]]
    program = native.Executable(instrs, args, numbers, [a.nbytes for a in memory], 2)
    table = native.pointer_table(len(memory))
    for i, a in enumerate(memory):
        table[i] = native.pointer(a)
    program.run(table, lambda i: None, lambda i: op.name)
    return arrays[0]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "groups"),
    [
        ((2, 9, 9, 5), (3, 3, 5, 21), 1),
        ((20, 6, 6, 8), (3, 3, 8, 9), 1),
        ((2, 9, 9, 21), (3, 3, 1, 21), 21),
        ((2, 14, 14, 20), (3, 3, 20, 24), 1),
    ],
)
def test_residual_may_be_overwritten(x_shape: Any, w_shape: Any, groups: int) -> None:
    rng = np.random.default_rng(0)
    how = {**HOW, "padding": ((1, 1), (1, 1)), "groups": groups, "activation": "relu"}
    shapes = x_shape, w_shape, w_shape[-1:], (*x_shape[:-1], w_shape[-1])
    arrays = [rng.uniform(-1, 1, s).astype("float32") for s in shapes]
    for name in SETS:
        with instruction_set(name):
            (apart,) = run_kernel(conv_fused_add, arrays, how)
            np.testing.assert_array_equal(run_in_place(conv_fused_add, arrays, how), apart)
