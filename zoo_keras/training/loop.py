"""Epochs over local data: shuffling, validation, callbacks, and the check for finite losses."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from zoo_keras.callbacks.callback import History
from zoo_keras.callbacks.callback_list import CallbackList
from zoo_keras.errors import ConfigError, NonFiniteLossError
from zoo_keras.training.arguments import FitArguments
from zoo_keras.training.clock import Clock
from zoo_keras.training.data import ArrayData, Orders, epoch_order
from zoo_keras.training.epochs import Epochs, executions
from zoo_keras.training.interface import TrainedModel


class FitLoop:
    """Epochs over local data."""

    def __init__(
        self,
        model: TrainedModel,
        data: Any,
        validation: Any,
        bars: CallbackList,
        arguments: FitArguments,
    ) -> None:
        self.model, self.data, self.bars = model, data, bars
        steps, group = arguments.steps_per_epoch, model.steps_per_execution
        self.epochs, self.arguments = Epochs(data, steps, group=group), arguments
        self.validation: Epochs | None = None
        if validation is not None:
            steps = arguments.validation_steps
            self.validation = Epochs(validation, steps, "validation_steps", group)
        self.seed, self.last = next_shuffle_seed(), 0
        self.orders = Orders(self._order, data.rows or 0)
        self.stops_on_nan = any(type(c).__name__ == "TerminateOnNaN" for c in bars.callbacks)

    def run(self) -> History:
        """Train all epochs. When data have run out for good, the rest is left out."""
        with self.bars.closed_by_failure():
            return self._run(self.arguments.initial_epoch, self.arguments.epochs)

    def _run(self, first: int, last: int) -> History:
        model, bars, self.last, self.clock = self.model, self.bars, last, Clock()
        model.stop_training = False
        bars.on_train_begin()
        first, logs = model.begun_at(first), dict[str, Any]()
        for epoch in range(first, last):
            model._reset()
            bars.on_epoch_begin(epoch)
            self.clock.lap("callbacks")
            if not self._epoch(epoch):
                self._check_some(epoch, first)
                break
            logs = model._logs()
            if self.validation is not None and self.arguments.validates(epoch):
                found = model._evaluate(self.validation, bars)
                logs.update({f"val_{k}": v for k, v in found.items()})
                self.clock.lap("validate")
            bars.on_epoch_end(epoch, logs)
            self.clock.lap("callbacks")
            if model.stop_training:
                break
        if last:
            model.optimizer.finalize_variable_values(model._local().trained())
        if bars.history is None:
            raise ConfigError("fit lost its History callback.")
        bars.history.timing = self.clock.alone()
        bars.history.ranks = [bars.history.timing]
        bars.on_train_end(logs)
        return bars.history

    def _epoch(self, epoch: int) -> int:
        """Train one epoch; returns its number of batches."""
        steps, lap = 0, self.clock.lap
        size = self.model.steps_per_execution
        for first, last, batches in executions(self._batches(epoch), size):
            lap("read")
            self.bars.on_train_batch_begin(first)
            lap("callbacks")
            for batch in batches:
                self.model._train_batch(batch)
                self._check_loss(epoch, steps)
                steps += 1
            lap("compute")
            if self.bars.needs_batch_logs:
                self.bars.on_train_batch_end(last, self.model._logs())
                lap("callbacks")
            if self.model.stop_training:
                break
        lap("read")
        return steps

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
            return epoch_order(data.rows, self.arguments.shuffle, self.seed, epoch, data.batch_size)
        whole = self.arguments.shuffle and data.steps is not None
        return epoch_order(data.steps, True, self.seed, epoch) if whole else None

    def _check_loss(self, epoch: int, step: int) -> None:
        total = self.model._require_compiled("fit").loss_tracker.total
        if not self.stops_on_nan and not np.isfinite(float(total)):
            raise NonFiniteLossError(
                f"The loss is no longer finite. Received: {self.model._logs()['loss']} at epoch "
                f"{epoch + 1}, step {step + 1}. Check the data for NaN, lower the learning rate, "
                "or use callbacks.TerminateOnNaN to stop without an error."
            )


def next_shuffle_seed() -> int:
    """A seed for the order of rows; follows zoo_keras.random.set_random_seed."""
    from zoo_keras.random import make_default_seed

    return make_default_seed()
