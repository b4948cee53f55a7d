"""Resizing of images along one axis: which old cells make each new one, and with what weights.

In: the old and the new size, and the interpolation. Out: for each new cell the first old one and a
run of weights. The same numbers serve columns of images (numpy) and images in a Program (products).
Source: tf.image.resize (half-pixel centres), as keras.layers.Resizing uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")


class Taps(NamedTuple):
    """first (new,) and weights (new, run): new cell i is sum(weights[i] * old[first[i] + k])."""

    first: np.ndarray
    weights: np.ndarray

    def dense(self, size: int) -> np.ndarray:
        """(new, size): the share of each old cell in each new one."""
        made = np.zeros((len(self.first), size), np.float32)
        run = self.first[:, None] + np.arange(self.weights.shape[1])
        np.put_along_axis(made, run, self.weights, axis=1)
        return made


def _triangle(t: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(t), 0)


def _cubic(t: np.ndarray) -> np.ndarray:
    t = np.abs(t)
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(t: np.ndarray) -> np.ndarray:
        return np.where(np.abs(t) < radius, np.sinc(t) * np.sinc(t / radius), 0)

    return kernel


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "bilinear": (_triangle, 1), "bicubic": (_cubic, 2), "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
}  # fmt: skip


@lru_cache(maxsize=256)
def taps(size: int, new: int, interpolation: str, antialias: bool = False) -> Taps:
    """The weights for an axis of `size` cells that becomes one of `new`."""
    if interpolation == "nearest":
        at = np.floor((np.arange(new) + 0.5) * (size / new)).astype(np.int64)
        return Taps(np.minimum(at, size - 1), np.ones((new, 1), np.float32))
    if interpolation == "area":
        return _area(size, new)
    scale = size / new
    wide = max(scale, 1.0) if antialias else 1.0
    kernel, radius = _KERNELS[interpolation]
    centre = (np.arange(new) + 0.5) * scale - 0.5
    run = min(size, 2 * math.ceil(radius * wide))
    first = np.clip(np.floor(centre - radius * wide) + 1, 0, size - run).astype(np.int64)
    apart = (centre[:, None] - (first[:, None] + np.arange(run))) / wide
    if interpolation == "bicubic" and not antialias:
        apart = np.rint(apart * 1024) / 1024  # TensorFlow looks its weights up in a table
    shares = kernel(apart)
    return Taps(first, (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))


def _area(size: int, new: int) -> Taps:
    scale = size / new
    low = np.arange(new) * scale
    first = np.floor(low).astype(np.int64)
    run = min(size, math.ceil(scale) + 1)
    first = np.clip(first, 0, size - run)
    cells = first[:, None] + np.arange(run)
    upper = np.minimum(cells + 1, (low + scale)[:, None])
    shares = np.maximum(upper - np.maximum(cells, low[:, None]), 0)
    return Taps(first, (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))


def short_side(height: int, width: int, side: int, multiple: int, longest: int) -> tuple[int, int]:
    """The size that keeps the proportions, with `side` for the shorter side and at most `longest`
    for the other; both are multiples, rounded down."""
    scale = side / min(height, width)
    if round(scale * max(height, width)) > longest:
        scale = longest / max(height, width)
    if multiple == 1:
        return max(1, round(height * scale)), max(1, round(width * scale))
    h, w = (int(n * scale // multiple) * multiple for n in (height, width))
    return max(multiple, h), max(multiple, w)


class Box(NamedTuple):
    """A part of an image: top, left, height, width."""

    top: int
    left: int
    height: int
    width: int


def crop_box(height: int, width: int, new: tuple[int, int]) -> Box:
    """The largest part in the middle that has the proportions of the new size."""
    h, w = _proportional(height, width, new)
    h, w = max(min(height, h), 1), max(min(width, w), 1)
    return Box(int((height - h) / 2), int((width - w) / 2), h, w)


def pad_box(height: int, width: int, new: tuple[int, int]) -> Box:
    """The smallest frame around the image with these proportions: where the image lies, and the
    size of the frame."""
    h, w = _proportional(height, width, new)
    h, w = max(height, h), max(width, w)
    return Box(int((h - height) / 2), int((w - width) / 2), h, w)


def _proportional(height: int, width: int, new: tuple[int, int]) -> tuple[int, int]:
    f = np.float32
    return int(f(width * new[0]) / f(new[1])), int(f(height * new[1]) / f(new[0]))
