"""Callbacks are told what real Keras 3 tells them: hooks in order, names and values of logs."""

from __future__ import annotations

import pytest
from golden.cases.logs import CASES
from golden.store import Golden

import zoo_keras as zk

GOLDEN = Golden("logs")


@pytest.mark.parametrize("name", CASES)
def test_a_callback_is_told_what_keras_tells(name):
    found, wanted = CASES[name](zk), GOLDEN.cases[name]["events"]
    assert [event[:2] for event in found] == [event[:2] for event in wanted]
    for (hook, number, ours), (_, _, theirs) in zip(found, wanted, strict=True):
        assert list(ours) == list(theirs), (hook, number)
        expected = {k: float(v) for k, v in theirs.items()}
        assert ours == pytest.approx(expected, rel=2e-4, abs=1e-6, nan_ok=True), (hook, number)


def test_every_golden_case_is_here():
    assert set(GOLDEN.cases) == set(CASES)
