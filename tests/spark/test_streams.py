"""Structured Streaming: a stream's rows give exactly what they give in a batch, and each once."""

from __future__ import annotations

import socketserver
import threading
import time

import numpy as np
import pytest
from pyspark.errors import StreamingQueryException

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ConfigError
from zoo_keras.spark import udf
from zoo_keras.spark.scoring import columns as scoring
from zoo_keras.spark.scoring import sent

pytestmark = pytest.mark.spark
X = np.random.default_rng(5).normal(size=(60, 3)).astype(np.float32)


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


def net(units=1):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(units, "sigmoid")]
    )


def scored(model, frame):
    """By predict and by a function; sent as text, since that keeps every bit of a float."""
    score = udf(model)
    made = model.predict(frame, feature_cols="f", output_col="p")
    return made.withColumn("q", score("f"))


def test_files_that_come_while_a_query_is_down_are_scored_once_by_the_next(
    spark, tmp_path, monkeypatch
):
    monkeypatch.setattr(sent, "SMALL", 0)  # weights travel as a broadcast, which must outlive plans
    source, target, kept = (str(tmp_path / name) for name in ("in", "out", "checkpoint"))
    model = net()
    model.save(tmp_path / "m.keras")
    rows = spark.createDataFrame(
        [(i, x.tolist()) for i, x in enumerate(X)], "id int, f array<float>"
    )

    def run(model):
        stream = spark.readStream.schema(rows.schema).option("maxFilesPerTrigger", 1)
        made = scored(model, stream.parquet(source)).writeStream.format("parquet")
        made = made.option("checkpointLocation", kept).trigger(availableNow=True)
        assert made.start(target).awaitTermination(300)

    rows.where("id < 25").repartition(2).write.parquet(source)
    run(model)
    rows.where("id >= 25").repartition(3).write.mode("append").parquet(source)
    run(keras.saving.load_model(tmp_path / "m.keras"))  # as a new program would
    want = model.predict(X, verbose=0)[:, 0].tolist()
    found = sorted(spark.read.parquet(target).collect(), key=lambda row: row.id)
    assert [(row.id, row.p, row.q) for row in found] == [(i, p, p) for i, p in enumerate(want)]


def shown(spark, made, name, rows):
    """The first rows of a stream in memory."""
    query = made.writeStream.format("memory").queryName(name).start()
    end = time.monotonic() + 300
    try:
        while spark.table(name).count() < rows and time.monotonic() < end and query.isActive:
            time.sleep(0.2)
        return spark.table(name).collect()
    finally:
        query.stop()


def test_a_rate_is_scored(spark):
    ticks = spark.readStream.format("rate").option("rowsPerSecond", 40).load()
    number = "CAST(value AS FLOAT)"
    frame = ticks.selectExpr("value", f"array({number}, {number} / 7, -{number}) AS f")
    model = net()
    found = shown(spark, scored(model, frame), "rate", 20)
    one = np.array([row.value for row in found], np.float32)
    x = np.stack([one, np.array([row.f[1] for row in found], np.float32), -one], axis=1)
    want = model.predict(x, verbose=0)[:, 0].tolist()
    assert len(found) >= 20
    assert [row.p for row in found] == [row.q for row in found] == want


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.server.lines:
            self.wfile.write(line)
        self.server.ended.wait(300)


@pytest.fixture
def serving():
    """Starts a server of lines; gives its port."""
    servers = []

    def serve(lines):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lines)
        server.lines, server.ended, server.daemon_threads = lines, threading.Event(), True
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return server.server_address[1]

    yield serve
    for server in servers:
        server.ended.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("by_batch", [False, True])
def test_a_sockets_bad_record_goes_to_a_column(spark, serving, monkeypatch, by_batch):
    if by_batch:  # as before Spark 4.1
        monkeypatch.setattr(scoring, "has_scalar_arrow", lambda session: False)
    text = [",".join(map(str, x.tolist())) for x in X[:20]]
    text[3], text[7], text[8] = "1,2", "", "1,oops,2"
    port = serving([line.encode() + b"\n" for line in text])
    lines = spark.readStream.format("socket").option("host", "127.0.0.1").option("port", port)
    frame = lines.load().selectExpr(
        "value", "transform(split(value, ','), w -> try_cast(w AS FLOAT)) AS f"
    )
    model = net(2)
    made = model.predict(frame, feature_cols="f", output_col="p", error_col="wrong")
    found = shown(spark, made, f"socket{by_batch}", len(text))
    found = [{row.value: row for row in found}[value] for value in text]
    good = [i for i in range(20) if i not in (3, 7, 8)]
    assert [found[i].p for i in good] == model.predict(X[good], verbose=0).tolist()
    assert all(found[i].wrong is None for i in good)
    assert [found[i].p for i in (3, 7, 8)] == [None] * 3
    assert "expected 3 numbers a row" in found[3].wrong and "Received: 2" in found[3].wrong
    assert "expected numbers" in found[8].wrong


def test_a_bad_record_ends_a_stream_that_has_no_column_for_it(spark, tmp_path):
    source = str(tmp_path / "in")
    rows = [(x.tolist(),) for x in X[:4]] + [([1.0, None, 2.0],)]
    spark.createDataFrame(rows, "f array<float>").coalesce(1).write.parquet(source)
    stream = spark.readStream.schema("f array<float>").parquet(source)
    query = net().predict(stream, feature_cols="f").writeStream.format("noop")
    query = (
        query.option("checkpointLocation", str(tmp_path / "c")).trigger(availableNow=True).start()
    )
    with pytest.raises(
        StreamingQueryException, match=r"Partition 0: Row 4: column f: expected num"
    ):
        query.awaitTermination(300)


def test_every_row_may_be_wrong_and_several_outputs_are_null_together(spark):
    a = keras.Input((2,))
    model = keras.Model(a, [layers.Dense(1, name="p")(a), layers.Dense(3, name="q")(a)])
    frame = spark.createDataFrame([([1.0],), (None,)], "f array<float>").coalesce(1)
    made = model.predict(frame, feature_cols="f", output_col=["p", "q"], error_col="e")
    assert [(row.p, row.q) for row in made.collect()] == [(None, None)] * 2
    assert all(row.e for row in made.collect())


@pytest.mark.parametrize("options", [{"error_col": "f"}, {"error_col": "prediction"}])
def test_the_column_of_errors_needs_a_name_of_its_own(spark, options):
    frame = spark.createDataFrame([([1.0, 2.0, 3.0],)], "f array<float>")
    with pytest.raises(ConfigError, match=r"has a column .* already. Received: .*error_col="):
        net().predict(frame, feature_cols="f", **options)
    with pytest.raises(ConfigError, match="error_col belongs to a DataFrame"):
        net().predict(spark.sparkContext.parallelize([X[0]], 1), error_col="e")
