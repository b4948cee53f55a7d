"""The ready-made callbacks, with Keras' names and arguments (https://keras.io/api/callbacks/)."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.callbacks.callback import Callback, Logs
from zoo_keras.errors import ConfigError
from zoo_keras.switches import say

_BETTER_WHEN_LARGER = ("acc", "auc", "precision", "recall", "fmeasure", "f1")
_BETTER_WHEN_SMALLER = ("loss", "error", "mse", "mae", "rmse", "mape", "msle", "divergence")


def learning_rates(optimizer: Any) -> dict[str, float]:
    """{"learning_rate": rate}; where there are several optimizers, a name for each."""
    rated = optimizer.rated()
    if len(rated) == 1:
        return {"learning_rate": float(rated[0].learning_rate)}
    return {f"learning_rate_{each.name}": float(each.learning_rate) for each in rated}


class _Monitor(Callback):
    """What callbacks share that watch one metric: which way is better."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(f"{type(self).__name__} mode {mode!r} is unknown, using 'auto'.",
                          stacklevel=3)  # fmt: skip
            mode = "auto"
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)

    @property
    def monitor_op(self) -> Any:
        """ops.greater or ops.less: how a better value compares with the best before."""
        return ops.greater if self._larger_is_better() else ops.less

    def _larger_is_better(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        for metric in self._model_metrics():  # of several outputs each has its name before that
            known = getattr(metric, "_direction", None) and getattr(metric, "name", None)
            if known and (name == known or name.endswith(f"_{known}")):
                return bool(metric._direction == "up")
        if any(part in name for part in _BETTER_WHEN_LARGER):
            return True
        if not name.endswith(_BETTER_WHEN_SMALLER):
            raise ConfigError(
                f"{type(self).__name__}: whether {self.monitor!r} is to become larger or smaller "
                "is not known. Received: mode='auto'. Pass mode='max' or mode='min'."
            )
        return False

    def _model_metrics(self) -> list[Any]:
        return list(getattr(self.model, "metrics", []))

    def _better(self, now: float, best: float | None, delta: float = 0.0) -> bool:
        if best is None:
            return True
        return now - delta > best if self._larger_is_better() else now + delta < best

    def _value(self, logs: Logs) -> float | None:
        self._larger_is_better()  # raises where that is not known
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"{type(self).__name__}: the metric {self.monitor!r} is not there. "
                f"Available: {', '.join(logs or {})}.",
                stacklevel=4,
            )
        return value


