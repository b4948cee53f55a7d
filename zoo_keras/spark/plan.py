"""What the driver tells every rank of a fit: plain data only, so that it pickles anywhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.spark.rows import Layout


class FitPlan(NamedTuple):
    """One barrier job of a fit.

    Attributes:
        layout: columns of the records.
        batch_size: rows of the global batch of one update.
        epochs: [first, last) epoch of this job.
        steps: at most so many steps an epoch, or None.
        shuffle, seed: the order of rows within a rank depends on (seed, epoch, rank).
        validation: fraction of each rank's rows held back (0: none).
        validation_batch: rows of the global batch of an evaluation step.
        validation_epochs: epochs after which validation runs.
        class_weight: label -> weight.
        weights, state, metrics: lengths of the flat vectors.
        averaged: (lo, hi) of the parts of `state` that layers update, averaged over ranks.
        slots: names of the optimizer's slots.
        iterations: the optimizer's step count at the start.
        clips: whether gradients are clipped by norm. constrained: whether weights have constraints.
        average_every: steps after which EMA weights replace the weights, or None.
        loss_index: where in `metrics` the summed loss stands, or -1 not to check it.
        labels: number of classes that integer labels must stay below, for each y, or None.
        wire: dtype in which gradients travel.
        others: Variables that are not float32.
        budget: bytes of data a rank keeps in memory.
        kernels: the engine the programs were compiled for.
    """

    layout: Layout
    batch_size: int
    epochs: tuple[int, int]
    steps: int | None
    shuffle: bool
    seed: int
    validation: float
    validation_batch: int
    validation_epochs: tuple[int, ...]
    class_weight: dict[int, float] | None
    weights: int
    state: int
    metrics: int
    averaged: tuple[tuple[int, int], ...]
    slots: tuple[str, ...]
    iterations: int
    clips: bool
    constrained: bool
    average_every: int | None
    loss_index: int
    labels: tuple[int | None, ...]
    wire: str
    others: tuple[np.ndarray, ...]
    budget: int
    kernels: str


def engine_fingerprint() -> str:
    """Names an engine build by its kernels; driver and executors must agree."""
    import zlib

    from zoo_keras import __version__

    names = ",".join([*native.KERNELS, *native.TILES])
    return f"{__version__}-{zlib.crc32(names.encode()):08x}"


