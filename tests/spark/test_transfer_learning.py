"""The tutorial, as a program and as a notebook, on pictures of digits."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel

pytest.importorskip("matplotlib")
pytestmark = [
    pytest.mark.spark,
    # pyspark's __repr__ of files that it has opened for a notebook's cells
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


def test_the_program_s_pipeline_predicts_the_same_in_another_process(spark, tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "transfer_learning.py", "--master", "local[2]", "--output",
         tmp_path],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "48 pictures" in done.stdout and "in 3-fold cross-validation" in done.stdout
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "predictions.csv") as file:
        want = {row["file"]: row for row in csv.DictReader(file)}
    sys.path.insert(0, str(EXAMPLES))
    from transfer_learning import read_pictures

    fitted = PipelineModel.load(str(tmp_path / "pipeline"))
    pictures = read_pictures(spark, str(tmp_path / "pictures"))
    kinds = fitted.stages[0].labels
    rows = fitted.transform(pictures.where("fold = 0")).collect()
    assert len(rows) == len(want) == 16
    for row in rows:
        there = want[row.image.origin]
        assert kinds[int(row.prediction)] == there["predicted"]
        assert max(row.probability.toArray()) == float(there["probability"])


def test_the_notebook_s_cells_run(spark, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("PHOTOS", "WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    notebook = json.loads((EXAMPLES / "transfer_learning.ipynb").read_text())
    names = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "the notebook is kept without outputs"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["accuracy"] >= 0.9 and names["same"]
    assert os.path.getsize(names["path"]) > 5000


def test_fine_tuning_trains_the_last_block_alone(spark, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import transfer_learning as tutorial

    tutorial.write_digits(tmp_path)
    size, net, first = tutorial.pretrained(None)
    before = [w.copy() for w in net.get_weights()]
    pipeline = tutorial.fine_tuned(size, net, first)
    fitted = pipeline.fit(tutorial.read_pictures(spark, str(tmp_path)))
    trained = fitted.stages[-1].model
    after = next(layer for layer in trained.layers if layer.name == net.name).get_weights()
    changed = [bool((a != b).any()) for a, b in zip(after, before, strict=True)]
    assert changed == [False] * 4 + [True] * 2
