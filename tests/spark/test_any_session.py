"""Sessions as clusters have them: dynamic allocation, speculation, Kryo, workers that are not kept,
several cores a task; and executors whose Python lacks zoo_keras or has another one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import leftovers
import numpy as np
import pytest
from test_fit_failures import LABELS, ROWS, X, classifier, state_of

from zoo_keras import callbacks
from zoo_keras.errors import ClusterError, DataError
from zoo_keras.spark import cluster
from zoo_keras.spark.transport import failures
from zoo_keras.spark.transport.bridge import with_bridge
from zoo_keras.spark.transport.job import JobError, RankJob

pytestmark = pytest.mark.spark

# Three executors at most, of one slot of two cores. All of it in one session: each takes long to
# start.
ELASTIC = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": "0",
    "spark.dynamicAllocation.maxExecutors": "3",
    "spark.dynamicAllocation.executorIdleTimeout": "300s",
    "spark.dynamicAllocation.schedulerBacklogTimeout": "1s",
    "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout": "1s",
    "spark.executor.cores": "2",
    "spark.task.cpus": "2",
    "spark.speculation": "true",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.python.worker.reuse": "false",
}


@pytest.fixture
def elastic(sessions):
    return sessions.get("local-cluster[3,2,1024]", **ELASTIC).sparkContext


def records(sc, partitions=2, x=X):
    return sc.parallelize(list(zip(x, LABELS)), partitions)


def test_executors_come_for_a_fit_and_give_the_same_bits_again(elastic):
    assert cluster.is_elastic(elastic) and cluster.room(elastic) == 3
    first, again = (fitted(elastic) for _ in range(2))
    assert all(map(np.array_equal, first, again))


def fitted(sc, **options):
    model = classifier()
    history = model.fit(records(sc), epochs=2, batch_size=8, verbose=0, **options).history
    return [*state_of(model), history["loss"], model.evaluate(records(sc), verbose=0)]


def test_an_executor_killed_under_dynamic_allocation_changes_no_bit(elastic):
    plain = classifier()
    expected = plain.fit(records(elastic), epochs=3, batch_size=4, verbose=0).history
    disturbed = classifier()
    victims = []

    def kill(epoch, logs):
        if epoch == 1 and not victims:
            victims.append(executors_of_ranks()[-1])
            os.kill(victims[0], signal.SIGKILL)

    with pytest.warns(RuntimeWarning, match=r"(?s)goes on from the start of epoch"):
        kills = [callbacks.LambdaCallback(on_epoch_begin=kill)]
        data = records(elastic)
        found = disturbed.fit(data, epochs=3, batch_size=4, verbose=0, callbacks=kills)
    assert found.history == expected
    assert all(map(np.array_equal, state_of(disturbed), state_of(plain)))


def executors_of_ranks():
    """JVMs whose Python daemons have a worker now: without reuse only running tasks have one."""
    parents = {pid: leftovers._parent(pid) for pid in map(int, daemons())}
    return sorted({parents[p] for p in parents.values() if p in parents})


def daemons():
    """Process ids of our Python daemons and of their workers, which have the same command."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"warm_daemon" in entry.read_bytes().split(b"\0") and is_ours(entry.parent.name):
                yield entry.parent.name


def is_ours(pid):
    pid = int(pid)
    while pid > 1 and pid != os.getpid():
        pid = leftovers._parent(pid)
    return pid == os.getpid()


def test_a_group_that_cannot_be_whole_gives_its_slots_back(elastic, tmp_path):
    release = tmp_path / "release"

    def hold(items, path=str(release)):
        while not os.path.exists(path):
            time.sleep(0.05)
        return items

    holder = threading.Thread(
        target=lambda: elastic.parallelize([0], 1).mapPartitions(hold).collect()
    )
    holder.start()
    try:
        leftovers.wait_until(lambda: len(elastic.statusTracker().getActiveStageIds()), 1)
        with pytest.raises(ClusterError, match=r"Received: [012] of 3 ranks had begun") as caught:
            classifier().fit(records(elastic, 3), verbose=0, start_timeout=4)
        assert "start_timeout" in str(caught.value)
        leftovers.wait_until(lambda: len(elastic.statusTracker().getActiveJobsIds()), 1)
    finally:
        release.touch()
        holder.join()
    assert classifier().fit(records(elastic, 3), verbose=0, batch_size=8).history["loss"]


