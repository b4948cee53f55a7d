"""Golden optimizers of the second list, and tables trained with few rows a step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .arrays import generator
from .cases import more_optimizers as table
from .make_optimizers import golden
from .optimizer_arguments import arguments
from .store import Writer


def make() -> None:
    writer = Writer("more_optimizers")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    for name in table.TABLES:
        writer.add(f"table-{name}", *trained_table(name))
    writer.write()


def trained_table(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    kind, kwargs = table.TABLES[name]
    rng = generator(f"table-{name}")
    ids = keras.Input((2,), dtype="int32")
    rows = keras.layers.Flatten()(keras.layers.Embedding(12, 3)(ids))
    model = keras.Model(ids, keras.layers.Dense(1)(rows))
    start = [rng.normal(size=w.shape).astype("f4") * 0.3 for w in model.get_weights()]
    model.set_weights(start)
    optimizer = getattr(keras.optimizers, kind)(**arguments(keras, kwargs))
    model.compile(optimizer, "mse")
    ids_of_steps = [rng.permutation(12)[:4].reshape(2, 2) for _ in range(table.TABLE_STEPS)]
    x = np.stack(ids_of_steps).astype("i4")
    y = rng.normal(size=(table.TABLE_STEPS, 2, 1)).astype("f4")
    for step in range(table.TABLE_STEPS):
        model.train_on_batch(x[step], y[step])
    arrays = {"x": x, "y": y}
    arrays |= {f"start{i}": w for i, w in enumerate(start)}
    arrays |= {f"end{i}": w for i, w in enumerate(model.get_weights())}
    arrays |= {f"slot{i}": np.asarray(v) for i, v in enumerate(optimizer.variables)}
    return {"class": kind, "kwargs": kwargs, "table": True}, arrays
