"""Random numbers from a counter: Philox4x32-10 (Salmon et al. 2011), with no state anywhere.

In: `rng`, an int64 tensor (step, row0), and a seed. Out: numbers that depend only on the seed, the
step, the row (row0 + index on the first axis) and the position within the row, so any split of a
batch over threads or ranks gives the same ones.

A row of numbers is made in groups of 64: element i takes word (i // 16) % 4 of the generator's
block (i // 64) * 16 + i % 16. The counter of a block is (block, row, step, high bits of row and
step), the key is the seed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Sample, flat_numbers, op

LARGEST_SEED = 2**53 - 1  # attributes travel to C as doubles
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(counter: Sequence[np.ndarray], key: Sequence[int]) -> list[np.ndarray]:
    """Four words for each counter: four uint64 arrays of 32-bit values in, four out."""
    c0, c1, c2, c3 = (c.astype(np.uint64) for c in counter)
    k0, k1 = (np.uint64(k) for k in key)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + np.uint64(0x9E3779B9)) & _LOW
        k1 = (k1 + np.uint64(0xBB67AE85)) & _LOW
    return [c0, c1, c2, c3]


def _groups(seed: int, step: int, rows: np.ndarray, width: int) -> np.ndarray:
    """Words (rows, groups, 4, 16) that cover rows of `width` numbers."""
    blocks = np.arange(-(-width // 64) * 16, dtype=np.uint64).reshape(1, -1, 16)
    row = rows.astype(np.uint64).reshape(-1, 1, 1)
    high = (row >> _SHIFT & np.uint64(0xFFFF)) | np.uint64((step >> 32 & 0xFFFF) << 16)
    full = np.broadcast_arrays(blocks, row & _LOW, np.uint64(step & 0xFFFFFFFF), high)
    return np.stack(philox(full, (seed & 0xFFFFFFFF, seed >> 32)), axis=2)


def _first(groups: np.ndarray, width: int) -> np.ndarray:
    """The first `width` values of each row of groups (rows, groups, 4, 16)."""
    return groups.reshape(groups.shape[0], groups.shape[1] * 64)[:, :width]


def words(seed: int, rng: np.ndarray, rows: int, width: int) -> np.ndarray:
    """Random words (rows, width) uint32 for rows row0, row0 + 1, ..."""
    step, row0 = (int(v) for v in rng)
    made = _groups(seed, step, np.arange(row0, row0 + rows), width)
    return _first(made, width).astype(np.uint32)


def _rows_and_width(shape: Sequence[int]) -> tuple[int, int]:
    return (shape[0], math.prod(shape[1:])) if len(shape) else (1, 1)


def _sources_spec(rng: Spec, *, length: int, column: int, shift: int) -> Spec:
    if rng.shape != (2,):
        raise ShapeError("rng must hold two numbers: the step and the first row.")
    return Spec((length, 2), rng.dtype)


@op(
    kernel=True,
    shape=_sources_spec,
    attrs_to_c=lambda attrs, ins, outs: [attrs["column"], attrs["shift"]],
    dtypes=lambda rng: rng.dtype == "int64",
    samples=[
        Sample([(2,)], {"length": length, "column": column, "shift": 32}, ["int64"], 0, 99)
        for length, column in ((4, 0), (3, 1), (0, 1))
    ],
)
def step_sources(rng: np.ndarray, *, length: int, column: int, shift: int) -> np.ndarray:
    """The source of each step of a loop: t << shift is added to its step (column 0) or row0."""
    rows = np.repeat(rng[None], length, 0)
    rows[:, column] += np.arange(length) << shift
    return rows


def _check_rng(rng: Spec, seed: int) -> None:
    if rng.shape != (2,):
        raise ShapeError("rng must hold two numbers: the step and the first row.")
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(
            f"A random op's seed must be from 0 to {LARGEST_SEED}. Received: seed={seed}. "
            "Use a smaller number."
        )


def _made(rng: Spec, *, shape: Sequence[int], seed: int, **attrs: Any) -> Spec:
    _check_rng(rng, seed)
    return Spec(tuple(int(d) for d in shape), "float32")


def _int64_rng(*specs: Spec) -> bool:
    return specs[-1].dtype == "int64" and all(s.dtype == "float32" for s in specs[:-1])


def _rng(step: int, row0: int) -> np.ndarray:
    return np.array([step, row0], np.int64)


def _drawn(shape: tuple[int, ...], step: int, row0: int, **attrs: Any) -> Sample:
    return Sample((), {"shape": shape, **attrs}, make=lambda r: [_rng(step, row0)])


_drawing: Any = functools.partial(
    op,
    kernel=True,
    shape=_made,
    grad=lambda g, y, rng, **attrs: (None,),
    dtypes=_int64_rng,
    random=True,
)


@_drawing(
    attrs_to_c=lambda a, ins, outs: [a["seed"], a.get("low", 0.0), a.get("high", 1.0)],
    samples=[
        _drawn((3, 5), 1, 0, seed=1, low=0.0, high=1.0),
        _drawn((2, 9, 11), 2**40, 2**33, seed=2**52 + 7, low=-3.0, high=2.5),
        _drawn((), 0, 0, seed=0, low=5.0, high=6.0),
        _drawn((0, 4), 0, 9, seed=0, low=0.0, high=1.0),
    ],
)
def random_uniform(
    rng: np.ndarray, *, shape: Sequence[int], seed: int, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    """Uniform float32 numbers in [low, high), 2**24 different ones."""
    low32, high32 = np.float32(low), np.float32(high)
    bits = words(seed, rng, *_rows_and_width(shape)) >> np.uint32(8)
    value = float(low32) + bits * (float(np.float32(high32 - low32)) * 2.0**-24)
    below = np.nextafter(high32, low32)
    return np.minimum(value.astype(np.float32), below).reshape(shape)


def _box_muller(groups: np.ndarray) -> np.ndarray:
    """Normal numbers, float64, from word groups (..., 4, 16): words 0, 1 and 2, 3 make pairs."""
    first = np.maximum(groups[..., 0::2, :].astype(np.float32), np.float32(0.5))
    radius = np.sqrt(-2 * np.log(first.astype(np.float64) * 2.0**-32))
    angle = (groups[..., 1::2, :] >> np.uint64(8)) * (2 * np.pi * 2.0**-24)
    result = np.empty(groups.shape)
    result[..., 0::2, :], result[..., 1::2, :] = radius * np.cos(angle), radius * np.sin(angle)
    return result


@_drawing(
    attrs_to_c=lambda a, ins, outs: [a["seed"], a.get("mean", 0.0), a.get("stddev", 1.0)],
    samples=[
        _drawn((3, 5), 1, 0, seed=1, mean=0.0, stddev=1.0),
        _drawn((2, 9, 11), 5, 3, seed=7, mean=-3.0, stddev=0.5),
        _drawn((0, 4), 0, 9, seed=0, mean=0.0, stddev=1.0),
    ],
)
def random_normal(
    rng: np.ndarray, *, shape: Sequence[int], seed: int, mean: float = 0.0, stddev: float = 1.0
) -> np.ndarray:
    """Normal float32 numbers by the Box-Muller transform; none is beyond 6.8 stddev."""
    (rows, width), (step, row0) = _rows_and_width(shape), (int(v) for v in rng)
    groups = _groups(seed, step, np.arange(row0, row0 + rows), width)
    normal = _first(_box_muller(groups), width)
    return (mean + stddev * normal).astype(np.float32).reshape(shape)


def _dropped(x: Spec, rng: Spec, *, rate: float, seed: int, noise_axes: Sequence[int] = ()) -> Spec:
    _check_rng(rng, seed)
    if any(not 0 <= a < len(x.shape) for a in noise_axes):
        raise ShapeError(f"noise_axes={noise_axes} are not all axes of x.")
    return x


def _keep(shape: Sequence[int], rng: np.ndarray, rate: float, seed: int) -> np.ndarray:
    bits = words(seed, rng, *_rows_and_width(shape)) >> np.uint32(8)
    return (bits >= math.floor(rate * 2**24 + 0.5)).reshape(shape)


@op(
    kernel=True,
    shape=_dropped,
    grad=lambda g, y, x, rng, **attrs: (dropout(g, rng, **attrs), None),
    attrs_to_c=lambda a, ins, outs: [a["seed"], a["rate"], *flat_numbers(a.get("noise_axes", ()))],
    dtypes=_int64_rng,
    inplace=(0,),
    random=True,
    samples=[
        Sample(
            (),
            {"rate": rate, "seed": 3, "noise_axes": axes},
            make=lambda r, shape=shape: [r.normal(size=shape).astype("f4"), _rng(4, 7)],
        )
        for shape, rate, axes in [
            ((5, 70), 0.5, ()),
            ((3, 4, 5), 0.2, (1,)),
            ((3, 4, 5), 0.7, (0, 2)),
            ((6,), 0.1, ()),
            ((3, 4), 0.0, ()),
            ((0, 3), 0.5, ()),
        ]
    ],
)
def dropout(
    x: np.ndarray, rng: np.ndarray, *, rate: float, seed: int, noise_axes: Sequence[int] = ()
) -> np.ndarray:
    """x / (1 - rate) where the number drawn is at least rate, else 0; one draw per element.

    Along `noise_axes` one draw is shared. With axis 0 among them all rows are treated alike,
    whatever row0 is. Srivastava et al. 2014.
    """
    shape = [1 if i in noise_axes else d for i, d in enumerate(x.shape)]
    if 0 in noise_axes:
        rng = np.array([rng[0], 0])
    scale = np.float32(1 / (1 - rate)) if rate < 1 else np.float32(0)
    return np.where(_keep(shape, rng, rate, seed), x * scale.astype(x.dtype), x.dtype.type(0))
