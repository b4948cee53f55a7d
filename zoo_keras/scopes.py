"""Names of Keras that say where or how something is computed, of which the engine decides itself.

In: a device, a function, a block. Out: the same computation, or an error where that would be wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from zoo_keras.errors import ConfigError, UnsupportedError

_MODES = ("full", "activations", "larger_than", "list_of_layers", None)


@contextmanager
def device(device_name: str) -> Iterator[None]:
    """A block that runs on a device: any CPU is this one. Source: keras.device.

    Raises UnsupportedError for other devices.

    >>> with device("cpu:0"):
    ...     layer(x)
    """
    kind = str(device_name).lower().strip("/").removeprefix("device:").split(":")[0]
    if kind != "cpu":
        raise UnsupportedError(
            f"device: zoo_keras computes on CPUs. Received: {device_name!r}. Use 'cpu'."
        )
    yield


class RematScope:
    """For scripts that trade time for memory: what backward keeps and what it computes again, the
    engine decides for every program (`passes.recompute`). Source: keras.RematScope.

    Raises ConfigError for an unknown mode.
    """

    def __init__(
        self, mode: str | None = "full", output_size_threshold: int = 1024,
        layer_names: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        if mode not in _MODES:
            raise ConfigError(f"RematScope: invalid mode. Received: {mode!r}. Use one of {_MODES}.")
        self.mode, self.output_size_threshold = mode, output_size_threshold
        self.layer_names = list(layer_names or ())

    def __enter__(self) -> RematScope:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, for the same reason as RematScope. Source: keras.remat."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    return call


class SymbolicScope:
    """A block in which calls only find out shapes: on KerasTensors they always do.

    Source: keras.SymbolicScope.
    """

    def __enter__(self) -> SymbolicScope:
        return self

    def __exit__(self, *error: Any) -> None:
        return None
