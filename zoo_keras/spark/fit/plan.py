"""What the driver tells every rank of a fit: plain data only, so that it pickles anywhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo_keras.spark.data.records import Layout
from zoo_keras.spark.engine import Engine
from zoo_keras.spark.fit.tail import Tail
from zoo_keras.training.labels import Classes


class SharedTables(NamedTuple):
    """Weights whose gradients travel as rows: see spark/fit/by_rows.py.

    Attributes:
        ids: how many of each table a row of a batch has. widths: numbers in a row of each table.
        size: numbers in all of them.
        arrays: shape and dtype of what goes with them, by the names of spaces.
        lags: whether rows lag behind the steps made. most: how many steps at most.
    """

    ids: tuple[int, ...]
    widths: tuple[int, ...]
    size: int
    arrays: dict[str, tuple[tuple[int, ...], str]]
    lags: bool
    most: int


class Ring(NamedTuple):
    """What exchanges of a step in phases share.

    Attributes:
        size: how many numbers it takes. exact: whether they travel as float32 whatever `wire` says.
    """

    size: int
    exact: bool


class FitPlan(NamedTuple):
    """One job of a fit.

    Attributes:
        layout: columns of the records. test_layout: of the validation records.
        batch_size: rows of the global batch of one update.
        epochs: [first, last) epoch of this job. origin: the first epoch of the whole fit.
        first_step: with which the first epoch of this job begins.
        snapshot_steps, snapshot_seconds: how often ranks keep a copy within an epoch, or None.
        steps: steps of an epoch, or None for one pass over the records.
        shuffle, seed: the order of rows within a rank depends on (seed, pass, rank).
        by_content: whether rows are put in an order that depends on their content alone.
        validation_split: fraction of each rank's rows held back (0: none).
        held: whether the driver publishes the validation rows (as blobs).
        validation_batch: rows of the global batch of an evaluation step.
        validation_epochs: epochs after which validation runs.
        class_weight: label -> weight.
        weights, state, metrics: lengths of the flat vectors.
        variables: how many Variables lie in `weights`.
        outputs: how many outputs the model has.
        tail: the parts of `state` that layers update, which ranks exchange behind the weights.
        slots: names of the optimizer's slots.
        iterations: the optimizer's step count at the start.
        clips: whether gradients are clipped by norm. constrained: whether weights have constraints.
        counts: whether data decide by what losses are divided; test_counts: in validation.
        average_every: steps after which EMA weights replace the weights, or None.
        averaged: whether validation runs on the EMA weights.
        loss_index: where in `metrics` the summed loss stands.
        halts: whether a loss that is not finite ends training without an error.
        led: whether the driver leads every step, because a callback wants to see each.
        whole: whether every rank makes the whole update. scalars: the optimizer's Variables that
            are no slots. loss_scale: which of them is a scale that falls when a step is left out.
        exchanges: where a step has phases, the number of the ring in which each of its exchanges
            goes; none else. rings: what each ring is for.
        logs: how many numbers a step of a user's returns beside metrics.
        tables: weights whose gradients travel as rows, if there are any.
        labels, test_labels: what integer labels may be, for each array of targets.
        wire: dtype in which gradients travel.
        others: Variables that are not float32. metric_others: which of them belong to metrics.
        budget: bytes of data a rank keeps in memory. spills: whether others may lie on disk.
        engine: that of the driver, which makes the programs.
        isa: instruction set of the ranks before a restart, or None.
    """

    layout: Layout
    test_layout: Layout
    batch_size: int
    epochs: tuple[int, int]
    origin: int
    first_step: int
    snapshot_steps: int | None
    snapshot_seconds: float | None
    steps: int | None
    shuffle: bool
    seed: int
    by_content: bool
    validation_split: float
    held: bool
    validation_batch: int
    validation_epochs: tuple[int, ...]
    class_weight: dict[int, float] | None
    weights: int
    variables: int
    outputs: int
    state: int
    metrics: int
    tail: Tail
    slots: tuple[str, ...]
    iterations: int
    clips: bool
    constrained: bool
    counts: bool
    test_counts: bool
    average_every: int | None
    averaged: bool
    loss_index: int
    halts: bool
    led: bool
    whole: bool
    scalars: tuple[np.ndarray, ...]
    loss_scale: int | None
    exchanges: tuple[int, ...]
    rings: tuple[Ring, ...]
    logs: int
    tables: SharedTables | None
    labels: tuple[Classes | None, ...]
    test_labels: tuple[Classes | None, ...]
    wire: str
    others: tuple[np.ndarray, ...]
    metric_others: tuple[int, ...]
    budget: int
    spills: bool
    engine: Engine
    isa: str | None
