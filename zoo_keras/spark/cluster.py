"""What must hold before a job is sent to the cluster, and sessions for which it holds.

In: a SparkSession, RDD or DataFrame, and how many ranks are wanted. Out: nothing, or a ClusterError
that says which setting to change. Knows no blocks and no models.

    sc = spark_context(rdd)              # refuses Spark Connect
    check_session(sc, ranks=4)           # settings, versions, slots; waits for executors
    wait_for_slots(sc, 4, timeout=120)
    spark = init_session("local[4]")     # or any master; settings that suit training
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from zoo_keras.errors import ClusterError, ConfigError
from zoo_keras.spark.java import call_java

OLDEST_SPARK = (3, 5)
_LOOK_EVERY = 0.2
DESCRIPTION = "spark.job.description"

# What init_session sets unless told otherwise, and why.
_DEFAULTS = {
    "spark.dynamicAllocation.enabled": "false",  # executors that stay keep their workers warm
    "spark.locality.wait": "0s",  # else ranks wait where two of them like one slot
    "spark.python.worker.reuse": "true",  # programs and weights stay cached in the worker
    "spark.executor.memoryOverheadFactor": "0.4",  # the engine's memory is not on the Java heap
    "spark.shuffle.io.receiveBuffer": "1048576",  # larger ones do not fit the cache: a fifth slower
    "spark.shuffle.io.sendBuffer": "524288",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",  # it writes over our progress bar
}


class TooFewSlotsError(ClusterError):
    """Fewer tasks can run at once than there are ranks."""


class Executor(NamedTuple):
    """A living executor; "driver" in local mode."""

    id: str
    host: str
    cores: int


def is_connect(thing: Any) -> bool:
    """Whether a session or DataFrame is one of Spark Connect."""
    return type(thing).__module__.startswith("pyspark.sql.connect")


def spark_context(thing: Any) -> Any:
    """The SparkContext of an RDD, DataFrame, SparkSession or SparkContext.

    Raises:
        ClusterError: it is of Spark Connect, which has none, or the session has been stopped.
    """
    if is_connect(thing):
        raise ClusterError(
            "Training needs a classic Spark session, because its ranks exchange blocks inside the "
            f"executors. Received: a Spark Connect {type(thing).__name__}. Start the driver with "
            "a master URL instead of .remote(...), for example with spark-submit."
        )
    found = _context_of(thing)
    if is_stopped(found):
        raise stopped_error(type(thing).__name__)
    return found


def _context_of(thing: Any) -> Any:
    for name in ("sparkSession", "ctx", "sparkContext"):  # a stopped DataFrame answers only this
        if hasattr(type(thing), name) or name in getattr(thing, "__dict__", {}):
            found = getattr(thing, name)
            return found.sparkContext if name == "sparkSession" else found
    return thing


def is_stopped(sc: Any) -> bool:
    """Whether the session has been stopped."""
    return sc._jsc is None or bool(sc._jsc.sc().isStopped())


def stopped_error(what: str) -> ClusterError:
    """What to raise when the session of `what` has been stopped."""
    return ClusterError(
        f"The Spark session has been stopped. Received: {what} of that session. Start a session "
        "(zoo_keras.spark.cluster.init_session) and make the data anew in it."
    )


@contextlib.contextmanager
def described(sc: Any, text: str) -> Iterator[None]:
    """Jobs of this thread say this in Spark's UI, unless the user has them say something."""
    own = sc.getLocalProperty(DESCRIPTION)
    if own is None:
        sc.setLocalProperty(DESCRIPTION, text)
    try:
        yield
    finally:
        sc.setLocalProperty(DESCRIPTION, own)


# ---- a thread that waits for itself --------------------------------------------------------------

_here = threading.local()  # what this thread's fit holds while its callbacks run


@contextlib.contextmanager
def holding(sc: Any, ranks: int) -> Iterator[None]:
    """While a job of this thread holds so many slots and this thread may run callbacks."""
    before = getattr(_here, "held", None)
    _here.held = sc, ranks
    try:
        yield
    finally:
        _here.held = before


def holds(sc: Any) -> bool:
    """Whether a job of this thread holds slots now, so that a callback runs."""
    return (getattr(_here, "held", None) or (None, 0))[0] is sc


