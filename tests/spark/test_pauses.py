"""How often the driver looks at the ranks while an epoch runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoo_keras.spark.fit import watch
from zoo_keras.spark.fit.watch import POLL, POLL_SHOWN, POLL_UNSEEN, Watcher, pause_before


@pytest.mark.parametrize(
    ("left", "longest", "wanted"),
    [(60.0, POLL_UNSEEN, POLL_UNSEEN), (60.0, POLL_SHOWN, POLL_SHOWN), (1.0, POLL_UNSEEN, 0.25),
     (0.01, POLL_UNSEEN, POLL), (0.0, POLL_UNSEEN, POLL)],
)  # fmt: skip
def test_pauses_shrink_towards_the_end_of_an_epoch(
    left: float, longest: float, wanted: float
) -> None:
    assert pause_before(left, longest) == wanted


def _watcher(**plan: Any) -> Any:
    given = {"led": False, "snapshot_steps": None, "snapshot_seconds": None}
    given |= {"origin": 0, "steps": None}
    found = Watcher.__new__(Watcher)
    found.plan = SimpleNamespace(**given | plan)
    found.fit, found.bars = SimpleNamespace(epoch=0), SimpleNamespace(needs_batch_logs=False)
    found.passed, found.pause, found._first_seen = 1000, POLL, None
    return found


def _records(step: int) -> list[Any]:
    return [SimpleNamespace(values=np.array([step]), facts={"epoch": 0})]


def _pauses(watcher: Any, monkeypatch: Any, steps: list[int]) -> list[float]:
    """After looks a second apart that find these steps."""
    found = []
    for second, step in enumerate(steps):
        monkeypatch.setattr(watch.time, "perf_counter", lambda now=second: float(now))
        watcher._pace(_records(step))
        found.append(watcher.pause)
    return found


def test_long_epochs_are_looked_at_seldom_once_their_speed_is_known(monkeypatch: Any) -> None:
    pauses = _pauses(_watcher(), monkeypatch, [-1, 9, 9, 109, 999])
    assert pauses == [POLL, POLL, POLL, POLL_UNSEEN, POLL]


@pytest.mark.parametrize("option", ["snapshot_steps", "snapshot_seconds"])
def test_copies_within_an_epoch_are_awaited(option: str, monkeypatch: Any) -> None:
    assert _pauses(_watcher(**{option: 5}), monkeypatch, [9, 109, 209]) == [POLL] * 3
