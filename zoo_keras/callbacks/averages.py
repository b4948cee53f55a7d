"""SwapEMAWeights: evaluate, predict and save with the moving averages of the weights.

In: an optimizer with use_ema=True. Out: its averages in place of the weights, and the weights back
again. On a cluster the ranks do so themselves when they validate (`spark/fit/rank.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.callbacks.callback import Callback, Logs
from zoo_keras.errors import ConfigError


class SwapEMAWeights(Callback):
    """Put the optimizer's moving averages in place of the weights while a model is evaluated.

    Args:
        swap_on_epoch: also from the end of an epoch to the beginning of the next one, so that
            callbacks behind this one, such as ModelCheckpoint, find the averages.

    Raises ConfigError when the optimizer keeps no averages.
    Source: https://keras.io/api/callbacks/swap_ema_weights.

    Example:
        >>> model.compile(SGD(use_ema=True), "mse")
        >>> model.fit(x, y, validation_data=(x, y), callbacks=[SwapEMAWeights()])
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._kept: list[np.ndarray] | None = None  # the weights, while averages are in the model

    def _pairs(self) -> list[tuple[Any, Any]]:
        """(weight, its average) of everything that is trained."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        found = optimizer.averages()
        if not found:
            raise ConfigError(
                "SwapEMAWeights must be used when `use_ema=True` is set. Received: "
                f"{type(optimizer).__name__} with use_ema={getattr(optimizer, 'use_ema', False)}, "
                f"built={optimizer.built}. Compile with an optimizer that has use_ema=True."
            )
        return found

    def _swap_in(self) -> None:
        if self._kept is not None:
            return
        pairs = self._pairs()
        self._kept = [weight.numpy().copy() for weight, _ in pairs]
        for weight, average in pairs:
            weight.assign(average.value)

    def _swap_back(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            for (weight, _), value in zip(self._pairs(), kept, strict=True):
                weight.assign(value)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._kept = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._swap_back()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.swap_on_epoch:
            self._swap_in()

    def on_train_end(self, logs: Logs = None) -> None:
        self._kept = None  # training ends with the averages as weights

    def on_test_begin(self, logs: Logs = None) -> None:
        self._swap_in()

    def on_test_end(self, logs: Logs = None) -> None:
        self._swap_back()

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._swap_in()

    def on_predict_end(self, logs: Logs = None) -> None:
        self._swap_back()

    def _close(self) -> None:
        self._swap_back()
