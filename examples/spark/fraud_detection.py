"""Frauds are one payment in fifty: an MLP in a Spark pipeline, whose rare class weighs more;
results: the area under the ROC curve, and the shares of frauds caught with and without weights.

    python examples/spark/fraud_detection.py
"""

from __future__ import annotations

import numpy as np
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session
from zoo_keras.spark.ml import KerasClassifier

SHARE = 0.02
COLUMNS = ["amount", "hour", "distance", "age", "count"]


def payments(spark, count, seed):
    """Columns of numbers and label: frauds are larger, later, farther away, but not all."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(count) < SHARE
    amount = np.exp(rng.normal(3, 1, count) + fraud * rng.normal(0.8, 0.5, count))
    hour = (rng.normal(14, 4, count) + fraud * rng.normal(7, 3, count)) % 24
    distance = rng.exponential(10, count) * (1 + 3 * fraud * rng.random(count))
    age, number = rng.uniform(18, 90, count), rng.poisson(3 + 2 * fraud)
    rows = zip(
        *(c.tolist() for c in (amount, hour, distance, age, number.astype(float), fraud * 1))
    )
    schema = ", ".join(f"{name} double" for name in COLUMNS) + ", label int"
    return spark.createDataFrame(list(rows), schema).coalesce(2).cache()


def build():
    model = keras.Sequential(
        [
            keras.Input((len(COLUMNS),)),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy")
    return model


def pipeline(epochs, weights):
    classifier = KerasClassifier(
        model=build(), labelCol="label", featuresCol="scaled", batchSize=128, maxIter=epochs,
        fitOptions={"class_weight": weights} if weights else {}, verbose=0,
    )  # fmt: skip
    gathered = VectorAssembler(inputCols=COLUMNS, outputCol="features")
    scaled = StandardScaler(inputCol="features", outputCol="scaled", withMean=True)
    return Pipeline(stages=[gathered, scaled, classifier])


def main(spark, rows=8000, epochs=8):
    train, test = payments(spark, rows, 0), payments(spark, 4000, 1)
    auc, results = BinaryClassificationEvaluator(), {}
    for name, weights in (("weighted", {0: 1.0, 1: 1 / SHARE}), ("plain", None)):
        keras.utils.set_random_seed(0)
        scored = pipeline(epochs, weights).fit(train).transform(test).cache()
        frauds = scored.where("label = 1")
        results[f"caught_{name}"] = frauds.where("prediction = 1").count() / frauds.count()
        if weights:
            results["auc"] = auc.evaluate(scored)
    return results


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "fraud detection")))
