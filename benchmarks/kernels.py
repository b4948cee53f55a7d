"""Speed of single kernels: `python benchmarks/kernels.py [--group conv] [--only REGEX]`.

Out: for each kernel and shape GFLOP/s (or GB/s) and, for the former, the share of the measured peak
of multiply-adds, with one thread and with two, beside every peer that this interpreter can import.
Rows come from kernel_rows/, one module a group; all calls of a row alternate in time and the best
time of each counts.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kernel_rows.row import Row

GROUPS = ("conv", "rnn")  # modules of kernel_rows with a function rows()

PEAK = """
typedef float v8 __attribute__((vector_size(32)));
__attribute__((target("avx2,fma"))) float run(long n) {
    v8 s[12], a = {1}, b = {0.5f};
    for (int j = 0; j < 12; j++) s[j] = a * (float)j;
    for (long i = 0; i < n; i++) {
        __asm__ volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) s[j] = s[j] * a + b;
    }
    float t = 0;
    for (int j = 0; j < 12; j++) t += s[j][0];
    return t;
}
"""


def measured_peak() -> float:
    """GFLOP/s of one thread that only multiplies and adds, in 256-bit vectors; 0 elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "peak.so")
        command = ["gcc", "-O3", "-shared", "-fPIC", "-xc", "-", "-o", str(library)]
        if subprocess.run(command, input=PEAK.encode(), capture_output=True).returncode:
            return 0.0
        run = ctypes.CDLL(str(library)).run
        run.restype = ctypes.c_float
        return 12 * 16 * 2_000_000 / best_times([lambda: run(2_000_000)], 0.5)[0] / 1e9


def best_times(calls: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """The best time of each call, in turn until each had so many seconds."""
    found = [float("inf")] * len(calls)
    repeats = [1] * len(calls)
    for i, call in enumerate(calls):
        call()
        repeats[i] = max(1, int(2e-4 / max(_timed(call, 1), 1e-9)))
    end = time.perf_counter() + seconds * len(calls)
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for i, call in enumerate(calls):
            found[i] = min(found[i], _timed(call, repeats[i]))
        rounds += 1
    return found


def _timed(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def show(row: Row, threads: int, peak: float, seconds: float) -> None:
    """One line: our speed and share of the peak, then each peer's speed and our ratio to it."""
    calls = [row.ours(threads)]
    names = []
    for name, make in row.peers.items():
        calls.append(make(threads))
        names.append(name)
    ours, *others = [row.work / t / 1e9 for t in best_times(calls, seconds)]
    share = f"{ours / (peak * threads):5.0%}" if peak and row.unit == "GF/s" else " " * 5
    line = f"{row.name:<44} {threads} {ours:8.1f} {row.unit} {share}"
    for name, speed in zip(names, others, strict=True):
        line += f"  {name} {speed:7.1f} x{ours / speed:4.2f}"
    print(line, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", choices=GROUPS, action="append", help="default: all groups")
    parser.add_argument("--only", default="", help="rows whose name this expression finds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each row and contender")
    options = parser.parse_args()
    peak = measured_peak()
    print(f"peak of one thread: {peak:.0f} GFLOP/s")
    for group in options.group or GROUPS:
        for row in importlib.import_module(f"kernel_rows.{group}").rows():
            if re.search(options.only, row.name):
                for threads in options.threads:
                    show(row, threads, peak, options.seconds)


if __name__ == "__main__":
    main()
