"""Special functions beside what the standard library says of them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from zoo_keras import ops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erfinv_is_that_of_the_normal_distribution(dtype):
    x = np.array([-0.9999, -0.97, -0.851, -0.85, -0.5, -1e-3, 0, 0.3, 0.86, 0.999999], dtype)
    want = [NormalDist().inv_cdf((1 + float(v)) / 2) / math.sqrt(2) for v in x]
    found = ops.erfinv(x)
    assert np.asarray(found).dtype == dtype
    np.testing.assert_allclose(found, want, rtol=1e-6 if dtype == "float32" else 1e-10)


def test_erfinv_keeps_small_numbers_and_the_ends():
    tiny = np.array([1e-30, -1e-12, 1e-7])
    np.testing.assert_allclose(ops.erfinv(tiny), tiny * math.sqrt(math.pi) / 2, rtol=1e-12)
    np.testing.assert_array_equal(ops.erfinv(np.array([-1.0, 1.0, 1.5])), [-np.inf, np.inf, np.nan])
