"""zoo_keras.spark.udf: a model as a function of SQL."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql.types import StructType

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.spark import udf
from zoo_keras.spark.scoring import functions
from zoo_keras.spark.scoring import sent as sent_module

pytestmark = pytest.mark.spark
X = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)


@pytest.fixture
def spark(cluster2, sessions):
    return sessions.get("local-cluster[2,1,1024]")


@pytest.fixture
def frame(spark):
    """a, b, c side by side, as an array and as vectors, sparse and dense; words; an image."""
    schema = StructType()
    for name, kind in (("a", "float"), ("b", "float"), ("c", "float"), ("word", "string")):
        schema = schema.add(name, kind)
    image = StructType().add("origin", "string").add("height", "integer").add("width", "integer")
    image = image.add("nChannels", "integer").add("mode", "integer").add("data", "binary")
    schema = schema.add("vector", VectorUDT()).add("image", image)
    rows = [
        (
            *row,
            "red" if i % 3 else "blue",
            vector_of(row, i),
            ("", 1, 1, 3, 16, bytearray(range(3))),
        )
        for i, row in enumerate(X.astype(float).tolist())
    ]
    return spark.createDataFrame(rows, schema).selectExpr("*", "array(a, b, c) AS list")


def vector_of(row, i):
    return Vectors.sparse(3, [0, 1, 2], row) if i % 2 else Vectors.dense(row)


def net(units=1):
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(units)])


@pytest.mark.parametrize("by_row", [False, True])
def test_it_gives_what_predict_gives(spark, frame, by_row, monkeypatch):
    if by_row:  # as before Spark 4.1
        monkeypatch.setattr(functions, "has_scalar_arrow", lambda session: False)
    model = net()
    want = [row.p for row in model.predict(frame, feature_cols="list", output_col="p").collect()]
    score = udf(model)
    found = frame.select(score("list"), score("a", "b", "c"), score("vector")).collect()
    assert [list(row) for row in found] == [[p] * 3 for p in want]
    wide = net(2)
    want = wide.predict(X, verbose=0).tolist()
    assert [row[0] for row in frame.select(udf(wide)("list")).collect()] == want


@pytest.mark.parametrize("by_row", [False, True])
def test_several_inputs_and_outputs_are_columns_and_fields(frame, by_row, monkeypatch):
    if by_row:  # as before Spark 4.1
        monkeypatch.setattr(functions, "has_scalar_arrow", lambda session: False)
    word, pixels = keras.Input((), dtype="string"), keras.Input((1, 1, 3))
    number = layers.Reshape((1,))(layers.StringLookup(vocabulary=["red"])(word))
    model = keras.Model(
        [word, pixels],
        [layers.Rescaling(1.0, name="number")(number), layers.Flatten(name="f")(pixels)],
    )
    rows = frame.select(udf(model)("word", "image").alias("s")).select("s.*").collect()
    assert [row.asDict() for row in rows] == [
        {"number": float(i % 3 > 0), "f": [0.0, 1.0, 2.0]} for i in range(len(X))
    ]


def test_sql_calls_it_by_name_inside_expressions(spark, frame):
    model = net()
    udf(model, "score")
    frame.createOrReplaceTempView("events")
    want = model.predict(X, verbose=0)[:, 0]
    (row,) = spark.sql(
        "SELECT count(*) AS n, avg(CASE WHEN score(list) > 0 THEN score(a, b, c) + 1 END) AS mean "
        "FROM events WHERE score(vector) > 0"
    ).collect()
    assert row.n == (want > 0).sum() and row.mean == pytest.approx(want[want > 0].mean() + 1)
    spark.sql("DROP TEMPORARY FUNCTION score")


def test_weights_travel_once_and_are_those_of_its_making(spark, frame, monkeypatch):
    monkeypatch.setattr(sent_module, "SMALL", 0)  # small models travel in the function
    sent, broadcast = [], spark.sparkContext.broadcast
    monkeypatch.setattr(spark.sparkContext, "broadcast", lambda v: sent.append(v) or broadcast(v))
    model = net()
    before = model.predict(X, verbose=0)[:, 0].tolist()
    score, again = udf(model), udf(model)
    assert len(sent) == 1
    model.set_weights([w + 1 for w in model.get_weights()])
    for function in (score, again):
        assert [row[0] for row in frame.select(function("list")).collect()] == before
    assert len(sent) == 1
    udf(model)
    assert len(sent) == 2


def test_bad_calls_say_what_is_wrong(local2, sessions):
    session = sessions.get("local[2]")  # where a task fails once, not four times
    frame = session.createDataFrame(
        [(1.0, 2.0, 3.0, "red")], "a float, b float, c float, word string"
    )
    open_model = keras.Sequential([keras.Input((None, 2)), layers.GlobalAveragePooling1D()])
    with pytest.raises(
        ConfigError, match=r"known shapes.*Received: Inputs of shapes \[\(None, 2\)"
    ):
        udf(open_model)
    udf(net(), "score_it")
    cases = [
        ("CAST(NULL AS FLOAT), b, c", "column 1 of score_it: expected numbers. Received: null"),
        ("a, b", "column Input 1: expected 3 numbers a row.*Received: 2"),
        ("word", "1 of score_it: expected numbers. Received: Arrow type string"),
    ]
    for arguments, message in cases:
        with pytest.raises(PythonException, match=message):
            frame.selectExpr(f"score_it({arguments})").collect()


def test_columns_must_be_as_many_as_inputs():
    call = functions._Call("score", 2, ())
    with pytest.raises(DataError, match=r"score: expected 2 columns.*Received: 3"):
        call._reader(3)
