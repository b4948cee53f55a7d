"""The callbacks of one fit, evaluate or predict, called as one.

In: callbacks in their order. Out: their hooks, each called with its number and logs. Knows no
training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo_keras.callbacks.callback import Callback, History
from zoo_keras.callbacks.progress import ProgbarLogger
from zoo_keras.nest import flatten

if TYPE_CHECKING:
    from zoo_keras.training.interface import TrainedModel


class CallbackList:
    """Calls a hook on every callback that defines it, in their order, each with the same copy of
    the logs: what a callback adds is seen by those behind it, and by no later hook."""

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
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in given):
            self.callbacks.append(ProgbarLogger())  # last: it shows what others add to logs
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self.needs_batch_logs = bool(self._with("on_train_batch_end"))

    def close(self) -> None:
        """Let callbacks give up files and bars."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback._close()

    @contextmanager
    def closed_by_failure(self) -> Iterator[None]:
        """Close when the block fails, for then there will be no hook at its end."""
        try:
            yield
        except BaseException:
            self.close()
            raise

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
            given = dict(sorted((logs[0] or {}).items())) if logs else {}  # by name, as in Keras
            for function in bound:
                function(*number, given)

        self.__dict__[hook] = call
        return call
