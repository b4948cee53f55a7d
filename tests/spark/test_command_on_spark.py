"""The command line on a session: predict, fit, doctor. It takes the session that is there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyspark
import pytest
from test_any_session import OTHER, WITHOUT, python_with

import zoo_keras
import zoo_keras as keras
from zoo_keras import command, layers
from zoo_keras.spark import cluster, doctor

pytestmark = pytest.mark.spark
X = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


@pytest.fixture
def file(tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    return str(tmp_path / "m.keras")


def table(spark, path, kind="parquet"):
    rows = [(float(a), float(b), float(a + b)) for a, b in X]
    frame = spark.createDataFrame(rows, "a double, b double, y double").coalesce(2)
    frame.write.format(kind).option("header", "true").save(str(path))
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_predict_adds_a_column_to_a_table(spark, file, tmp_path, kind, capsys):
    source, out = table(spark, tmp_path / f"in.{kind}", kind), str(tmp_path / "out")
    words = ["predict", "--model", file, "--input", source, "--output", out, "--columns", "a", "b"]
    assert command.main([*words, "--output-format", "parquet", "--error-col", "wrong"]) == 0
    assert "columns a, b, y, prediction, wrong" in capsys.readouterr().out
    rows = spark.read.parquet(out).collect()
    x = np.array([[row.a, row.b] for row in rows], np.float32)
    want = keras.saving.load_model(file).predict(x, verbose=0)[:, 0].tolist()
    assert [row.prediction for row in rows] == want and len(rows) == len(X)
    assert command.main(["predict", "--model", file, "--input", str(tmp_path / "no"),
                         "--output", out, "--columns", "a"]) == 2  # fmt: skip
    assert "cannot be read" in capsys.readouterr().err


def test_fit_trains_as_its_file_says(spark, file, tmp_path, capsys):
    config = {
        "model": file,
        "compile": {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
                    "loss": "mse", "metrics": ["mae"]},
        "data": {"path": table(spark, tmp_path / "in"), "format": "parquet"},
        "validation": str(tmp_path / "in"),
        "features": ["a", "b"], "label": "y",
        "fit": {"epochs": 4, "batch_size": 4, "verbose": 0, "seed": 3},
        "output": str(tmp_path / "out.keras"),
        "history": str(tmp_path / "h.json"),
        "report": str(tmp_path / "r.html"),
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert command.main(["fit", "--config", str(tmp_path / "c.json")]) == 0
    assert "trained 4 epochs" in capsys.readouterr().out
    history = json.loads((tmp_path / "h.json").read_text())
    assert history["loss"][3] < 0.5 * history["loss"][0] and len(history["val_mae"]) == 4
    weights = keras.saving.load_model(config["output"]).get_weights()
    assert not np.allclose(weights[0], keras.saving.load_model(file).get_weights()[0])
    assert "rank 1" in (tmp_path / "r.html").read_text()


def test_doctor_finds_nothing_to_change_in_a_session_of_ours(spark, capsys):
    assert command.main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "CHANGE" not in told
    assert "2 now" in told and "executors' Python" in told and keras.__version__ in told


def test_doctor_says_what_is_wrong_with_the_executors_python(spark, tmp_path, monkeypatch):
    for lines, message in ((WITHOUT, "has no zoo_keras"), (OTHER, "version 0.0.1, here")):
        folder = tmp_path / str(len(lines))  # Spark keeps the workers of each program
        folder.mkdir()
        monkeypatch.setattr(spark.sparkContext, "pythonExec", python_with(folder, *lines))
        (found,) = [f for f in doctor.examine(spark) if f.name == "executors' Python"]
        assert found.must and message in found.advice
    monkeypatch.setattr(spark.sparkContext, "pythonExec", str(tmp_path / "none"))
    (found,) = [f for f in doctor.examine(spark) if f.name == "executors' Python"]
    assert found.must and found.value == "does not run"


def test_doctor_looks_at_settings(spark, monkeypatch):
    sc, given = spark.sparkContext, {}
    monkeypatch.setattr(cluster, "is_elastic", lambda sc: True)
    monkeypatch.setattr(cluster, "room", lambda sc: float("inf"))
    monkeypatch.setattr(cluster, "setting", lambda sc, key, default: given.get(key, default))
    given.update({
        "spark.dynamicAllocation.executorAllocationRatio": "0.5",
        "spark.python.worker.reuse": "false",
    })  # fmt: skip
    found = {f.name: f for f in [*doctor._slots(sc), *doctor._settings(sc)]}
    assert "num_ranks" in found["slots"].advice
    assert found["spark.dynamicAllocation.executorAllocationRatio"].must
    assert found["spark.python.worker.reuse"].advice.startswith("Better true")


def test_the_command_runs_under_spark_submit(spark, file, tmp_path):
    """As pyspark's own spark-submit starts it, in a session of its settings."""
    source, out = table(spark, tmp_path / "in.parquet"), str(tmp_path / "out")
    program = str(Path(zoo_keras.__file__).parent / "__main__.py")
    submit = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit")]
    conf = ["--master", "local[1]", "--conf", "spark.ui.enabled=false"]
    env = {**os.environ, "SPARK_HOME": str(Path(pyspark.__file__).parent)}

    def run(*words):
        return subprocess.run([*submit, *conf, program, *words], env=env, timeout=600,
                              capture_output=True, text=True)  # fmt: skip

    words = ["--model", file, "--input", source, "--output", out, "--columns", "a", "b"]
    done = run("predict", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    x = np.array([[row.a, row.b] for row in spark.read.parquet(out).collect()], np.float32)
    want = keras.saving.load_model(file).predict(x, verbose=0)[:, 0].tolist()
    assert [row.prediction for row in spark.read.parquet(out).collect()] == want
    wrong = run("predict", "--model", str(tmp_path / "none.keras"), *words[2:])
    told = wrong.stdout + wrong.stderr  # spark-submit sends both through the JVM
    assert wrong.returncode == 2 and "none.keras" in told
