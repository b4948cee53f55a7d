"""Damages files of every kind and loads them, thousands in a row in a process with limits.

    .venv/bin/python tests/fuzz_files.py --inputs 1000000 --workers 2 [--kinds h5 onnx] [--seed 0]

Every input either opens or ends in an error of ours, which says what was received. A crash, another
exception, memory or seconds beyond the limits are failures: each is printed with its number, which
makes the same input again (`--seed NUMBER --inputs 1 --kinds KIND`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fuzz_damage import write
from fuzz_seeds import KINDS, REFUSED, put, seeds

SECONDS, WAITING = 10, 120  # of a CPU, and by the clock, for one input
MEMORY = 512 << 20  # bytes beside what the process has at its start
BATCH = 5000
CONFIGURATIONS = [KINDS[kind].load for kind in ("json", "yaml")]
FAST = Path("/dev/shm")  # where files are in memory


def work(kind: str, first: int, count: int, folder: Path) -> None:
    """Load so many inputs. The number of the one in work stands in folder/now."""
    import zoo_keras as zk

    warnings.simplefilter("ignore")
    chosen = KINDS[kind]
    kept = seeds(zk, kind, folder)
    for name, files in kept.items():  # what is damaged is a file that opens
        if name not in REFUSED:
            put(folder / "input", files)
            chosen.load(zk, folder / "input")
            _remove(folder / "input")
    _limit_memory()
    found: Counter[str] = Counter()
    unclear: dict[str, int] = {}
    rarity = [1 / (1000 + sum(map(len, files.values()))) for files in kept.values()]
    for number in range(first, first + count):
        (folder / "now").write_text(str(number))
        draw, path = random.Random(f"{kind}{number}"), folder / "input"
        write(path, draw.choices(list(kept.values()), rarity)[0], kept, draw)
        what, message = _load(zk, chosen.load, path)
        found[what] += 1
        if what == "unclear":
            unclear.setdefault(re.sub(r"[\d'\"].*", "", message.partition(": ")[2]), number)
        _remove(path)
    (folder / "found").write_text(json.dumps([found, unclear]))


def _load(zk: Any, load: Any, path: Path) -> tuple[str, str]:
    """(what became of the file, the error's message)."""
    from zoo_keras.errors import ZooKerasError

    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING)
    try:
        load(zk, path)
        return "opened", ""
    except (MemoryError, ZooKerasError) as error:
        if _is_for_memory(error):
            if load not in CONFIGURATIONS:
                raise MemoryError(str(error)) from error
            return "too large", ""  # layers without weights may be of any size
        message = str(error)
        return "refused" if "eceived" in message else "unclear", message
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, whatever error was made of it."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _limit_memory() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def batch(kind: str, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """(what became of the inputs, failures); a failure ends a process, and another one goes on."""
    found: Counter[str] = Counter()
    failures: list[str] = []
    end, place = first + count, FAST if FAST.is_dir() else None
    while first < end:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place) as name:
            done = _process(kind, first, end - first, name)
            folder = Path(name)
            if done.returncode == 0:
                more, unclear = json.loads((folder / "found").read_text())
                failures += [f"{kind} {n}: unclear: {text}" for text, n in unclear.items()]
                return found + Counter(more), failures
            now = folder / "now"
            at = int(now.read_text()) if now.exists() else None
        last = (done.stderr.strip().splitlines() or [""])[-1]
        failures.append(f"{kind} {at}: exit {done.returncode}: {last[:300]}")
        if at is None:  # what is not damaged does not open
            return found, failures
        found["failed"] += 1
        found["loaded before a failure"] += at - first
        first = at + 1
    return found, failures


def _process(kind: str, first: int, count: int, folder: str) -> subprocess.CompletedProcess[str]:
    told = [kind, str(first), str(count), folder]
    env = {**os.environ, "PYTHONFAULTHANDLER": "1", "MALLOC_ARENA_MAX": "1"}
    return subprocess.run([sys.executable, __file__, "--work", *told], capture_output=True,
                          text=True, env=env)  # fmt: skip


def run(inputs: int, workers: int, kinds: list[str], seed: int = 0) -> tuple[dict, list[str]]:
    """({kind: what became of its inputs}, failures) of so many inputs, more of the quick kinds."""
    whole = sum(KINDS[kind].share for kind in kinds)
    each = {kind: -(-inputs * KINDS[kind].share // whole) for kind in kinds}
    jobs = sorted(
        (start / each[kind], kind, seed + start, min(BATCH, each[kind] - start))
        for kind in kinds
        for start in range(0, each[kind], BATCH)
    )
    table: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    failures: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        for job, (found, failed) in zip(jobs, pool.map(lambda j: batch(*j[1:]), jobs), strict=True):
            table[job[1]] += found
            failures += failed
            done = sum(counts.total() for counts in table.values())
            print(*failed, f"{done} inputs, {len(failures)} failures", sep="\n", flush=True)
    return table, failures


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        kind, first, count, folder = sys.argv[2:]
        work(kind, int(first), int(count), Path(folder))
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table, failures = run(given.inputs, given.workers, given.kinds, given.seed)
    for kind, found in table.items():
        print(f"{kind:12}", dict(found))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
