"""Which algorithm computes a convolution: decided once, when a program is made, from shapes alone.

In: shapes of a convolution, and whether the user wants exact sums. Out: the tile of Winograd's
algorithm, or 0 for the sum of all products; it travels with the program to wherever it runs. The
number of images has no say where an image must have the same bits alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_exact = False

LEAST_CHANNELS = 16
TILES = (4, 2)  # outputs of a tile along an axis: F(4x4, 3x3) and F(2x2, 3x3)
MAPS = {4: (220, 160), 2: (66, 48)}  # cost of a tile's maps, inputs for each filter and outputs
TILES_AT_ONCE = 6  # tiles that share a reading of the weights in registers
IN_CACHE = 1 << 16  # pairs of a channel and a filter whose weights at the points stay in a cache
BATCH = 16  # images for which an algorithm is chosen
SINGLE_MAP = 49  # outputs of an image from which on large weights are chosen for one image


def exact() -> bool:
    """Whether convolutions are sums of their products only, as `set_exact` chose."""
    return _exact


def set_exact(value: bool) -> None:
    """Choose for all programs made from now on; see zoo_keras.config.set_exact."""
    global _exact
    _exact = bool(value)


def suits_winograd(kernel: Sequence[int], attrs: Mapping[str, Any]) -> bool:
    """Whether Winograd can compute a convolution with weights of this shape, and may."""
    steps = (*attrs["strides"], *attrs["dilation"], attrs.get("groups", 1))
    once = all(n == 1 for n in steps)
    wide = min(kernel[-2:]) >= LEAST_CHANNELS
    return once and wide and tuple(kernel[:-2]) == (3, 3) and not exact()


def winograd_points(tile: int) -> int:
    """Products of a tile of `tile` outputs along an axis."""
    return (tile + 2) ** 2


def winograd_cost(
    y_shape: Sequence[int], kernel: Sequence[int], weight_cost: tuple[int, int], tile: int
) -> float:
    """What Winograd's algorithm costs, in multiplications for each pair of a channel and a filter:
    the products of all tiles, the linear maps of inputs and outputs, and what has to be done once
    for a weight at a point.

    weight_cost gives the latter for weights that stay in the cache and for others. All were
    measured on a CPU with AVX2; the choice must not depend on the CPU, for a program runs on all
    executors.
    """
    images, rows, cols, _ = y_shape
    channels, filters = kernel[-2:]
    tiles = images * -(-rows // tile) * -(-cols // tile)
    at_once = -(-tiles // TILES_AT_ONCE) * TILES_AT_ONCE
    inputs, outputs = MAPS[tile]
    maps = tiles * (inputs / filters + outputs / channels)
    points = winograd_points(tile)
    return (
        points * (at_once * (1 + 8 / channels) + weight_cost[channels * filters > IN_CACHE]) + maps
    )


def winograd_tile(
    y_shape: Sequence[int],
    kernel: Sequence[int],
    weight_cost: tuple[int, int],
    tiles: Sequence[int] = TILES,
) -> int:
    """The tile, of these, that needs least time; 0 where that is the sum over 9 taps."""
    images, rows, cols, _ = y_shape
    cost = {tile: winograd_cost(y_shape, kernel, weight_cost, tile) for tile in tiles}
    return min([0, *tiles], key=lambda tile: cost.get(tile, 9 * images * rows * cols))


def winograd_packed(y_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> int:
    """The tile with which Winograd computes y with weights of shape `kernel` that were packed
    before, or 0."""
    if not suits_winograd(kernel, attrs):
        return 0
    return winograd_tile((_usual_images(y_shape, kernel), *y_shape[1:]), kernel, (2, 4))


def _usual_images(y_shape: Sequence[int], kernel: Sequence[int]) -> int:
    """For how many images inference is made quick: one, where it is bound by reading the weights
    (the last layers of nets for large pictures), else a batch. Tiny maps come from small pictures,
    which seldom come alone."""
    _, rows, cols, _ = y_shape
    large = kernel[-2] * kernel[-1] > IN_CACHE
    return 1 if large and rows * cols >= SINGLE_MAP else BATCH


def winograd_raw(y_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> int:
    """The same with the weights taken to the points at each call; also the gradient of x, whose
    shape is then given as y_shape."""
    if not suits_winograd(kernel, attrs):
        return 0
    return winograd_tile((BATCH, *y_shape[1:]), kernel, (6, 25))


def winograd_gradient(
    g_shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]
) -> int:
    """The tile with which Winograd computes the gradient of weights of shape `kernel` from y's
    gradient, or 0. It is a sum over the batch, so the batch may decide."""
    return winograd_tile(g_shape, kernel, (28, 40), (4,)) if suits_winograd(kernel, attrs) else 0
