"""Checks of constructor arguments, with errors that name the layer and the argument.

In: a layer and what the user passed. Out: the value in its standard form. Knows no op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import config
from zoo_keras.errors import ArgumentTypeError, ConfigError, UnsupportedError


def argument_error(
    layer: Any, argument: str, expected: str, value: Any, advice: str,
    kind: type[ConfigError] = ConfigError,
) -> ConfigError:  # fmt: skip
    """A ConfigError in three parts: what and where, what was received, what to do."""
    return kind(
        f'{type(layer).__name__} "{layer.name}": {argument} must be {expected}. Received: '
        f"{argument}={value!r}. {advice}"
    )


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def positive(layer: Any, argument: str, value: Any) -> int:
    """The value as an int above 0."""
    if not is_whole(value) or value <= 0:
        raise argument_error(
            layer, argument, "a positive integer", value, "Pass a whole number above 0.",
            ConfigError if is_whole(value) else ArgumentTypeError,
        )  # fmt: skip
    return int(value)


def int_tuple(
    layer: Any, argument: str, value: Any, length: int, *, least: int = 1
) -> tuple[int, ...]:
    """A whole number, or `length` of them, as a tuple; each must be at least `least`."""
    many = (value,) * length if is_whole(value) else value
    good = isinstance(many, Sequence) and not isinstance(many, str) and len(many) == length
    if not good or not all(is_whole(v) and v >= least for v in many):
        raise argument_error(
            layer, argument, f"{_one_or(length)}, each at least {least}", value,
            "Pass a whole number for all axes, or one for each.",
        )  # fmt: skip
    return tuple(int(v) for v in many)


def _one_or(length: int) -> str:
    return "a whole number" if length == 1 else f"a whole number or {length} of them"


def one_of(layer: Any, argument: str, value: Any, allowed: Sequence[str]) -> str:
    """The value in lower case, when it is one of the allowed words."""
    word = value.lower() if isinstance(value, str) else value
    if word not in allowed:
        words = " or ".join(repr(a) for a in allowed)
        raise argument_error(layer, argument, words, value, "Check the spelling.")
    return str(word)


def data_format(layer: Any, value: Any) -> str:
    """ "channels_last" or "channels_first"; None means config.image_data_format()."""
    if value is None:
        return config.image_data_format()
    return one_of(layer, "data_format", value, ("channels_last", "channels_first"))


def number(
    layer: Any, argument: str, value: Any, low: float | None = None, high: float | None = None
) -> float:
    """A real number within bounds that are themselves allowed."""
    real = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not real or (low is not None and value < low) or (high is not None and value > high):
        raise argument_error(layer, argument, _bounds(low, high), value, "Pass such a number.")
    return value


def _bounds(low: float | None, high: float | None) -> str:
    if high is not None:
        return f"a number from {low} to {high}"
    return "a number" if low is None else f"a number of at least {low}"


def axes(layer: Any, argument: str, value: Any) -> Any:
    """A whole number, or a list of them."""
    if is_whole(value):
        return int(value)
    if isinstance(value, (list, tuple)) and value and all(is_whole(v) for v in value):
        return [int(v) for v in value]
    raise ArgumentTypeError(
        f'{type(layer).__name__} "{layer.name}": Expected an int or a list/tuple of ints for the '
        f"argument '{argument}'. Received: {argument}={value!r}. Count axes from the batch, 0."
    )


def true_or_false(trainable: Any) -> bool:
    """The value of `trainable`."""
    if not isinstance(trainable, (bool, np.bool_)):
        raise ConfigError(
            f"A layer expects `trainable` to be a boolean. Received: trainable={trainable!r}. "
            "Pass True or False."
        )
    return bool(trainable)


def layer_name(name: Any) -> str:
    """A layer's name, which paths of weights are made of."""
    if not isinstance(name, str) or "/" in name:
        raise ConfigError(
            "A layer's name must be a string and cannot contain character `/`. Received: "
            f"name={name!r}. Use letters, digits and underscores."
        )
    return name


def weight_shape(layer: Any, shape: Any) -> tuple[int, ...]:
    """The shape of a weight: None is that of a scalar, a number that of a vector."""
    if isinstance(shape, str):
        raise ConfigError(
            f'{type(layer).__name__} "{layer.name}": the first argument of add_weight is the '
            f"shape; pass `name` as a keyword argument. Received: {shape!r}. Write "
            f"add_weight(shape=..., name={shape!r})."
        )
    return (shape,) if isinstance(shape, int) else tuple(shape or ())


def refuse(layer: Any, **options: Any) -> None:
    """UnsupportedError when one of these options of Keras was switched on."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise UnsupportedError(
                f'{type(layer).__name__} "{layer.name}": {name} is not supported. Received: '
                f"{name}={value!r}. Leave it out."
            )
