"""Does anything grow while one session fits, evaluates and predicts again and again?

    python benchmarks/soak.py              # an hour
    python benchmarks/soak.py 600 --every 15

Rounds of fits (RDD; DataFrame with validation; data on disk; one that fails), evaluations and
predictions on two executors. At intervals, after garbage collections: memory of the driver, the
JVMs and the largest worker, heap in use, blocks, threads, open files, files of ours and of
Spark's. Prints a line each time, at the end the slope of each by Theil and Sen over the last two
thirds. Exit code 1 when one of them grows by more than it is allowed to.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import zoo_keras as keras
from zoo_keras.errors import ZooKerasError
from zoo_keras.spark.cluster import init_session
from zoo_keras.spark.transport.bridge import Bridge, driver_bridge, with_bridge

ROWS, COLUMNS, CLASSES, HEAP = 4096, 20, 3, "640m"
NAMES = {"feature_cols": "x", "label_cols": "y"}
# The heap is there from the start and little is compiled: what is left to grow is not Java's.
JAVA = f"-Xms{HEAP} -XX:+UseSerialGC -XX:+AlwaysPreTouch -XX:TieredStopAtLevel=1"
SETTINGS = {
    "spark.driver.memory": HEAP,
    "spark.executor.memory": HEAP,
    "spark.driver.extraJavaOptions": JAVA,
    "spark.executor.extraJavaOptions": JAVA,
    "spark.ui.enabled": "false",
    # What Spark remembers of jobs that have ended, by default of a thousand of them.
    **{f"spark.ui.retained{what}": "20" for what in ("Jobs", "Stages", "Tasks", "DeadExecutors")},
    "spark.sql.ui.retainedExecutions": "10",
    "spark.python.worker.reuse": "true",
}


class Allowed(NamedTuple):
    """By how much a measure may differ at the end: its noise."""

    share: float
    absolute: float


ALLOWED = {
    "driver MB": Allowed(0.02, 4),
    "JVMs MB": Allowed(0.01, 8),
    "heap MB": Allowed(0.03, 4),
    "worker MB": Allowed(0.02, 4),
    "blocks": Allowed(0, 0.5),
    "our threads": Allowed(0, 0.5),
    "threads": Allowed(0.2, 4),  # Spark's pools keep theirs for a minute
    "open files": Allowed(0, 6),
    "our files": Allowed(0, 0.5),
    "Spark's files": Allowed(0.02, 4),
}

# ---- work ----------------------------------------------------------------------------------------


def make_model() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((COLUMNS,)),
            layers.Dense(64, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(CLASSES),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class Work:
    """What a user's long session does."""

    def __init__(self, spark: Any) -> None:
        rng = np.random.default_rng(0)
        x = rng.random((ROWS, COLUMNS), np.float32)
        y = rng.integers(0, CLASSES, ROWS).astype(np.int32)
        pairs = list(zip(x, y, strict=True))
        self.records = spark.sparkContext.parallelize(pairs, 2).cache()
        self.inputs = self.records.map(lambda record: record[0]).cache()
        self.wrong = spark.sparkContext.parallelize([*pairs[:99], (x[0], np.int32(CLASSES))], 2)
        rows = [(a.tolist(), int(b)) for a, b in zip(x, y, strict=True)]
        self.frame = spark.createDataFrame(rows, "x array<float>, y int").repartition(2).cache()
        self.model, self.x, self.y = make_model(), x, y

    def round(self) -> None:
        """Every way into the cluster once."""
        options: dict[str, Any] = {"batch_size": 256, "verbose": 0}
        held = self.x[:100], self.y[:100]
        self.model.fit(self.records, epochs=2, validation_data=held, **options)
        make_model().fit(self.records, data_budget=0, snapshot_steps=3, **options)
        self.model.fit(self.frame, **NAMES, **options)
        self.model.evaluate(self.records, **options)
        self.model.predict(self.inputs, batch_size=256).count()
        self.model.predict(self.frame, feature_cols="x").select("prediction").collect()
        try:
            self.model.fit(self.wrong, **options)
        except ZooKerasError:
            return
        raise SystemExit("A label that is no class has been trained on.")


# ---- measures ------------------------------------------------------------------------------------


def children(pid: int) -> Iterator[int]:
    """All processes below one."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    for child in map(int, found):
        yield child
        yield from children(child)


def of_each(pids: list[int], measure: Callable[[int], float]) -> list[float]:
    """A measure of processes, without those that have just ended."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found.append(measure(pid))
    return found


