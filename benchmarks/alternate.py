"""Runs contenders in turn, each in a process of its own, and compares their rates.

In: workers (an interpreter, a contender's name, a workload). Out: a table and JSON lines. A worker
gets "run SECONDS" on stdin and answers with the calls it made and the seconds they took, so that
all contenders meet the same noise. Contenders that cannot start are named, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=7, help="windows for each contender")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a window")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("ZK_PEER_PYTHON", sys.executable),
        help="interpreter that has the peers installed",
    )
    return parser


class Worker:
    """One contender in its own process."""

    def __init__(self, python: str, name: str, workload: str, threads: int) -> None:
        self.name = name
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), ZK_THREADS=str(threads),
                           TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="",
                           PYTHONPATH=str(HERE.parent))  # fmt: skip
        self.process = subprocess.Popen(
            [python, str(HERE / "contenders.py"), name, workload, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        ready = self._read()
        self.note = ready.get("note", "")
        self.error = ready.get("error")

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        assert self.process.stderr is not None
        return {"error": self.process.stderr.read().strip().splitlines()[-1:] or "it died"}

    def run(self, seconds: float) -> float:
        """Seconds of one call, averaged over a window."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"run {seconds}\n")
        self.process.stdin.flush()
        answer = self._read()
        return answer["seconds"] / answer["calls"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def compare(
    workload: str,
    names: Sequence[str],
    options: Any,
    per_call: int,
    unit: str,
    scale: Callable[[float], float] | None = None,
) -> dict[str, float]:
    """Median seconds a call of every contender; prints how they compare."""
    workers = []
    for name in names:
        python = sys.executable if name == "zoo_keras" else options.peer_python
        worker = Worker(python, name, workload, options.threads)
        if worker.error:
            print(f"{workload}: {name} is not measured: {worker.error}")
            worker.close()
        else:
            workers.append(worker)
    times: dict[str, list[float]] = {w.name: [] for w in workers}
    try:
        for _ in range(options.rounds):
            for worker in workers:
                times[worker.name].append(worker.run(options.seconds))
    finally:
        for worker in workers:
            worker.close()
    medians = {name: statistics.median(t) for name, t in times.items()}
    _report(workload, medians, times, per_call, unit, scale)
    return medians


def _report(
    workload: str, medians: dict[str, float], times: dict[str, list[float]], per_call: int,
    unit: str, scale: Callable[[float], float] | None,
) -> None:  # fmt: skip
    ours = medians.get("zoo_keras")
    print(f"\n{workload}\n{'contender':14}{unit:>14}{'best':>12}{'zoo_keras is':>16}")
    for name, seconds in sorted(medians.items(), key=lambda item: item[1]):
        shown = scale(seconds) if scale else per_call / seconds
        best = scale(min(times[name])) if scale else per_call / min(times[name])
        ratio = f"{seconds / ours:.2f} x as fast" if ours and name != "zoo_keras" else ""
        print(f"{name:14}{shown:14.1f}{best:12.1f}{ratio:>16}")
    peers = {n: s for n, s in medians.items() if n != "zoo_keras"}
    record = {"workload": workload, "seconds": medians}
    if ours and peers:
        record["ratio_to_best_peer"] = min(peers.values()) / ours
    print(json.dumps(record), flush=True)
