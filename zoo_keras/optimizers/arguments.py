"""Checks of the arguments that all optimizers share, with errors that name the optimizer."""

from __future__ import annotations

from typing import Any

from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.missing import warn_older
from zoo_keras.optimizers.schedules import InverseTimeDecay


def check_arguments(optimizer: Any) -> None:
    """Raise for arguments that exclude each other or make no sense."""
    name = type(optimizer).__name__
    limits = {k: getattr(optimizer, k) for k in ("clipnorm", "clipvalue", "global_clipnorm")}
    if sum(v is not None for v in limits.values()) > 1:
        raise ConfigError(
            f"{name}: only one of clipnorm, clipvalue and global_clipnorm may be given. "
            f"Received: {limits}. Drop the others."
        )
    if optimizer.use_ema and not 0 <= optimizer.ema_momentum <= 1:
        raise ConfigError(
            f"{name}: ema_momentum must lie in 0..1. Received: {optimizer.ema_momentum}. "
            "A usual value is 0.99."
        )
    every = optimizer.ema_overwrite_frequency
    if optimizer.use_ema and every is not None and (not isinstance(every, int) or every < 1):
        raise ConfigError(
            f"{name}: ema_overwrite_frequency must be a whole number above 0 or None. "
            f"Received: {every!r}. Pass the number of steps."
        )
    steps = optimizer.gradient_accumulation_steps
    if steps is not None and (not isinstance(steps, int) or steps < 2):
        raise ConfigError(
            f"{name}: gradient_accumulation_steps must be a whole number above 1 or None. "
            f"Received: {steps!r}. Pass the number of batches behind one update."
        )
    if steps and optimizer.use_ema and every is not None:
        raise UnsupportedError(
            f"{name}: weights that averages replace in the middle of training do not go with "
            f"accumulated gradients. Received: ema_overwrite_frequency={every} and "
            f"gradient_accumulation_steps={steps}. Leave one of them out."
        )


def older_rate(kind: str, rate: Any, given: dict[str, Any]) -> Any:
    """The learning rate, also by Keras 2's `lr` and `decay`, which leave the other arguments."""
    if "lr" in given:
        warn_older(kind, "lr", "learning_rate")
        rate = given.pop("lr")
    decay = given.pop("decay", 0.0)
    if not decay:
        return rate
    warn_older(kind, "decay", "optimizers.schedules.InverseTimeDecay as learning_rate")
    if not isinstance(rate, (int, float)):
        raise ConfigError(
            f"{kind}: decay goes with a learning rate that is a number. Received: decay={decay} "
            f"and {rate!r}. Leave decay out, or put it into the schedule."
        )
    return InverseTimeDecay(rate, 1, decay)
