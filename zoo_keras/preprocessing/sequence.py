"""`zoo_keras.preprocessing.sequence`: windows of series, pairs of words, padding.

In: arrays or lists of numbers. Out: batches, or lists.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import DataError
from zoo_keras.training.data import PyDataset
from zoo_keras.utils.arrays import pad_sequences


class TimeseriesGenerator(PyDataset):
    """Batches of windows of a series, each with the target behind its last step.

    New code uses utils.timeseries_dataset_from_array.

    >>> x, y = TimeseriesGenerator(np.arange(6), np.arange(6), length=2, batch_size=4)[0]
    >>> x.tolist(), y.tolist()
    ([[0, 1], [1, 2], [2, 3], [3, 4]], [2, 3, 4, 5])
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data, self.targets, self.length = data, targets, length
        self.sampling_rate, self.stride, self.batch_size = sampling_rate, stride, batch_size
        self.start_index = start_index + length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse = shuffle, reverse
        if len(data) != len(targets) or self.start_index > self.end_index:
            raise DataError(
                "TimeseriesGenerator: data and targets must have one length, which holds a window. "
                f"Received: lengths {len(data)} and {len(targets)}, windows from "
                f"{self.start_index} to {self.end_index}. Use a shorter length."
            )

    def __len__(self) -> int:
        step = self.batch_size * self.stride
        return (self.end_index - self.start_index + step) // step

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        first, last = self.start_index, self.end_index + 1
        if self.shuffle:
            rows = np.random.randint(first, last, size=self.batch_size)
        else:
            step = self.batch_size * self.stride
            begin = first + step * index
            rows = np.arange(begin, min(begin + step, last), self.stride)
        windows = [self.data[row - self.length : row : self.sampling_rate] for row in rows]
        x, y = np.array(windows), np.array([self.targets[row] for row in rows])
        return (x[:, ::-1] if self.reverse else x), y

    def get_config(self) -> dict[str, Any]:
        """Settings, and the data as JSON."""
        names = ("length", "sampling_rate", "stride", "start_index", "end_index", "shuffle",
                 "reverse", "batch_size")  # fmt: skip
        lists = {name: np.asarray(getattr(self, name)).tolist() for name in ("data", "targets")}
        return {name: json.dumps(values) for name, values in lists.items()} | {
            name: getattr(self, name) for name in names
        }

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as text."""
        return json.dumps(
            {"class_name": type(self).__name__, "config": self.get_config()}, **kwargs
        )


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> np.ndarray:
    """(size,): how probably the word of each rank is kept, by Zipf's law. Mikolov et al. 2013."""
    rank = np.maximum(np.arange(size), 1)
    frequency = 1 / (rank * (np.log(rank) + 0.577) + 0.5 - 1 / (12 * rank))
    return np.minimum(1.0, np.sqrt(sampling_factor / frequency))


def skipgrams(
    sequence: Sequence[int],
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: Any = None,
    seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:
    """Pairs of words that stand near each other (label 1), and pairs drawn at random (label 0).

    Word 0 counts as none. Without a seed Python's own generator draws.
    """
    draw = random if seed is None else random.Random(seed)
    near = [
        [word, sequence[j]]
        for i, word in enumerate(sequence)
        if word and (sampling_table is None or sampling_table[word] >= draw.random())
        for j in range(max(0, i - window_size), min(len(sequence), i + window_size + 1))
        if j != i and sequence[j]
    ]
    words = [pair[0] for pair in near]
    draw.shuffle(words)
    count = int(len(near) * negative_samples) if negative_samples > 0 else 0
    far = [[words[i % len(words)], draw.randint(1, vocabulary_size - 1)] for i in range(count)]
    yes, no = ([0, 1], [1, 0]) if categorical else (1, 0)
    rows = [*((pair, yes) for pair in near), *((pair, no) for pair in far)]
    if shuffle:
        draw.shuffle(rows)
    return [pair for pair, _ in rows], [label for _, label in rows]


__all__ = ["TimeseriesGenerator", "make_sampling_table", "pad_sequences", "skipgrams"]
