"""What `adapt` learns: states that take columns, chunk by chunk, and merge with others like them.

In: columns of rows, anywhere: here, or in the tasks of a Spark job. Out: counts of tokens, moments
or exact quantiles of all rows together, whatever the chunks were. States are plain data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np


class TokenCounts:
    """How often each token occurs, in how many rows, and how many rows there are.

    Args:
        documents: also count rows, for tf_idf.
    """

    def __init__(self, documents: bool = False) -> None:
        self.documents = documents
        self.counts: Counter[Any] = Counter()
        self.rows_with: Counter[Any] = Counter()
        self.rows = 0

    def update(self, column: Any) -> None:
        """Take rows: an array (rows, ...) of tokens, or lists of them."""
        if isinstance(column, np.ndarray) and column.dtype != object:
            self._update_numbers(column)
            return
        rows = [_tokens(row) for row in column]
        self.rows += len(rows)
        for row in rows:
            self.counts.update(row)
            if self.documents:
                self.rows_with.update(set(row))

    def _update_numbers(self, column: np.ndarray) -> None:
        values, counts = np.unique(column, return_counts=True)
        self.counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.rows += len(column)
        if self.documents:
            for row in column.reshape(len(column), -1):
                self.rows_with.update(np.unique(row).tolist())

    def merge(self, other: TokenCounts) -> TokenCounts:
        """Take what another one has seen."""
        self.counts.update(other.counts)
        self.rows_with.update(other.rows_with)
        self.rows += other.rows
        return self

    def decode(self) -> None:
        """Count bytes and str of the same text as one: readers give either."""
        for counter in (self.counts, self.rows_with):
            for token in [t for t in counter if isinstance(t, bytes)]:
                counter[token.decode(errors="replace")] += counter.pop(token)

    def most_common(self, limit: int | None) -> list[Any]:
        """Tokens by falling counts; ties by falling order of their bytes, as Keras breaks them."""
        order = sorted(self.counts, key=lambda t: (self.counts[t], _rank(t)), reverse=True)
        return order if limit is None else order[: max(limit, 0)]


def _tokens(row: Any) -> list[Any]:
    if isinstance(row, np.ndarray):
        row = row.reshape(-1).tolist()
    elif not isinstance(row, (list, tuple)):
        row = [row]
    return list(row)


def _rank(token: Any) -> Any:
    return token.encode() if isinstance(token, str) else token


class Moments:
    """Mean and variance along axes, in float64.

    Args:
        axes: those that are kept, counted from 0, the axis of the rows.
    """

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = tuple(axes)
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0  # sum of squared distances from the mean

    def update(self, column: np.ndarray) -> None:
        """Take rows (rows, ...)."""
        if not column.size:
            return
        part = Moments(self.axes)
        over = tuple(a for a in range(column.ndim) if a not in self.axes)
        wide = column.astype(np.float64)
        part.count = math.prod(column.shape[a] for a in over)
        part.mean = wide.mean(axis=over)
        part.squares = wide.var(axis=over) * part.count
        self.merge(part)

    def merge(self, other: Moments) -> Moments:
        """Take what another one has seen (Chan, Golub and LeVeque, 1979)."""
        total = self.count + other.count
        if other.count:
            apart = other.mean - self.mean
            self.squares = (
                self.squares + other.squares + apart**2 * (self.count * other.count / total)
            )
            self.mean = self.mean + apart * (other.count / total)
            self.count = total
        return self

    @property
    def variance(self) -> Any:
        """Of all values seen."""
        return self.squares / max(self.count, 1)


BUCKETS = 1 << 16


class Histogram:
    """How many float32 values have the same upper 16 bits, in order of the values; and, in a second
    run, the lower bits of those in a few buckets. Two runs find values of any rank exactly.

    Args:
        buckets: for the second run: those that are looked into.
    """

    def __init__(self, buckets: Sequence[int] = ()) -> None:
        self.counts = np.zeros(BUCKETS, np.int64)
        self.inside: dict[int, tuple[np.ndarray, np.ndarray]] = {
            b: (np.zeros(0, np.uint32), np.zeros(0, np.int64)) for b in buckets
        }

    def update(self, column: np.ndarray) -> None:
        """Take values of any shape."""
        keys = ordered_bits(np.asarray(column, np.float32).reshape(-1))
        upper = (keys >> 16).astype(np.int64)
        self.counts += np.bincount(upper, minlength=BUCKETS)
        if self.inside:
            wanted = np.zeros(BUCKETS, bool)
            wanted[list(self.inside)] = True
            keys = keys[wanted[upper]]
            for bucket in np.unique(keys >> 16).tolist():
                chosen = keys[(keys >> 16) == bucket]
                self._add(bucket, *np.unique(chosen, return_counts=True))

    def _add(self, bucket: int, keys: np.ndarray, counts: np.ndarray) -> None:
        known, times = self.inside[bucket]
        merged, places = np.unique(np.concatenate([known, keys]), return_inverse=True)
        sums = np.bincount(places, np.concatenate([times, counts])).astype(np.int64)
        self.inside[bucket] = (merged, sums)

    def merge(self, other: Histogram) -> Histogram:
        """Take what another one has seen."""
        self.counts += other.counts
        for bucket, (keys, counts) in other.inside.items():
            self._add(bucket, keys, counts)
        return self

    def bucket_of(self, ranks: np.ndarray) -> np.ndarray:
        """The bucket in which the value of each rank lies."""
        return np.searchsorted(np.cumsum(self.counts), ranks, side="right")

    def values(self, ranks: np.ndarray) -> np.ndarray:
        """The values of these ranks (0: the smallest), whose buckets were looked into."""
        before = np.cumsum(self.counts) - self.counts
        found = np.empty(len(ranks), np.uint32)
        for i, (rank, bucket) in enumerate(zip(ranks, self.bucket_of(ranks), strict=True)):
            keys, counts = self.inside[int(bucket)]
            found[i] = keys[np.searchsorted(np.cumsum(counts), rank - before[bucket], "right")]
        return from_ordered_bits(found)


def ordered_bits(values: np.ndarray) -> np.ndarray:
    """float32 numbers as uint32 numbers in the same order."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    negative = bits >> 31 == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31))


def from_ordered_bits(keys: np.ndarray) -> np.ndarray:
    """The float32 numbers of ordered_bits."""
    positive = keys >> 31 == 1
    bits = np.where(positive, keys & np.uint32((1 << 31) - 1), ~keys)
    return bits.astype(np.uint32).view(np.float32)