class EarlyStopping(_Monitor):
    """Stop when a metric has stopped improving."""

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: float | None = None
        self.best_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        now = self._value(logs)
        if now is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._better(now, self.best, self.min_delta):
            self._note_best(epoch, now)
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _note_best(self, epoch: int, now: float) -> None:
        self.best, self.best_epoch = now, epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()
        if self.baseline is None or self._better(now, self.baseline, self.min_delta):
            self.wait = 0

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch > 0 and self.verbose:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                say(f"Restoring model weights from the end of epoch {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(_Monitor):
    """Save the model or its weights as training goes on.

    `filepath` may hold format fields such as {epoch:02d} and {val_loss:.2f}.
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath = os.fspath(filepath)
        self.verbose, self.save_best_only = verbose, save_best_only
        self.save_weights_only, self.save_freq = save_weights_only, save_freq
        self.best = initial_value_threshold
        self._seen, self._epoch = 0, 0
        self._check_path()

    def _check_path(self) -> None:
        endings = (".weights.h5",) if self.save_weights_only else (".keras", ".h5")
        if not self.filepath.endswith(endings):
            raise ConfigError(
                f"ModelCheckpoint: with save_weights_only={self.save_weights_only} the path must "
                f"end in {' or '.join(endings)}. Received: {self.filepath!r}."
            )
        if self.save_freq != "epoch" and not isinstance(self.save_freq, int):
            raise ConfigError(
                "ModelCheckpoint: save_freq must be 'epoch' or a number of batches. "
                f"Received: {self.save_freq!r}."
            )

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if isinstance(self.save_freq, int):
            self._seen += 1
            if self._seen % self.save_freq == 0:
                self._save(self._epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        if self.save_best_only:
            now = self._value(logs)
            if now is not None and not self._better(now, self.best):
                return
            self.best = self.best if now is None else now  # unknown: saved, as Keras does
        path = self._path(epoch, batch, logs)
        if self.verbose:
            say(f"\nEpoch {epoch + 1}: saving model to {path}")
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        fields = {"epoch": epoch + 1, **(logs or {})}
        if batch is not None:
            fields["batch"] = batch + 1
        try:
            return self.filepath.format(**fields)
        except KeyError as error:
            raise ConfigError(
                f"ModelCheckpoint: the path {self.filepath!r} uses {error}, which is not among "
                f"the logs. Received: {sorted(fields)}."
            ) from None


class LearningRateScheduler(Callback):
    """Set the learning rate before every epoch: schedule(epoch) or schedule(epoch, lr)."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        for optimizer in self.model.optimizer.rated():
            self._set(epoch, optimizer)

    def _set(self, epoch: int, optimizer: Any) -> None:
        now = float(optimizer.learning_rate)
        try:
            rate = self.schedule(epoch, now)
        except TypeError:
            rate = self.schedule(epoch)
        if not isinstance(rate, (float, np.floating, np.ndarray, int)):
            raise ConfigError(
                f"LearningRateScheduler: the schedule must return a number. Received: {rate!r}."
            )
        optimizer.learning_rate = float(rate)
        if self.verbose:
            say(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            logs.update(learning_rates(self.model.optimizer))


class ReduceLROnPlateau(_Monitor):
    """Lower the learning rate when a metric has stopped improving."""

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if kwargs:
            raise ConfigError(f"ReduceLROnPlateau: unknown arguments. Received: {sorted(kwargs)}.")
        if factor >= 1:
            raise ConfigError(f"ReduceLROnPlateau: factor must be below 1. Received: {factor}.")
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.best: float | None = None
        self.wait, self.cooldown_counter = 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            logs.update(learning_rates(self.model.optimizer))
        now = self._value(logs)
        if now is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.wait = self.cooldown_counter - 1, 0
        if self._better(now, self.best, self.min_delta):
            self.best, self.wait = now, 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            rated = self.model.optimizer.rated()
            high = [each for each in rated if float(each.learning_rate) > self.min_lr]
            if self.wait >= self.patience and high:
                for each in high:
                    self._reduce(epoch, each)
                self.cooldown_counter, self.wait = self.cooldown, 0

    def _reduce(self, epoch: int, optimizer: Any) -> None:
        lower = max(float(optimizer.learning_rate) * self.factor, self.min_lr)
        optimizer.learning_rate = lower
        if self.verbose:
            say(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {lower}.")


class CSVLogger(Callback):
    """Write the metrics of every epoch into a CSV file, NA where an epoch has none.

    The header is complete from the first epoch on: columns for validation are there even when
    validation runs later (validation_freq).
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename, self.sep, self.append = os.fspath(filename), separator, append
        self._file: Any = None
        self._writer: Any = None
        self._keys: list[str] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self._close()
        exists = os.path.exists(self.filename) and os.path.getsize(self.filename) > 0
        self._keys = self._header_of_before() if self.append and exists else []
        self._file = open(  # noqa: SIM115 (closed when training ends)
            self.filename, "a" if self.append else "w", newline=""
        )

    def _header_of_before(self) -> list[str]:
        with open(self.filename, newline="") as file:
            first = next(csv.reader(file, delimiter=self.sep), [])
        return first[1:] if first[:1] == ["epoch"] else []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        if self._writer is None:
            header = not self._keys
            self._keys = self._keys or self._columns(logs)
            names = ["epoch", *self._keys]
            self._writer = csv.DictWriter(self._file, names, delimiter=self.sep)
            if header:
                self._writer.writeheader()
        if unknown := sorted(set(logs) - set(self._keys)):
            warnings.warn(
                f"CSVLogger: {self.filename} has no column for {unknown}, which stay out. "
                f"Its columns are {self._keys}.",
                stacklevel=4,
            )
        self._writer.writerow({"epoch": epoch, **{k: _cell(logs.get(k)) for k in self._keys}})
        self._file.flush()

    @staticmethod
    def _columns(logs: dict[str, Any]) -> list[str]:
        keys = sorted(logs)
        validated = any(key.startswith("val_") for key in keys)
        return keys if validated else [*keys, *[f"val_{key}" for key in keys]]

    def on_train_end(self, logs: Logs = None) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _cell(value: Any) -> Any:
    """What a CSV file holds for a value in logs; arrays as Keras writes them."""
    if value is None:
        return "NA"
    many = isinstance(value, (list, tuple)) or bool(getattr(value, "ndim", 0))
    return f'"[{", ".join(map(str, value))}]"' if many else value


class LambdaCallback(Callback):
    """A callback made of functions, one for each hook given."""

    def __init__(
        self,
        on_epoch_begin: Callable[..., None] | None = None,
        on_epoch_end: Callable[..., None] | None = None,
        on_train_begin: Callable[..., None] | None = None,
        on_train_end: Callable[..., None] | None = None,
        on_train_batch_begin: Callable[..., None] | None = None,
        on_train_batch_end: Callable[..., None] | None = None,
        **kwargs: Callable[..., None],
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        self.__dict__.update({k: f for k, f in hooks.items() if f is not None})


class TerminateOnNaN(Callback):
    """Stop as soon as the loss is NaN or infinite; with raise_error by a RuntimeError."""

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            if self.raise_error:
                raise RuntimeError(
                    f"NaN or Inf loss encountered at batch {batch}. Received: loss={loss}. Check "
                    "the data for NaN, or lower the learning rate."
                )
            say(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
