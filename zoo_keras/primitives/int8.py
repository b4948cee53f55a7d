"""int8 inference: layers on int8 weights, rows of int8 tables, and the ranges that inputs take.

In: float32 tensors, int8 weights and the scales by which they were multiplied (as Keras stores
them). Out: float32 tensors. Sums of products are exact integers; nothing here has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes, lib
from zoo_keras.primitives.index import IDS, check_ids
from zoo_keras.primitives.op import Sample, op, same
from zoo_keras.primitives.products import FUSED_ACTIVATIONS, PANEL, activate, activation_code
from zoo_keras.primitives.row_rules import first_input, rows_in

STEP: int = lib.ZK_INT8_STEP  # inputs that stand side by side for each column of a panel
GROUP = 64  # inputs to which those of a tap are padded with zeros
MOST: int = lib.ZK_INT8_MOST  # largest magnitude of a rounded input or weight
UNSIGNED_MOST: int = lib.ZK_UINT8_MOST  # of an input that is never negative
EPSILON = 1 / lib.ZK_INT8_PER_EPSILON  # keeps the scale of zeros finite, as in Keras
LONGEST = (2**31 - 1) // (MOST * MOST)  # products that an int32 sum holds


def abs_max_scale(largest: Any) -> Any:
    """The number that maps -largest..largest onto -127..127."""
    return np.float32(MOST) / (np.asarray(largest, np.float32) + np.float32(EPSILON))


def rounded(x: np.ndarray, scale: Any, unsigned: bool = False) -> np.ndarray:
    """x * scale to the nearest int8 or uint8, ties to even."""
    low, high, dtype = (0, UNSIGNED_MOST, np.uint8) if unsigned else (-MOST, MOST, np.int8)
    return np.clip(np.rint(x * scale), low, high).astype(dtype)


def rounded_rows(x: np.ndarray, fixed: float) -> tuple[np.ndarray, np.ndarray]:
    """(q, scale): the last axis in int8, and its scale as (..., 1), NaN where x is not finite."""
    x = x.astype(np.float32)
    finite = np.isfinite(x).all(-1, keepdims=True)
    x = np.where(finite, x, np.float32(0))
    scale = abs_max_scale(np.max(np.abs(x), -1, keepdims=True, initial=0))
    scale = np.full_like(scale, fixed) if fixed else scale
    return rounded(x, scale), np.where(finite, scale, np.float32(np.nan))


def packed_shape(taps: int, k: int, n: int, parts: int = 1) -> tuple[int, ...]:
    """The shape in which `pack_int8` gives weights (taps, k, n)."""
    return parts * -(-n // parts // PANEL), taps * -(-k // GROUP) * (GROUP // STEP), PANEL, STEP


def _pack_shape(w: Spec, parts: int = 1) -> Spec:
    if len(w.shape) < 2 or w.dtype != "int8":
        raise ShapeError("w needs 2 dimensions or more, and to be int8.")
    if parts < 1 or w.shape[-1] % parts:
        raise ShapeError(f"the columns must be {parts} equal parts.")
    *taps, k, n = w.shape
    return Spec(packed_shape(math.prod(taps), k, n, parts), "int8")


def _int8(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-MOST, MOST + 1, shape).astype(np.int8)


_MATRICES = (
    (3, 40),
    (7, 1),
    (4, 16),
    (0, 5),
    (4, 0),
    (9, 33),
    (130, 20),
    (2, 65, 3),
    (3, 2, 9, 17),
)


@op(
    kernel=True,
    shape=_pack_shape,
    attrs_to_c=lambda attrs, ins, outs: attributes("PACK_INT8", parts=attrs.get("parts", 1)),
    dtypes=lambda w: True,
    samples=[
        *[Sample((), make=lambda rng, s=shape: [_int8(rng, *s)]) for shape in _MATRICES],
        *[
            Sample((), {"parts": parts}, make=lambda rng, s=shape: [_int8(rng, *s)])
            for parts, shape in ((3, (5, 9)), (4, (70, 80)), (2, (3, 66)), (3, (2, 0)))
        ],
    ],
)
def pack_int8(w: np.ndarray, *, parts: int = 1) -> np.ndarray:
    """The int8 weights of a layer in the order its kernel reads them.

    w is (taps, K, N) or (K, N); the result is (ceil(N / 16), taps * 16 * ceil(K / 64), 16, 4), zero
    where there is no weight. `parts` of the columns, all of one size, are packed one by one and
    stand behind each other. Raises DataError for a weight of -128, which has no positive
    counterpart.
    """
    if parts > 1:
        return np.concatenate([pack_int8.reference(p) for p in np.split(w, parts, axis=-1)])
    if w.min(initial=0) < -MOST:
        raise DataError("int8 weights must lie within -127..127. Received: -128.")
    k, n = w.shape[-2:]
    w = w.reshape(math.prod(w.shape[:-2]), k, n)
    panels, steps = packed_shape(*w.shape)[:2]
    padded = np.zeros((len(w), -(-k // GROUP) * GROUP, panels * PANEL), np.int8)
    padded[:, :k, :n] = w
    return padded.reshape(steps, STEP, panels, PANEL).transpose(2, 0, 3, 1)


def unpacked(w: np.ndarray, taps: int, k: int, n: int, parts: int = 1) -> np.ndarray:
    """The weights (taps, k, n) that `pack_int8` packed."""
    if parts > 1:
        each = [unpacked(p, taps, k, n // parts) for p in np.split(w, parts)]
        return np.concatenate(each, axis=-1)
    panels, steps = packed_shape(taps, k, n)[:2]
    matrix = w.transpose(1, 3, 0, 2).reshape(taps, -(-k // GROUP) * GROUP, panels * PANEL)
    return matrix[:, :k, :n]


def _dense_shape(
    x: Spec, w: Spec, scale: Spec, b: Spec, *, units: int, activation: str, input_scale: float
) -> Spec:
    activation_code(activation)
    k = x.shape[-1] if x.shape else 0
    if not x.shape or w.shape != packed_shape(1, k, units):
        raise ShapeError(f"{units} units on {k} inputs need weights packed by pack_int8.")
    if scale.shape != (units,) or b.shape != (units,):
        raise ShapeError(f"the scale and the bias must hold {units} numbers.")
    if k > LONGEST:
        raise ShapeError(f"a sum of {k} products may not fit into int32; at most {LONGEST} do.")
    return Spec((*x.shape[:-1], units), x.dtype)


def _dense_code(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    code, scale = activation_code(attrs["activation"]), attrs["input_scale"]
    return attributes("DENSE_INT8", units=attrs["units"], activation=code, scale=scale)


# Leading shape of x, its width, number of units, lowest input, scale of all rows or 0.
_LAYERS = (
    ((5,), 7, 3, -1, 0.0),
    ((1,), 9, 70, 0, 0.0),
    ((2, 3), 4, 16, -1, 90.0),
    ((0,), 3, 4, -1, 0.0),
    ((3,), 0, 4, -1, 0.0),
    ((3,), 4, 0, -1, 0.0),
    ((37,), 33, 17, 0, 200.0),
    ((), 6, 5, -1, 0.0),
)


def _layer(lead: tuple[int, ...], k: int, n: int, low: float) -> Any:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        x = rng.uniform(low, 1, (*lead, k)).astype(np.float32)
        w = pack_int8(_int8(rng, k, n))
        scale, bias = rng.uniform(100, 900, n), rng.uniform(-1, 1, n)
        return [x, w, scale.astype(np.float32), bias.astype(np.float32)]

    return make


def _dense_samples() -> list[Sample]:
    names = list(FUSED_ACTIVATIONS)
    return [
        Sample(
            (),
            {"units": n, "activation": names[i % len(names)], "input_scale": fixed},
            make=_layer(lead, k, n, low),
        )
        for i, (lead, k, n, low, fixed) in enumerate(_LAYERS)
    ]


@op(
    kernel=True,
    rows=first_input,
    shape=_dense_shape,
    attrs_to_c=_dense_code,
    dtypes=lambda x, w, scale, b: x.dtype == "float32",
    samples=_dense_samples(),
)
def dense_int8(
    x: np.ndarray,
    w: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    *,
    units: int,
    activation: str,
    input_scale: float,
) -> np.ndarray:
    """activation(x @ weights / scale + b), the products of int8 numbers summed exactly.

    x is (..., K) and is rounded to int8: by `input_scale`, or by 127 / (its largest magnitude) for
    each row when that is 0. w comes from `pack_int8`; scale and b are (units,). A row with a NaN or
    an infinity gives NaN. The result is (..., units).
    """
    q, row_scale = rounded_rows(x, input_scale)
    sums = q.astype(np.float64) @ unpacked(w, 1, q.shape[-1], units)[0].astype(np.float64)
    return activate(sums.astype(np.float32) / (row_scale * scale) + b, activation)


def _table_samples() -> list[Sample]:
    def make(rng: np.random.Generator, shape: tuple[int, ...]) -> list[np.ndarray]:
        scale = rng.uniform(100, 900, 7).astype(np.float32)
        return [_int8(rng, 7, 19), scale, rng.integers(0, 7, shape).astype(np.int32)]

    shapes: tuple[tuple[int, ...], ...] = ((2, 5), (), (0, 3))
    return [Sample((), make=lambda rng, s=s: make(rng, s)) for s in shapes]


def _table_shape(table: Spec, scale: Spec, ids: Spec) -> Spec:
    if len(table.shape) != 2 or scale.shape != table.shape[:1]:
        raise ShapeError("the table needs 2 dimensions, and the scale one number for each row.")
    return Spec((*ids.shape, table.shape[1]), scale.dtype)


@op(
    kernel=True,
    rows=rows_in(0, 0, 1),
    shape=_table_shape,
    dtypes=lambda table, scale, ids: scale.dtype == "float32" and ids.dtype in IDS,
    samples=_table_samples(),
)
def gather_int8(table: np.ndarray, scale: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows of an int8 table (rows, D), each divided by its scale (rows,): ids.shape + (D,).

    Raises DataError when an id is below 0 or not below the number of rows.
    """
    check_ids(ids, table.shape[0])
    return table[ids].astype(scale.dtype) / scale[ids][..., None]


