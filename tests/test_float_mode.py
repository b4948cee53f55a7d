"""Numbers below 2^-126 are zero in a program, on all its threads; outside nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, instruction_set

import zoo_keras as zk
from zoo_keras import layers, native, ops
from zoo_keras.initializers import Constant

LARGE = 300_000  # numbers: several tasks
FACTORS = [(1e-30, 1e-10), (1e-40, 1e30), (-1e-40, 1.0)]


@pytest.mark.parametrize("name", SETS)
def test_functions_end_at_zero(name):
    x = np.full(LARGE, -88, np.float32)
    with instruction_set(name):
        for found in (ops.exp(x), ops.sigmoid(x), ops.softplus(x), ops.expm1(x) + 1):
            assert not np.any(np.asarray(found))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("a", "b"), FACTORS)
def test_the_least_results_and_operands_count_as_zero(name, threads, a, b):
    before = native.threads()
    native.set_threads(threads)
    try:
        with instruction_set(name):
            x = np.full(LARGE, a, np.float32)
            assert not np.any(np.asarray(ops.multiply(x, np.float32(b))))
            dense = layers.Dense(64, use_bias=False, kernel_initializer=Constant(b))
            assert not np.any(np.asarray(dense(np.full((512, 64), a, np.float32))))
    finally:
        native.set_threads(before)


def test_the_callers_own_arithmetic_keeps_small_numbers():
    ops.multiply(np.full(LARGE, 1e-30, np.float32), np.float32(1e-10))
    assert np.float32(1e-30) * np.float32(1e-10) > 0
    small, sums = np.full(LARGE, 1e-40, np.float32), np.zeros(LARGE, np.float32)
    native.slice_op("slice_add", sums, small)  # the exchange, on the same threads
    np.testing.assert_array_equal(sums, small)


def test_a_step_that_fails_leaves_the_mode_as_it_was():
    model = zk.Sequential([zk.Input((2,), dtype="int32"), layers.Embedding(4, 2)])
    with pytest.raises(ValueError, match="id"):
        model.predict(np.array([[1, 9]], np.int32), verbose=0)
    assert np.float32(1e-30) * np.float32(1e-10) > 0
