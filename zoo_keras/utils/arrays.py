"""Small conversions of data before training: class numbers, norms, padding. numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, DataError


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows for class numbers: (..., ) or (..., 1) -> (..., num_classes), float64.

    Raises DataError for numbers outside 0..num_classes-1. Source: keras.utils.to_categorical.

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    classes = np.asarray(x, "int64")
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    count = num_classes or int(classes.max(initial=-1)) + 1
    if classes.size and not 0 <= classes.min() <= classes.max() < count:
        raise DataError(
            f"to_categorical: class numbers must lie in 0..{count - 1}. Received: "
            f"{classes.min()} to {classes.max()}. Pass a larger num_classes, or count from 0."
        )
    return np.eye(count)[classes]


def normalize(x: Any, axis: int = -1, order: Any = 2) -> Any:
    """x divided by its norm along an axis; where the norm is 0, x stays.

    Source: keras.utils.normalize.

    >>> normalize(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    if not isinstance(x, np.ndarray):
        from zoo_keras import ops

        return ops.normalize(x, axis=axis, order=order)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of unequal lengths as one array (samples, maxlen, ...).

    Short ones get `value` at their `padding` side ("pre" or "post"), long ones are cut at the
    `truncating` side. Source: keras.utils.pad_sequences.

    >>> pad_sequences([[1], [2, 3]])
    array([[0, 1],
           [2, 3]], dtype=int32)
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ConfigError(
                f"pad_sequences: {name} must be 'pre' or 'post'. Received: {name}={side!r}."
            )
    kind = np.dtype(dtype).kind
    if isinstance(value, str) and kind not in "OSU":
        raise ConfigError(
            f"pad_sequences: `dtype` {dtype} is not compatible with `value`'s type, {type(value)}. "
            f"Received: value={value!r}. Use dtype=object for text."
        )
    rows = [np.asarray(s) for s in sequences]
    length = max((len(r) for r in rows), default=0) if maxlen is None else maxlen
    rest = next((r.shape[1:] for r in rows if len(r)), ())
    made = np.full((len(rows), length, *rest), value, dtype)
    for i, row in enumerate(rows):
        kept = row[max(len(row) - length, 0) :] if truncating == "pre" else row[:length]
        if len(kept) and kept.shape[1:] != rest:
            raise DataError(
                f"pad_sequences: all items must have one shape {rest}. Received: row {i} of items "
                f"of shape {kept.shape[1:]}. Make them alike first."
            )
        start = length - len(kept) if padding == "pre" else 0
        made[i, start : start + len(kept)] = kept
    return made


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """One value for fit: x, or (x, y), or (x, y, sample_weight)."""
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of what pack_x_y_sample_weight made.

    Raises DataError for more than three parts.
    """
    parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
    if not 1 <= len(parts) <= 3:
        raise DataError(
            "unpack_x_y_sample_weight: expected x, y and sample_weight. Received: a tuple of "
            f"{len(parts)}. Pass 1 to 3 parts."
        )
    x, y, weight = (*parts, None, None)[:3]
    return x, y, weight
