"""Progbar: a bar of progress for loops of one's own, drawn by tqdm."""

from __future__ import annotations

from typing import Any


class Progbar:
    """Shows how far a loop is, and means of values. Source: keras.utils.Progbar.

    Args:
        target: the number of steps; None where it is not known.
        stateful_metrics: names whose last value is shown, not the mean.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Any = None,
        unit_name: str = "step",
    ) -> None:
        from tqdm import tqdm

        del width
        self.target, self.verbose = target, verbose
        self.stateful_metrics = set(stateful_metrics or ())
        self._sums: dict[str, tuple[float, float]] = {}
        self._seen = 0
        self._bar = tqdm(total=target, unit=unit_name, mininterval=interval, disable=not verbose)

    def update(self, current: int, values: Any = None, finalize: bool | None = None) -> None:
        """Show step `current`, and (name, value) pairs."""
        weight = max(current - self._seen, 1)
        for name, value in values or ():
            if name in self.stateful_metrics:
                self._sums[name] = float(value), 1.0
            else:
                total, count = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = total + float(value) * weight, count + weight
        shown = {name: f"{total / count:.4f}" for name, (total, count) in self._sums.items()}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(current - self._seen)
        self._seen = current
        if finalize or (finalize is None and self.target is not None and current >= self.target):
            self._bar.close()

    def add(self, n: int, values: Any = None) -> None:
        """Show n more steps."""
        self.update(self._seen + n, values)
