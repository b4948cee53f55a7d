"""Triggers: when training ends and when a model is saved, in the words of BigDL.

In: how far training is. Out: yes or no; and the callbacks that act on it. Iterations are steps,
each a batch on all ranks together. Knows no DataFrame.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

from zoo_keras.callbacks import Callback
from zoo_keras.errors import ConfigError
from zoo_keras.models import Model


class Progress(NamedTuple):
    """How far training is: epochs and iterations that are done, the loss, and the first metric of
    validation (None where there is none yet); `at_end` of an epoch."""

    epochs: int
    iterations: int
    loss: float
    score: float | None
    at_end: bool


class Trigger:
    """The base.

    Attributes:
        by_iteration: whether it may fire within an epoch. The ranks then wait for the driver after
            each step.
        most_epochs: in how many epochs it has fired at the latest; infinity when nobody knows.
    """

    by_iteration = False
    most_epochs: float = math.inf

    def fires(self, now: Progress) -> bool:
        """Whether it is time."""
        raise NotImplementedError


class EveryEpoch(Trigger):
    """After each epoch."""

    most_epochs = 1

    def fires(self, now: Progress) -> bool:
        """At the end of an epoch."""
        return now.at_end


class SeveralIteration(Trigger):
    """Every so many iterations."""

    by_iteration = True

    def __init__(self, interval: int) -> None:
        self.interval = self.most_epochs = _whole("SeveralIteration", interval)

    def fires(self, now: Progress) -> bool:
        """When the number of iterations is a multiple; not once more at an epoch's end."""
        return not now.at_end and now.iterations % self.interval == 0


class MaxEpoch(Trigger):
    """After so many epochs."""

    def __init__(self, max_epoch: int) -> None:
        self.max_epoch = self.most_epochs = _whole("MaxEpoch", max_epoch)

    def fires(self, now: Progress) -> bool:
        """When they are done."""
        return now.epochs >= self.max_epoch


class MaxIteration(Trigger):
    """After so many iterations."""

    by_iteration = True

    def __init__(self, max: int) -> None:
        self.max = self.most_epochs = _whole("MaxIteration", max)

    def fires(self, now: Progress) -> bool:
        """When they are done."""
        return now.iterations >= self.max


class MaxScore(Trigger):
    """When the first metric of validation is above a value."""

    def __init__(self, max: float) -> None:
        self.max = float(max)

    def fires(self, now: Progress) -> bool:
        """When it is."""
        return now.score is not None and now.score > self.max


class MinLoss(Trigger):
    """When the loss of training is below a value; the mean over the epoch so far."""

    by_iteration = True

    def __init__(self, min: float) -> None:
        self.min = float(min)

    def fires(self, now: Progress) -> bool:
        """When it is."""
        return now.loss < self.min


class _Several(Trigger):
    def __init__(self, first: Trigger, *other: Trigger) -> None:
        self.parts = [first, *other]
        for each in self.parts:
            trigger_of(each)
        self.by_iteration = any(each.by_iteration for each in self.parts)


class TriggerAnd(_Several):
    """When all fire at once."""

    def fires(self, now: Progress) -> bool:
        """Whether all do."""
        return all(each.fires(now) for each in self.parts)


class TriggerOr(_Several):
    """When one fires."""

    def __init__(self, first: Trigger, *other: Trigger) -> None:
        super().__init__(first, *other)
        self.most_epochs = min(each.most_epochs for each in self.parts)

    def fires(self, now: Progress) -> bool:
        """Whether one does."""
        return any(each.fires(now) for each in self.parts)


def trigger_of(value: Any) -> Trigger:
    """A trigger; ConfigError for anything else."""
    if isinstance(value, Trigger):
        return value
    raise ConfigError(
        f"A trigger is needed. Received: {value!r}. Pass e.g. EveryEpoch() or MaxIteration(100)."
    )


def _whole(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ConfigError(
        f"{name} needs a whole number above 0. Received: {value!r}. Pass e.g. {name}(10)."
    )


# ---- what is done when a trigger fires -----------------------------------------------------------


class _OnTrigger(Callback):
    """Looks at a trigger after each step where that is needed, and after each epoch."""

    def __init__(self, trigger: Trigger) -> None:
        super().__init__()
        self.trigger, self.epochs, self.iterations = trigger, 0, 0
        self.save_freq = (
            1 if trigger.by_iteration else "epoch"
        )  # the ranks stop at each step, or not

    def on_train_begin(self, logs: Any = None) -> None:
        """Nothing is done yet."""
        self.epochs = self.iterations = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """One more iteration; not each is seen where no trigger asks for them."""
        if self.trigger.by_iteration:
            self.iterations += 1
            self._look(logs, False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """One more epoch."""
        self.epochs = epoch + 1
        self._look(logs, True)

    def _look(self, logs: Any, at_end: bool) -> None:
        found = dict(logs or {})
        scores = [v for k, v in found.items() if k.startswith("val_") and k != "val_loss"]
        now = Progress(
            self.epochs, self.iterations, float(found.get("loss", math.inf)),
            float(scores[0]) if scores else None, at_end,
        )  # fmt: skip
        if self.trigger.fires(now):
            self.act(now)

    def act(self, now: Progress) -> None:
        """What is to be done."""
        raise NotImplementedError


class EndWhen(_OnTrigger):
    """Ends training when a trigger fires."""

    def act(self, now: Progress) -> None:
        """Stop at this step."""
        self.model.stop_training = True


class SaveWhen(_OnTrigger):
    """Saves the net (the last layer of the model) when a trigger fires.

    The file is `model.keras` with over_write, else `model.N.keras`, where N counts iterations for
    triggers that look at these, and epochs for others.
    """

    def __init__(self, path: str, trigger: Trigger, over_write: bool) -> None:
        super().__init__(trigger)
        self.path, self.over_write = path, over_write

    def act(self, now: Progress) -> None:
        """Save."""
        number = now.iterations if self.trigger.by_iteration else now.epochs
        name = "model.keras" if self.over_write else f"model.{number}.keras"
        net: Model = self.model.layers[-1]
        net.save(os.path.join(self.path, name))
