"""A model used in the user's own functions on executors: in closures, broadcasts and UDFs."""

from __future__ import annotations

import os

import numpy as np
import pyspark
import pytest
from pyspark.sql.functions import udf

import zoo_keras as keras
from zoo_keras import layers

pytestmark = pytest.mark.spark

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")


def trained(kind):
    if kind == "functional":
        inputs = keras.Input((3,))
        x = layers.Dense(4, activation=lambda v: v * 0.5)(inputs)
        model = keras.Model(inputs, layers.Dense(2)(x + layers.Dense(4)(x)))
    else:
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu"), layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(X, np.ones((24, 2)), verbose=0)
    return model, model.predict(X, verbose=0)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_a_model_in_a_closure_predicts_on_executors(local2, kind):
    model, want = trained(kind)

    def score(rows):
        found = list(rows)
        return list(model.predict(np.stack(found), verbose=0)) if found else []

    rdd = local2.parallelize(list(X), 4)
    np.testing.assert_allclose(rdd.mapPartitions(score).collect(), want, rtol=1e-5, atol=1e-6)
    one = rdd.map(lambda row: model.predict(row[None], verbose=0)[0])
    np.testing.assert_allclose(one.collect(), want, rtol=1e-5, atol=1e-6)


def test_a_model_arrives_once_for_a_task_and_its_programs_once_for_a_worker(local2):
    model, want = trained("sequential")

    def score(row):
        from zoo_keras.training import programs

        made = []
        predict_program = programs.steps.predict_program

        def counted(*args):
            made.append(args)
            return predict_program(*args)

        programs.steps.predict_program = counted
        try:
            model.predict(row[None], verbose=0)
        finally:
            programs.steps.predict_program = predict_program
        return os.getpid(), id(model), len(made)

    rdd = local2.parallelize(list(X), 2)
    for _ in range(3):
        partitions = rdd.map(score).glom().collect()
        assert all(len({(pid, model_id) for pid, model_id, _ in p}) == 1 for p in partitions)
        programs = sum(count for p in partitions for _, _, count in p)
    if pyspark.__version__ >= "4":  # before, a worker runs one task, see conftest.py
        assert programs == 0, "the workers have seen the model before"


def test_a_broadcast_model_is_used_by_all_tasks(local2):
    model, want = trained("functional")
    sent = local2.broadcast(model)
    got = local2.parallelize(list(X), 4).map(lambda r: sent.value(r[None])[0]).collect()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    sent.destroy()


def test_a_model_in_a_udf(sessions, local2):
    model, want = trained("sequential")
    spark = sessions.get("local[2]")
    frame = spark.createDataFrame([(row.tolist(),) for row in X], "x array<float>")
    predict = lambda row: float(model.predict(np.array([row]), verbose=0)[0, 1])  # noqa: E731
    score = udf(predict, "float", useArrow=False)
    got = [row.p for row in frame.select(score("x").alias("p")).collect()]
    np.testing.assert_allclose(got, want[:, 1], rtol=1e-5, atol=1e-6)
