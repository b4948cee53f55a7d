"""Convolution: layers of ResNet-50, CIFAR ResNet-20, VGG16, MobileNetV2, LeNet-5 and others.

Forward (with packed weights, bias and relu) and both gradients, against torch in channels_last and,
where they are 1x1 of stride 1, MKL's cblas_sgemm (without bias and relu); MKL has no others.
GFLOP/s count direct sums, which Winograd's method exceeds; depthwise layers are in GB/s.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from kernel_rows import mkl
from kernel_rows.peer import forward, torch, torch_peer
from kernel_rows.prepared import Call, prepared
from kernel_rows.row import Make, Row

from zoo_keras.graph import Spec
from zoo_keras.primitives.conv import conv, conv_grad_input, conv_grad_kernel
from zoo_keras.primitives.conv_choice import winograd_packed
from zoo_keras.primitives.conv_fused import conv_packed, pack_conv
from zoo_keras.primitives.products import matmul


class Layer(NamedTuple):
    """A convolution of a square map; a negative size is the length of a 1-D one."""

    name: str
    batch: int
    channels: int
    filters: int
    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    axes: int = 2


LAYERS = (
    Layer("r50 stem", 2, 3, 64, 224, 7, 2),
    Layer("r50 1x1 64-64", 2, 64, 64, 56, 1),
    Layer("r50 1x1 64-256", 2, 64, 256, 56, 1),
    Layer("r50 1x1 256-64", 2, 256, 64, 56, 1),
    Layer("r50 1x1 512-128", 2, 512, 128, 28, 1),
    Layer("r50 1x1 1024-256", 2, 1024, 256, 14, 1),
    Layer("r50 1x1 512-2048", 2, 512, 2048, 7, 1),
    Layer("r50 1x1s2 256-512", 2, 256, 512, 56, 1, 2),
    Layer("r50 1x1s2 1024-2048", 2, 1024, 2048, 14, 1, 2),
    Layer("r50 3x3 64", 2, 64, 64, 56, 3),
    Layer("r50 3x3 128", 2, 128, 128, 28, 3),
    Layer("r50 3x3 256", 2, 256, 256, 14, 3),
    Layer("r50 3x3 512", 2, 512, 512, 7, 3),
    Layer("r50 3x3 512 b1", 1, 512, 512, 7, 3),
    Layer("r50 3x3 512 b16", 16, 512, 512, 7, 3),
    Layer("r50 3x3s2 128", 2, 128, 128, 56, 3, 2),
    Layer("r20 3x3 3-16", 32, 3, 16, 32, 3),
    Layer("r20 3x3 16", 32, 16, 16, 32, 3),
    Layer("r20 3x3 32", 32, 32, 32, 16, 3),
    Layer("r20 3x3 64", 32, 64, 64, 8, 3),
    Layer("r20 3x3s2 16-32", 32, 16, 32, 32, 3, 2),
    Layer("r20 3x3s2 32-64", 32, 32, 64, 16, 3, 2),
    Layer("r20 1x1s2 16-32", 32, 16, 32, 32, 1, 2),
    Layer("vgg 3x3 3-64", 1, 3, 64, 224, 3),
    Layer("vgg 3x3 64", 1, 64, 64, 224, 3),
    Layer("vgg 3x3 128-256", 1, 128, 256, 56, 3),
    Layer("vgg 3x3 256", 1, 256, 256, 56, 3),
    Layer("vgg 3x3 512 @14", 4, 512, 512, 14, 3),
    Layer("mb2 stem", 2, 3, 32, 224, 3, 2),
    Layer("mb2 1x1 16-96", 2, 16, 96, 112, 1),
    Layer("mb2 1x1 24-144", 2, 24, 144, 56, 1),
    Layer("mb2 1x1 144-24", 2, 144, 24, 56, 1),
    Layer("mb2 1x1 576-96", 2, 576, 96, 14, 1),
    Layer("mb2 1x1 320-1280", 2, 320, 1280, 7, 1),
    Layer("mb2 dw3x3 32", 2, 32, 32, 112, 3, groups=32),
    Layer("mb2 dw3x3 144", 2, 144, 144, 56, 3, groups=144),
    Layer("mb2 dw3x3s2 96", 2, 96, 96, 112, 3, 2, groups=96),
    Layer("mb2 dw3x3s2 576", 2, 576, 576, 14, 3, 2, groups=576),
    Layer("dw5x5 240", 2, 240, 240, 28, 5, groups=240),
    Layer("dw3x3x3 64", 1, 64, 64, 24, 3, groups=64, axes=3),
    Layer("dw3x3 64 x2", 2, 64, 128, 56, 3, groups=64),
    Layer("lenet 5x5 1-6", 32, 1, 6, 28, 5),
    Layer("lenet 5x5 6-16", 32, 6, 16, 14, 5),
    Layer("dilated 1-D 32", 32, 32, 32, 1000, 3, dilation=8, axes=1),
    Layer("grouped 3x3 128/32", 2, 128, 128, 28, 3, groups=32),
    Layer("grouped 3x3 256/32", 2, 256, 256, 28, 3, groups=32),
    Layer("3-D 3x3x3 32", 1, 32, 32, 24, 3, axes=3),
)


def geometry(layer: Layer) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of x and of the weights, and attributes; padding is half the window."""
    n = layer.axes
    side = layer.dilation * (layer.kernel - 1) // 2
    x = (layer.batch, *[layer.size] * n, layer.channels)
    w = (*[layer.kernel] * n, layer.channels // layer.groups, layer.filters)
    how = {"strides": (layer.stride,) * n, "padding": ((side, side),) * n,
           "dilation": (layer.dilation,) * n, "groups": layer.groups}  # fmt: skip
    return x, w, how


class Arrays(NamedTuple):
    """x (batch, *spatial, channels), w (*window, channels of a group, filters), g like y."""

    x: np.ndarray
    w: np.ndarray
    g: np.ndarray


@functools.lru_cache(1)
def arrays(layer: Layer) -> Arrays:
    """Random numbers for a layer; made only when one of its rows is shown."""
    rng = np.random.default_rng(0)
    x, w, how = geometry(layer)
    y = conv.infer(Spec(x, "float32"), Spec(w, "float32"), **how)[0].shape
    return Arrays(*[rng.standard_normal(shape, "f4") for shape in (x, w, y)])


def is_product(layer: Layer) -> bool:
    """A window of one cell on every cell: its gradients are products in a program, too."""
    return layer.kernel == layer.stride == layer.groups == 1


def matrices(layer: Layer) -> list[np.ndarray]:
    """x, w and g with a row for each cell, or input channel."""
    return [a.reshape(-1, a.shape[-1]) for a in arrays(layer)]


def ours(layer: Layer, kind: str, threads: int) -> Call:
    """Our forward with packed weights, bias and relu, or one of the gradients."""
    (x, w, g), (x_shape, w_shape, how) = arrays(layer), geometry(layer)
    if is_product(layer) and kind != "fwd":
        x, w, g = matrices(layer)
        turned = kind == "dw"
        pair = [x, g] if turned else [g, w]
        return prepared(matmul, pair, {"transpose_a": turned, "transpose_b": not turned}, threads)
    if kind == "dx":
        return prepared(conv_grad_input, [g, w], {**how, "input_shape": x_shape}, threads)
    if kind == "dw":
        return prepared(conv_grad_kernel, [x, g], {**how, "kernel_shape": w_shape}, threads)
    packed = pack_conv(w, groups=layer.groups, winograd=winograd_packed(g.shape, w_shape, how))
    fused = {**how, "kernel_shape": w_shape, "activation": "relu"}
    return prepared(conv_packed, [x, packed, np.zeros(layer.filters, "f4")], fused, threads)


def torch_call(layer: Layer, kind: str) -> Callable[[], object]:
    """torch's forward with bias and relu, or one of its gradients, in channels_last."""
    n = layer.axes
    order = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}[n]
    x, w, g = arrays(layer)

    def turned(a: np.ndarray, axes: tuple[int, ...]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(a.transpose(axes))).to(memory_format=order)

    first = (0, n + 1, *range(1, n + 1))
    xt, gt, wt = turned(x, first), turned(g, first), turned(w, (n + 1, n, *range(n)))
    side = layer.dilation * (layer.kernel - 1) // 2
    steps, pads, gaps = [layer.stride] * n, [side] * n, [layer.dilation] * n
    if kind == "fwd":
        function, b = [torch.conv1d, torch.conv2d, torch.conv3d][n - 1], torch.zeros(layer.filters)
        return forward(lambda: torch.relu_(function(xt, wt, b, steps, pads, gaps, layer.groups)))
    mask = [kind == "dx", kind == "dw", False]
    backward = torch.ops.aten.convolution_backward
    return lambda: backward(gt, xt, wt, [layer.filters], steps, pads, gaps, False, [0] * n,
                            layer.groups, mask)  # fmt: skip


