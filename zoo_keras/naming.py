"""Automatic names (dense, dense_1, ...) and Keras' way of turning class names into them."""

from __future__ import annotations

import re
import threading
from collections import Counter

_counts: Counter[str] = Counter()
_lock = threading.Lock()


def to_snake_case(name: str) -> str:
    """`MaxPooling2D` -> `max_pooling2d`, as Keras names layers."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """The prefix, with _1, _2, ... from the second use on."""
    prefix = to_snake_case(prefix)
    with _lock:
        number = _counts[prefix]
        _counts[prefix] += 1
    return f"{prefix}_{number}" if number else prefix


def clear_session(free_memory: bool = True) -> None:
    """Start counting names afresh, as keras.utils.clear_session."""
    del free_memory
    _counts.clear()