class Range:
    """The smallest and the largest number that a tensor held in all runs so far, and 0; and the
    mean of each place of its last axis."""

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self._total: Any = 0.0
        self._count = 0

    @property
    def mean(self) -> np.ndarray:
        """(features,); NaN before anything was seen, or where they were not always as many."""
        return np.asarray(self._total / self._count if self._count else np.nan)

    def widen(self, x: np.ndarray) -> None:
        """Take the numbers of x in; those that are not finite do not count."""
        total = _finite_sum(x)
        alike = np.shape(self._total) in ((), total.shape)
        self._total = self._total + total if alike else np.nan
        self._count += x.size // max(x.shape[-1], 1) if x.ndim else 1
        x = x[np.isfinite(x)]
        self.low = min(self.low, float(x.min(initial=0)))
        self.high = max(self.high, float(x.max(initial=0)))


def _finite_sum(x: np.ndarray) -> Any:
    finite = np.where(np.isfinite(x), x, 0)
    return finite.sum(tuple(range(x.ndim - 1)), dtype=np.float64)


@op(shape=same, samples=[Sample([(2, 3)], {"seen": Range()})])
def observe(x: np.ndarray, *, seen: Range) -> np.ndarray:
    """x itself; on the way `seen` is widened by its numbers (calibration)."""
    seen.widen(x)
    return x
