"""Epochs over local data: shuffling, validation, callbacks, and the check for finite losses."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from zoo_keras.callbacks.callback import CallbackList, History
from zoo_keras.errors import ConfigError, NonFiniteLossError
from zoo_keras.training.data import ArrayData, Orders, epoch_order
from zoo_keras.training.epochs import Epochs


class FitLoop:
    """Epochs over local data."""

    def __init__(
        self,
        model: Any,
        data: Any,
        validation: Any,
        bars: CallbackList,
        shuffle: Any,
        steps: int | None,
        validation_steps: int | None,
        validation_freq: Any,
    ) -> None:
        self.model, self.data, self.bars = model, data, bars
        self.total = model._require_compiled("fit").loss_tracker.total
        self.epochs, self.shuffle = Epochs(data, steps), shuffle
        self.validation, self.validation_freq = None, validation_freq
        if validation is not None:
            self.validation = Epochs(validation, validation_steps, "validation_steps")
        self.seed, self.last = next_shuffle_seed(), 0
        self.orders = Orders(self._order, data.rows or 0)
        self.stops_on_nan = any(type(c).__name__ == "TerminateOnNaN" for c in bars.callbacks)

    def run(self, first: int, last: int) -> History:
        """Train epochs first .. last - 1. When data have run out for good, the rest is left out."""
        try:
            return self._run(first, last)
        except BaseException:
            self.bars.close()
            raise

    def _run(self, first: int, last: int) -> History:
        model, bars, self.last = self.model, self.bars, last
        model.stop_training = False
        bars.on_train_begin()
        logs: dict[str, Any] = {}
        for epoch in range(first, last):
            model._reset()
            bars.on_epoch_begin(epoch)
            if not self._epoch(epoch):
                self._check_some(epoch, first)
                break
            logs = model._logs()
            if self._validates(epoch):
                found = model._evaluate(self.validation, bars)
                logs.update({f"val_{k}": v for k, v in found.items()})
            bars.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        if last:
            model.optimizer.finalize_variable_values(model._local().trained())
        bars.on_train_end(logs)
        if bars.history is None:
            raise ConfigError("fit lost its History callback.")
        return bars.history

    def _epoch(self, epoch: int) -> int:
        """Train one epoch; returns its number of batches."""
        step = -1
        for step, batch in enumerate(self._batches(epoch)):
            self.bars.on_train_batch_begin(step)
            self.model._train_batch(batch)
            self._check_loss(epoch, step)
            if self.bars.needs_batch_logs:
                self.bars.on_train_batch_end(step, self.model._logs())
            if self.model.stop_training:
                break
        return step + 1

    def _check_some(self, epoch: int, first: int) -> None:
        if epoch == first:
            raise ConfigError("fit: the data held no batch. Received: an empty source.")
        warnings.warn(
            f"Your input ran out of data; training ends after {epoch - first} epochs. Pass a "
            "source that can be read once for each epoch, such as a PyDataset.",
            stacklevel=6,
        )

    def _batches(self, epoch: int) -> Any:
        return self.epochs.batches(self.orders.of(epoch, epoch + 1 == self.last))

    def _order(self, epoch: int) -> np.ndarray | None:
        data = self.data
        if isinstance(data, ArrayData):
            return epoch_order(data.rows, self.shuffle, self.seed, epoch, data.batch_size)
        whole = self.shuffle and data.steps is not None
        return epoch_order(data.steps, True, self.seed, epoch) if whole else None

    def _check_loss(self, epoch: int, step: int) -> None:
        if not self.stops_on_nan and not np.isfinite(float(self.total)):
            raise NonFiniteLossError(
                f"The loss is no longer finite. Received: {self.model._logs()['loss']} at epoch "
                f"{epoch + 1}, step {step + 1}. Check the data for NaN, lower the learning rate, "
                "or use callbacks.TerminateOnNaN to stop without an error."
            )

    def _validates(self, epoch: int) -> bool:
        if self.validation is None:
            return False
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return (epoch + 1) in self.validation_freq


def next_shuffle_seed() -> int:
    """A seed for the order of rows; follows zoo_keras.random.set_random_seed."""
    from zoo_keras.random import make_default_seed

    return make_default_seed()
