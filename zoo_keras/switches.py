"""Switches of keras.config: how much is run and shown, how images lie. It offers them.

In: flags and limits, the latter also from the environment (KERAS_MAX_EPOCHS,
KERAS_MAX_STEPS_PER_EPOCH). Out: what others ask for. Knows nobody.
"""

from __future__ import annotations

import logging
import os

from zoo_keras.errors import ConfigError

_flags: dict[str, bool | None] = {"interactive": True, "filtering": True, "flash": None}
_limits: dict[str, int | None] = {}
_image_data_format = "channels_last"


def image_data_format() -> str:
    """The default order of image axes: "channels_last" or "channels_first".

    Source: keras.io/api/config.
    """
    return _image_data_format


def choose_image_data_format(data_format: str) -> None:
    """Another default, which has been checked."""
    global _image_data_format
    _image_data_format = data_format


def enable_interactive_logging() -> None:
    """Show progress as bars, as it is unless changed. Source: keras.config."""
    _flags["interactive"] = True


def disable_interactive_logging() -> None:
    """Show progress as one line for each epoch, where verbose is "auto". Source: keras.config."""
    _flags["interactive"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress is shown as bars. Source: keras.config."""
    return bool(_flags["interactive"])


def say(message: str) -> None:
    """Print it, or, where interactive logging is off, give it to Python's logging."""
    if is_interactive_logging_enabled():
        print(message)
    else:
        logging.getLogger("zoo_keras").info(message.strip())


def enable_traceback_filtering() -> None:
    """For scripts that call it: errors name the layer, and tracebacks are whole, either way."""
    _flags["filtering"] = True


def disable_traceback_filtering() -> None:
    """For scripts that call it: tracebacks are whole anyway. Source: keras.config."""
    _flags["filtering"] = False


def is_traceback_filtering_enabled() -> bool:
    """What the other two said last; True at first. Source: keras.config."""
    return bool(_flags["filtering"])


def enable_flash_attention() -> None:
    """For scripts that call it: attention has one kernel, by shapes. Source: keras.config."""
    _flags["flash"] = True


def disable_flash_attention() -> None:
    """For scripts that call it, as enable_flash_attention. Source: keras.config."""
    _flags["flash"] = False


def is_flash_attention_enabled() -> bool | None:
    """What the other two said last; None at first. Source: keras.config."""
    return _flags["flash"]


def _limit(name: str, variable: str) -> int | None:
    if name not in _limits:
        given = os.environ.get(variable)
        _limits[name] = None if given is None else _checked(variable, given)
    return _limits[name]


def _checked(name: str, given: int | str | None) -> int | None:
    if given is None or (str(given).isdigit() and int(given) > 0):
        return None if given is None else int(given)
    raise ConfigError(
        f"{name}: a whole number above 0, or None for no limit. Received: {given!r}. Change it."
    )


def max_epochs() -> int | None:
    """The most epochs that any `fit` trains; None: no limit. Source: keras.config."""
    return _limit("epochs", "KERAS_MAX_EPOCHS")


def set_max_epochs(max_epochs: int | None) -> None:
    """Let every `fit` train so many epochs at most, to try scripts out. Source: keras.config."""
    _limits["epochs"] = _checked("set_max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """The most batches that an epoch, an evaluation or a prediction on local data has; None: no
    limit. Source: keras.config."""
    return _limit("steps", "KERAS_MAX_STEPS_PER_EPOCH")


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Let epochs, evaluations and predictions on local data have so many batches at most.

    Source: keras.config.
    """
    _limits["steps"] = _checked("set_max_steps_per_epoch", max_steps_per_epoch)
