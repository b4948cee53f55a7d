"""Golden activations, initializers, regularizers and constraints."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import array, generator
from .cases import elementary as table
from .make_layers import plain
from .store import Writer


def make() -> None:
    keras.utils.set_random_seed(0)
    writer = Writer("elementary")
    wide = np.asarray(table.WIDE, np.float32)
    for name, rows in table.ACTIVATIONS.items():
        for i, kwargs in enumerate(rows):
            add_activation(writer, f"activation-{name}-{i}", name, kwargs, wide)
    for name, rows in table.ROW_ACTIVATIONS.items():
        for i, kwargs in enumerate(rows):
            moderate = array("real", (3, 6), generator(name))
            add_activation(writer, f"activation-{name}-{i}", name, kwargs, moderate)
            add_activation(writer, f"activation-{name}-{i}-large", name, kwargs, moderate * 300)
    for i, (name, kwargs) in enumerate(table.INITIALIZERS):
        add_initializer(writer, f"initializer-{name}-{i}", name, kwargs)
    for i, (name, kwargs) in enumerate(table.REGULARIZERS):
        add_regularizer(writer, f"regularizer-{name}-{i}", name, kwargs)
    for i, (name, kwargs, shape) in enumerate(table.CONSTRAINTS):
        add_constraint(writer, f"constraint-{name}-{i}", name, kwargs, shape)
    for i, (name, kwargs) in enumerate(table.SCHEDULES):
        add_schedule(writer, f"schedule-{name}-{i}", name, kwargs)
    writer.write()


def add_activation(writer: Writer, case: str, name: str, kwargs: dict, x: np.ndarray) -> None:
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = getattr(keras.activations, name)(variable, **kwargs)
        total = tf.reduce_sum(y * weights_for(y.shape))
    info = {"kind": "activation", "name": name, "kwargs": kwargs}
    arrays = {"x": x, "y": y.numpy(), "projection": weights_for(y.shape)}
    writer.add(case, info, arrays | {"grad": tape.gradient(total, variable).numpy()})


def weights_for(shape: Any) -> np.ndarray:
    return array("real", tuple(shape), generator("projection"))


def add_initializer(writer: Writer, case: str, name: str, kwargs: dict) -> None:
    made = getattr(keras.initializers, name)(**kwargs)
    config = plain(keras.initializers.serialize(made))
    info = {"kind": "initializer", "name": name, "kwargs": kwargs, "config": config}
    ranks = {"Identity": (2,), "STFT": ()}.get(name, (2, 4))
    info["samples"] = [sample(made, s) for s in table.INITIALIZER_SHAPES if len(s) in ranks]
    shape = table.DETERMINED.get(name)
    arrays = {"value": np.asarray(made(shape))} if shape else {}
    writer.add(case, info, arrays)


def sample(made: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    value = np.asarray(made(shape), np.float64)
    return {
        "shape": list(shape),
        "mean": value.mean(),
        "std": value.std(),
        "low": value.min(),
        "high": value.max(),
    }


def add_regularizer(writer: Writer, case: str, name: str, kwargs: dict) -> None:
    made = getattr(keras.regularizers, name)(**kwargs)
    x = array("real", (4, 3), generator(case))
    info = {
        "kind": "regularizer",
        "name": name,
        "kwargs": kwargs,
        "config": plain(keras.regularizers.serialize(made)),
    }
    writer.add(case, info, {"x": x, "y": np.asarray(made(tf.constant(x)))})


def add_constraint(writer: Writer, case: str, name: str, kwargs: dict, shape: tuple) -> None:
    made = getattr(keras.constraints, name)(**kwargs)
    x = array("real", shape, generator(case))
    info = {
        "kind": "constraint",
        "name": name,
        "kwargs": kwargs,
        "config": plain(keras.constraints.serialize(made)),
    }
    writer.add(case, info, {"x": x, "y": np.asarray(made(tf.constant(x)))})


def add_schedule(writer: Writer, case: str, name: str, kwargs: dict) -> None:
    made = getattr(keras.optimizers.schedules, name)(**kwargs)
    config = plain(keras.optimizers.schedules.serialize(made))
    info = {"kind": "schedule", "name": name, "kwargs": kwargs, "config": config}
    info["steps"] = table.SCHEDULE_STEPS
    rates = [float(made(step)) for step in table.SCHEDULE_STEPS]
    writer.add(case, info, {"y": np.asarray(rates)})
