"""Golden metrics: the result after each of three updates, without and with sample weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .arrays import array, generator, targets
from .cases import metrics as table
from .make_layers import plain
from .store import Writer

BATCHES = (4, 1, 6)


def make() -> None:
    writer = Writer("metrics")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.write()


def golden(case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(case.name)
    kwargs = {"name": case.name.lower().replace("-", "_")} | case.kwargs
    given = dict(kwargs)
    if "fn" in given:
        given["fn"] = getattr(keras.losses, given["fn"])
    metric = getattr(keras.metrics, case.metric)(**given)
    arrays: dict[str, Any] = {}
    for step, rows in enumerate(BATCHES):
        for key, value in batch(case, rows, rng).items():
            arrays[f"{key}{step}"] = value
    for kind in ("unweighted", "weighted"):
        metric.reset_state()
        for step in range(len(BATCHES)):
            update(metric, arrays, step, kind == "weighted")
            arrays[f"{kind}{step}"] = np.asarray(metric.result())
    info = {
        "class": case.metric,
        "kwargs": kwargs,
        "batches": len(BATCHES),
        "config": plain(keras.metrics.serialize(metric)),
    }
    if "label_weights" in kwargs:  # Keras writes a tensor that it cannot read back
        info["config"]["config"]["label_weights"] = kwargs["label_weights"]
    return info, arrays


def batch(case: table.Case, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    shape = (rows, *case.shape)
    made = {"weight": rng.uniform(0, 2, (rows,)).astype(np.float32)}
    if case.pred == "classes":
        made["pred"] = array("classes:4", shape, rng)
        made["true"] = array("classes:4", shape, rng)
        if case.kwargs.get("dtype"):
            made["weight"] = array("positive", shape, rng)
        elif "IoU" in case.metric:
            made["weight"] = array("classes:3", shape, rng)
        return made
    made["pred"] = array(case.pred, shape, rng)
    if case.true:
        made["true"] = targets(case.true, shape, rng)
    if "IoU" in case.metric:
        made["weight"] = array("classes:3", overlap_weights(case, shape), rng)
    return made


def overlap_weights(case: table.Case, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Overlaps are weighted by element: one of rows with an entry for each class is a row."""
    return shape[:-1] if case.true == "onehot" else shape


def update(metric: Any, arrays: dict[str, Any], step: int, weighted: bool) -> None:
    weight = arrays[f"weight{step}"] if weighted else None
    if f"true{step}" in arrays:
        metric.update_state(arrays[f"true{step}"], arrays[f"pred{step}"], sample_weight=weight)
    elif weight is None:
        metric.update_state(arrays[f"pred{step}"])
    else:
        metric.update_state(arrays[f"pred{step}"], sample_weight=weight)
