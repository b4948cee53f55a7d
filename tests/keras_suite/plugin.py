"""The pytest plugin that runs test files of Keras and leaves out what is excluded.

In: paths of test files below build/keras_suite, and KERAS_SUITE_OUT, the file for outcomes. Out: a
line of JSON for each test: its id, "passed", "failed" or "excluded", and the reason or the message.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from exclusions import Exclusions  # noqa: E402
from fetch import FOLDER, PACKAGES  # noqa: E402

sys.path.append(str(PACKAGES))
SOURCE = FOLDER / "keras" / "src"
_words: dict[str, str] = {}  # tests that are run with the words of errors left out, and why


def pytest_configure(config: Any) -> None:
    import ml_dtypes  # noqa: F401  # for arrays of bfloat16 in lists of test cases
    import modules

    modules.install()


class KerasFile(pytest.Module):
    """A test file, imported as the module that it is in Keras."""

    def _getobj(self) -> Any:
        below = self.path.relative_to(FOLDER).with_suffix("")
        return importlib.import_module(".".join(below.parts))


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> Any:
    if module_path.is_relative_to(SOURCE):
        return KerasFile.from_parent(parent, path=module_path)
    return None


def _id(nodeid: str) -> str:
    return nodeid.rpartition("keras/src/")[2]


def _write(line: dict[str, Any]) -> None:
    with open(os.environ["KERAS_SUITE_OUT"], "a") as out:
        out.write(json.dumps(line) + "\n")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    exclusions = Exclusions.read()
    kept = []
    for item in items:
        reason = exclusions.reason(_id(item.nodeid))
        if reason is not None and reason.startswith("words"):
            _words[_id(item.nodeid)] = reason
        if reason is None or _id(item.nodeid) in _words:
            kept.append(item)
            _write({"id": _id(item.nodeid), "outcome": "started"})
        else:
            _write({"id": _id(item.nodeid), "outcome": "excluded", "why": reason})
    items[:] = kept


def pytest_collectreport(report: Any) -> None:
    if report.outcome != "passed":
        outcome = "excluded" if report.skipped else "failed"
        _write({"id": _id(report.nodeid), "outcome": outcome, "why": _why(report)})


def pytest_runtest_setup(item: Any) -> None:
    from stand_ins.testing import TestCase

    import zoo_keras

    TestCase.words_matter = _id(item.nodeid) not in _words
    zoo_keras.utils.set_random_seed(1337)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcome = "excluded" if report.skipped else report.outcome
        words = _words.get(_id(report.nodeid), "") if report.passed else ""
        if words:
            outcome = "excluded"
        _write({"id": _id(report.nodeid), "outcome": outcome, "why": words or _why(report)})


def _why(report: Any) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:2000]
