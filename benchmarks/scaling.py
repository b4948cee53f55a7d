"""How does fit(rdd) scale? Samples a second on 1 and 2 ranks (executor processes of one core).

python benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

import zoo_keras as keras
from zoo_keras.spark.cluster import init_session

ROWS, BATCH = 12_800, 256


def make_model() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    spark = init_session("local-cluster[2,1,2048]", "scaling")
    spark.sparkContext.setLogLevel("ERROR")  # not: rows sent from the driver are large tasks
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, 784), np.float32)
    y = rng.integers(0, 10, ROWS).astype(np.int32)
    rates = {}
    for ranks in (1, 2):
        rdd = spark.sparkContext.parallelize(list(zip(x, y, strict=True)), ranks).cache()
        times = EpochTimes()
        make_model().fit(rdd, batch_size=BATCH, epochs=options.epochs, verbose=0, callbacks=times)
        rates[ranks] = ROWS / statistics.median(times.seconds[1:])
        print(f"{ranks} rank(s): {rates[ranks]:10.0f} samples/s")
    print(json.dumps({"samples_per_second": rates, "speedup": rates[2] / rates[1]}))
    spark.stop()


if __name__ == "__main__":
    main()
