"""ONNX ops with weights, and pools, as layers of Keras whose channels come first, as in the file.

The engine takes the transposes of such layers out of the graph, so that convolutions run with
channels last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import layers, ops
from zoo_keras.saving.onnx.calls import Call, converts, is_array, operand
from zoo_keras.saving.onnx.shapes import padded

_FIRST = "channels_first"
_WIDEST = 1024  # channels of an LRN, each of which is an op
Sides = list[tuple[int, int]]


def _layer(kind: str, rank: int, *args: Any, **options: Any) -> Any:
    """The layer of this kind, of so many axes of space."""
    return getattr(layers, f"{kind}{rank}D")(*args, data_format=_FIRST, **options)


def _windows(call: Call, x: Any, size: Any, same: Any = None) -> tuple[Any, Any, Sides]:
    """(strides, dilations, borders) of windows that go over x; `same` finds those of SAME."""
    rank = len(size)
    strides = call.attribute("strides", [1] * rank)
    dilations = call.attribute("dilations", [1] * rank)
    reach = [(s - 1) * d + 1 for s, d in zip(size, dilations, strict=True)]
    auto = call.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = (same or _same)(call, x.shape[2:], reach, strides, auto == "SAME_LOWER")
    else:
        pads = call.attribute("pads", [0] * (2 * rank)) if auto == "NOTSET" else [0] * (2 * rank)
        sides = list(zip(pads[:rank], pads[rank:], strict=True))
    if any(n < 0 for side in sides for n in side):
        raise call.refuse("nothing is cut off", f"pads={sides}")
    return strides, dilations, sides


def _same(call: Call, shape: Any, reach: Any, strides: Any, lower: bool = False) -> Sides:
    """The borders with which windows at every stride-th place fit."""
    if None in shape:
        if any(s != 1 for s in strides):
            raise call.refuse("sizes of space must be known", f"shape {shape}")
        shape = [0 for _ in shape]
    found = []
    for n, k, s in zip(shape, reach, strides, strict=True):
        more = max((-(-n // s) - 1) * s + k - n, 0) if s > 1 else k - 1
        found.append((more - more // 2, more // 2) if lower else (more // 2, more - more // 2))
    return found


def _bordered(call: Call, x: Any, size: Any, value: float = 0.0) -> tuple[Any, str, Any, Any]:
    """(x with borders that the layer cannot make, its padding, strides, dilations)."""
    strides, dilations, sides = _windows(call, x, size)
    if not any(map(any, sides)):
        return x, "valid", strides, dilations
    reach = [(s - 1) * d + 1 for s, d in zip(size, dilations, strict=True)]
    known = None not in x.shape[2:] or all(s == 1 for s in strides)
    if known and sides == _same(call, x.shape[2:], reach, strides):
        return x, "same", strides, dilations
    return _with_zeros(x, sides, value), "valid", strides, dilations


def _with_zeros(x: Any, sides: Sides, value: float = 0.0) -> Any:
    if value == 0.0 and len(sides) in (2, 3):
        return _layer("ZeroPadding", len(sides), tuple(sides))(x)
    return padded(x, [(0, 0), (0, 0), *sides], value)


@converts("Conv")
def _conv(call: Call) -> Any:
    x, kernel = call.input(0), operand(call.constant(1, "the kernel"))
    bias = call.constant(2, "the bias")
    group, size = call.attribute("group", 1), kernel.shape[2:]
    x, padding, strides, dilations = _bordered(call, x, size)
    options: dict[str, Any] = {
        "strides": strides, "padding": padding, "dilation_rate": dilations,
        "use_bias": bias is not None, "name": call.name,
    }  # fmt: skip
    rank, channels = len(size), x.shape[1]
    # (filters, channels of a group, *size) -> (*size, channels of a group, filters)
    turned = np.moveaxis(kernel, (0, 1), (-1, -2))
    if group > 1 and group == channels and rank in (1, 2):
        depth = kernel.shape[0] // channels
        layer = _layer("DepthwiseConv", rank, size, depth_multiplier=depth, **options)
        turned = turned.reshape(*size, channels, depth)
    else:
        layer = _layer("Conv", rank, kernel.shape[0], size, groups=group, **options)
    return with_weights(layer, x, turned, bias)


def with_weights(layer: Any, x: Any, kernel: Any, bias: Any) -> Any:
    """What a layer makes of x, with this kernel and bias."""
    y = layer(x)
    layer.kernel.assign(kernel)
    if bias is not None:
        layer.bias.assign(operand(bias))
    return y


@converts("ConvTranspose")
def _conv_transpose(call: Call) -> Any:
    x, kernel = call.input(0), operand(call.constant(1, "the kernel"))
    bias = call.constant(2, "the bias")
    if call.attribute("group", 1) != 1 or call.attribute("output_shape"):
        raise call.refuse("one group, and an output of the usual shape", call.node.attributes)
    size = kernel.shape[2:]
    strides, dilations, sides = _windows(call, x, size, _same_transposed)
    layer = getattr(layers, f"Conv{len(size)}DTranspose")(
        kernel.shape[1], size, strides=strides, dilation_rate=dilations,
        use_bias=bias is not None, data_format=_FIRST, name=call.name,
    )  # fmt: skip
    # (channels, filters, *size) -> (*size, filters, channels)
    y = with_weights(layer, x, np.moveaxis(kernel, (0, 1), (-1, -2)), bias)
    return _cut(call, x, y, sides, call.attribute("output_padding", [0] * len(size)))


def _same_transposed(call: Call, shape: Any, reach: Any, strides: Any, lower: bool) -> Sides:
    """What is cut off so that the output has stride times the input's size."""
    found = []
    more = call.attribute("output_padding", [0] * len(reach))
    for n, k, s, extra in zip(shape, reach, strides, more, strict=True):
        if n is None:
            raise call.refuse("sizes of space must be known", f"shape {shape}")
        total = (n - 1) * s + extra + k - n * s
        if total < 0:
            raise call.refuse("with auto_pad windows are as wide as strides", f"{k} under {s}")
        small, large = total // 2, total - total // 2
        found.append((large, small) if lower else (small, large))
    return found