def named(pid: int, start: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith(start)
    except OSError:
        return False


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def thread_names(pid: int) -> list[str]:
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/task/{task}/comm").read_text())
    return found


def heap_mb(jvm: int) -> float:
    """What is in use of a JVM's heap after a collection."""

    def ask(command: str) -> str:
        done = subprocess.run(["jcmd", str(jvm), command], capture_output=True, text=True)
        return done.stdout

    ask("GC.run")
    used = re.findall(r"generation\s+total \d+K, used (\d+)K", ask("GC.heap_info"))
    return sum(map(int, used)) / 1024


def count_blocks(items: Iterator[Any]) -> Iterator[tuple[int, int]]:
    """(process id of the executor, blocks of ours in it)."""
    bridge = Bridge(next(items))
    list(items)
    found = bridge.here().pid, bridge.count_blocks()
    bridge.close()
    yield found


def blocks(sc: Any) -> int:
    bridge = driver_bridge(sc)
    here = bridge.count_blocks()
    bridge.close()
    looks = with_bridge(sc.parallelize(range(4), 4)).mapPartitions(count_blocks).collect()
    return here + sum(dict(looks).values())


def sample(sc: Any, folder: str) -> dict[str, float]:
    """Everything that could grow."""
    found = {"blocks": float(blocks(sc))}
    pids = list(children(os.getpid()))
    jvms = [pid for pid in pids if named(pid, "java")]
    pythons = [pid for pid in pids if named(pid, "python")]
    files = [*Path(tempfile.gettempdir()).glob("zookeras-*"), *Path("/dev/shm").glob("zookeras-*")]
    here = {os.getpid(), *jvms}
    ours = [f for f in files if f.is_file() or int(f.name.split("-")[1]) in here]
    threads = [name for pid in jvms for name in thread_names(pid)]
    threads += [thread.name for thread in threading.enumerate()]
    return found | {
        "driver MB": resident_mb(os.getpid()),
        "JVMs MB": sum(of_each(jvms, resident_mb)),
        "heap MB": sum(map(heap_mb, jvms)),
        "worker MB": max(of_each(pythons, resident_mb)),
        "our threads": sum(name.startswith("zookeras") for name in threads),
        "threads": len(threads),
        "open files": open_files(os.getpid()) + sum(map(open_files, jvms)),
        "our files": len(ours),
        "Spark's files": sum(len(names) for _, _, names in os.walk(folder)),
    }


# ---- verdict -------------------------------------------------------------------------------------


def slope(times: list[float], values: list[float]) -> float:
    """The median of the slopes between all pairs: a few odd samples do not count."""
    pairs = itertools.combinations(zip(times, values, strict=True), 2)
    return statistics.median((b - a) / (t - s) for (s, a), (t, b) in pairs)


def grown(times: list[float], samples: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """For each measure: level, slope an hour, growth over the time that counts, what is allowed."""
    first = len(times) // 3
    found = {}
    for name, allowed in ALLOWED.items():
        values = [each[name] for each in samples[first:]]
        rate = slope(times[first:], values)
        level = statistics.median(values)
        found[name] = {
            "level": level,
            "per_hour": 3600 * rate,
            "growth": rate * (times[-1] - times[first]),
            "allowed": allowed.share * level + allowed.absolute,
        }
    return found


def print_verdict(found: dict[str, dict[str, float]]) -> bool:
    """A line for each measure; whether all are flat."""
    print(f"{'':14}{'level':>10}{'an hour':>10}{'growth':>10}{'allowed':>10}")
    for name, row in found.items():
        mark = "" if row["growth"] <= row["allowed"] else "  GROWS"
        numbers = "".join(f"{row[key]:10.1f}" for key in ("level", "per_hour", "growth", "allowed"))
        print(f"{name:14}{numbers}{mark}")
    return all(row["growth"] <= row["allowed"] for row in found.values())


def soak(work: Callable[[], None], look: Callable[[], dict[str, float]], seconds: float,
         every: float) -> tuple[int, list[float], list[dict[str, float]]]:  # fmt: skip
    """Rounds until the time is over; (rounds, times of samples, samples)."""
    times: list[float] = []
    samples: list[dict[str, float]] = []
    start, rounds = time.monotonic(), 0
    while (now := time.monotonic() - start) < seconds or len(times) < 6:
        work()
        rounds += 1
        if not times or now - times[-1] >= every:
            samples.append(look())
            times.append(now)
            print(f"{now:6.0f} s, {rounds:4} rounds: "
                  + ", ".join(f"{name} {value:.0f}" for name, value in samples[-1].items()),
                  flush=True)  # fmt: skip
    return rounds, times, samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", type=float, nargs="?", default=3600)
    parser.add_argument("--every", type=float, default=30, help="seconds between samples")
    options = parser.parse_args()
    os.environ["MALLOC_ARENA_MAX"] = "2"  # else each thread of the JVMs may have one of its own
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        settings = {**SETTINGS, "spark.local.dir": folder}
        spark = init_session("local-cluster[2,1,640]", "soak", conf=settings)
        spark.sparkContext.setLogLevel("OFF")  # one fit in each round fails
        work, sc = Work(spark), spark.sparkContext
        rounds, times, samples = soak(
            work.round, lambda: sample(sc, folder), options.seconds, options.every
        )
        spark.stop()
    found = grown(times, samples)
    flat = print_verdict(found)
    print(json.dumps({"benchmark": "soak", "seconds": round(times[-1]), "rounds": rounds,
                      "flat": flat, "measures": found}))  # fmt: skip
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
