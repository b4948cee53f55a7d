"""Spark sessions for the tests: one at a time, kept as long as the next test wants the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pyspark
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

SECURE = {
    "spark.authenticate": "true",
    "spark.authenticate.secret": "a secret for tests",
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
}

QUICK = {
    "spark.executorEnv.SPARK_HOME": "none",  # workers import the installed pyspark, not its zip
    "spark.python.daemon.module": "warm_daemon",
    "spark.python.task.killTimeout": "200ms",  # how long a cancelled worker may go on
    "spark.scheduler.revive.interval": "100ms",  # how often slots are offered again
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
}


class Sessions:
    """Starts a session, or hands out the running one when it has the same settings."""

    def __init__(self):
        self._key, self._session = None, None

    def get(self, master, **conf):
        from zoo_keras.spark.cluster import init_session

        key = (master, tuple(sorted(conf.items())))
        if key != self._key:
            self.stop()
            conf = {**QUICK, **conf}
            if pyspark.__version__ < "4":  # 3.5 hands out workers of cancelled tasks once more
                conf["spark.python.worker.reuse"] = "false"
            conf["spark.executorEnv.PYTHONPATH"] = os.pathsep.join([str(ROOT), str(HERE)])
            self._session, self._key = init_session(master, "tests", conf=conf), key
            self._session.sparkContext.setLogLevel("OFF")
        return self._session

    def stop(self):
        if self._session is not None:
            self._session.stop()
        self._key, self._session = None, None


@pytest.fixture(scope="session")
def sessions():
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(HERE)])
    pool = Sessions()
    yield pool
    pool.stop()


@pytest.fixture
def local2(sessions):
    """One process, two ranks in it."""
    return sessions.get("local[2]").sparkContext


@pytest.fixture
def cluster2(sessions):
    """Two executor processes of one core."""
    return sessions.get("local-cluster[2,1,1024]").sparkContext


@pytest.fixture
def cluster4(sessions):
    """Four executor processes of one core."""
    return sessions.get("local-cluster[4,1,1024]").sparkContext


@pytest.fixture
def secure2(sessions):
    """Two executor processes that authenticate and encrypt all they send."""
    return sessions.get("local-cluster[2,1,1024]", **SECURE).sparkContext


def pytest_collection_modifyitems(items):
    """Tests with the same session one after the other: a session takes seconds to start.

    Those with settings of their own come last: Spark keeps a JVM's first settings as defaults.
    """
    wanted = ["local2", "cluster2", "cluster4", "secure2"]

    def session_of(item):
        return next((i for i, name in enumerate(wanted) if name in item.fixturenames), 4)

    ours = [item for item in items if item.path.parent == HERE]
    others = [item for item in items if item.path.parent != HERE]
    items[:] = [*others, *sorted(ours, key=session_of)]
