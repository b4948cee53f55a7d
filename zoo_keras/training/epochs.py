"""Local data epoch by epoch: how many batches each takes, and what happens when there are no more.

In: arrays, a generator or a PyDataset, made into batches by training.data. Out: the batches of one
epoch after another. Knows no model.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.switches import max_steps_per_epoch
from zoo_keras.training.data import Batch


def executions(batches: Iterable[Any], size: int) -> Iterator[tuple[int, int, Iterator[Any]]]:
    """Batches in groups of `steps_per_execution`, between which callbacks are asked: the numbers of
    a full group's first and last batch, and the batches."""
    left, first = iter(batches), 0
    for batch in left:
        yield first, first + size - 1, itertools.chain([batch], itertools.islice(left, size - 1))
        first += size


class Epochs:
    """`steps` batches an epoch, going on where the last one ended; without `steps` all of them.

    As in Keras the last of an epoch's groups is a whole one: 5 steps in groups of 2 are 6.
    Data that end in the middle of an epoch are taken up from the start in the next one, if they
    can be; either way a warning says so, as in Keras.
    """

    def __init__(
        self, data: Any, steps: int | None = None, what: str = "steps_per_epoch", group: int = 1
    ) -> None:
        if steps is None and data.endless:
            raise ConfigError(
                f"A PyDataset without an end needs {what}. Received: num_batches=None and "
                f"{what}=None. Pass the number of batches of an epoch."
            )
        self.data, self.what, self._wanted = data, what, steps
        self.steps = None if steps is None else -(-steps // group) * group
        self._left: Iterator[Batch] | None = None
        self._seen = 0

    def rewind(self) -> Epochs:
        """Begin the next epoch at the start, as every evaluation does; generators go on."""
        self._left = None
        return self

    def batches(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """The next epoch. `order` is that of a fresh start."""
        self.data.on_epoch_begin()
        found = self.data.batches(order) if self.steps is None else self._some(order)
        yield from itertools.islice(found, max_steps_per_epoch())
        self.data.on_epoch_end()

    def _some(self, order: np.ndarray | None) -> Iterator[Batch]:
        if self._left is None:
            self._left, self._seen = iter(self.data.batches(order)), 0
        for made in range(self.steps or 0):
            batch = next(self._left, None)
            if batch is None:
                self._left = None
                if made < (self._wanted or 0):
                    warn_interrupted(self.what, self._wanted)
                return
            self._seen += 1
            yield batch
        if self._seen == self.data.steps:
            self._left = None


def warn_interrupted(what: str, steps: int | None) -> None:
    """Say that an epoch ended with its data."""
    warnings.warn(
        "Your input ran out of data; interrupting the epoch. Make sure that your dataset or "
        f"generator has at least {what} batches for each epoch ({what}={steps}).",
        stacklevel=6,
    )
