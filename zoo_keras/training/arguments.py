"""The arguments of fit, evaluate and predict: one checked object for whoever runs them.

In: what a user has passed to a method of Model. Out: an object with Keras' defaults, for arrays
here and for records on Spark alike; a ConfigError before anything has started. Knows no data and
no cluster.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from zoo_keras.callbacks.callback_list import CallbackList
from zoo_keras.errors import ConfigError
from zoo_keras.switches import is_interactive_logging_enabled, max_epochs
from zoo_keras.training.data import check_batch_size, check_class_weight
from zoo_keras.training.interface import TrainedModel

A = TypeVar("A", bound="Arguments")


@dataclass(frozen=True, eq=False)
class Arguments:
    """What all three methods take."""

    batch_size: int | None = None
    verbose: Any = "auto"
    callbacks: Any = None
    fill_value: Any = None

    @property
    def verbosity(self) -> int:
        shown = 1 if is_interactive_logging_enabled() else 2
        return shown if self.verbose == "auto" else int(self.verbose)

    def given(self) -> dict[str, Any]:
        """The arguments by name, but how much is shown."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "verbose"}

    def with_sizes(self: A, **sizes: int) -> A:
        """The same with other numbers of rows for a batch."""
        return replace(self, **sizes)


@dataclass(frozen=True, eq=False)
class PredictArguments(Arguments):
    """predict's."""

    steps: int | None = None

    def bars(self, model: TrainedModel, steps: int | None) -> CallbackList:
        """The callbacks, with a bar of so many steps."""
        return CallbackList(
            self.callbacks, add_progbar=self.verbosity == 1, model=model, verbose=self.verbosity,
            steps=self.steps or steps,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class EvaluateArguments(Arguments):
    """evaluate's."""

    y: Any = None
    sample_weight: Any = None
    steps: int | None = None
    pad_value: float | None = None

    def bars(self, model: TrainedModel, steps: int | None) -> CallbackList:
        """The callbacks, with a bar of so many steps."""
        return CallbackList(
            self.callbacks, add_progbar=bool(self.verbosity), model=model, verbose=self.verbosity,
            epochs=1, steps=self.steps or steps,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FitArguments(Arguments):
    """fit's."""

    y: Any = None
    epochs: int = 1
    validation_split: float = 0.0
    validation_data: Any = None
    shuffle: Any = True
    class_weight: dict[int, float] | None = None
    sample_weight: Any = None
    initial_epoch: int = 0
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: Any = 1
    pad_value: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", check_class_weight(self.class_weight))
        for size in (self.batch_size, self.validation_batch_size):
            check_batch_size(size)
        whole("epochs", self.epochs, 0)
        if (most := max_epochs()) is not None:
            object.__setattr__(self, "epochs", min(self.epochs, most))
        whole("initial_epoch", self.initial_epoch, 0)
        if self.steps_per_epoch is not None:
            whole("steps_per_epoch", self.steps_per_epoch, 1)
        share = self.validation_split or 0
        if not is_number(share) or not 0 <= share < 1:
            raise ConfigError(
                f"fit: validation_split must lie in [0, 1). Received: {share!r}. Pass e.g. 0.2."
            )
        object.__setattr__(self, "validation_split", float(share))
        if not isinstance(self.validation_freq, Collection):
            whole("validation_freq", self.validation_freq, 1)

    def bars(self, model: TrainedModel, steps: int | None, rows: int | None = None) -> CallbackList:
        """The callbacks, History among them, with a bar of so many steps; an epoch has so many
        rows."""
        return CallbackList(
            self.callbacks, add_history=True, add_progbar=bool(self.verbosity), model=model,
            verbose=self.verbosity, epochs=self.epochs, steps=self.steps_per_epoch or steps,
            samples=None if self.steps_per_epoch else rows,
        )  # fmt: skip

    def validates(self, epoch: int) -> bool:
        """Whether validation follows this epoch, where there is something to validate on."""
        freq = self.validation_freq
        if isinstance(freq, Collection):
            return epoch + 1 in freq
        return bool((epoch + 1) % freq == 0)


def is_number(value: Any) -> bool:
    """Whether a value is a plain number; True and False are none."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def whole(name: str, value: Any, least: int) -> None:
    """Raises ConfigError for an argument of fit that is no whole number of at least that."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ConfigError(
            f"fit: {name} must be a whole number of at least {least}. Received: {name}={value!r}. "
            "Change it."
        )
