"""Convolutions of rounded numbers become convolutions of bfloat16 in tile registers.

In: a Graph whose convolutions have taken in bias, residual and activation. Out: a Graph with
pack_bf16 and conv_bf16, or dense_bf16 for windows of one cell, where the tile registers of this
machine pay. `passes.tile_products.narrow_between` then lets what they read lie in memory as
bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from zoo_keras.graph import Graph, Node, Tensor, constant
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.passes.tile_products import unrounded
from zoo_keras.primitives.conv_bf16 import may_merge, taps_of
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded, round_bfloat16
from zoo_keras.primitives.tile_choice import convolution_pays

FORWARD = frozenset({"conv", "conv_fused", "conv_fused_add"})
GEOMETRY = ("strides", "padding", "dilation")


def tile_convolutions(rounds: bool = False) -> Callable[[Graph], Graph]:
    """The pass. rounds: every convolution may round its images and weights, and what a shortcut
    adds, not only what is rounded already."""

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if not _suits(node) or not (rounds or any(map(is_rounded, node.inputs[:2]))):
            return None
        return [_forward(node, inputs, rounds)]

    def run(graph: Graph) -> Graph:
        return rewrite(graph, rule)

    run.__name__ = "tile_convolutions"
    return run


def _suits(node: Node) -> bool:
    if node.op.name not in FORWARD or node.attrs.get("groups", 1) != 1:
        return False
    x, w = node.inputs[:2]
    if x.ndim not in (3, 4) or {x.dtype, w.dtype, node.specs[0].dtype} != {"float32"}:
        return False
    return convolution_pays(math.prod(w.shape[:-1]), w.shape[-1])


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
