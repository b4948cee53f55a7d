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


def winograd_pays(y_shape: Sequence[int], channels: int, filters: int) -> bool:
    """Whether F(4x4, 3x3) needs less time than the sum over 9 taps.

    Counted in multiplications for each pair of a channel and a filter: 36 a tile, the linear maps
    of inputs and outputs, and reading the 36 weights, which costs as much as so many tiles.
    """
    images, rows, cols, _ = y_shape
    tiles = images * -(-rows // TILE) * -(-cols // TILE)
    maps = tiles * (200 / filters + 150 / channels) * 8
    weights = POINTS * (13 if channels * filters > 1 << 16 else 4)
    there = POINTS * -(-tiles // TILES_AT_ONCE) * TILES_AT_ONCE
    return bool(there + maps + weights < 9 * images * rows * cols)


def winograd_forward(
    y_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]
) -> bool:
    """Whether Winograd computes y with weights of shape `kernel`, or, where y_shape is the shape
    of x, the gradient of x."""
    return suits_winograd(kernel, attrs) and winograd_pays(y_shape, *kernel[-2:])
