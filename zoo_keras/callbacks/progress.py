"""The progress bar of fit, evaluate and predict, drawn by tqdm."""

from __future__ import annotations

import sys
import time
from typing import Any

from zoo_keras.callbacks.callback import Callback, Logs


def on_screen() -> bool:
    """Whether somebody sees what is drawn over: a terminal or a notebook, no log file."""
    return "ipykernel" in sys.modules or bool(getattr(sys.stdout, "isatty", lambda: False)())


class ProgbarLogger(Callback):
    """verbose=1: a bar for each epoch with the metrics so far, in terminals and notebooks;
    verbose=2, and wherever else it prints to: one line an epoch. Both say how many samples a second
    are trained, where it is known how many an epoch has."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._start = 0.0
        self._epoch = 0
        self._training = False
        self._rate: float | None = None  # samples a second of this epoch

    def on_train_begin(self, logs: Logs = None) -> None:
        self._training = True

    def on_train_end(self, logs: Logs = None) -> None:
        self._training, self._rate = False, None
        self._close()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch, self._start, self._rate = epoch, time.monotonic(), None
        self._open(f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        samples, steps = self.params.get("samples"), self.params.get("steps")
        if samples and steps:
            seconds = max(time.monotonic() - self._start, 1e-9)
            self._rate = samples * (batch + 1) / steps / seconds
        self._advance(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._finish(logs, f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}")

    def on_test_begin(self, logs: Logs = None) -> None:
        if not self._training:
            self._start = time.monotonic()
            self._open("Evaluate")

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self._training:
            self._advance(batch + 1, logs)

    def on_test_end(self, logs: Logs = None) -> None:
        if not self._training:
            self._finish(logs, "Evaluate")

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._start = time.monotonic()
        self._open("Predict")

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._advance(batch + 1, None)

    def on_predict_end(self, logs: Logs = None) -> None:
        self._finish(None, "Predict")

    def _open(self, title: str) -> None:
        self._close()
        if self.params.get("verbose") == 1 and on_screen():
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self.params.get("steps"), desc=title, unit="step",
                             file=sys.stdout, dynamic_ncols=True)  # fmt: skip

    def _advance(self, steps: int, logs: Logs) -> None:
        if self._bar is not None:
            self._bar.update(steps - self._bar.n)
            if logs:
                self._bar.set_postfix_str(self._told(logs), refresh=False)

    def _finish(self, logs: Logs, title: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(self._told(logs or {}))
            self._close()
        elif self.params.get("verbose"):
            parts = [title, f"{time.monotonic() - self._start:.1f}s", self._told(logs or {})]
            print(" - ".join(filter(None, parts)), flush=True)

    def _told(self, logs: dict[str, Any]) -> str:
        rate = "" if self._rate is None else f"{self._rate:,.0f} samples/s"
        return " - ".join(filter(None, [rate, _numbers(logs)]))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _numbers(logs: dict[str, Any]) -> str:
    return " - ".join(f"{name}: {_short(value)}" for name, value in logs.items())


def _short(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:.4f}" if abs(number) > 1e-3 else f"{number:.4e}"
