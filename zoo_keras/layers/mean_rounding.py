"""Whole numbers for weights whose sums stay, on average, what they were.

In: weights in units of their scale, their nearest whole numbers, and the mean inputs that a sample
showed. Out: the same whole numbers but for a few, which are the next nearest. Inputs behind a ReLU
are positive, so errors of rounding add up to a shift of each output: it is all but gone then. Knows
no layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zoo_keras.primitives.int8 import MOST

COLUMNS = 256  # sums that are looked at together


def keep_sums(
    values: np.ndarray, exact: np.ndarray, mean: np.ndarray, axes: Sequence[int]
) -> np.ndarray:
    """The values with those moved to their other neighbour that bring the sums of values * mean
    along `axes` nearer to those of exact * mean; the least rounded ones first.

    values is int8, exact (like values) what was rounded, mean broadcasts against them.
    """
    order = [*axes, *[i for i in range(values.ndim) if i not in axes]]
    turned = values.transpose(order)
    n = math.prod(turned.shape[: len(axes)])
    q, wide = (x.transpose(order).reshape(n, -1).copy() for x in (values, exact))
    means = np.broadcast_to(mean, values.shape).transpose(order).reshape(n, -1)
    for first in range(0, q.shape[1], COLUMNS):
        some = np.s_[:, first : first + COLUMNS]
        _keep(q[some], wide[some], means[some])
    return q.reshape(turned.shape).transpose(np.argsort(order))


def _keep(q: np.ndarray, exact: np.ndarray, mean: np.ndarray) -> None:
    """`keep_sums` of columns (n, some), in place."""
    error = q - exact.astype(np.float64)
    gap = (error * mean).sum(0)
    columns = np.arange(q.shape[1])
    for rows in _least_rounded(np.abs(error)):
        move = -np.sign(error[rows, columns])
        moved, step = q[rows, columns] + move, move * mean[rows, columns]
        nearer = (np.abs(gap + step) < np.abs(gap)) & (np.abs(moved) <= MOST)
        gap += np.where(nearer, step, 0)
        q[rows, columns] += np.where(nearer, move, 0).astype(q.dtype)


def _least_rounded(error: np.ndarray) -> np.ndarray:
    """Rows of the largest errors of each column, largest first: more than a gap can need."""
    n = len(error)
    few = min(n, 32 + 4 * math.isqrt(n))
    rows = np.argpartition(-error, few - 1, axis=0)[:few] if few else np.zeros((0, 1), int)
    by_size = np.argsort(-np.take_along_axis(error, rows, 0), axis=0, kind="stable")
    return np.take_along_axis(rows, by_size, 0)
