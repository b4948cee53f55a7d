"""Summaries of quantiles as Keras' Discretization makes them: values at even ranks, with weights.

In: numbers, batch by batch or sorted. Out: a summary (2, n): values and how many each stands for.
Source: keras.layers.Discretization.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zoo_keras.feed.states import Histogram


def ranks_of(count: int, epsilon: float) -> tuple[np.ndarray, float]:
    """Which of `count` sorted values a summary keeps, and how many each stands for."""
    step = max(count / (1.0 / epsilon), 1)
    return np.arange(int(step - 1), count, int(step)), step


def summary_of(values: np.ndarray, step: float) -> np.ndarray:
    """The summary with these values."""
    return np.stack([values, np.ones_like(values) * step])


def compressed(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """The summary with about 1 / epsilon values, found between those that there are."""
    if summary.shape[1] * epsilon < 1:
        return summary
    percents = epsilon + np.arange(0.0, 1.0, epsilon)
    weights = summary[1].cumsum()
    shares = weights / weights[-1]
    values = np.interp(percents, shares, summary[0])
    weights = np.interp(percents, shares, weights)
    return np.stack((values, np.diff(weights, prepend=0))).astype(np.float32)


def boundaries(summary: np.ndarray, bins: int) -> list[float]:
    """Boundaries between so many bins."""
    found: list[float] = compressed(summary, 1.0 / bins)[0, :-1].tolist()
    return found


class Summary:
    """The summary of batches, each merged into that of those before."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon
        self.summary = np.zeros((2, 0), np.float32)

    @classmethod
    def maker(cls, epsilon: float) -> Callable[[], Summary]:
        """A function that makes Summaries."""
        return lambda: cls(epsilon)

    def update(self, column: np.ndarray) -> None:
        """Take a batch."""
        values = np.sort(np.asarray(column).astype(np.float32).reshape(-1))
        ranks, step = ranks_of(values.size, self.epsilon)
        joined = np.concatenate((summary_of(values[ranks], step), self.summary), axis=1)
        self.summary = compressed(joined[:, np.argsort(joined[0])], self.epsilon)


class Inside:
    """Makes Histograms that look into some buckets; plain data."""

    def __init__(self, buckets: Sequence[int]) -> None:
        self.buckets = tuple(buckets)

    def __call__(self) -> Histogram:
        return Histogram(self.buckets)
