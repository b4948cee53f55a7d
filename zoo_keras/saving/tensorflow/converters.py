"""Ops of TensorFlow that ONNX has in another way, as layers and ops of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import layers, ops
from zoo_keras.saving.onnx.calls import Call, converts, folds, is_array, operand
from zoo_keras.saving.onnx.networks import with_weights
from zoo_keras.saving.onnx.shapes import padded
from zoo_keras.saving.onnx.sizes import Size, tidy

_MODES = {"REFLECT": "reflect", "SYMMETRIC": "symmetric"}


# ---- windows -------------------------------------------------------------------------------------


def _first(call: Call) -> bool:
    """Whether channels come first."""
    return str(call.attribute("data_format", "NHWC")).startswith("NC")


def _space(call: Call, name: str, rank: int) -> list[int]:
    """The sizes of space in an attribute that lists all axes."""
    given = call.attribute(name, [1] * (rank + 2))
    if len(given) != rank + 2 or min(given) < 1:
        raise call.refuse(f"{name} has {rank + 2} numbers from 1 on", given)
    return list(given[2:] if _first(call) else given[1:-1])


def _options(call: Call, rank: int) -> dict[str, Any]:
    """Arguments that all layers with windows take."""
    padding = str(call.attribute("padding", "VALID")).lower()
    if padding not in ("valid", "same"):
        raise call.refuse("windows are padded VALID or SAME", padding)
    order = "channels_first" if _first(call) else "channels_last"
    return {"strides": _space(call, "strides", rank), "padding": padding, "data_format": order,
            "name": call.name}  # fmt: skip


@converts("tf.Conv2D", "tf.Conv3D")
def _conv(call: Call) -> Any:
    x, kernel = call.input(0), operand(call.constant(1, "the kernel"))
    rank = kernel.ndim - 2
    channels = x.shape[1 if _first(call) else -1]
    groups = channels // max(kernel.shape[-2], 1)
    layer = getattr(layers, f"Conv{rank}D")(
        kernel.shape[-1], kernel.shape[:-2], dilation_rate=_space(call, "dilations", rank),
        groups=groups, use_bias=call.bias is not None, **_options(call, rank),
    )  # fmt: skip
    return with_weights(layer, x, kernel, call.bias)


@converts("tf.DepthwiseConv2dNative")
def _depthwise(call: Call) -> Any:
    kernel = operand(call.constant(1, "the kernel"))
    layer = layers.DepthwiseConv2D(
        kernel.shape[:2], depth_multiplier=kernel.shape[-1], use_bias=False,
        dilation_rate=_space(call, "dilations", 2), **_options(call, 2),
    )  # fmt: skip
    return with_weights(layer, call.input(0), kernel, None)


@converts("tf.Conv2DBackpropInput", "tf.Conv3DBackpropInputV2")
def _conv_transpose(call: Call) -> Any:
    kernel, x = operand(call.constant(1, "the kernel")), call.input(2)
    rank = kernel.ndim - 2
    layer = getattr(layers, f"Conv{rank}DTranspose")(
        kernel.shape[-2], kernel.shape[:-2], use_bias=False,
        dilation_rate=_space(call, "dilations", rank), **_options(call, rank),
    )  # fmt: skip
    y = with_weights(layer, x, kernel, None)
    wanted = call.input(0)
    if is_array(wanted):
        pairs = list(zip(np.ravel(wanted)[1:], y.shape[1:], strict=False))
        if any(not isinstance(w, Size) and n is not None and int(w) != n for w, n in pairs):
            raise call.refuse("the output has its usual size", [str(w) for w, _ in pairs])
    return y


@converts("tf.MaxPool", "tf.AvgPool", "tf.MaxPool3D", "tf.AvgPool3D")
def _pool(call: Call) -> Any:
    x = call.input(0)
    rank = len(x.shape) - 2
    kind = "Max" if "Max" in call.node.kind else "Average"
    layer = getattr(layers, f"{kind}Pooling{rank}D")
    return layer(_space(call, "ksize", rank), **_options(call, rank))(x)


@converts("tf.FusedBatchNorm", "tf.FusedBatchNormV2", "tf.FusedBatchNormV3")
def _batch_norm(call: Call) -> Any:
    if call.attribute("is_training", 1):
        raise call.refuse("the graph is one for inference", "is_training=True")
    words = ("the scale", "the offset", "the mean", "the variance")
    weights = [operand(call.constant(i + 1, w)) for i, w in enumerate(words)]
    epsilon = call.attribute("epsilon", 1e-4)
    axis = 1 if _first(call) else -1
    layer = layers.BatchNormalization(axis=axis, epsilon=epsilon, name=call.name)
    y = layer(call.input(0))
    layer.set_weights(weights)
    return y


@converts("tf.BiasAdd")
def _bias_add(call: Call) -> Any:
    x, bias = call.input(0), operand(call.constant(1, "the bias"))
    return ops.add(x, bias.reshape(-1, *[1] * (len(x.shape) - 2)))


@converts("tf.ResizeBilinear", "tf.ResizeNearestNeighbor")
def _resize(call: Call) -> Any:
    height, width = (int(n) for n in np.ravel(call.constant(1, "the size")))
    call.check((height, width))
    if not call.attribute("half_pixel_centers", 0) or call.attribute("align_corners", 0):
        raise call.refuse("pixels have their centres at halves", call.node.attributes)
    method = "bilinear" if "Bilinear" in call.node.kind else "nearest"
    return layers.Resizing(height, width, interpolation=method, data_format="channels_last",
                           name=call.name)(call.input(0))  # fmt: skip


# ---- parts of tensors ----------------------------------------------------------------------------


def _cut(call: Call, rank: int) -> tuple[Any, ...]:
    """The key of a StridedSlice, as Python writes it."""
    begin, end, steps = (np.ravel(call.constant(i, "its ends")) for i in (1, 2, 3))
    names = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {name: call.attribute(f"{name}_mask", 0) for name in names}
    if masks["ellipsis"].bit_count() > 1 or len(begin) > rank + 8:
        raise call.refuse("a slice has at most one ...", masks)
    key: list[Any] = []
    for i, (low, high, step) in enumerate(zip(begin, end, steps, strict=True)):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            key.append(Ellipsis)
        elif masks["new_axis"] & bit:
            key.append(None)
        elif masks["shrink_axis"] & bit:
            key.append(int(low))
        else:
            start = None if masks["begin"] & bit else int(low)
            stop = None if masks["end"] & bit or isinstance(high, Size) else int(high)
            key.append(slice(start, stop, None if step == 1 else int(step)))
    return tuple(key)


@converts("tf.StridedSlice")
def _strided_slice(call: Call) -> Any:
    x = call.input(0)
    return x[_cut(call, len(x.shape))]


@folds("tf.StridedSlice")
def _fold_strided_slice(call: Call) -> Any:
    x = call.input(0)
    return tidy(x[_cut(call, x.ndim)])


def _part(call: Call) -> tuple[slice, ...]:
    begin, size = (np.ravel(call.constant(i, "its ends")) for i in (1, 2))
    pairs = zip(begin, size, strict=True)
    return tuple(
        slice(int(b) or None, None if isinstance(n, Size) or n < 0 else int(b) + int(n))
        for b, n in pairs
    )


@converts("tf.Slice")
def _slice(call: Call) -> Any:
    return call.input(0)[_part(call)]


@folds("tf.Slice")
def _fold_slice(call: Call) -> Any:
    return tidy(call.input(0)[_part(call)])


@converts("tf.Pad", "tf.PadV2", "tf.MirrorPad")
def _pad(call: Call) -> Any:
    x = call.input(0)
    sides = [(int(a), int(b)) for a, b in call.constant(1, "the borders")]
    if len(sides) != len(x.shape) or sides[0] != (0, 0) or min(map(min, sides)) < 0:
        raise call.refuse("borders are around each row, and nothing is cut off", sides)
    call.check([n or 1 for n in np.add(np.sum(sides, axis=1), [n or 0 for n in x.shape])])
    mode = _MODES.get(str(call.attribute("mode")), "constant")
    value = call.constant(2, "the value", np.zeros(1))
    return padded(x, sides, float(np.ravel(value)[0]), mode)


def _around(call: Call) -> list[tuple[int, int]]:
    """Sizes before and behind each axis of space."""
    given = [(int(a), int(b)) for a, b in call.constant(1, "the borders")]
    if len(given) > len(call.input(0).shape) - 2 or any(min(side) < 0 for side in given):
        raise call.refuse("borders are around space", given)
    return given


@converts("tf.SpaceBorders")
def _space_borders(call: Call) -> Any:
    x, sides = call.input(0), _around(call)
    call.check([(n or 1) + sum(side) for n, side in zip(x.shape[1:], sides, strict=False)])
    rest = len(x.shape) - 1 - len(sides)
    return padded(x, [(0, 0), *sides, *[(0, 0)] * rest])


@converts("tf.SpaceCrops")
def _space_crops(call: Call) -> Any:
    sides = _around(call)
    return call.input(0)[(slice(None), *(slice(a or None, -b or None) for a, b in sides))]


@converts("tf.Transpose")
def _transpose(call: Call) -> Any:
    x, order = call.input(0), [int(n) for n in np.ravel(call.constant(1, "the order"))]
    if order[0] == 0 and len(order) > 1:
        return layers.Permute(order[1:], name=call.name)(x)
    return ops.transpose(x, order)


@folds("tf.Transpose")
def _fold_transpose(call: Call) -> Any:
    return call.input(0).transpose([int(n) for n in np.ravel(call.input(1))])


@folds("tf.Fill")
def _fill(call: Call) -> Any:
    sizes = [1 if isinstance(n, Size) else int(n) for n in np.ravel(call.input(0))]
    call.check(sizes)
    return np.broadcast_to(np.ravel(call.input(1))[0], sizes)


@converts("tf.OneHot")
def _one_hot(call: Call) -> Any:
    depth, on, off = (np.ravel(call.constant(i, "its numbers"))[0] for i in (1, 2, 3))
    call.check((int(depth),))
    made = ops.one_hot(call.input(0), int(depth), axis=call.attribute("axis", -1))
    return ops.add(ops.multiply(made, float(on - off)), float(off))


# ---- numbers -------------------------------------------------------------------------------------


@converts("tf.BatchMatMul", "tf.BatchMatMulV2", "tf.BatchMatMulV3")
def _batch_matmul(call: Call) -> Any:
    sides = [
        ops.swapaxes(operand(x), -1, -2) if call.attribute(name, 0) else operand(x)
        for x, name in zip(call.inputs, ("adj_x", "adj_y"), strict=True)
    ]
    return ops.matmul(*sides)


@converts("tf.Square")
def _square(call: Call) -> Any:
    return ops.square(call.input(0))


@folds("tf.Square")
def _fold_square(call: Call) -> Any:
    return np.square(call.input(0))


@converts("tf.SquaredDifference")
def _squared_difference(call: Call) -> Any:
    return ops.square(ops.subtract(*map(operand, call.inputs)))


@folds("tf.SquaredDifference")
def _fold_squared_difference(call: Call) -> Any:
    call.check_joined(*call.inputs)
    return np.square(np.subtract(*call.inputs))


@converts("tf.Rsqrt")
def _rsqrt(call: Call) -> Any:
    return ops.rsqrt(call.input(0))


@folds("tf.Rsqrt")
def _fold_rsqrt(call: Call) -> Any:
    x = call.input(0)
    return (1 / np.sqrt(x)).astype(x.dtype)


@converts("tf.Select")
def _select(call: Call) -> Any:
    """A vector of conditions chooses rows; SelectV2 would broadcast it along the last axis."""
    chosen, one, other = map(operand, call.inputs)
    if len(chosen.shape) == 1 and len(one.shape) > 1:
        chosen = ops.reshape(chosen, (-1, *[1] * (len(one.shape) - 1)))
    return ops.where(chosen, one, other)


@folds("tf.Select")
def _fold_select(call: Call) -> Any:
    chosen, one, other = call.inputs
    if chosen.ndim == 1 and one.ndim > 1:
        chosen = chosen.reshape(-1, *[1] * (one.ndim - 1))
    call.check_joined(chosen, one, other)
    return tidy(np.where(chosen, one, other))


@converts("tf.Erfc")
def _erfc(call: Call) -> Any:
    return ops.subtract(1.0, ops.erf(operand(call.input(0))))


@converts("tf.ZerosLike", "tf.OnesLike")
def _like(call: Call) -> Any:
    function = ops.zeros_like if "Zeros" in call.node.kind else ops.ones_like
    return function(call.input(0))


@folds("tf.ZerosLike", "tf.OnesLike")
def _fold_like(call: Call) -> Any:
    return (np.zeros_like if "Zeros" in call.node.kind else np.ones_like)(call.input(0))


@converts("tf.FloorDiv")
def _floor_divide(call: Call) -> Any:
    return ops.floor_divide(*map(operand, call.inputs))


@folds("tf.FloorDiv")
def _fold_floor_divide(call: Call) -> Any:
    call.check_joined(*call.inputs)
    return tidy(call.input(0) // call.input(1))


@converts("tf.NotEqual")
def _not_equal(call: Call) -> Any:
    return ops.not_equal(*map(operand, call.inputs))
