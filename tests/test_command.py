"""The command line where it needs no Spark; tests/spark/test_command_on_spark.py has the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import command, layers
from zoo_keras.spark import doctor

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def file(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="hidden"), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_summary_shows_layers(file, capsys):
    assert command.main(["summary", str(file)]) == 0
    assert "hidden" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["m.h5", "again.keras", "m.weights.h5"])
def test_convert_keeps_every_weight(file, tmp_path, name, capsys):
    out = tmp_path / name
    assert command.main(["convert", str(file), str(out)]) == 0
    assert "26 parameters" in capsys.readouterr().out
    model = keras.saving.load_model(file)
    before = model.get_weights()
    if name == "m.weights.h5":
        model.set_weights([w * 0 for w in before])
        model.load_weights(out)
    else:
        model = keras.saving.load_model(out)
    assert all(map(np.array_equal, model.get_weights(), before))


BAD = {
    "missing": (["summary", "no.keras"], "no.keras"),
    "there": (["convert", "{file}", "{file}"], "there already.*--overwrite"),
    "kind": (["convert", "{file}", "{file}.txt"], r"txt"),
    "json": (["fit", "--config", "{file}"], "needs a JSON file"),
    "keys": (["fit", "--config", "{config}"], "unknown: colour; missing: data, features"),
    "option": (
        ["predict", "--model", "{file}", "--input", "a", "--output", "b", "--columns", "x",
         "--option", "header"], "KEY=VALUE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_an_error_is_one_line_and_status_2(file, tmp_path, capsys, case):
    words, message = BAD[case]
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"model": "m", "label": "y", "output": "o", "colour": 1}))
    words = [word.format(file=file, config=config) for word in words]
    assert command.main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"zoo-keras {words[0]}: ")
    assert "Traceback" not in told
    assert re.search(f"(?s){message}", told), told


@pytest.mark.parametrize(("key", "name", "message"), [
    ("output", "m.txt", "ends in .keras"), ("output", "file/m.keras", "no folder where"),
    ("output", "folder.keras", "this is a folder"), ("output", 3, "str or os.PathLike"),
    ("history", "none/h.json", "no folder where"), ("report", "file/r.html", "no folder where"),
    ("report", "hdfs://a/r.html", "path of this machine"),
])  # fmt: skip
def test_fit_refuses_what_it_could_not_write_before_it_reads_anything(
    tmp_path, monkeypatch, capsys, key, name, message
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder.keras").mkdir()
    config = {"model": "none.keras", "data": "d", "features": "x", "label": "y"}
    config |= {"output": "new/m.keras", "history": "h.json", "report": "r.html"}
    for changed, told in (({}, "none.keras: File not found"), ({key: name}, message)):
        Path("c.json").write_text(json.dumps(config | changed))
        assert command.main(["fit", "--config", "c.json"]) == 2
        assert told in capsys.readouterr().err


def test_errors_of_others_are_told_in_one_line(monkeypatch, capsys):
    py4j, spark = pytest.importorskip("py4j.protocol"), pytest.importorskip("pyspark.errors")
    of_java = "An error occurred while calling o1.save.\n: java.io.IOException: full\n\tat a.b"
    for error, told in (
        (OSError("disk full"), "OSError: disk full"),
        (TypeError("no such\nargument"), "TypeError: no such"),
        (spark.AnalysisException("no column x;\n'Project"), "AnalysisException: no column x;"),
        (py4j.Py4JError(of_java), "Py4JError: java.io.IOException: full"),
    ):
        monkeypatch.setattr(command, "_summary", lambda options, error=error: throw(error))
        assert command.main(["summary", "m.keras"]) == 2
        assert capsys.readouterr().err == f"zoo-keras summary: {told}\n"
    monkeypatch.setattr(command, "_summary", lambda options: throw(KeyError("ours")))
    with pytest.raises(KeyError):  # a fault of ours keeps its traceback
        command.main(["summary", "m.keras"])


def throw(error):
    raise error


def test_doctor_prints_each_finding_when_it_is_there(monkeypatch, capsys):
    def findings(spark):
        yield doctor.Finding("slots", "0", "Give cores.", must=True)
        assert re.fullmatch(r"CHANGE slots +0\n +Give cores\.\n", capsys.readouterr().out)
        yield doctor.Finding("Java", "17")

    monkeypatch.setattr(doctor, "examine", findings)
    monkeypatch.setattr(command, "session", lambda name: None)
    assert command.main(["doctor"]) == 1
    assert capsys.readouterr().out.startswith("ok     Java ")


def test_doctor_asks_no_executor_where_no_task_can_run(monkeypatch):
    monkeypatch.setattr(doctor.cluster, "room", lambda sc: 0)
    (found,) = doctor._executors(None)
    assert found.must and "No task can run" in found.advice


@pytest.mark.parametrize("way", [["-m", "zoo_keras"], [str(ROOT / "zoo_keras" / "__main__.py")]])
def test_it_runs_as_a_module_and_by_its_path(file, way, tmp_path):
    done = subprocess.run(
        [sys.executable, *way, "summary", str(file)], cwd=tmp_path, stdout=-1, text=True, check=True
    )
    assert "hidden" in done.stdout
