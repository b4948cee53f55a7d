"""A look at a session before work begins: versions, slots, settings, the executors' Python.

In: a classic SparkSession. Out: Findings: what there is, and what to change. One small job asks the
executors; it needs no zoo_keras there.
"""

from __future__ import annotations

import itertools
import json
import math
import platform
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from zoo_keras.errors import ClusterError
from zoo_keras.spark import cluster
from zoo_keras.spark.engine import this_engine
from zoo_keras.spark.transport import failures


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name, value: what it is, and what was found.
        advice: what would be better; empty when all is well.
        must: whether training or scoring fails as it is.
    """

    name: str
    value: str
    advice: str = ""
    must: bool = False


# Setting, Spark's default, the value that would be better, and why.
_BETTER = (
    ("spark.python.worker.reuse", "true", "true",
     "workers that stay keep programs and weights from task to task"),
    ("spark.locality.wait", "3s", "0s", "ranks else wait where two of them like one slot"),
    ("spark.sql.execution.arrow.pyspark.enabled", "false", "true", "toPandas is then quicker"),
)  # fmt: skip


def examine(spark: Any) -> Iterator[Finding]:
    """All findings of a session, each as soon as it was looked at.

    Raises ClusterError for a session of Spark Connect, or one that was stopped. Source: none.

    >>> for finding in zoo_keras.spark.doctor.examine(spark): print(finding)
    """
    sc = cluster.spark_context(spark)
    return itertools.chain(_driver(sc), _slots(sc), _settings(sc), _executors(sc))


def _driver(sc: Any) -> Iterator[Finding]:
    engine = this_engine()
    yield Finding("zoo_keras", f"{engine.version}, build {engine.build}, {engine.isa}")
    yield Finding("Python", f"{platform.python_version()} (driver)")
    java = str(sc._jvm.java.lang.System.getProperty("java.version"))
    try:
        cluster._check_version(sc)
        yield Finding("Spark", f"{sc.version}, Java {java}, master {sc.master}")
    except ClusterError as error:
        yield Finding("Spark", f"{sc.version}, Java {java}", str(error), must=True)


def _slots(sc: Any) -> Iterator[Finding]:
    found, cpus = cluster.executors(sc), cluster.task_cpus(sc)
    cores = ", ".join(f"{e.id} on {e.host}: {e.cores}" for e in found) or "none yet"
    room = cluster.room(sc)
    text = f"{cluster.slots(sc)} now (cores of executors: {cores}; spark.task.cpus={cpus})"
    if not cluster.is_elastic(sc):
        lacking = (
            f"Give executors at least {cpus} cores, or lower spark.task.cpus." if not room else ""
        )
        yield Finding("slots", text, lacking, must=not room)
        return
    if room == math.inf:
        yield Finding(
            "slots", f"{text}; dynamic allocation may bring any number",
            "Set spark.dynamicAllocation.maxExecutors, or pass num_ranks to fit, which else asks "
            "for one slot for each partition.",
        )  # fmt: skip
    else:
        yield Finding("slots", f"{text}; dynamic allocation may bring {room:.0f}")
    ratio = float(cluster.setting(sc, "spark.dynamicAllocation.executorAllocationRatio", "1"))
    if ratio < 1:
        yield Finding(
            "spark.dynamicAllocation.executorAllocationRatio", str(ratio),
            "Set it to 1: ranks run all at once, so each needs a slot.", must=True,
        )  # fmt: skip


def _settings(sc: Any) -> Iterator[Finding]:
    for key, default, better, why in _BETTER:
        value = cluster.setting(sc, key, default)
        advice = "" if value == better else f"Better {better}: {why}."
        yield Finding(key, value, advice)
    if not sc.master.startswith("local"):
        key = "spark.executor.memoryOverheadFactor"
        value = cluster.setting(sc, key, "0.1")
        low = float(value) < 0.3 and not cluster.setting(sc, "spark.executor.memoryOverhead", "")
        yield Finding(key, value, "Better 0.4: the engine's memory is not on the Java heap." * low)


# ---- the executors' Python -------------------------------------------------------------------


def _executors(sc: Any) -> Iterator[Finding]:
    def look(items: Any) -> Any:  # by value: an executor may have no zoo_keras to import it from
        import importlib
        import json
        import platform
        import socket
        import sys
        import time

        time.sleep(0.1)  # so that each slot takes some
        facts: dict[str, Any] = {"host": socket.gethostname(), "python": platform.python_version(),
                 "at": sys.executable}  # fmt: skip
        try:
            engine = importlib.import_module("zoo_keras.spark.engine").this_engine()
            facts["engine"] = dict(engine._asdict())
        except Exception as error:
            facts["error"] = f"{type(error).__name__}: {error}"
        yield json.dumps(facts, sort_keys=True)

    if not cluster.room(sc):  # the job would wait for ever
        advice = "No task can run. Give executors cores, and look again when they have come."
        yield Finding("executors' Python", "not asked", advice, must=True)
        return
    tasks = 4 * max(1, cluster.slots(sc))
    try:
        found = Counter(sc.parallelize(range(tasks), tasks).mapPartitions(look).collect())
    except Exception as error:
        told = failures.of_installation(str(error)) or failures.in_short(str(error))
        yield Finding("executors' Python", "does not run", str(told), must=True)
        return
    for text in sorted(found):
        yield _python(json.loads(text))


def _python(facts: dict[str, Any]) -> Finding:
    where = f"{facts['python']} at {facts['at']} on {facts['host']}"
    if "error" in facts:
        advice = (
            f"It has no zoo_keras ({facts['error']}). Install the driver's wheel there, set "
            "PYSPARK_PYTHON to a Python that has it, or bring one by --archives."
        )
        return Finding("executors' Python", where, advice, must=True)
    mine, theirs = this_engine()._asdict(), facts["engine"]
    parts = [n for n in ("version", "build", "compiler", "kernels") if mine[n] != theirs[n]]
    value = f"{where}, zoo_keras {theirs['version']}, {theirs['isa']}"
    if parts:
        differs = "; ".join(f"{n} {theirs[n]}, here {mine[n]}" for n in parts)
        advice = f"Its zoo_keras differs: {differs}. Install the same wheel on all machines."
        return Finding("executors' Python", value, advice, must=True)
    return Finding("executors' Python", value)
