"""Progbar: a bar of progress for loops of one's own, drawn by tqdm."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError


class Progbar:
    """Shows how far a loop is, and means of values. Source: keras.utils.Progbar.

    Args:
        target: the number of steps; None where it is not known.
        stateful_metrics: names whose last value is shown, not the mean.
        stateless_metrics: in their place the names whose mean is shown, all others being stateful.

    Raises:
        ConfigError: both are given.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Any = None,
        unit_name: str = "step",
        stateless_metrics: Any = None,
    ) -> None:
        from tqdm import tqdm

        del width
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ConfigError(
                "Progbar: Only one of `stateful_metrics` and `stateless_metrics` may be given. "
                f"Received: {stateful_metrics} and {stateless_metrics}. Leave one out."
            )
        self.target, self.verbose = target, verbose
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self._sums: dict[str, tuple[float, float]] = {}
        self._seen = 0
        self._bar = tqdm(total=target, unit=unit_name, mininterval=interval, disable=not verbose)

    def update(self, current: int, values: Any = None, finalize: bool | None = None) -> None:
        """Show step `current`, and (name, value) pairs."""
        weight = max(current - self._seen, 1)
        for name, value in values or ():
            value = float(np.mean(value))
            if self._is_stateful(name):
                self._sums[name] = value, 1.0
            else:
                total, count = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = total + value * weight, count + weight
        shown = {name: f"{total / count:.4f}" for name, (total, count) in self._sums.items()}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(current - self._seen)
        self._seen = current
        if finalize or (finalize is None and self.target is not None and current >= self.target):
            self._bar.close()

    def _is_stateful(self, name: str) -> bool:
        if self.stateless_metrics is not None:
            return name not in self.stateless_metrics
        return name in self.stateful_metrics

    def add(self, n: int, values: Any = None) -> None:
        """Show n more steps."""
        self.update(self._seen + n, values)
