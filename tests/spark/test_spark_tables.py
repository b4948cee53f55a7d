"""Tables of any kind that Spark reads and writes: models train on them and score into them."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.errors import AnalysisException

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark import udf

pytestmark = pytest.mark.spark
X = np.random.default_rng(6).normal(size=(40, 2)).astype(np.float32)


def net():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3, "tanh"), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def rows(session):
    found = [(i, float(a), float(b), float(a - b)) for i, (a, b) in enumerate(X)]
    return session.createDataFrame(found, "id int, a double, b double, y double").coalesce(2)


def check(session, read, write):
    """`read()` gives the table; `write(frame)` keeps it, and gives what was kept."""
    model = net()
    fitted = {"feature_cols": ["a", "b"], "label_cols": "y", "epochs": 2, "verbose": 0}
    found = model.fit(read(), batch_size=len(X), **fitted).history["loss"]
    want = net().fit(X, X[:, :1] - X[:, 1:], batch_size=len(X), epochs=2, verbose=0).history["loss"]
    np.testing.assert_allclose(found, want, rtol=1e-5)
    scored = model.predict(read(), feature_cols=["a", "b"], output_col="p")
    kept = write(scored.withColumn("q", udf(model)("a", "b"))).orderBy("id").collect()
    want = model.predict(X, verbose=0)[:, 0].tolist()
    assert [(row.id, row.p, row.q) for row in kept] == [(i, p, p) for i, p in enumerate(want)]


@pytest.mark.parametrize("kind", ["parquet", "orc", "json", "csv", "avro"])
def test_a_model_trains_on_and_scores_into_files(local2, sessions, tmp_path, kind):
    session = sessions.get("local[2]")
    source, target = str(tmp_path / "in"), str(tmp_path / "out")
    schema = "id int, a double, b double, y double"
    if kind == "avro":
        try:
            rows(session).write.format(kind).save(source + "_probe")
        except AnalysisException:
            pytest.skip("Spark's package for Avro is not here")
    rows(session).write.format(kind).save(source)

    def write(frame):
        frame.write.format(kind).save(target)
        return session.read.schema(f"{schema}, p double, q double").format(kind).load(target)

    check(session, lambda: session.read.schema(schema).format(kind).load(source), write)


def test_hive_s_tables_are_sources_and_sinks(sessions, tmp_path):
    """In a metastore of its own; the function is called in Hive's SQL."""
    session = sessions.get("local[2]", **{
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL":
            f"jdbc:derby:;databaseName={tmp_path}/metastore;create=true",
    })  # fmt: skip
    session.sql("CREATE DATABASE shop")
    session.sql("CREATE TABLE shop.orders (id INT, a DOUBLE, b DOUBLE, y DOUBLE) STORED AS ORC")
    rows(session).createOrReplaceTempView("made")
    session.sql("INSERT INTO shop.orders SELECT * FROM made")

    def write(frame):
        frame.write.format("hive").saveAsTable("shop.scored")
        return session.table("shop.scored")

    check(session, lambda: session.table("shop.orders"), write)
    model = net()
    udf(model, "score")
    session.sql("CREATE TABLE shop.best STORED AS PARQUET AS "
                "SELECT id, score(a, b) AS s FROM shop.orders WHERE score(a, b) > 0")  # fmt: skip
    want = model.predict(X, verbose=0)[:, 0].tolist()
    found = {row.id: row.s for row in session.table("shop.best").collect()}
    assert found == {i: p for i, p in enumerate(want) if p > 0}
    session.sql("DROP DATABASE shop CASCADE")
    sessions.stop()
