"""Callback, the list that fit drives, and History. Callbacks run once, where fit was called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo_keras.configs.by_value import carries_lambdas

if TYPE_CHECKING:
    from zoo_keras.models.model import Model

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
        """The model that trains, is evaluated or predicts."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called before training with a dict: epochs, steps, verbose."""
        self.params = params

    def set_model(self, model: Model) -> None:
        """Called before training with the model."""
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
        timing: where the seconds of a fit went, by part: start, read, wait, compute, exchange,
            update, validate, callbacks (`zoo_keras.spark.report` draws them). ranks: the same for
            each rank of a cluster, whose mean timing is; on arrays there is one.
        waits: for each rank of a cluster, seconds it has waited in steps, by the rank that came
            last; a rank that others wait for is slow, or has more to do. hosts: where they ran.
            On a cluster callbacks find all of these as they are at the end of each epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        self.timing: dict[str, float] = {}
        self.ranks: list[dict[str, float]] = []
        self.waits: list[dict[int, float]] = []
        self.hosts: list[str] = []
        self._epochs: dict[str, list[int]] = {}  # of each value in history

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
            self._epochs.setdefault(name, []).append(epoch)

    def _epochs_of(self, name: str) -> list[int]:
        """The epoch of each value, from 1; values that were put there by hand are counted."""
        count, epochs = len(self.history[name]), self._epochs.get(name, [])
        return [epoch + 1 for epoch in (epochs if len(epochs) == count else range(count))]

    def plot(self, metrics: Any = None, axes: Any = None) -> Any:
        """Draw the curves of this fit, one picture for each metric.

        Args:
            metrics: a name or names; all when None.
            axes: those of matplotlib to draw into, one for each metric; new ones when None.

        Returns the axes. Raises ConfigError for unknown names, UnsupportedError without the extra
        `plots`.

        >>> model.fit(x, y, epochs=5).plot("loss")
        """
        from zoo_keras.callbacks.curves import curves

        return curves(self, metrics, axes)
