"""Rows of different sizes where a model's Inputs leave sizes open.

In: a Model and what fit, evaluate and predict were given. Out: the same with Ragged columns, and
for predict the data in groups of rows of one shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.feed.ragged import OPEN, Ragged, groups_of, ragged
from zoo_keras.nest import flatten
from zoo_keras.training.data import ArrayData, Batch, Data, is_dataset, is_iterator
from zoo_keras.training.interface import TrainedModel
from zoo_keras.values import ARRAYS


def ragged_inputs(model: TrainedModel, x: Any, pad_value: Any = None) -> Any:
    """x with Ragged columns for Inputs that leave sizes open; all else as it is."""
    check_pad(pad_value)
    if pad_value is not None and (is_iterator(x) or is_dataset(x)):
        raise ConfigError(
            "pad_value is for arrays and lists of arrays. Received: it with a generator or "
            "PyDataset. Pad the rows where its items are made."
        )
    if type(x) in ARRAYS and x.dtype != object:
        return x
    inputs = open_inputs(model)
    if not inputs or is_iterator(x) or is_dataset(x):
        return x
    if isinstance(x, dict):
        return {k: _column(v, inputs.get(k), f"x[{k!r}]", pad_value) for k, v in x.items()}
    shapes = list(inputs.values())
    if len(shapes) == 1:
        return _column(x, shapes[0], "x", pad_value)
    if not isinstance(x, (list, tuple)) or len(x) != len(shapes):
        return x
    pairs = zip(x, shapes, strict=True)
    return [_column(v, shape, f"x[{i}]", pad_value) for i, (v, shape) in enumerate(pairs)]


def ragged_targets(y: Any, pad_value: Any) -> Any:
    """Targets of one output whose rows differ in size, as a Ragged column padded with zeros."""
    if pad_value is None or not isinstance(y, (list, tuple, np.ndarray)):
        return y
    if isinstance(y, np.ndarray) and y.dtype != object:
        return y
    found = ragged(y, None, "y", 0)
    return y if found is None or OPEN not in found.shape[1:] else found


def open_inputs(model: TrainedModel) -> dict[str, tuple[int | None, ...] | None]:
    """Shapes of the model's Inputs without the batch axis by name; None for one of text or of known
    sizes. Empty when there is nothing open."""
    graph = getattr(model, "_function", None)
    if graph is None:
        return {}
    found = {
        graph.input_name(t): tuple(t.shape[1:])
        if None in t.shape[1:] and t.dtype not in dtypes.TEXT else None
        for t in graph.inputs
    }  # fmt: skip
    return found if any(found.values()) else {}


def _column(value: Any, shape: Any, what: str, pad: Any) -> Any:
    if shape is None:
        return value
    found = ragged(value, len(shape), what, pad)
    if found is None:
        return value
    check_shapes(found, shape)
    return found


def check_shapes(column: Ragged, shape: tuple[int | None, ...]) -> None:
    """DataError for a row that differs from its Input where that leaves nothing open."""
    for number, row in enumerate(column.rows):
        if any(b not in (None, a) for a, b in zip(row.shape, shape, strict=True)):
            raise DataError(
                f"{column.what}, row {number}: expected shape {shape}, as the Input says. "
                f"Received: shape {row.shape}. Only axes of None may differ."
            )


def check_pad(pad_value: Any) -> None:
    """ConfigError for what cannot pad rows of numbers."""
    number = isinstance(pad_value, (bool, int, float, np.number, np.bool_))
    if pad_value is not None and not (number and np.isfinite(pad_value)):
        raise ConfigError(
            f"pad_value must be a finite number. Received: {pad_value!r}. Pass e.g. pad_value=0."
        )


class ByShape(Data):
    """ArrayData in batches of rows of one shape.

    Attributes:
        order: the row of x that each row of the batches is.
    """

    def __init__(self, data: ArrayData) -> None:
        self.data, self.rows = data, data.rows
        groups = list(groups_of(data.x))
        size = data.batch_size
        self._parts = [g[i : i + size] for g in groups for i in range(0, len(g), size)]
        self.order = np.concatenate(groups)
        self.steps = len(self._parts)

    def batches(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """All of them."""
        for rows in self._parts:
            yield Batch([c[rows] for c in self.data.x], [], [], self.data.structure)


def by_shape(data: Any) -> Any:
    """The data, by the shapes of rows where a column is ragged."""
    is_ragged = isinstance(data, ArrayData) and any(isinstance(c, Ragged) for c in data.x)
    return ByShape(data) if is_ragged else data


def outputs_by_shape(model: TrainedModel, data: ArrayData) -> list[Any]:
    """Outputs of all rows: for each an array, or a list of rows when their shapes differ."""
    grouped = by_shape(data)
    programs = model._local()
    parts = [flatten(programs.predict(model._arranged(b))) for b in grouped.batches()]
    return [in_order(list(each), grouped) for each in zip(*parts, strict=True)]


def in_order(parts: list[np.ndarray], data: Any) -> Any:
    """Outputs of batches as one array, or as a list of rows when their shapes differ."""
    if not isinstance(data, ByShape):
        return np.concatenate(parts)
    order = data.order[: sum(map(len, parts))]
    rows = [row for part in parts for row in part]
    made = [rows[i] for i in np.argsort(order, kind="stable")]
    return np.stack(made) if len({row.shape for row in made}) == 1 else made