def _cut(call: Call, x: Any, y: Any, sides: Sides, more: Any) -> Any:
    """y without its borders."""
    size = call.input(1).shape[2:]
    strides = call.attribute("strides", [1] * len(size))
    dilations = call.attribute("dilations", [1] * len(size))
    key: list[Any] = [slice(None), slice(None)]
    for axis, (low, high) in enumerate(sides):
        n, made = x.shape[2 + axis], y.shape[2 + axis]
        if n is None or made is None:
            raise call.refuse("sizes of space must be known", f"shape {x.shape}")
        full = (n - 1) * strides[axis] + (size[axis] - 1) * dilations[axis] + 1 + more[axis]
        if full - high > made:
            raise call.refuse("the output must end where windows do", f"output_padding={more}")
        key.append(slice(low or None, full - high if full - high < made else None))
    return y if all(k == slice(None) for k in key) else y[tuple(key)]


# ---- pools ---------------------------------------------------------------------------------------


@converts("MaxPool")
def _max_pool(call: Call) -> Any:
    x, size = call.input(0), call.attribute("kernel_shape")
    strides, dilations, sides = _windows(call, x, size)
    if any(d != 1 for d in dilations):
        raise call.refuse("windows have no holes", f"dilations={dilations}")
    sides = _with_ceiling(call, x, size, strides, sides)
    padding = "valid"
    if any(map(any, sides)):
        if None not in x.shape[2:] and sides == _same(call, x.shape[2:], size, strides):
            padding = "same"
        else:
            x = _with_zeros(x, sides, -3.0e38)
    return _layer("MaxPooling", len(size), size, strides, padding, name=call.name)(x)


