"""Resizing along one axis as a matrix product: each new cell is a weighted mean of old ones.

In: (batch, *spatial, channels) and the new number of cells of an axis. Out: the same with that
axis resized, as keras.ops.image.resize does it without antialiasing (centres of cells at half
steps, weights outside of the axis left out and the others scaled up).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from zoo_keras.primitives.arrays import reshape
from zoo_keras.primitives.products import matmul


def _triangle(t: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(t), 0)


def _cubic(t: np.ndarray) -> np.ndarray:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), a = -1/2."""
    t = np.abs(t)
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(t: np.ndarray) -> np.ndarray:
        return np.where(np.abs(t) < radius, np.sinc(t) * np.sinc(t / radius), 0)

    return kernel


KERNELS = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


@lru_cache(maxsize=64)
def weights(size: int, new: int, interpolation: str) -> np.ndarray:
    """(new, size): the share of each old cell in each new one; every row sums up to 1."""
    centre = (np.arange(new) + 0.5) * size / new - 0.5
    shares = KERNELS[interpolation](centre[:, None] - np.arange(size))
    made: np.ndarray = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return made


def resize_axis(x: Any, axis: int, new: int, interpolation: str) -> Any:
    """x with `new` cells along the axis; interpolation is a key of KERNELS."""
    shape = tuple(x.shape)
    rows, columns = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    flat = reshape(x, shape=(rows, shape[axis], columns))
    y = matmul(weights(shape[axis], new, interpolation), flat, transpose_a=False, transpose_b=False)
    return reshape(y, shape=(*shape[:axis], new, *shape[axis + 1 :]))
