"""The scripts of examples/keras with zoo_keras in Keras' place: the results that real Keras reached
(results.json, by make_results.py), and a short training of each on executors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = HERE.parents[1] / "examples" / "keras" / "run.py"
REACHED = json.loads((HERE / "results.json").read_text())


def results(*arguments: str) -> dict[str, dict]:
    """What run.py prints, by script."""
    run = [sys.executable, "-W", "error", str(RUN), *arguments]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    pairs = (line.split(" ", 1) for line in lines)
    return {name: json.loads(found) for name, found in pairs if name in REACHED}


@pytest.fixture(scope="module")
def reached():
    """What all scripts reach, each from the same seed, one after the other in one process."""
    return results("--all")


def test_every_script_has_its_results():
    scripts = {path.stem for path in RUN.parent.glob("*.py")} - {"run", "made_data"}
    assert scripts == set(REACHED)


@pytest.mark.parametrize("name", REACHED)
def test_a_script_reaches_what_it_does_with_keras(name, reached):
    found = reached[name]
    assert set(found) == set(REACHED[name])
    for key, value in found.items():
        low, high = min(REACHED[name][key]), max(REACHED[name][key])
        slack = max(high - low, 0.1 * abs(high))
        assert low - slack <= value <= high + slack, (key, value, REACHED[name][key])


@pytest.mark.spark
def test_every_script_trains_on_executors():
    found = results("--all", "--spark", "--quick")
    assert set(found) == set(REACHED)
    failed = {name: each["failed"] for name, each in found.items() if "failed" in each}
    assert failed == {}
