"""Embedding gradients as rows or whole: NeuralCF on two executors of one core, fits in turn, of the
tables' size and of tables that a global batch touches more of. Bytes are those that a rank receives
in a step; seconds are a rank's, by part, without its first epoch.

    python benchmarks/rows_on_the_wire.py [--rounds 3] [--batch 2048]
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import numpy as np

import zoo_keras as keras
from zoo_keras.spark.cluster import init_session
from zoo_keras.spark.fit.compiler import FitCompiler

RANKS, STEPS, WIDTH = 2, 20, 64


def neural_cf(users: int, items: int) -> keras.Model:
    """A product of two vectors beside a net of two others."""
    layers = keras.layers
    user, item = (keras.Input((), dtype="int32", name=n) for n in ("user", "item"))
    short = [layers.Embedding(n, WIDTH)(x) for n, x in ((users, user), (items, item))]
    deep = [layers.Embedding(n, WIDTH)(x) for n, x in ((users, user), (items, item))]
    hidden = layers.Concatenate()(deep)
    for units in (128, 64, 32):
        hidden = layers.Dense(units, "relu")(hidden)
    joined = layers.Concatenate()([layers.Multiply()(short), hidden])
    model = keras.Model({"user": user, "item": item}, layers.Dense(1)(joined))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def records(sc: Any, users: int, items: int, batch: int) -> Any:
    rng = np.random.default_rng(0)
    count = STEPS * batch
    user = rng.integers(0, users, count).astype(np.int32)
    item = rng.integers(0, items, count).astype(np.int32)
    liked = rng.integers(0, 2, count).astype(np.float32)
    rows = [({"user": u, "item": i}, y) for u, i, y in zip(user, item, liked, strict=True)]
    return sc.parallelize(rows, RANKS).cache()


def received(users: int, items: int, batch: int, by_rows: bool) -> int:
    """Bytes of the tables that a rank receives in a step."""
    found = 0
    for table in (users, items, users, items):
        rows = by_rows and 2 * batch <= table
        found += 4 * (batch * (WIDTH + 1) if rows else 2 * table * WIDTH)
    return found * (RANKS - 1) // RANKS


def step(data: Any, users: int, items: int, batch: int, by_rows: bool) -> dict[str, float]:
    """Milliseconds of a rank's step, by part."""
    choose = FitCompiler._shared_tables
    if not by_rows:
        FitCompiler._shared_tables = lambda self, rows: (None, [])  # type: ignore[method-assign]
    try:
        keras.utils.set_random_seed(0)
        fits = [neural_cf(users, items).fit(data, batch_size=batch, epochs=epochs, verbose=0)
                for epochs in (1, 3)]  # fmt: skip
    finally:
        FitCompiler._shared_tables = choose  # type: ignore[method-assign]
    first, last = (fit.timing for fit in fits)
    parts = ("compute", "exchange", "update", "wait")
    return {part: 1e3 * (last[part] - first[part]) / (2 * STEPS) for part in parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2048)
    options = parser.parse_args()
    spark = init_session("local-cluster[2,1,2048]", "rows on the wire")
    spark.sparkContext.setLogLevel("OFF")
    for users, items in ((6040, 3706), (60_400, 37_060)):
        data = records(spark.sparkContext, users, items, options.batch)
        found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for _ in range(options.rounds):
            for by_rows, times in found.items():
                times.append(step(data, users, items, options.batch, by_rows))
        for by_rows, times in found.items():
            middle = {
                part: round(statistics.median(t[part] for t in times), 2) for part in times[0]
            }
            size = received(users, items, options.batch, by_rows)
            print(json.dumps({"users": users, "items": items, "rows": by_rows, "MB": size / 1e6,
                              "whole": round(sum(middle.values()), 2), **middle}))  # fmt: skip
        data.unpersist()
    spark.stop()


if __name__ == "__main__":
    main()
