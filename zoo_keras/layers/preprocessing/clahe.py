"""Contrast-limited adaptive histogram equalization: each tile of an image spread by its own values.

In: images, in training or not. Out: the same shape and dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.layers.base.arguments import int_tuple, number
from zoo_keras.layers.preprocessing.augmentation import ImageAugmentation, rescaled
from zoo_keras.layers.preprocessing.augmentation import value_range as range_of_values

_BYTES = (0, 255)
LEVELS = 256


class ContrastLimitedAdaptiveHistogramEqualization(ImageAugmentation):
    """Spreads the values of each channel evenly, tile by tile, with smooth borders between tiles.

    Args:
        clip_limit: no value counts more than so many times the mean; 0: no limit.
        tile_grid_size: tiles along the height and the width.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/contrast_limited_adaptive_histogram_equalization/

    >>> ContrastLimitedAdaptiveHistogramEqualization()(np.ones((1, 16, 16, 3))).shape
    (1, 16, 16, 3)
    """

    _options = ("value_range", "clip_limit", "tile_grid_size")

    def __init__(
        self,
        value_range: Any = _BYTES,
        clip_limit: float = 4.0,
        tile_grid_size: Any = (8, 8),
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(None, data_format, **kwargs)
        self.value_range = range_of_values(self, value_range)
        self.clip_limit = number(self, "clip_limit", clip_limit)
        self.tile_grid_size = int_tuple(self, "tile_grid_size", tile_grid_size, 2)

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """Nothing is drawn."""
        return {}

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The images, in their own dtype."""
        made = super().transform_images(images, {}, True)
        whole = not str(images.dtype).startswith("float")
        return ops.cast(made, images.dtype) if whole else made

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of even tiles."""
        height, width = x.shape[1:3]
        grid = self.tile_grid_size
        tile = [-(-size // count) for size, count in zip((height, width), grid, strict=True)]
        more = [t * n - s for t, n, s in zip(tile, grid, (height, width), strict=True)]
        wide = rescaled(x, self.value_range, _BYTES)
        wide = ops.pad(wide, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)), mode="symmetric")
        levels = ops.cast(ops.clip(wide, 0, LEVELS - 1), "int32")
        made = _looked_up(self._tables(levels, tile), levels, tile)
        return rescaled(made[:, :height, :width], _BYTES, self.value_range)

    def _tables(self, levels: Any, tile: list[int]) -> Any:
        """(batch, *grid, channels, LEVELS): what becomes of each level in each tile."""
        batch, channels, (down, across) = levels.shape[0], levels.shape[3], self.tile_grid_size
        count = tile[0] * tile[1]
        tiles = ops.reshape(levels, (batch, down, tile[0], across, tile[1], channels))
        tiles = ops.reshape(ops.transpose(tiles, (0, 1, 3, 5, 2, 4)), (-1, count))
        counts = ops.cast(ops.bincount(tiles, minlength=LEVELS), "float32")
        if self.clip_limit > 0:
            clipped = ops.minimum(counts, float(self.clip_limit * count / LEVELS))
            counts = clipped + ops.sum(counts - clipped, axis=-1, keepdims=True) / LEVELS
        whole = ops.cumsum(counts, axis=-1)
        first = ops.min(whole, axis=-1, keepdims=True)
        spread = count - first
        table = (whole - first) * 255.0 / ops.where(spread == 0, 1.0, spread)
        return ops.reshape(ops.clip(table, 0, 255), (batch, down, across, channels, LEVELS))


def _looked_up(tables: Any, levels: Any, tile: list[int]) -> Any:
    """Each pixel by the tables of the four tiles around it, weighted by its distances."""
    batch, down, across, channels, size = tables.shape
    flat = ops.reshape(tables, (-1,))
    rows, columns = (_between(n, t) for n, t in ((down, tile[0]), (across, tile[1])))
    image = np.arange(batch).reshape(-1, 1, 1, 1) * (down * across)
    found: Any = 0.0
    for row, share in rows:
        for column, part in columns:
            place = image + row.reshape(1, -1, 1, 1) * across + column.reshape(1, 1, -1, 1)
            start = (place * channels + np.arange(channels)) * size
            weight = share.reshape(1, -1, 1, 1) * part.reshape(1, 1, -1, 1)
            found = found + ops.take(flat, levels + start.astype(np.int32)) * weight
    return found


def _between(count: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each pixel along an axis the tile before and the tile behind it, and their shares."""
    at = (np.arange(count * size, dtype=np.float32) - size / 2) / size
    low = np.floor(at)
    share = (at - low).astype(np.float32)
    before, behind = (np.clip(v, 0, count - 1).astype(np.int64) for v in (low, low + 1))
    return [(before, 1 - share), (behind, share)]
