"""Speed of single kernels: `python benchmarks/kernels.py [--group gemm conv] [--only REGEX]`.

Out: for each kernel and shape GFLOP/s or GB/s, the share of the measured limit (multiply-adds, or
memory traffic), and the smallest cache that holds the working set ("mem": none does; rows that
live in a cache can exceed the limit of memory), with one thread and with two. Beside it MKL where
it has the function, and torch when this interpreter can import it, with our ratio to each. Rows
come from kernel_rows/, one module a group; all calls of a row alternate and the best time of each
counts. The whole table takes some five minutes; the machine must be otherwise idle.
"""

from __future__ import annotations

import argparse
import importlib
import re
import time
from collections.abc import Callable, Sequence

from kernel_rows import limits, mkl
from kernel_rows.row import Row

from zoo_keras import gemm, native

# Modules of kernel_rows with a function rows().
GROUPS = ("gemm", "conv", "pool", "norm", "softmax", "attention", "rnn", "embedding", "elementwise",
          "reduction", "update")  # fmt: skip
SHORT, PAUSE = 2e-4, 5e-3  # seconds: least length of a timing; until a peer's threads stop spinning


def best_times(calls: Sequence[Callable[[], object]], seconds: float, pause: float) -> list[float]:
    """The best time of each call, in turn until each had so many seconds."""
    found = [float("inf")] * len(calls)
    repeats = [1] * len(calls)
    for i, call in enumerate(calls):
        call()
        repeats[i] = max(1, int(SHORT / max(_timed(call, 1), 1e-9)))
    end = time.perf_counter() + seconds * len(calls)
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for i, call in enumerate(calls):
            if pause:
                time.sleep(pause)
                if repeats[i] > 1:
                    call()  # wakes our own threads
            found[i] = min(found[i], _timed(call, repeats[i]))
        rounds += 1
    return found


def _timed(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def show(row: Row, threads: int, limit: float, seconds: float) -> None:
    """One line: our speed, share of the limit and cache, then each peer's speed and our ratio."""
    ours = row.ours(threads)
    calls = [ours, *[make(threads) for make in row.peers.values()]]
    pause = PAUSE if threads > 1 and len(calls) > 1 else 0.0
    speed, *others = [row.work / t / 1e9 for t in best_times(calls, seconds, pause)]
    share = f"{speed / limit:5.0%}" if limit else " " * 5
    line = f"{row.name:<48} {threads} {speed:8.1f} {row.unit} {share} {limits.home(ours.nbytes):<3}"
    for name, other in zip(row.peers, others, strict=True):
        line += f"  {name} {other:7.1f} x{speed / other:4.2f}"
    print(line, flush=True)


def head(threads: Sequence[int], library: str | None) -> dict[int, limits.Limits]:
    """Prints the machine's limits and the peers' state; the limits by number of threads."""
    loops = limits.compiled()
    found = {n: limits.measured(loops, n) for n in threads}
    sizes = ", ".join(f"{k} {v // 1024} kB" for k, v in limits.caches().items())
    print(f"instruction set {native.instruction_set()}; caches seen by a core: {sizes}")
    for n, limit in found.items():
        print(f"limits of {n} thread{'s' * (n > 1)}: {limit if loops else 'not measured (no gcc)'}")
    print(mkl.load(library))
    print(f"torch: {_torch_version()}", flush=True)
    return found


def _torch_version() -> str:
    torch = importlib.import_module("kernel_rows.peer").torch
    return torch.__version__ if torch else "not installed for this interpreter, no column"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", choices=GROUPS, nargs="+", action="extend", help="default: all")
    parser.add_argument("--only", default="", help="rows whose name this expression finds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.1, help="for each row and contender")
    parser.add_argument(
        "--mkl", default=gemm.find_mkl(), metavar="PATH", help="libmkl_rt; default: the package's"
    )
    return parser.parse_args()


def main() -> None:
    """Prints the table."""
    options = arguments()
    found = head(options.threads, options.mkl)
    for group in options.group or GROUPS:
        print(f"-- {group}", flush=True)
        for row in importlib.import_module(f"kernel_rows.{group}").rows():
            if re.search(options.only, row.name):
                for threads in options.threads:
                    show(row, threads, found[threads].of(row.unit, row.inplace), options.seconds)


if __name__ == "__main__":
    main()
