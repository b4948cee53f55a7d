"""Ops of images, signals and others against real Keras: on arrays, in a trace, and in a model."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from golden.store import Golden, series
from traced import in_program

from zoo_keras import backend, ops

GOLDEN = Golden("more_ops")


def function_of(name):
    case = GOLDEN.cases[name]
    old = case["op"].startswith("K.")
    names = case["op"].removeprefix("K.").split(".")
    op = reduce(getattr, names, backend if old else ops)
    pair = case["op"] == "istft"  # complex numbers are pairs
    return lambda *inputs: op(*([inputs] if pair else inputs), **case["kwargs"])


def check(name, made):
    made = list(made) if isinstance(made, (tuple, list)) else [made]
    wanted = series(GOLDEN.arrays(name), "output")
    assert len(made) == len(wanted)
    for got, want in zip(made, wanted, strict=True):
        assert got.shape == want.shape
        if want.dtype.kind in "ui":
            assert got.dtype == want.dtype
            assert np.abs(got.astype(int) - want).max() <= 1  # a half rounds either way
        else:
            np.testing.assert_allclose(got, want, 2e-4, 2e-5)


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_on_arrays(name):
    check(name, function_of(name)(*series(GOLDEN.arrays(name), "input")))


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_in_a_trace(name):
    check(name, in_program(function_of(name), *series(GOLDEN.arrays(name), "input")))
