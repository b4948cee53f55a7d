"""Callback, the list that fit drives, and History. Callbacks run once, where fit was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from zoo_keras.configs.by_value import carries_lambdas
from zoo_keras.nest import flatten

if TYPE_CHECKING:
    from zoo_keras.models.model import Model
    from zoo_keras.training.interface import TrainedModel

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
    def model(self) -> Model:
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Model) -> None:
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
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training batch; on a cluster several batches may be reported at once."""
        self.on_batch_end(batch, logs)

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

    def _close(self) -> None:
        """Give up files and bars: fit has raised, and on_train_end will not be called."""


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

    def set_model(self, model: Model) -> None:
        super().set_model(model)
        if model is not None:
            model.history = self

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CallbackList:
    """Calls a hook on every callback that defines it, in their order, each with logs (a dict)."""

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: TrainedModel | None = None,
        **params: Any,
    ) -> None:
        given = [] if callbacks is None else flatten(
            callbacks if isinstance(callbacks, Callback) else list(callbacks))  # fmt: skip
        self.callbacks: list[Any] = given
        self.history: History | None = next((c for c in given if isinstance(c, History)), None)
        if add_history and self.history is None:
            self.history = History()
            self.callbacks.append(self.history)
        if add_progbar and not any(type(c).__name__ == "ProgbarLogger" for c in given):
            from zoo_keras.callbacks.progress import ProgbarLogger

            self.callbacks.append(ProgbarLogger())  # last: it shows what others add to logs
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self.needs_batch_logs = bool(self._with("on_train_batch_end"))

    def close(self) -> None:
        """Let callbacks give up files and bars when there will be no on_train_end."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback._close()

    def _with(self, hook: str) -> list[Callable[..., None]]:
        """The bound hooks of the callbacks that override it, or its older name."""
        names = [hook]
        if hook in ("on_train_batch_begin", "on_train_batch_end"):
            names.append(hook.replace("train_", ""))
        return [
            getattr(c, hook)
            for c in self.callbacks
            if any(
                getattr(type(c), name, None) is not getattr(Callback, name)
                or name in getattr(c, "__dict__", {})
                for name in names
            )
        ]

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if not hook.startswith("on_"):
            raise AttributeError(hook)
        bound = self._with(hook)
        numbered = "batch" in hook or "epoch" in hook

        def call(*args: Any) -> None:
            number, logs = args[:numbered], args[numbered:]
            given = logs[0] if logs and logs[0] is not None else {}
            for function in bound:
                function(*number, given)

        self.__dict__[hook] = call
        return call
