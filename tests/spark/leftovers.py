"""What a job may leave behind, seen from the driver and from every executor's worker."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

from zoo_keras.spark.bridge import Bridge, with_bridge


def driver():
    """Names of files, sockets and threads of ours that exist now."""
    folders = ("/dev/shm", tempfile.gettempdir())
    files = [str(f) for folder in folders for f in Path(folder).glob("zookeras*")]
    threads = [t.name for t in threading.enumerate() if t.name.startswith("zookeras")]
    return files, threads


def wait_until(what, expected, seconds=5.0):
    """Compares what() until it is as expected: Spark ends cancelled tasks in its own time."""
    end = time.monotonic() + seconds
    while (found := what()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    assert found == expected


def _mappings(pid):
    return Path(f"/proc/{pid}/maps").read_text().count("zookeras")


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _look(items):
    bridge = Bridge(next(items))
    list(items)
    jvm = bridge.here().pid
    found = bridge.count_blocks(), _mappings(jvm), _mappings(os.getpid())
    bridge.close()
    yield found


def executors(sc, tasks=8):
    """(blocks, mappings in the JVM, mappings in the worker), as seen by a few tasks."""
    return set(with_bridge(sc.parallelize(range(tasks), tasks)).mapPartitions(_look).collect())
