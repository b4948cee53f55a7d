"""Which algorithm computes a convolution: decided once, when a program is made, from shapes alone.

In: shapes of a convolution, and whether the user wants exact sums. Out: yes or no for Winograd's
F(4x4, 3x3), which travels with the program to wherever it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_exact = False

LEAST_CHANNELS = 16
TILE = 4  # outputs of a tile along an axis
POINTS = 36  # products of a tile
TILES_AT_ONCE = 6  # tiles that share a reading of the weights in registers
IN_CACHE = 1 << 16  # pairs of a channel and a filter whose weights at the points stay in a cache


def exact() -> bool:
    """Whether convolutions are sums of their products only, as `set_exact` chose."""
    return _exact


def set_exact(value: bool) -> None:
    """Choose for all programs made from now on; see zoo_keras.config.set_exact."""
    global _exact
    _exact = bool(value)


def suits_winograd(kernel: Sequence[int], attrs: Mapping[str, Any]) -> bool:
    """Whether F(4x4, 3x3) can compute a convolution with weights of this shape, and may."""
    steps = (*attrs["strides"], *attrs["dilation"], attrs.get("groups", 1))
    once = all(n == 1 for n in steps)
    wide = min(kernel[-2:]) >= LEAST_CHANNELS
    return once and wide and tuple(kernel[:-2]) == (3, 3) and not exact()


def winograd_pays(
    y_shape: Sequence[int], kernel: Sequence[int], weight_cost: tuple[int, int]
) -> bool:
    """Whether F(4x4, 3x3) needs less time than the sum over 9 taps.

    Counted in multiplications for each pair of a channel and a filter: 36 a tile, the linear maps
    of inputs and outputs, and what has to be done once for a weight at a point. weight_cost gives
    the latter for weights that stay in the cache and for others. All were measured on a CPU with
    AVX2; the choice must not depend on the CPU, for a program runs on all executors.
    """
    images, rows, cols, _ = y_shape
    channels, filters = kernel[-2:]
    tiles = images * -(-rows // TILE) * -(-cols // TILE)
    there = POINTS * -(-tiles // TILES_AT_ONCE) * TILES_AT_ONCE * (1 + 8 / channels)
    maps = tiles * (220 / filters + 160 / channels)
    weights = POINTS * weight_cost[channels * filters > IN_CACHE]
    return bool(there + maps + weights < 9 * images * rows * cols)


def winograd_packed(
    y_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]
) -> bool:
    """Whether Winograd computes y with weights of shape `kernel` that were packed before."""
    return suits_winograd(kernel, attrs) and winograd_pays(y_shape, kernel, (2, 7))


def winograd_raw(y_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> bool:
    """The same with the weights taken to the points at each call; also the gradient of x, whose
    shape is then given as y_shape."""
    return suits_winograd(kernel, attrs) and winograd_pays(y_shape, kernel, (6, 25))


def winograd_gradient(
    g_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]
) -> bool:
    """Whether Winograd computes the gradient of weights of shape `kernel` from y's gradient."""
    return suits_winograd(kernel, attrs) and winograd_pays(g_shape, kernel, (28, 40))
