"""Keras' own unit tests against zoo_keras: `make keras-suite`, or this with areas or files.

    python tests/keras_suite/run.py [-n 2] [--limit 600] [--failures] [layers/core ops/nn_test.py]

In: nothing; the tests are fetched when they are not there. Out: a table by area, and
build/keras_suite/results: for each file its outcomes, and what pytest said. Files run in processes
of their own, each with a time limit. `--stored` shows the outcomes of the last run.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exclusions import Exclusions
from fetch import FOLDER, fetch, test_files

HERE = Path(__file__).resolve().parent
RESULTS = FOLDER.parent / "results"
Outcomes = dict[str, tuple[str, str]]


def area(file: str) -> str:
    """The row of the table that a test file belongs to."""
    parts = file.split("/")[:-1]
    return "/".join(parts[:2]) if parts[0] in ("layers", "backend") else parts[0]


def stored(file: str) -> Path:
    """Where the outcomes of a test file are written."""
    return RESULTS / file.replace("/", "+").replace(".py", ".jsonl")


def run_file(file: str, limit: int) -> Outcomes:
    """Outcomes of one file, from a process of its own."""
    out = stored(file)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    path = FOLDER / "keras" / "src" / file
    command = [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider", "-c",
               str(HERE / "pytest.ini"), "--rootdir", str(FOLDER), str(path)]  # fmt: skip
    environment = {**os.environ, "KERAS_SUITE_OUT": str(out), "PYTHONPATH": str(HERE)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(FOLDER.parent.parent / "pycache"))
    with open(out.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log,
                                   cwd=FOLDER, start_new_session=True)  # fmt: skip
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return read(out, file)


def read(out: Path, file: str) -> Outcomes:
    """The outcomes that a process wrote; a test that it started and did not end has failed."""
    found: Outcomes = {}
    for line in out.read_text().splitlines() if out.exists() else []:
        each = json.loads(line)
        before = found.get(each["id"], ("", ""))[0]
        if not (before == "failed" and each["outcome"] == "passed"):
            found[each["id"]] = (each["outcome"], each.get("why", ""))
    if not found:
        found[file] = ("failed", "the process ended before it found a test")
    return {
        test: ("failed", "time limit or end of the process")
        if outcome == "started"
        else (outcome, why)
        for test, (outcome, why) in found.items()
    }


def table(results: dict[str, Outcomes]) -> str:
    """Passed, failed and excluded tests by area."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for file, outcomes in results.items():
        for outcome, _ in outcomes.values():
            counts[area(file)][outcome] += 1
            counts["all"][outcome] += 1
    lines = [f"{'area':26}{'passed':>8}{'failed':>8}{'excluded':>10}{'share':>8}"]
    for name in [*sorted(set(counts) - {"all"}), "all"]:
        passed, failed = counts[name]["passed"], counts[name]["failed"]
        share = f"{100 * passed / (passed + failed):.1f}" if passed + failed else "-"
        lines.append(f"{name:26}{passed:8}{failed:8}{counts[name]['excluded']:10}{share:>8}")
    return "\n".join(lines)


def wanted(names: list[str]) -> list[str]:
    """The test files of these areas, folders or files; all without names."""
    files = test_files()
    if not names:
        return files
    return [f for f in files if any(f == n or f.startswith(f"{n.rstrip('/')}/") for n in names)]


def main() -> int:
    parse = argparse.ArgumentParser()
    parse.add_argument("-n", type=int, default=2, help="processes at once")
    parse.add_argument("--limit", type=int, default=600, help="seconds for one file")
    parse.add_argument("--failures", action="store_true", help="print each failure")
    parse.add_argument("--stored", action="store_true", help="run nothing, show the last outcomes")
    parse.add_argument("names", nargs="*", help="areas, folders or files below keras/src")
    arguments = parse.parse_args()
    fetch()
    exclusions = Exclusions.read()
    files = wanted(arguments.names)
    results = {f: {f: ("excluded", why)} for f in files if (why := exclusions.whole_file(f))}
    rest = [f for f in files if f not in results]
    if arguments.stored:
        results.update({f: read(stored(f), f) for f in rest if stored(f).exists()})
        rest = []
    with ThreadPoolExecutor(arguments.n) as pool:
        results.update(zip(rest, pool.map(lambda f: run_file(f, arguments.limit), rest)))
    if arguments.failures:
        for outcomes in results.values():
            for test, (outcome, why) in outcomes.items():
                if outcome == "failed":
                    print(f"{test}\n    {why.splitlines()[0][:200] if why else ''}")
    print(table(results))
    return int(any(o == "failed" for each in results.values() for o, _ in each.values()))


if __name__ == "__main__":
    sys.exit(main())