def check_not_inside(sc: Any, method: str, needed: int = 1) -> None:
    """Refuses a job that would wait for ever: called by a callback of a fit that holds the slots.

    Raises:
        ClusterError: it says what to use instead.
    """
    holder, held = getattr(_here, "held", None) or (None, 0)
    if holder is not sc or sure_room(sc) - held >= needed:
        return
    raise ClusterError(
        f"{method} was called by a callback while fit holds the cluster, so it would wait for "
        f"ever. Received: {sure_room(sc):.0f} task slots, of which fit's ranks hold {held}. Use "
        "validation_data of fit, give arrays instead of an RDD or DataFrame, leave slots free "
        f"with num_ranks={max(1, held - needed)}, or call {method} when fit has returned."
    )


def task_cpus(sc: Any) -> int:
    """Cores that Spark gives each task: `spark.task.cpus`."""
    return int(setting(sc, "spark.task.cpus", "1"))


def setting(sc: Any, key: str, default: str) -> str:
    """A setting of the session, by one question to the JVM; getConf asks one for each setting."""
    return str(sc._conf.get(key, default))


def executors(sc: Any) -> list[Executor]:
    """The executors that are alive now and can run tasks."""
    lines = call_java(sc, "Watch", "executors", sc._jsc.sc()).splitlines()
    fields = [line.split("\t") for line in lines]
    found = [Executor(id, at.rpartition(":")[0], int(cores)) for id, at, cores in fields]
    return [executor for executor in found if executor.cores > 0 and executor.host]


def slots(sc: Any) -> int:
    """How many tasks can run at once: each executor's cores // spark.task.cpus, added up."""
    found = _slots(sc, executors(sc))
    _most_slots[sc] = max(found, _most_slots.get(sc, 0))
    return found


def is_elastic(sc: Any) -> bool:
    """Whether executors come and go as tasks want them (dynamic allocation)."""
    wanted = setting(sc, "spark.dynamicAllocation.enabled", "false").lower() == "true"
    return wanted and re.fullmatch(r"local(\[.*\])?", sc.master) is None


