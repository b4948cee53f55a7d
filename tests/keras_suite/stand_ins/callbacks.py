"""Names of `keras.src.callbacks` that zoo_keras keeps elsewhere."""

from __future__ import annotations

from typing import Any

from zoo_keras.callbacks.library import _Monitor


class MonitorCallback(_Monitor):
    """What callbacks share that watch a metric, under the inner names that Keras' tests use."""

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: Any = None,
        min_delta: float = 0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        self.best = baseline

    def _set_monitor_op(self) -> None:
        self._larger_is_better()

    def _is_improvement(self, now: float, best: float | None) -> bool:
        return self._better(now, best, self.min_delta)
