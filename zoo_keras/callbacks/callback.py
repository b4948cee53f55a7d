"""Callback, the list that fit drives, and History. Callbacks run once, where fit was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zoo_keras.saving.by_value import carries_lambdas

Logs = dict[str, Any] | None


@carries_lambdas
class Callback:
    """Base of callbacks: override the hooks you need. https://keras.io/api/callbacks/base_callback/

    Attributes:
        params: verbose, epochs and steps of the running fit.
        model: the model; set `self.model.stop_training = True` to end fit after this step.
    """

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self._model = model

    def on_train_begin(self, logs: Logs = None) -> None:
        """Once, before the first epoch."""

    def on_train_end(self, logs: Logs = None) -> None:
        """Once, after the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before the first batch of an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch and its validation; logs hold all metrics, val_ ones too."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training batch."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training batch; on a cluster several batches may be reported at once."""

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Older name of on_train_batch_begin."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Older name of on_train_batch_end."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before evaluation or validation."""

    def on_test_end(self, logs: Logs = None) -> None:
        """After evaluation or validation."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before an evaluation batch."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After an evaluation batch."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before prediction."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """After prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a prediction batch."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a prediction batch."""


class History(Callback):
    """Metrics of every epoch; fit returns it.

    Attributes:
        epoch: numbers of the epochs run. history: name -> one value an epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self


class CallbackList:
    """Calls a hook on every callback; batch hooks only on those that define them."""

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        self.callbacks: list[Any] = given
        self.history: History | None = None
        if add_history:
            self.history = next((c for c in given if isinstance(c, History)), History())
            if not any(c is self.history for c in given):
                self.callbacks.append(self.history)
        if add_progbar and not any(type(c).__name__ == "ProgbarLogger" for c in given):
            from zoo_keras.callbacks.progress import ProgbarLogger

            self.callbacks.insert(0, ProgbarLogger())
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self.needs_batch_logs = bool(self._with("on_train_batch_end") + self._with("on_batch_end"))

    def _with(self, hook: str) -> list[Callable[..., None]]:
        """The bound hooks of the callbacks that override it."""
        return [
            getattr(c, hook)
            for c in self.callbacks
            if getattr(type(c), hook, None) is not getattr(Callback, hook)
            or hook in getattr(c, "__dict__", {})
        ]

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if not hook.startswith("on_"):
            raise AttributeError(hook)
        names = [hook]
        if hook in ("on_train_batch_begin", "on_train_batch_end"):
            names.append(hook.replace("train_", ""))
        bound = [function for name in names for function in self._with(name)]

        expected = 2 if "batch" in hook or "epoch" in hook else 1

        def call(*args: Any) -> None:
            padded = (*args, None)[:expected]  # logs are always passed, as Keras does
            for function in bound:
                function(*padded)

        self.__dict__[hook] = call
        return call