def room(sc: Any) -> float:
    """How many tasks can run at once: now, or with dynamic allocation when all executors that it
    may ask for are there; infinity where it may ask for any number."""
    if not is_elastic(sc):
        return slots(sc)
    most = float(setting(sc, "spark.dynamicAllocation.maxExecutors", "inf"))
    known = [executor.cores for executor in executors(sc)]
    cores = float(setting(sc, "spark.executor.cores", str(max(known, default=math.inf))))
    return math.inf if cores == math.inf else most * (cores // task_cpus(sc))


def sure_room(sc: Any) -> float:
    """Slots to count on: where executors may become any number, those that there are."""
    most = room(sc)
    return slots(sc) if most == math.inf else most


_most_slots: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # by SparkContext


def promised_slots(sc: Any) -> int:
    """How many tasks can run at once when all executors are there: those that were asked for, or
    the most that were seen."""
    found, number = executors(sc), _expected_executors(sc)
    _most_slots[sc] = most = max(_slots(sc, found), _most_slots.get(sc, 0))
    if number == math.inf:
        return most
    each = _slots(sc, sorted(found, key=lambda e: e.cores)[-1:])
    return max(most, int(number) * each)


def _slots(sc: Any, found: list[Executor]) -> int:
    cpus = task_cpus(sc)
    return sum(executor.cores // cpus for executor in found)


def wait_for_slots(sc: Any, ranks: int, *, timeout: float = 60.0) -> None:
    """Returns when `ranks` tasks can run at once.

    Args:
        timeout: seconds to wait for executors that have yet to register. When as many executors
            as were asked for are there already, it does not wait.

    Raises:
        ClusterError: there are too few.
    """
    end = time.monotonic() + timeout
    expected = _expected_executors(sc)
    while _slots(sc, found := executors(sc)) < ranks:
        if time.monotonic() > end or len(found) >= expected:
            raise _too_few(sc, ranks, found)
        time.sleep(_LOOK_EVERY)


def _expected_executors(sc: Any) -> float:
    """How many executors this application has been promised; infinity when nobody knows."""
    cluster = re.fullmatch(r"local-cluster\[\s*(\d+)\s*,.*", sc.master)
    if cluster:
        return int(cluster[1])
    if sc.master.startswith("local"):
        return 1
    return float(setting(sc, "spark.executor.instances", "inf"))


def _too_few(sc: Any, ranks: int, found: list[Executor]) -> TooFewSlotsError:
    cores = ", ".join(f"{e.id} on {e.host}: {e.cores} cores" for e in found) or "no executors"
    slots = _slots(sc, found)
    return TooFewSlotsError(
        f"Training needs {ranks} task slots at once, one for each partition. Received: {slots} "
        f"slots ({cores}; spark.task.cpus={task_cpus(sc)}). Repartition the data to at most "
        f"{max(1, slots)} partitions, or give the application more executors or cores."
    )


def check_session(sc: Any, ranks: int, *, timeout: float = 60.0) -> None:
    """Everything that would make a job of `ranks` tasks fail or hang, before it starts. Executors
    that dynamic allocation will bring are not waited for: they come when tasks do.

    Raises:
        ClusterError: Spark is too old, or there are too few slots.
        ConfigError: no partitions at all.
    """
    if ranks < 1:
        raise ConfigError(
            "Training needs at least one partition. Received: data with 0 partitions. "
            "Check the input, or repartition it."
        )
    if sc not in _new_enough:
        _check_version(sc)
        _new_enough.add(sc)
    if not is_elastic(sc):
        wait_for_slots(sc, ranks, timeout=timeout)
    elif room(sc) < ranks:
        raise _too_few_ever(sc, ranks)


_new_enough: weakref.WeakSet[Any] = weakref.WeakSet()  # SparkContexts


def _check_version(sc: Any) -> None:
    version = tuple(int(number) for number in re.findall(r"\d+", sc.version)[:2])
    if version < OLDEST_SPARK:
        raise ClusterError(
            f"zoo_keras needs Spark 3.5 or newer. Received: Spark {sc.version}. Upgrade the "
            "cluster."
        )
    java = sc._jvm.java.lang.System.getProperty("java.specification.version")
    if float(java) < 17:
        raise ClusterError(
            f"zoo_keras needs Java 17 or newer on the driver and the executors. Received: Java "
            f"{java}. Set JAVA_HOME to a newer one."
        )


def _too_few_ever(sc: Any, ranks: int) -> TooFewSlotsError:
    key = "spark.dynamicAllocation.maxExecutors"
    return TooFewSlotsError(
        f"Training needs {ranks} task slots at once, one for each partition. Received: at most "
        f"{room(sc):.0f} slots ({key}={setting(sc, key, 'inf')}, "
        f"spark.task.cpus={task_cpus(sc)}). Repartition the data, pass a smaller num_ranks, or "
        f"raise {key}."
    )


def init_session(
    master: str | None = None,
    app_name: str = "zoo_keras",
    *,
    executors: int | None = None,
    cores: int | None = None,
    memory: str | None = None,
    task_cpus: int | None = None,
    conf: Mapping[str, str] | None = None,
) -> Any:
    """A SparkSession whose settings suit training, or the running one if it suits.

    Args:
        master: "local[4]", "spark://host:7077", "yarn", ...; None takes spark-submit's.
        app_name: shown in Spark's UI.
        executors, cores, memory: spark.executor.instances, .cores and .memory.
        task_cpus: cores of one rank: the engine runs that many threads.
        conf: further settings; they win over ours.

    Raises:
        ClusterError: a session is running already and lacks one of these settings.

    Example:
        >>> spark = init_session("local[2]")
        >>> model.fit(spark.sparkContext.parallelize(rows, 2), epochs=5)
    """
    from pyspark.sql import SparkSession

    named = {
        "spark.executor.instances": executors,
        "spark.executor.cores": cores,
        "spark.executor.memory": memory,
        "spark.task.cpus": task_cpus,
    }
    asked = {key: str(value) for key, value in named.items() if value is not None}
    asked |= conf or {}
    asked |= {"spark.master": master} if master else {}
    running = SparkSession.getActiveSession()
    if running is not None:
        _check_running(running, asked)
        return running
    if (master or "").startswith("local"):  # executors here: the same interpreter and packages
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    for key, value in {**_DEFAULTS, **asked}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _check_running(session: Any, asked: Mapping[str, str]) -> None:
    conf = spark_context(session).getConf()
    wrong = {key: conf.get(key) for key, value in asked.items() if conf.get(key) != value}
    if wrong:
        raise ClusterError(
            f"init_session: a session is running already with other settings: {wrong}. Received: "
            f"{ {key: asked[key] for key in wrong} }. Stop it first (spark.stop())."
        )
