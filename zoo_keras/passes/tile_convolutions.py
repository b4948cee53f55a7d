"""Convolutions of rounded numbers become convolutions of bfloat16 in tile registers.

In: a Graph whose convolutions have taken in bias, residual and activation. Out: a Graph with
pack_bf16 and conv_bf16, or dense_bf16 for windows of one cell, where the tile registers of this
machine pay. `passes.narrow` then lets what they read lie in memory as bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.graph import Graph, Node, Tensor, constant
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.passes.tile_products import unrounded
from zoo_keras.primitives.conv_bf16 import may_merge, suits_depthwise, taps_of
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded, round_bfloat16
from zoo_keras.primitives.tile_choice import convolution_pays

FORWARD = frozenset({"conv", "conv_fused", "conv_fused_add"})
GRADIENTS = frozenset({"conv_grad_input", "conv_grad_kernel"})
LEAST_ROWS = 1 << 11  # of a product, from which its operands do not stay in the cache
LEAST_PLACES, MOST_PLACES = 128, 1024  # of an image that rows are cut into
GEOMETRY = ("strides", "padding", "dilation")


def tile_convolutions(rounds: bool = False) -> Callable[[Graph], Graph]:
    """The pass. rounds: every convolution may round its images and weights, and what a shortcut
    adds, not only what is rounded already."""

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.name in GRADIENTS:
            return _gradient(node, inputs)
        if node.op.name == "matmul":
            return _product_gradient(node, inputs)
        if not _is_convolution(node) or not (rounds or any(map(is_rounded, node.inputs[:2]))):
            return None
        if _suits_depthwise(node):
            return [_depthwise(node, inputs)]
        return [_forward(node, inputs, rounds)] if _pays(node, not rounds) else None

    def run(graph: Graph) -> Graph:
        return rewrite(graph, rule)

    run.__name__ = "tile_convolutions"
    return run


def _is_convolution(node: Node) -> bool:
    if node.op.name not in FORWARD:
        return False
    x, w = node.inputs[:2]
    return x.ndim in (3, 4) and {x.dtype, w.dtype, node.specs[0].dtype} == {"float32"}


def _pays(node: Node, trains: bool) -> bool:
    w = node.inputs[1]
    one = node.attrs.get("groups", 1) == 1
    return one and convolution_pays(math.prod(w.shape[:-1]), w.shape[-1], trains)


def _suits_depthwise(node: Node) -> bool:
    *window, each, filters = node.inputs[1].shape
    own = node.attrs.get("groups", 1) == filters and each == 1
    strides, dilation = node.attrs["strides"], node.attrs["dilation"]
    fits = own and suits_depthwise((*window, filters, 1), strides, dilation)
    return native.has_tiles() and fits and len(node.inputs) < 4


def _depthwise(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Weights are not rounded: sums are those of float32."""
    x, w, *more = inputs
    *window, _, filters = w.shape
    bias = more[0] if more else constant(np.zeros(filters, np.float32))
    flat = registry["reshape"](w, shape=(math.prod(window), filters))
    attrs = {name: node.attrs[name] for name in GEOMETRY}
    attrs |= {"activation": node.attrs.get("activation", "linear"), "narrow": False}
    attrs["kernel_shape"] = (*window, filters, 1)
    given = [unrounded(x), flat, bias]
    op = registry["depthwise_bf16"]
    return Node(op, given, attrs, node.specs, node.scope).outputs[0]


def _forward(node: Node, inputs: Sequence[Tensor], rounds: bool) -> Tensor:
    x, w = unrounded(inputs[0]), unrounded(inputs[1])
    more = list(inputs[2:]) or [constant(np.zeros(w.shape[-1], np.float32))]
    if rounds and len(more) > 1:
        more[1] = round_bfloat16(more[1])
    kernel, how = w.shape, {name: node.attrs[name] for name in GEOMETRY}
    attrs = {"activation": node.attrs.get("activation", "linear"), "narrow": False}
    if _is_product(kernel, how):
        packed = _packed(w, taps_of(kernel, False)[1:])
        attrs |= {"units": kernel[-1], "transpose_a": False}
        op = registry["dense_bf16_add" if len(more) > 1 else "dense_bf16"]
    else:
        merged = may_merge(kernel, how["strides"], how["dilation"])
        packed = _packed(w, taps_of(kernel, merged))
        attrs |= {"kernel_shape": kernel, "merged": merged, **how}
        op = registry["conv_bf16_add" if len(more) > 1 else "conv_bf16"]
    return Node(op, [x, packed, *more], attrs, node.specs, node.scope).outputs[0]


