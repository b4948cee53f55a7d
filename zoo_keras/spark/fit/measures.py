"""Metrics measured in several places, put together into the logs of all rows.

In: each rank's or partition's state of the metrics. Out: logs of the whole, in the model's metrics
too. Knows no blocks and no programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.training.interface import TrainedModel
from zoo_keras.training.state import State

_SUMMED = ("sum", "none")  # aggregations of Variables of metrics that mean: add up


class Measured(NamedTuple):
    """What one rank has measured.

    Attributes:
        metrics: the flat vector. others: values of all Variables that are not float32.
        rows: how many rows they were measured on.
        logs: what this rank adds to the numbers that a step of a user's has returned last; none
            of validation.
    """

    metrics: np.ndarray
    others: list[np.ndarray]
    rows: int
    logs: Any = ()


def metric_others(model: TrainedModel, state: State) -> tuple[int, ...]:
    """Which of the state's Variables that are not float32 belong to metrics."""
    mine = {id(v) for m in model._all_metrics() for v in m.variables}
    return tuple(i for i, v in enumerate(state.others) if id(v) in mine)


def merged_logs(model: TrainedModel, state: State, measured: Sequence[Measured]) -> dict[str, Any]:
    """Logs of all rows. The state of metrics adds up; a Variable of another aggregation, or of a
    layer, is that of the first rank that has rows."""
    first = next((m for m in measured if m.rows), measured[0])
    flat, counted = state.metrics, metric_others(model, state)
    flat.array[:] = np.sum([m.metrics for m in measured], axis=0, dtype=np.float64)
    spans = zip(flat.offsets, flat.offsets[1:], strict=False)
    for variable, (lo, hi) in zip(flat.variables, spans, strict=True):
        if variable.aggregation not in _SUMMED:
            flat.array[lo:hi] = first.metrics[lo:hi]
    for i, variable in enumerate(state.others):
        summed = i in counted and variable.aggregation in _SUMMED
        values = [m.others[i] for m in measured]
        variable.assign(np.sum(values, axis=0) if summed else first.others[i])
    logs: dict[str, Any] = model._logs()
    return logs
