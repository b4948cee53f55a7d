"""channels_first layers on an engine that keeps channels last: transposed in, transposed back."""

from __future__ import annotations

from typing import Any

from zoo_keras import ops


def to_last(x: Any, data_format: str) -> Any:
    """(batch, channels, *spatial) as (batch, *spatial, channels); channels_last stays."""
    if data_format == "channels_last":
        return x
    return ops.transpose(x, (0, *range(2, len(x.shape)), 1))


def from_last(x: Any, data_format: str) -> Any:
    """What to_last did, undone."""
    if data_format == "channels_last":
        return x
    last = len(x.shape) - 1
    return ops.transpose(x, (0, last, *range(1, last)))


def channel_axis(data_format: str) -> int:
    """-1 or 1."""
    return -1 if data_format == "channels_last" else 1
