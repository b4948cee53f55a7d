"""What is checked before a job is sent, and sessions that pass."""

from __future__ import annotations

import math

import pytest

from zoo_keras.errors import ClusterError, ConfigError
from zoo_keras.spark import cluster
from zoo_keras.spark.transport.job import RankJob

pytestmark = pytest.mark.spark


def test_too_many_ranks_are_refused_with_the_numbers(local2):
    rows = local2.parallelize(range(6), 3)
    with pytest.raises(ClusterError, match=r"needs 3 task slots .* Received: 2 slots .*driver on"):
        RankJob(rows, len)


def test_data_without_partitions_are_refused(local2):
    with pytest.raises(ConfigError, match="0 partitions"):
        RankJob(local2.emptyRDD(), len)


def test_slots_are_cores_over_task_cpus(sessions):
    sc = sessions.get("local[5]", **{"spark.task.cpus": "2"}).sparkContext
    assert cluster.task_cpus(sc) == 2
    assert cluster.slots(sc) == 2
    cluster.check_session(sc, 2)
    with pytest.raises(ClusterError, match=r"5 cores; spark.task.cpus=2"):
        cluster.check_session(sc, 3)


class _Settings:
    """Stands for a SparkContext with these settings; executors are made up."""

    def __init__(self, master="yarn", **given):
        self.master = master
        self._conf = {"spark." + k.replace("_", "."): v for k, v in given.items()}


ON = {"dynamicAllocation_enabled": "true"}
MOST = {**ON, "dynamicAllocation_maxExecutors": "3"}


@pytest.mark.parametrize(
    "given, cores, expected",
    [
        ({}, [4, 4], 8),
        (ON, [4], math.inf),
        ({**ON, "master": "local[2]"}, [2], 2),
        (MOST, [4], 12),
        ({**MOST, "executor_cores": "5", "task_cpus": "2"}, [], 6),
        (MOST, [], math.inf),
    ],
)
def test_room_is_what_settings_promise(monkeypatch, given, cores, expected):
    found = [cluster.Executor(str(i), "host", n) for i, n in enumerate(cores)]
    monkeypatch.setattr(cluster, "executors", lambda sc: found)
    assert cluster.room(_Settings(**given)) == expected


def test_more_ranks_than_dynamic_allocation_may_bring_are_refused(monkeypatch):
    sc = _Settings(**MOST, executor_cores="1")
    monkeypatch.setattr(cluster, "executors", lambda sc: [])
    monkeypatch.setattr(cluster, "_check_version", lambda sc: None)
    cluster.check_session(sc, 3)
    with pytest.raises(ClusterError, match=r"Received: at most 3 slots .*maxExecutors=3"):
        cluster.check_session(sc, 4)


class _Fake:
    """Stands for a class of Spark Connect, which needs packages that we do not."""

    __module__ = "pyspark.sql.connect.dataframe"


def test_spark_connect_is_refused():
    assert cluster.is_connect(_Fake())
    with pytest.raises(ClusterError, match="classic Spark session"):
        cluster.spark_context(_Fake())


def test_the_context_is_found_from_whatever_is_at_hand(local2):
    from pyspark.sql import SparkSession

    spark = SparkSession(local2)
    for thing in (local2, spark, local2.parallelize([1]), spark.range(1)):
        assert cluster.spark_context(thing) is local2


class _Old:
    version = "3.4.2"


def test_old_spark_is_refused():
    with pytest.raises(ClusterError, match=r"Spark 3.5 or newer. Received: Spark 3.4.2"):
        cluster.check_session(_Old(), 1)


def test_init_session_suits_training(local2):
    conf = cluster.init_session().sparkContext.getConf()
    assert conf.get("spark.dynamicAllocation.enabled") == "false"
    assert cluster.init_session("local[2]").sparkContext is local2


def test_init_session_does_not_hand_out_an_unsuitable_one(local2):
    with pytest.raises(ClusterError, match=r"spark.task.cpus.*Stop it first"):
        cluster.init_session(task_cpus=3)
    with pytest.raises(ClusterError, match=r"spark.master.*local\[2\].*local\[3\]"):
        cluster.init_session("local[3]")
