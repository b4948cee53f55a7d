"""What a fit does when jobs fail one after the other: which errors are losses, and who goes on.

Jobs are scripted here; real executors are killed in test_fit_failures.py and test_faults.py."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from zoo_keras.errors import ClusterError
from zoo_keras.spark import cluster
from zoo_keras.spark.fit.driver import SparkFit
from zoo_keras.spark.transport.failures import JobError, LateRanksError, LostExecutor

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:fit goes on:RuntimeWarning"),
]
LOST = JobError("lost", lost=[LostExecutor("1", "h", "killed")], restartable=True)
FEW = cluster.TooFewSlotsError("Training needs 3 task slots")


def late(*lost):
    error = LateRanksError("late")
    error.lost = lost
    return error


def ranks_of_jobs(monkeypatch, failures, slots, **options):
    """How many ranks each job had, when jobs fail like this and there are so many slots then."""
    given = {"max_restarts": 3, "min_ranks": None, "start_timeout": 0.0, **options}
    fit, tried = MagicMock(), []
    fit.options, fit.ranks, fit.epoch, fit.middle = SimpleNamespace(**given), 3, 0, None
    fit.model.begun_at, fit.model.stop_training = (lambda epoch: epoch), False
    for name in ("_recover", "_meet_again", "_announce", "_go_on_with_fewer", "_restore", "_place"):
        setattr(fit, name, getattr(SparkFit, name).__get__(fit))

    def job(last):
        tried.append(fit.ranks)
        if len(tried) <= len(failures):
            raise failures[len(tried) - 1]
        fit.epoch = last

    def check(sc, ranks, **given):
        if ranks > slots[len(tried) - 1]:
            raise FEW

    fit._job = job
    monkeypatch.setattr(cluster, "slots", lambda sc: slots[len(tried) - 1])
    monkeypatch.setattr(cluster, "check_session", check)
    SparkFit._run(fit, 1)
    return tried


@pytest.mark.parametrize(
    ("failures", "slots", "options", "ranks"),
    [
        ([LOST], [3, 3], {}, [3, 3]),
        ([LOST], [2, 2], {"min_ranks": 1}, [3, 2]),
        ([LOST, LOST], [2, 1, 1], {"min_ranks": 1}, [3, 2, 1]),
        ([LOST, FEW], [3, 2, 2], {"min_ranks": 1}, [3, 3, 2]),
        ([late("1")], [2, 2], {"min_ranks": 2}, [3, 2]),
        ([late("1")], [3, 3], {}, [3, 3]),
        ([LOST, late()], [3, 3, 3], {}, [3, 3, 3]),
        ([LOST, late()], [3, 2, 2], {"min_ranks": 2, "max_restarts": 1}, [3, 3, 2]),
    ],
    ids=["replaced", "fewer", "twice", "gone before the job", "while starting", "back in time",
         "back late", "fewer after the last restart"],
)  # fmt: skip
def test_a_fit_goes_on(monkeypatch, failures, slots, options, ranks):
    assert ranks_of_jobs(monkeypatch, failures, slots, **options) == ranks


@pytest.mark.parametrize(
    ("failures", "slots", "options"),
    [
        ([late()], [3], {"min_ranks": 1}),
        ([FEW], [2], {"min_ranks": 1}),
        ([LOST], [2], {}),
        ([LOST], [1], {"min_ranks": 2}),
        ([late("1")] * 3, [3, 3, 3], {"max_restarts": 2}),
        ([JobError("stopped", cancelled=True)], [3], {"min_ranks": 1}),
    ],
    ids=["never began", "never fitted", "without leave", "too few", "again and again", "cancelled"],
)
def test_a_fit_ends(monkeypatch, failures, slots, options):
    with pytest.raises(ClusterError):
        ranks_of_jobs(monkeypatch, failures, slots, **options)
