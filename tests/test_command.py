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


@pytest.mark.parametrize("way", [["-m", "zoo_keras"], [str(ROOT / "zoo_keras" / "__main__.py")]])
def test_it_runs_as_a_module_and_by_its_path(file, way, tmp_path):
    done = subprocess.run(
        [sys.executable, *way, "summary", str(file)], cwd=tmp_path, stdout=-1, text=True, check=True
    )
    assert "hidden" in done.stdout
