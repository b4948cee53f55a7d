"""Golden losses: value and gradient with every reduction, without and with sample weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import array, generator, targets
from .cases import losses as table
from .make_layers import plain
from .store import Writer


def make() -> None:
    writer = Writer("losses")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.write()


def golden(case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(case.name)
    pred = array(case.pred, case.shape, rng)
    true = targets(case.true, case.shape, rng)
    loss_class = getattr(keras.losses, case.loss)
    arrays = {"true": true, "pred": pred}
    free = loss_class(reduction="none", **case.kwargs)(true, pred).numpy()
    weights: dict[str, np.ndarray | None] = {"unweighted": None}
    # Keras does not stretch a (batch,) weight over (batch, steps) losses: it must be a column.
    per_sample = (case.shape[0],) if free.ndim < 2 else (case.shape[0], 1)
    weights["sample"] = rng.uniform(0, 2, per_sample).astype(np.float32)
    if free.ndim == 2:
        weights["step"] = rng.uniform(0, 2, free.shape).astype(np.float32)
        weights["step"][0] = 0
    for kind, weight in weights.items():
        if weight is not None:
            arrays[f"{kind}_weight"] = weight
        for reduction in table.REDUCTIONS:
            loss = loss_class(reduction=reduction, **case.kwargs)
            value, grad = evaluate(loss, true, pred, weight)
            arrays[f"{kind}.{reduction}"] = value
            arrays[f"{kind}.{reduction}.grad"] = grad
    info = {
        "class": case.loss,
        "kwargs": case.kwargs,
        "weights": list(weights),
        "config": plain(keras.losses.serialize(loss_class(**case.kwargs))),
    }
    return info, arrays


def evaluate(loss: Any, true: np.ndarray, pred: np.ndarray, weight: Any) -> tuple:
    variable = tf.Variable(pred)
    with tf.GradientTape() as tape:
        value = loss(true, variable, sample_weight=weight)
        total = tf.reduce_sum(value)
    return value.numpy(), tape.gradient(total, variable).numpy()
