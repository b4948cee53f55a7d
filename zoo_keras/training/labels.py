"""A check of arrays of integer labels. Ranks of a fit do it too, and load nothing that traces.

In: labels, and which of them are allowed. Out: a DataError that names the first row with one that
is not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo_keras.errors import DataError


class Classes(NamedTuple):
    """Labels 0 .. number - 1 are allowed, and the one that the loss ignores, if any."""

    number: int
    ignored: int | None = None


def check_labels(y: np.ndarray, classes: Classes, where: str = "", first: int = 0) -> None:
    """Raises DataError for a label that the model has no output for, naming its row.

    Args:
        y: labels, (rows, ...).
        where: what the rows belong to, for the message.
        first: number of y's first row.
    """
    bad = (y < 0) | (y >= classes.number)
    if classes.ignored is not None:
        bad &= y != classes.ignored
    if bad.any():
        row = int(np.argwhere(bad.reshape(len(y), -1).any(axis=1))[0, 0])
        received = y.reshape(len(y), -1)[row]
        raise DataError(
            f"{where}row {first + row}: labels must lie in 0..{classes.number - 1}, since the "
            f"model has {classes.number} outputs. Received: "
            f"{received[bad.reshape(len(y), -1)[row]][0]}. Renumber the labels from 0, or give the "
            "last layer more units."
        )
