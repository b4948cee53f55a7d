"""Spark Connect, in a process of its own: models score as on a classic session, fit says what it
needs. Skipped where the packages that pyspark asks for there (`pyspark[connect]`) are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import ROOT

pytestmark = pytest.mark.spark
NEEDED = ["grpc", "grpc_status", "google.rpc", "pandas", "zstandard"]

SCRIPT = """
import numpy as np
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ClusterError
from zoo_keras.spark import udf
from zoo_keras.spark.ml import KerasClassificationModel, KerasEstimator, KerasModel

spark = SparkSession.builder.remote("local[1]").getOrCreate()
x = np.array([[1.0, 2.0], [3.0, 4.0]])
model = keras.Sequential([keras.Input((2,)), layers.Dense(1, "sigmoid")])
model.compile("sgd", "mse")
want = model.predict(x, verbose=0)[:, 0].tolist()
frame = spark.createDataFrame([(row.tolist(), 1.0) for row in x], "f array<double>, y double")


def column(made, name):
    return [row[name] for row in made.collect()]


assert column(model.predict(frame, feature_cols="f"), "prediction") == want
assert column(frame.select(udf(model, "score")("f").alias("p")), "p") == want
frame.createOrReplaceTempView("rows")
assert column(spark.sql("SELECT score(f) + 1.0D AS p FROM rows"), "p") == [p + 1 for p in want]
stage = KerasModel(model=model, featuresCol="f", predictionCol="p")
assert column(PipelineModel(stages=[stage]).transform(frame), "p") == want
classes = KerasClassificationModel(model=model, featuresCol="f", errorCol="wrong").transform(frame)
assert [p[1] for p in column(classes, "probability")] == want
assert column(classes, "wrong") == [None, None]
refused = {
    "fit": lambda: model.fit(frame, feature_cols="f", label_cols="y"),
    "estimator": lambda: KerasEstimator(model=model, featuresCol="f", labelCol="y").fit(frame),
}
for name, call in refused.items():
    try:
        call()
    except ClusterError as error:
        assert "needs a classic Spark session" in str(error), error
        assert "Start the driver with a master URL" in str(error), error
    else:
        raise AssertionError(name)
print("all as on a classic session")
spark.stop()
"""


def missing():
    """The modules that Spark Connect needs and that are not there."""
    found = []
    for name in NEEDED:
        try:
            found += [] if find_spec(name) else [name]
        except ModuleNotFoundError:
            found.append(name)
    return found


def test_scoring_works_and_fit_says_what_it_needs(tmp_path):
    if lacking := missing():
        pytest.skip(f"Spark Connect needs pyspark[connect]; not installed: {', '.join(lacking)}")
    (tmp_path / "program.py").write_text(SCRIPT)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    conf = "--conf spark.ui.enabled=false pyspark-shell"
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": path,
           "PYTHONWARNINGS": "ignore", "PYSPARK_SUBMIT_ARGS": conf}  # fmt: skip
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], env=env, timeout=600,
                          capture_output=True, text=True)  # fmt: skip
    assert "all as on a classic session" in done.stdout, done.stderr[-3000:]