def test_a_wrong_row_ends_all_ranks_at_once_and_loses_no_executor(elastic):
    x = X.copy()
    x[-1, 2] = np.nan
    with pytest.raises(DataError, match=f"Partition 1, row {ROWS // 2 - 1}: x: expected finite"):
        classifier().fit(records(elastic, x=x), verbose=0)
    leftovers.wait_until(lambda: list(elastic.statusTracker().getActiveJobsIds()), [])
    assert classifier().fit(records(elastic), verbose=0, batch_size=8).history["loss"]


# ---- copies and retries --------------------------------------------------------------------------


def fails(items):
    from pyspark import TaskContext

    list(items)
    raise RuntimeError(f"attempt {TaskContext.get().attemptNumber()}")
    yield


def statuses(sc, stage):
    """How the attempts of a stage's only task have ended, in their order."""
    tasks = sc._jsc.sc().statusStore().taskList(stage, 0, 100)
    found = [tasks.apply(i) for i in range(tasks.size())]
    return [task.status() for task in sorted(found, key=lambda task: task.attempt())]


def test_a_second_attempt_is_refused_uncounted_but_not_for_ever(cluster2):
    with pytest.raises(Exception, match="rank 0 has failed") as caught:
        with_bridge(cluster2.parallelize([0], 1)).mapPartitions(fails).collect()
    stage = int(re.search(r"in stage (\d+)", str(caught.value))[1])
    leftovers.wait_until(lambda: statuses(cluster2, stage)[:2], ["FAILED", "KILLED"])
    found = statuses(cluster2, stage)
    assert found.count("FAILED") == 4 and found.count("KILLED") == 20
    assert "attempt 0" not in str(caught.value)  # which a job of ranks has told long ago


# ---- the executors' Python -----------------------------------------------------------------------


def python_with(folder, *lines):
    """A Python like ours that runs these lines first."""
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    paths = [str(folder), *filter(None, sys.path)]
    program = folder / "python"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={os.pathsep.join(paths)} exec {sys.executable} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


WITHOUT = (
    "import sys",
    "class No:",
    "    def find_spec(self, name, path=None, target=None):",
    "        if name == 'zoo_keras':",
    "            raise ModuleNotFoundError(\"No module named 'zoo_keras'\")",
    "sys.meta_path.insert(0, No())",
)
OTHER = ("import zoo_keras", "zoo_keras.__version__ = '0.0.1'")


@pytest.mark.parametrize(
    "lines, message",
    [
        (WITHOUT, r"lacks the zoo_keras.*Received: ModuleNotFoundError: No module named 'zoo_k"),
        (OTHER, r"different engines.*differ in version.*0.0.1 here.*same wheel on all machines"),
    ],
    ids=["without", "another"],
)
def test_a_python_that_differs_on_executors_is_told(local2, tmp_path, monkeypatch, lines, message):
    monkeypatch.setattr(local2, "pythonExec", python_with(tmp_path, *lines))
    model = classifier()
    for method in (model.fit, model.evaluate):
        with pytest.raises(ClusterError, match=f"(?s){message}") as caught:
            method(records(local2), verbose=0)
        assert not isinstance(caught.value, JobError)


@pytest.mark.parametrize(
    "text, told",
    [
        ("ModuleNotFoundError: No module named 'zoo_keras.spark'\n\tat x", True),
        ("AttributeError: Can't get attribute 'Clock' on <module 'zoo_keras.training.clock'", True),
        ("ImportError: cannot import name 'x' from 'zoo_keras.ops' (/a/b.py)", True),
        ("[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.9", True),
        ("AttributeError: module 'zoo_keras' has no attribute 'laiers'", False),  # the user's own
        ("ModuleNotFoundError: No module named 'pandas'", False),
    ],
)
def test_an_installation_is_told_from_faults_of_the_users_code(text, told):
    assert (failures.of_installation(f"Traceback\n{text}\n") is not None) is told


def test_a_lost_shuffle_may_be_tried_again():
    job = object.__new__(RankJob)
    job.name, job._hosts, job.lost = "fit", {"driver": "here"}, list
    text = "FetchFailed(BlockManagerId(1, host, 7337, None), shuffleId=0, mapIndex=1)"
    assert job._cluster_error(text, None).restartable
    assert not job._cluster_error("java.io.FileNotFoundException: part-3", None).restartable
