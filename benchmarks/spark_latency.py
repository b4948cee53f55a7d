"""What does a call cost on Spark before it computes anything? Seconds of the first fit of a session
and of the next ones, of evaluate and of predict: two small layers, 4,096 cached rows, 2 executors
of one core, Python workers that have run before.

    python benchmarks/spark_latency.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import zoo_keras as keras
from zoo_keras.spark.cluster import init_session

ROWS, COLUMNS, CLASSES = 4096, 20, 3
OPTIONS = {"batch_size": 256, "verbose": 0}
NAMES = {"feature_cols": "x", "label_cols": "y"}


def make_model() -> keras.Model:
    layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((COLUMNS,)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def make_data(spark: Any) -> tuple[Any, Any, Any]:
    """An RDD of records, one of inputs alone, and a DataFrame, all in memory."""
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, COLUMNS), np.float32)
    y = rng.integers(0, CLASSES, ROWS).astype(np.int32)
    records = spark.sparkContext.parallelize(list(zip(x, y, strict=True)), 2).cache()
    inputs = records.map(lambda record: record[0]).cache()
    rows = [(a.tolist(), int(b)) for a, b in zip(x, y, strict=True)]
    frame = spark.createDataFrame(rows, "x array<float>, y int").repartition(2).cache()
    assert records.count() == inputs.count() == frame.count() == ROWS
    return records, inputs, frame


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def calls(model: keras.Model, data: tuple[Any, Any, Any]) -> dict[str, Callable[[], Any]]:
    records, inputs, frame = data
    return {
        "fit(rdd)": lambda: model.fit(records, **OPTIONS),
        "fit(rdd), a new model": lambda: make_model().fit(records, **OPTIONS),
        "fit(df)": lambda: model.fit(frame, **NAMES, **OPTIONS),
        "evaluate(rdd)": lambda: model.evaluate(records, **OPTIONS),
        "evaluate(df)": lambda: model.evaluate(frame, **NAMES, **OPTIONS),
        "predict(rdd)": lambda: model.predict(inputs, batch_size=256).count(),
        "predict(df)": lambda: (
            model.predict(frame, feature_cols="x").select("prediction").collect()
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    spark = init_session("local-cluster[2,1,1024]", "spark latency")
    spark.sparkContext.setLogLevel("ERROR")
    data, model = make_data(spark), make_model()
    found = {"first fit(rdd)": seconds(lambda: model.fit(data[0], **OPTIONS))}
    for name, call in calls(model, data).items():
        call()
        found[name] = statistics.median(seconds(call) for _ in range(options.repeats))
    for name, value in found.items():
        print(f"{name:22} {value:6.2f} s")
    print(json.dumps({"seconds": found}))
    spark.stop()


if __name__ == "__main__":
    main()
