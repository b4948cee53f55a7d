"""What a running layer call knows of the calls around it: training or not, and tensor masks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo_keras.graph import Tensor, current_trace


class _Context(threading.local):
    def __init__(self) -> None:
        self.training: list[bool | None] = []


_context = _Context()


def current_training() -> bool | None:
    """The `training` flag of the innermost call, or None outside any call."""
    return _context.training[-1] if _context.training else None


@contextmanager
def calling(training: bool | None) -> Iterator[None]:
    """Layer calls made in this block inherit the training flag."""
    _context.training.append(training)
    try:
        yield
    finally:
        _context.training.pop()


def mask_of(tensor: Any) -> Any:
    """The mask that travels with a tensor of the running trace, or None."""
    trace = current_trace()
    if trace is None or not isinstance(tensor, Tensor):
        return None
    return trace.masks.get((id(tensor.node), tensor.index), (None, None))[1]


def set_mask(tensor: Any, mask: Any) -> None:
    """Let a mask (True: use, False: skip) travel with a tensor of the running trace."""
    trace = current_trace()
    if trace is not None and mask is not None and isinstance(tensor, Tensor):
        trace.masks[id(tensor.node), tensor.index] = (tensor, mask)