def _is_product(kernel: Sequence[int], how: dict[str, Sequence[int]]) -> bool:
    """Whether a window is one cell and every cell has one."""
    one = math.prod(kernel[:-2]) == math.prod(how["strides"]) == 1
    return one and not np.any(how["padding"])


def _packed(w: Tensor, shape: tuple[int, ...]) -> Tensor:
    result: Tensor = registry["pack_bf16"](registry["reshape"](w, shape=shape), transpose=False)
    return result


# ---- gradients -----------------------------------------------------------------------------------


def _gradient(node: Node, inputs: Sequence[Tensor]) -> Sequence[Tensor] | None:
    """Of images or weights, where the convolution itself reads what is rounded."""
    how = {name: node.attrs[name] for name in GEOMETRY}
    images = node.op.name == "conv_grad_input"
    first, second = inputs
    kernel = second.shape if images else tuple(node.attrs["kernel_shape"])
    if first.ndim not in (3, 4) or node.attrs.get("groups", 1) != 1:
        return None
    if {first.dtype, second.dtype} != {"float32"} or not any(map(is_rounded, node.inputs)):
        return None
    if images:
        pays = convolution_pays(math.prod(kernel[:-2]) * kernel[-1], kernel[-2], trains=True)
        return _images_gradient(node, inputs, how) if pays else None
    if not convolution_pays(kernel[-2], kernel[-1], trains=True):
        return None
    attrs = {"kernel_shape": kernel, **how}
    given = [unrounded(first), unrounded(second)]
    return Node(registry["conv_grad_kernel_bf16"], given, attrs, node.specs, node.scope).outputs


def _images_gradient(
    node: Node, inputs: Sequence[Tensor], how: dict[str, Any]
) -> Sequence[Tensor] | None:
    """With a stride of 1: a convolution of g with the kernel turned around. Others stay float32."""
    g, w = unrounded(inputs[0]), unrounded(inputs[1])
    *window, channels, filters = w.shape
    padding = []
    for cells, places, size, step, (low, _) in zip(
        node.specs[0].shape[1:-1], g.shape[1:-1], window, how["dilation"], how["padding"],
        strict=True,
    ):  # fmt: skip
        reach = (size - 1) * step
        padding.append((reach - low, cells - places + low))
    if math.prod(how["strides"]) != 1 or min(map(min, padding)) < 0:
        return None
    turned = registry["flip"](w, axes=tuple(range(len(window))))
    flat = registry["reshape"](turned, shape=(math.prod(window), channels, filters))
    packed = registry["pack_bf16"](flat, transpose=True)
    attrs = {**how, "padding": tuple(padding), "kernel_shape": (*window, filters, channels)}
    attrs |= {"merged": False, "activation": "linear", "narrow": False}
    given = [g, packed, constant(np.zeros(channels, np.float32))]
    return Node(registry["conv_bf16"], given, attrs, node.specs, node.scope).outputs


def _product_gradient(node: Node, inputs: Sequence[Tensor]) -> Sequence[Tensor] | None:
    """A product over very many rows, the gradient of a window of one cell: the rows are cut into
    images, so that some of them at a time stay in the cache for all columns."""
    turned = node.attrs.get("transpose_a") and not node.attrs.get("transpose_b")
    flat = all(t.ndim == 2 and t.dtype == "float32" for t in inputs)
    if not turned or not flat or not any(map(is_rounded, node.inputs)):
        return None
    rows, columns = node.specs[0].shape
    length = inputs[0].shape[0]
    if length < LEAST_ROWS or not convolution_pays(rows, columns, trains=True):
        return None
    places = max(n for n in range(1, MOST_PLACES + 1) if length % n == 0)
    if places < LEAST_PLACES:
        return None
    x, g = (
        registry["reshape"](unrounded(t), shape=(length // places, places, t.shape[1]))
        for t in inputs
    )
    how = {"strides": (1,), "padding": ((0, 0),), "dilation": (1,)}
    dw = registry["conv_grad_kernel_bf16"](x, g, kernel_shape=(1, rows, columns), **how)
    return [registry["reshape"](dw, shape=(rows, columns))]