def _with_ceiling(call: Call, x: Any, size: Any, strides: Any, sides: Sides) -> Sides:
    """The borders; with ceil_mode also what the last window needs behind them."""
    if not call.attribute("ceil_mode", 0):
        return sides
    found = []
    for n, k, s, (low, high) in zip(x.shape[2:], size, strides, sides, strict=True):
        if n is None:
            raise call.refuse("with ceil_mode sizes must be known", f"shape {x.shape}")
        count = -(-(n + low + high - k) // s) + 1
        if (count - 1) * s >= n + low:  # the last window would begin behind the input
            count -= 1
        found.append((low, max(high, (count - 1) * s + k - n - low)))
    return found


@converts("AveragePool")
def _average_pool(call: Call) -> Any:
    x, size = call.input(0), call.attribute("kernel_shape")
    strides, dilations, sides = _windows(call, x, size)
    if any(d != 1 for d in dilations):
        raise call.refuse("windows have no holes", f"dilations={dilations}")
    wide = _with_ceiling(call, x, size, strides, sides)
    counts_all = bool(call.attribute("count_include_pad", 0))
    known = None not in x.shape[2:]
    if known and not counts_all and wide == _same(call, x.shape[2:], size, strides):
        return _layer("AveragePooling", len(size), size, strides, "same", name=call.name)(x)
    share = _shares(call, x, size, strides, sides if counts_all else None, wide)
    if any(map(any, wide)):
        x = _with_zeros(x, wide)
    y = _layer("AveragePooling", len(size), size, strides, "valid", name=call.name)(x)
    return y if share is None else ops.multiply(y, share)


def _shares(call: Call, x: Any, size: Any, strides: Any, counted: Any, wide: Sides) -> Any:
    """By how much the means over whole windows are too small; None for nowhere."""
    if not any(map(any, wide)) or counted == wide:
        return None
    if None in x.shape[2:]:
        raise call.refuse("sizes of space must be known", f"shape {x.shape}")
    share = np.ones((1, 1), np.float32)
    rows = zip(x.shape[2:], size, strides, wide, counted or [(0, 0)] * len(size), strict=True)
    for n, k, s, (low, high), (first, last) in rows:
        call.check((*share.shape, (n + low + high - k) // s + 1))
        starts = np.arange(0, n + low + high - k + 1, s)
        counts = np.minimum(starts + k, low + n + last) - np.maximum(starts, low - first)
        share = share[..., None] * (k / np.maximum(counts, 0).astype(np.float32))
    return share


@converts("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(call: Call) -> Any:
    x = call.input(0)
    name = "GlobalAveragePooling" if "Average" in call.node.kind else "GlobalMaxPooling"
    return _layer(name, len(x.shape) - 2, keepdims=True, name=call.name)(x)


# ---- products ------------------------------------------------------------------------------------


@converts("Gemm")
def _gemm(call: Call) -> Any:
    x, kernel, bias = call.input(0), call.input(1), call.input(2)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    known = is_array(kernel) and (bias is None or is_array(bias))
    if known and not is_array(x) and not call.attribute("transA", 0):
        kernel = operand(kernel.T if call.attribute("transB", 0) else kernel) * np.float32(alpha)
        if bias is not None:
            bias = np.broadcast_to(operand(bias) * np.float32(beta), (1, kernel.shape[1]))
        if bias is None or bias.shape[0] == 1:
            return _dense(call, x, kernel, None if bias is None else bias[0])
    if is_array(x) and is_array(kernel):
        sides = (call.attribute(name, 0) for name in ("transA", "transB"))
        call.check((x.shape[1 if next(sides) else 0], kernel.shape[0 if next(sides) else 1]))
    x, kernel = operand(x), operand(kernel)
    x = ops.transpose(x) if call.attribute("transA", 0) else x
    kernel = ops.transpose(kernel) if call.attribute("transB", 0) else kernel
    y = ops.multiply(ops.matmul(x, kernel), alpha)
    return y if bias is None else ops.add(y, ops.multiply(operand(bias), beta))


def _dense(call: Call, x: Any, kernel: np.ndarray, bias: Any) -> Any:
    layer = layers.Dense(kernel.shape[1], use_bias=bias is not None, name=call.name)
    return with_weights(layer, x, kernel, bias)


@converts("MatMul")
def _matmul(call: Call) -> Any:
    x, kernel = call.input(0), call.input(1)
    if is_array(kernel) and kernel.ndim == 2 and not is_array(x) and len(x.shape) > 1:
        return _dense(call, x, operand(kernel), call.bias)
    return ops.matmul(operand(x), operand(kernel))


# ---- normalisation -------------------------------------------------------------------------------


@converts("BatchNormalization")
def _batch_norm(call: Call) -> Any:
    words = ("the scale", "the offset", "the mean", "the variance")
    gamma, beta, mean, variance = (operand(call.constant(i + 1, w)) for i, w in enumerate(words))
    layer = layers.BatchNormalization(
        axis=1, momentum=call.attribute("momentum", 0.9),
        epsilon=call.attribute("epsilon", 1e-5), name=call.name,
    )  # fmt: skip
    y = layer(call.input(0))
    layer.set_weights([gamma, beta, mean, variance])
    return y


@converts("LayerNormalization")
def _layer_norm(call: Call) -> Any:
    x, gamma = call.input(0), operand(call.constant(1, "the scale"))
    beta = call.constant(2, "the offset")
    axis = call.attribute("axis", -1) % len(x.shape)
    shape = x.shape[axis:]
    layer = layers.LayerNormalization(
        axis=list(range(axis, len(x.shape))), epsilon=call.attribute("epsilon", 1e-5),
        center=beta is not None, name=call.name,
    )  # fmt: skip
    y = layer(x)
    weights = [gamma] if beta is None else [gamma, operand(beta)]
    layer.set_weights([np.broadcast_to(w, shape) for w in weights])
    return y


@converts("InstanceNormalization", "GroupNormalization")
def _group_norm(call: Call) -> Any:
    x = call.input(0)
    gamma, beta = (operand(call.constant(i, "the scale and offset")) for i in (1, 2))
    channels = x.shape[1]
    groups = call.attribute("num_groups", channels)
    if len(gamma) != channels:  # opset 18: one for each group
        gamma, beta = (np.repeat(w, channels // len(w)) for w in (gamma, beta))
    epsilon = call.attribute("epsilon", 1e-5)
    layer = layers.GroupNormalization(groups, axis=1, epsilon=epsilon, name=call.name)
    y = layer(x)
    layer.set_weights([gamma, beta])
    return y


@converts("LRN")
def _local_response(call: Call) -> Any:
    x, size = call.input(0), call.attribute("size")
    if not 1 <= size <= _WIDEST:
        raise call.refuse(f"it goes over 1 to {_WIDEST} channels", f"size={size}")
    before = (size - 1) // 2
    sides = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (len(x.shape) - 2)]
    squares = padded(ops.square(x), sides)
    total = squares[:, : x.shape[1]]
    for i in range(1, size):
        total = ops.add(total, squares[:, i : i + x.shape[1]])
    alpha = call.attribute("alpha", 1e-4) / size
    scale = ops.add(ops.multiply(total, alpha), call.attribute("bias", 1.0))
    return ops.divide(x, ops.power(scale, call.attribute("beta", 0.75)))
