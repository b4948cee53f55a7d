"""Epochs over local data: shuffling, validation, callbacks, and the check for finite losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.callbacks.callback import CallbackList, History
from zoo_keras.errors import ConfigError, NonFiniteLossError
from zoo_keras.training.data import ArrayData, epoch_order


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
        self.model, self.data, self.validation, self.bars = model, data, validation, bars
        self.shuffle, self.steps = shuffle, steps
        self.validation_steps, self.validation_freq = validation_steps, validation_freq
        self._left: Any = None
        self.seed = next_shuffle_seed()
        self.stops_on_nan = any(type(c).__name__ == "TerminateOnNaN" for c in bars.callbacks)

    def run(self, first: int, last: int) -> History:
        model, bars = self.model, self.bars
        model.stop_training = False
        bars.on_train_begin()
        logs: dict[str, Any] = {}
        for epoch in range(first, last):
            model._reset()
            bars.on_epoch_begin(epoch)
            logs = self._epoch(epoch)
            if self._validates(epoch):
                found = model._evaluate(self.validation, bars, self.validation_steps)
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

    def _epoch(self, epoch: int) -> dict[str, Any]:
        step = -1
        for step, batch in enumerate(self._batches(epoch)):
            self.bars.on_train_batch_begin(step)
            self.model._train_batch(batch)
            self._check_loss(epoch, step)
            if self.bars.needs_batch_logs:
                self.bars.on_train_batch_end(step, self.model._logs())
            if self.model.stop_training:
                break
        if step < 0:
            raise ConfigError("fit: the data held no batch. Received: an empty source.")
        return self.model._logs()

    def _batches(self, epoch: int) -> Any:
        order = None
        if isinstance(self.data, ArrayData):
            order = epoch_order(self.data.rows, self.shuffle, self.seed, epoch,
                                self.data.batch_size)  # fmt: skip
        elif self.shuffle and self.data.steps is not None:
            order = epoch_order(self.data.steps, True, self.seed, epoch)
        if self.steps is None:
            yield from self.data.batches(order)
            return
        for _ in range(self.steps):  # goes on where the last epoch ended, as Keras does
            if self._left is None:
                self._left = iter(self.data.batches(order))
            batch = next(self._left, None)
            if batch is None:
                self._left = iter(self.data.batches(order))
                batch = next(self._left, None)
            if batch is None:
                return
            yield batch

    def _check_loss(self, epoch: int, step: int) -> None:
        if not self.stops_on_nan and not np.isfinite(float(self.model._loss_tracker.total)):
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
