"""Losses and metrics of masked sequences with sample weights, against real Keras 3."""

from __future__ import annotations

import numpy as np
import pytest
from golden.cases import masked
from golden.store import Golden

import zoo_keras as zk

GOLDEN = Golden("masked")
GIVEN = masked.arrays()


def unweighted_ignoring(case, name):
    """Keras 3.15 honours ignore_class in a metric only where there are weights: a fault."""
    kind, _, weights = case
    metrics = masked.METRICS[kind].split()
    is_metric = name != "loss" and metrics[int(name[1:])].endswith("ignore_class")
    return is_metric and (name[0] == "m" or weights == "none")


@pytest.mark.parametrize("case", masked.CASES, ids=" ".join)
def test_masked_steps_count_as_in_keras(case):
    found = masked.logs(zk, case, GIVEN)
    golden = GOLDEN.arrays(" ".join(case))
    assert found.keys() == golden.keys()
    for name, want in golden.items():
        if not unweighted_ignoring(case, name):
            np.testing.assert_allclose(found[name], want, rtol=2e-4, atol=1e-6, err_msg=name)
