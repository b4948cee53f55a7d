"""Philox numbers: the published test vectors, C against numpy, independence of the split."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, check_samples, instruction_set, run_kernel

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.primitives.random import dropout, philox, random_normal, random_uniform

KNOWN = [  # counter, key, result: Random123's kat_vectors for philox4x32-10
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def rng(step: int, row0: int) -> np.ndarray:
    return np.array([step, row0], np.int64)


@pytest.mark.parametrize("counter, key, result", KNOWN)
def test_philox_gives_the_published_numbers(counter, key, result):
    assert [int(w) for w in philox([np.array(c) for c in counter], key)] == result


def test_uniform_and_dropout_equal_numpy_bit_for_bit():
    check_samples([random_uniform, dropout])


def test_normal_is_near_the_float64_reference():
    check_samples([random_normal], 2e-6, 2e-6)


SHAPES = [(3, 64), (2, 65), (40, 1), (7, 1000), (1, 50000), (300, 9, 7), (5, 0), (70,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape(shape):
    at, attrs = [rng(3, 11)], {"shape": shape, "seed": 99}
    check_kernel(random_uniform, at, {**attrs, "low": -0.05, "high": 0.05})
    check_kernel(random_normal, at, {**attrs, "mean": 0.0, "stddev": 1.0}, 2e-6, 2e-6)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    check_kernel(dropout, [x, *at], {"rate": 0.3, "seed": 5})


NOISE = [((6, 5, 4), (1,)), ((6, 5, 4), (0,)), ((6, 5, 4), (2,)), ((6, 5, 4), (0, 1, 2)),
         ((4, 3, 5, 70), (1, 2)), ((4, 3, 5, 7), (0, 2)), ((9,), (0,)), ((3, 0, 2), (1,)),
         ((4, 3, 50, 7), (1, 3))]  # fmt: skip


@pytest.mark.parametrize("shape, axes", NOISE)
def test_noise_axes_share_their_draws(shape, axes):
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    attrs = {"rate": 0.4, "seed": 5, "noise_axes": axes}
    check_kernel(dropout, [x, rng(2, 3)], attrs)
    kept = run_kernel(dropout, [x, rng(2, 3)], attrs)[0] != 0
    for axis in axes if kept.size else ():
        assert (kept == kept.take([0], axis)).all()


@pytest.mark.parametrize("op", [random_uniform, random_normal, dropout], ids=lambda op: op.name)
def test_a_split_batch_gets_the_numbers_of_the_whole_one(op):
    def part(start: int, stop: int) -> np.ndarray:
        if op is dropout:
            x = np.ones((stop - start, 77), np.float32)
            return run_kernel(op, [x, rng(8, start)], {"rate": 0.5, "seed": 1})[0]
        return run_kernel(op, [rng(8, start)], {"shape": (stop - start, 77), "seed": 1})[0]

    whole = part(0, 10)
    np.testing.assert_array_equal(whole, np.concatenate([part(0, 3), part(3, 4), part(4, 10)]))


def test_seed_step_and_row_all_matter():
    def numbers(seed: int, step: int, row: int) -> np.ndarray:
        return run_kernel(random_uniform, [rng(step, row)], {"shape": (1, 128), "seed": seed})[0]

    big = 2**32
    places = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]
    places += [(1 + big, 2, 3), (1, 2 + big, 3), (1, 2, 3 + big)]
    made = np.concatenate([numbers(*p).ravel() for p in places])
    assert np.unique(made).size > made.size - 3  # 896 draws of 2**24 numbers
    np.testing.assert_array_equal(numbers(1, 2, 3), numbers(1, 2, 3))


def test_moments_of_many_numbers():
    attrs = {"shape": (100, 4000), "seed": 3}
    (u,) = run_kernel(random_uniform, [rng(0, 0)], attrs)
    (z,) = run_kernel(random_normal, [rng(0, 0)], attrs)
    assert abs(u.mean() - 0.5) < 2e-3 and abs(u.var() - 1 / 12) < 1e-3
    assert abs(z.mean()) < 6e-3 and abs(z.var() - 1) < 0.01 and abs((z**3).mean()) < 0.03
    assert abs(np.corrcoef(z[:, :-1].ravel(), z[:, 1:].ravel())[0, 1]) < 6e-3


def test_uniform_never_reaches_high():
    (u,) = run_kernel(
        random_uniform, [rng(0, 0)], {"shape": (64, 9000), "seed": 3, "low": 5.0, "high": 5.00001}
    )
    assert u.min() == np.float32(5.0) and u.max() < np.float32(5.00001)


def test_dropout_keeps_its_rate_and_its_mean():
    x = np.ones((50, 2000), np.float32)
    (y,) = run_kernel(dropout, [x, rng(0, 0)], {"rate": 0.2, "seed": 3})
    assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)}
    assert abs((y == 0).mean() - 0.2) < 0.006
    (none,) = run_kernel(dropout, [x, rng(0, 0)], {"rate": 1.0, "seed": 3})
    assert not none.any()


def test_what_is_dropped_becomes_zero_even_if_not_finite():
    x = np.full((1, 640), np.inf, np.float32)
    for name in SETS:
        with instruction_set(name):
            for axes in ((), (0,)):
                attrs = {"rate": 0.5, "seed": 3, "noise_axes": axes}
                (y,) = run_kernel(dropout, [x, rng(0, 0)], attrs)
                assert set(np.unique(y)) == {0, np.inf}


def test_wrong_attributes_are_refused():
    with pytest.raises(ConfigError, match="seed=-1"):
        random_uniform(rng(0, 0), shape=(2,), seed=-1)
    with pytest.raises(ShapeError, match="two numbers"):
        random_normal(np.zeros(3, np.int64), shape=(2,), seed=1)
    with pytest.raises(ShapeError, match="noise_axes"):
        dropout(np.zeros((2, 3), np.float32), rng(0, 0), rate=0.5, seed=1, noise_axes=(2,))
