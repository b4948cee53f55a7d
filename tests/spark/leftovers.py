"""What a job may leave behind, seen from the driver and from every executor's worker."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

from zoo_keras.spark.transport.bridge import Bridge, with_bridge

NOTHING = ([], [], [])


def driver():
    """Sockets of our JVMs, files of ours, and threads of ours that exist now."""
    sockets = [f for f in Path(tempfile.gettempdir()).glob("zookeras-*") if _is_ours(f)]
    files = list(Path("/dev/shm").glob("zookeras-*"))
    threads = [t.name for t in threading.enumerate() if t.name.startswith("zookeras")]
    return sockets, files, threads


def _is_ours(folder):
    """Whether a socket's JVM, whose process id is in the folder's name, descends from us."""
    pid = int(folder.name.split("-")[1])
    while pid > 1 and pid != os.getpid():
        try:
            pid = _parent(pid)
        except OSError:
            return False
    return pid == os.getpid()


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def wait_until(what, expected, seconds=20.0):
    """Compares what() until it is as expected: Spark ends cancelled tasks in its own time."""
    end = time.monotonic() + seconds
    while (found := what()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    assert found == expected, f"{found} instead of {expected}"


def _mappings(pid):
    return Path(f"/proc/{pid}/maps").read_text().count("zookeras")


def _look(items):
    bridge = Bridge(next(items))
    list(items)
    jvm = bridge.here().pid
    found = bridge.count_blocks(), _mappings(jvm), _mappings(os.getpid())
    bridge.close()
    yield found


def executors(sc, tasks=4):
    """(blocks, mappings in the JVM, mappings in the worker), as seen by a few tasks."""
    return set(with_bridge(sc.parallelize(range(tasks), tasks)).mapPartitions(_look).collect())