def mkl_peer(layer: Layer, kind: str) -> dict[str, Make]:
    """A 1x1 convolution of stride 1 is a matrix product."""
    if not is_product(layer) or not mkl.loaded():
        return {}
    x, w, g = matrices(layer)
    if kind == "dx":
        return mkl.sgemm(g, w, turn_b=True)
    return mkl.sgemm(x, g, turn_a=True) if kind == "dw" else mkl.sgemm(x, w)


def work(layer: Layer, kind: str) -> tuple[float, str]:
    """Operations, of direct sums; of depthwise layers, which memory bounds, bytes."""
    x_shape, w_shape, how = geometry(layer)
    y = conv.infer(Spec(x_shape, "float32"), Spec(w_shape, "float32"), **how)[0].shape
    if layer.groups == layer.channels > 1:
        return 4.0 * (math.prod(x_shape) + math.prod(y)), "GB/s"
    return 2.0 * math.prod(y) * math.prod(w_shape[:-1]), "GF/s"


def rows() -> Iterator[Row]:
    """Forward and both gradients of every layer."""
    for layer in LAYERS:
        for kind in ("fwd", "dx", "dw"):
            peers = torch_peer(functools.partial(torch_call, layer, kind)) | mkl_peer(layer, kind)
            name = f"{kind} {layer.name} @{layer.size} b{layer.batch}"
            yield Row(name, *work(layer, kind), functools.partial(ours, layer, kind), peers)
