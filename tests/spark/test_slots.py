"""Fits that wait for each other's slots: who may start when, without a cluster."""

from __future__ import annotations

import threading

import pytest

from zoo_keras.errors import ClusterError
from zoo_keras.spark import cluster, slots


class _Context:
    """Stands for a SparkContext."""


@pytest.fixture
def sc(monkeypatch):
    monkeypatch.setattr(cluster, "room", lambda sc: 4)
    monkeypatch.setattr(slots, "_LOOK_EVERY", 0.01)
    return _Context()


def started(sc, ranks):
    """A thread that takes slots: events that it has them, and that it may give them back."""
    has, may_end = threading.Event(), threading.Event()

    def run():
        with slots.taken(sc, ranks):
            has.set()
            may_end.wait(20)

    thread = threading.Thread(target=run)
    thread.start()
    return has, may_end, thread


def ended(*fits):
    for _, may_end, thread in fits:
        may_end.set()
        thread.join(20)
        assert not thread.is_alive()


def test_fits_that_fit_side_by_side_run_together(sc):
    a, b = started(sc, 2), started(sc, 2)
    assert a[0].wait(20) and b[0].wait(20)
    ended(a, b)


def test_a_fit_starts_when_all_of_its_ranks_can_and_in_turn(sc):
    a = started(sc, 3)
    assert a[0].wait(20)
    b = started(sc, 2)
    while not slots._lines[sc].waiting:
        threading.Event().wait(0.005)
    c = started(sc, 1)  # would fit, but came later
    assert not b[0].wait(0.1) and not c[0].is_set()
    ended(a)
    assert b[0].wait(20) and c[0].wait(20)
    ended(b, c)
    assert slots._lines[sc].held == 0


def test_more_ranks_than_slots_are_left_to_the_check_of_the_job(sc):
    with slots.taken(sc, 9):
        pass


def test_a_fit_in_a_callback_never_waits(sc):
    other = started(sc, 2)
    assert other[0].wait(20)
    with slots.taken(sc, 1), cluster.holding(sc, 1):
        with slots.taken(sc, 1):
            pass
        message = "callback.*Received: 4 task slots, 3 of them held"
        with pytest.raises(ClusterError, match=message), slots.taken(sc, 2):
            pass
    ended(other)


def test_a_failed_fit_gives_its_slots_back(sc):
    with pytest.raises(ValueError), slots.taken(sc, 4):
        raise ValueError
    with slots.taken(sc, 4):
        pass
