"""Short programs give what they give with real Keras."""

from __future__ import annotations

import numpy as np
import pytest
from golden.arrays import generator
from golden.cases.more_programs import PROGRAMS
from golden.store import Golden, series

import zoo_keras as zk

AREA = Golden("programs")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_keras_gives(name):
    expected = series(AREA.arrays(name), "output")
    found = [np.asarray(v) for v in PROGRAMS[name](zk, generator(name))]
    assert len(found) == len(expected)
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.shape == theirs.shape, number
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5, err_msg=str(number))


def test_every_golden_program_is_here():
    assert set(AREA.cases) == set(PROGRAMS)
