"""Runs contenders in turn, each in a process of its own, and compares their rates.

In: contenders' names and a workload. Out: a table and JSON lines. A worker gets "run SECONDS" on
stdin and answers with the calls it made and the seconds they took, so that all contenders meet the
same noise. Contenders that cannot start are named, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workloads import WORKLOADS, Workload

HERE = Path(__file__).parent


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=11, help="windows for each contender")
    parser.add_argument("--seconds", type=float, default=0.6, help="length of a window")
    parser.add_argument(
        "--start", type=float, default=240, help="seconds a contender may take to start"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("ZK_PEER_PYTHON", sys.executable),
        help="interpreter that has the peers installed",
    )
    return parser


class Worker:
    """One contender in its own process."""

    def __init__(self, python: str, name: str, workload: str, options: Any) -> None:
        self.name, self.peak_mb = name, 0.0
        threads = str(options.threads)
        environment = dict(os.environ, OMP_NUM_THREADS=threads, ZK_THREADS=threads,
                           TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="",
                           PYTHONPATH=str(HERE.parent))  # fmt: skip
        self.process = subprocess.Popen(
            [python, str(HERE / "contenders.py"), name, workload, threads],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip
        self.error = self._read(options.start).get("error")

    def _read(self, timeout: float) -> dict[str, Any]:
        pipe = self.process.stdout
        while select.select([pipe], [], [], timeout)[0]:
            line = pipe.readline()  # type: ignore[union-attr]
            if line.startswith("{"):
                return json.loads(line)
            if not line:
                return {"error": "it died"}
        return {"error": f"not ready after {timeout:.0f} s"}

    def run(self, seconds: float) -> float:
        """Seconds of one call, averaged over a window."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"run {seconds}\n")
        self.process.stdin.flush()
        answer = self._read(600)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        self.peak_mb = max(self.peak_mb, answer["peak_mb"])
        return answer["seconds"] / answer["calls"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def compare(
    workload: str,
    names: Sequence[str],
    options: Any,
    unit: str = "samples/s",
    scale: Callable[[float], float] | None = None,
) -> dict[str, Any]:
    """Seconds a call of every contender, window by window; prints how they compare.

    Args:
        scale: turns seconds of a call into the unit; default: samples a second.
    """
    workers = [w for name in names if (w := _started(name, workload, options))]
    times: dict[str, list[float]] = {w.name: [] for w in workers}
    try:
        for _ in range(options.rounds):
            for worker in workers:
                times[worker.name].append(worker.run(options.seconds))
    finally:
        for worker in workers:
            worker.close()
    memory = {w.name: round(w.peak_mb) for w in workers}
    return _report(
        workload, times, memory, unit, scale or (lambda s: WORKLOADS[workload].batch / s)
    )


def _started(name: str, workload: str, options: Any) -> Worker | None:
    python = sys.executable if name.startswith("zoo_keras") else options.peer_python
    worker = Worker(python, name, workload, options)
    if not worker.error:
        return worker
    print(f"{workload}: {name} is not measured: {worker.error}", flush=True)
    worker.close()
    return None


def _ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """By peer: its time over ours, the median of the rounds. Both windows of a round are close in
    time, so that a slow minute of a shared machine slows both."""
    ours = times.get("zoo_keras")
    peers = [name for name in times if name != "zoo_keras"]
    return {
        name: round(statistics.median(t / o for t, o in zip(times[name], ours, strict=True)), 3)
        for name in peers
        if ours
    }


def _report(
    workload: str, times: dict[str, list[float]], memory: dict[str, int], unit: str,
    scale: Callable[[float], float],
) -> dict[str, Any]:  # fmt: skip
    work: Workload = WORKLOADS[workload]
    medians = {name: statistics.median(t) for name, t in times.items()}
    head = f"{'contender':20}{unit:>12}{'best':>12}{'GFLOP/s':>10}{'peak MB':>9}"
    print(f"\n{workload}\n{head}{'zoo_keras is':>16}")
    ratios = _ratios(times)
    for name, seconds in sorted(medians.items(), key=lambda item: item[1]):
        ratio = f"{ratios[name]:.2f} x as fast" if name in ratios else ""
        print(f"{name:20}{scale(seconds):12.1f}{scale(min(times[name])):12.1f}"
              f"{work.flop_per_call / seconds / 1e9:10.1f}{memory[name]:9}{ratio:>16}")  # fmt: skip
    record: dict[str, Any] = {"workload": workload, "seconds": medians, "peak_mb": memory}
    record["ratios"] = ratios
    print(json.dumps(record), flush=True)
    return record
