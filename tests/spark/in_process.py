"""Programs that a test starts in a process of their own, for they are killed, interrupted, or have
a machine with odd disks: `python in_process.py NAME ARGUMENTS`. Each prints what it has found."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import leftovers
import numpy as np
from conftest import Sessions
from test_fit_failures import (
    classifier,
    executor_pids,
    fit,
    records,
    running,
    state_of,
    to_the_end,
)

from zoo_keras import callbacks
from zoo_keras.errors import ClusterError


def context(**conf):
    """Two executors of one core, in a session of this process."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    return Sessions().get("local-cluster[2,1,1024]", **conf).sparkContext


def says(what):
    """In one line."""
    print(str(what).replace("\n", " "), flush=True)


def once(text):
    """A callback that says something at the end of the first epoch."""

    def end(epoch, logs):
        if epoch == 0:
            says(text)

    return callbacks.LambdaCallback(on_epoch_end=end)


class Interrupted:
    """A session in which a fit is broken off by Ctrl-C, and which must then be as it was."""

    def __init__(self):
        self.sc = context()
        to_the_end(self.sc)
        leftovers.wait_until(lambda: running(self.sc), [])
        self.before = self.now()

    def now(self):
        """What could be left; of threads ours alone, for notebooks have their own."""
        return leftovers.driver(), leftovers.executors(self.sc)

    def endless(self):
        fit(classifier(), self.sc, epochs=10**6, callbacks=[once("training")])

    def look(self):
        """Compares, and fits again."""
        leftovers.wait_until(lambda: running(self.sc), [])
        leftovers.wait_until(self.now, self.before)
        to_the_end(self.sc)
        says("as before")


def interrupted():
    session = Interrupted()
    try:
        session.endless()
    except KeyboardInterrupt:
        session.look()


def killed_driver(folder):
    """Dies at the beginning of the third epoch; a backup of two is in the folder."""

    def die(epoch, logs):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    backup = callbacks.BackupAndRestore(folder)
    fit(classifier(), context(), epochs=4,
        callbacks=[backup, callbacks.LambdaCallback(on_epoch_begin=die)])  # fmt: skip


def wide(rows):
    """Records that take some MB."""
    return [(np.full(5, row % 7, np.float32), np.int32(row % 3)) for row in rows]


def poor_disks(folder):
    """`folder` is a small disk of Spark's, /dev/shm a smaller one."""
    Path("/dev/shm/full").write_bytes(bytes(os.statvfs("/dev/shm").f_bavail * 4096))
    sc = context(**{"spark.local.dir": folder})
    before = executor_pids(sc)
    expected = classifier()
    fit(expected, sc)
    says("no /dev/shm")
    many = sc.range(600_000, numSlices=2).mapPartitions(wide)
    try:
        classifier().fit(many, batch_size=10_000, verbose=0, data_budget=0)
    except ClusterError as error:
        says(error)
    data = records(sc)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    again = classifier()
    try:
        again.fit(data, batch_size=8, epochs=3, verbose=0)
    except ClusterError as error:
        says(error)
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    again.fit(data, batch_size=8, epochs=3, verbose=0, data_budget=0)
    assert all(map(np.array_equal, state_of(again), state_of(expected)))
    assert executor_pids(sc) == before
    says("as before")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        globals()[sys.argv[1]](*sys.argv[2:])
