"""An LSTM that forecasts finds the hours when a load was not as ever: it learns from quiet weeks,
and where it is most wrong later is reported; result: the share of disturbed hours among as many
reported ones.

    python examples/spark/anomaly_detection.py
"""

from __future__ import annotations

import numpy as np
from pyspark.sql import Window
from pyspark.sql.functions import col, collect_list, size

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session

HOURS = 24  # that the forecast looks back on
HOUSES = 8


def loads(hours, seed, disturbed):
    """Rows (house, hour, load, odd): a daily and a weekly rhythm, noise, and some odd hours."""
    rng = np.random.default_rng(seed)
    rows = []
    for house in range(HOUSES):
        t = np.arange(hours)
        load = np.sin(t / 24 * 2 * np.pi + house) + 0.4 * np.sin(t / 168 * 2 * np.pi)
        load += rng.normal(0, 0.05, hours)
        odd = np.zeros(hours, bool)
        odd[rng.choice(np.arange(HOURS, hours), disturbed, replace=False)] = True
        load[odd] += rng.choice([-1.0, 1.0], disturbed)
        rows += [(house, int(h), float(v), bool(o)) for h, v, o in zip(t, load, odd)]
    return rows


def windows(spark, rows):
    """For each hour the hours before it: columns before (an array), load, odd."""
    frame = spark.createDataFrame(rows, "house int, hour int, load float, odd boolean")
    frame = frame.repartition(2, "house")
    earlier = Window.partitionBy("house").orderBy("hour").rowsBetween(-HOURS, -1)
    frame = frame.withColumn("before", collect_list("load").over(earlier))
    return frame.where(size("before") == HOURS)


def build():
    model = keras.Sequential(
        [
            keras.Input((HOURS,)),
            layers.Reshape((HOURS, 1)),
            layers.LSTM(32, return_sequences=True),
            layers.LSTM(16),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return model


def main(spark, hours=500, epochs=8):
    keras.utils.set_random_seed(0)
    quiet = windows(spark, loads(hours, 0, 0)).cache()
    later = windows(spark, loads(300, 1, 6)).cache()
    model = build()
    model.fit(
        quiet, feature_cols="before", label_cols="load", batch_size=64, epochs=epochs, verbose=0
    )
    wrong = (col("prediction") - col("load")) ** 2
    reported = model.predict(later, feature_cols="before").orderBy(wrong.desc()).limit(6 * HOUSES)
    return {"found": reported.where("odd").count() / (6 * HOUSES)}


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "anomaly detection")))
