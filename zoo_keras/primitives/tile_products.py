"""Products of bfloat16 with sums in float32, as the tile registers of AMX make them.

In: tensors of float32, which the product rounds, or the bits of bfloat16 as uint16. Out: float32,
or such bits. Which products become these is decided by `passes.tile_products` as a program is
compiled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.dtypes import is_float
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Node, Spec
from zoo_keras.native import attributes, lib
from zoo_keras.primitives.op import Sample, op, registry
from zoo_keras.primitives.products import DENSE_ACTIVATIONS, activate, activation_code
from zoo_keras.primitives.row_rules import first_input

COLUMNS: int = lib.ZK_TILE_COLUMNS
STEP: int = lib.ZK_TILE_STEP
READS = ("float32", "uint16")


def packed_shape(taps: int, k: int, n: int) -> tuple[int, ...]:
    """The shape in which `pack_bf16` gives weights (taps, k, n)."""
    return -(-n // COLUMNS), taps * -(-k // STEP), 2, STEP // 2, STEP


def _pack_shape(w: Spec, *, transpose: bool = False) -> Spec:
    if len(w.shape) < 2 or not (w.dtype == "uint16" or is_float(w.dtype)):
        raise ShapeError("w needs 2 dimensions or more, and to be floating-point or uint16.")
    *taps, k, n = w.shape
    return Spec(packed_shape(math.prod(taps), *((n, k) if transpose else (k, n))), "uint16")


def floats_of(x: np.ndarray) -> np.ndarray:
    """The rounded numbers of x, or those that its bits stand for."""
    bits = x if x.dtype == np.uint16 else registry["to_bfloat16"].reference(x)
    values: np.ndarray = registry["from_bfloat16"].reference(bits)
    return values


_MATRICES = (
    *((3, 40), (7, 1), (64, 32), (33, 70), (0, 5), (4, 0), (65, 16)),
    *((3, 5, 40), (2, 2, 33, 17), (0, 4, 3)),
)


def _pack_samples() -> list[Sample]:
    return [
        Sample([(*shape[:-2], *shape[:-3:-1]) if turned else shape], {"transpose": turned})
        for shape in _MATRICES
        for turned in (False, True)
    ]


@op(
    kernel=True,
    shape=_pack_shape,
    attrs_to_c=lambda attrs, ins, outs: attributes("PACK_BF16", transpose=attrs["transpose"]),
    dtypes=lambda w: w.dtype in READS,
    samples=_pack_samples(),
)
def pack_bf16(w: np.ndarray, *, transpose: bool = False) -> np.ndarray:
    """The right operand of a product in the order in which tile registers take it.

    w is (taps.., K, N), or (taps.., N, K) with transpose; the result holds bits of bfloat16 in the
    shape (ceil(N / 32), taps * ceil(K / 32), 2, 16, 32): two tiles a step, each of pairs of K for
    16 columns, zero where a tap of w ends.
    """
    w = w.reshape(math.prod(w.shape[:-2]), *w.shape[-2:])
    w = w.swapaxes(1, 2) if transpose else w
    bits = w if w.dtype == np.uint16 else registry["to_bfloat16"].reference(w)
    shape = packed_shape(*w.shape)
    steps = -(-w.shape[1] // STEP)
    padded = np.zeros((len(w), steps * STEP, shape[0] * COLUMNS), np.uint16)
    padded[:, : w.shape[1], : w.shape[2]] = bits
    pairs = padded.reshape(shape[1], STEP // 2, 2, shape[0], 2, COLUMNS // 2)
    return pairs.transpose(3, 0, 4, 1, 5, 2).reshape(shape)


def unpacked(w: np.ndarray, taps: int, k: int, n: int) -> np.ndarray:
    """The rounded weights (taps, k, n) that `pack_bf16` packed."""
    pairs = w.reshape(*w.shape[:4], COLUMNS // 2, 2).transpose(1, 3, 5, 0, 2, 4)
    matrix = pairs.reshape(taps, -(-k // STEP) * STEP, w.shape[0] * COLUMNS)
    return floats_of(matrix[:, :k, :n])


def _dense_shape(
    x: Spec,
    w: Spec,
    b: Spec,
    *more: Spec,
    units: int,
    activation: str = "linear",
    transpose_a: bool = False,
    narrow: bool = False,
) -> Spec:
    activation_code(activation, DENSE_ACTIVATIONS)
    if not x.shape or (transpose_a and len(x.shape) != 2):
        raise ShapeError("x needs 1 dimension or more, and exactly 2 when it is turned.")
    lead, k = (x.shape[1:], x.shape[0]) if transpose_a else (x.shape[:-1], x.shape[-1])
    if w.shape != packed_shape(1, k, units) or b.shape != (units,):
        raise ShapeError(f"{units} units on {k} inputs need weights packed by pack_bf16.")
    if more and more[0].shape != (*lead, units):
        raise ShapeError(f"the residual must have the shape of the output, {(*lead, units)}.")
    return Spec((*lead, units), "uint16" if narrow else "float32")


def _dense_to_c(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    code = activation_code(attrs.get("activation", "linear"), DENSE_ACTIVATIONS)
    turned = attrs.get("transpose_a", False)
    return attributes("DENSE_BF16", units=attrs["units"], activation=code, transpose_a=turned)


def reads_bits(x: Spec, w: Spec, b: Spec, *more: Spec) -> bool:
    """Whether a kernel takes these: packed weights, and float32 or bits of it."""
    given = all(s.dtype in READS for s in (x, *more))
    return given and w.dtype == "uint16" and b.dtype == "float32"


def _rows_stay(node: Node, by_row: Sequence[int]) -> bool:
    return not node.attrs.get("transpose_a") and first_input(node, by_row)


# Leading shape of x, its width, number of units, whether x is turned.
_LAYERS = (
    ((5,), 7, 3, False),
    ((1,), 9, 70, False),
    ((2, 3), 64, 16, False),
    ((0,), 3, 4, False),
    ((3,), 0, 4, False),
    ((3,), 4, 0, False),
    ((37,), 33, 17, True),
    ((40,), 96, 64, True),
    ((), 6, 5, False),
)


def _inputs(lead: tuple[int, ...], k: int, n: int, turned: bool, residual: bool) -> Any:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        shapes = [(k, *lead) if turned else (*lead, k), (k, n), (n,)]
        shapes += [(*lead, n)] if residual else []
        x, w, *rest = [rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]
        return [x, pack_bf16.reference(w), *rest]

    return make


def _dense_samples(residual: bool) -> list[Sample]:
    names = list(DENSE_ACTIVATIONS)
    return [
        Sample(
            (),
            {"units": n, "activation": names[i % len(names)], "transpose_a": turned},
            make=_inputs(lead, k, n, turned, residual),
        )
        for i, (lead, k, n, turned) in enumerate(_LAYERS)
    ]


def _product(
    x: np.ndarray, w: np.ndarray, add: np.ndarray, units: int, activation: str, turned: bool
) -> np.ndarray:
    x = floats_of(x.T if turned else x)
    sums = x.astype(np.float64) @ unpacked(w, 1, x.shape[-1], units)[0].astype(np.float64)
    return activate(sums + add, activation)


def narrowed(y: np.ndarray, narrow: bool) -> np.ndarray:
    """y, or its bits."""
    return registry["to_bfloat16"].reference(y) if narrow else y


@op(
    kernel=True,
    rows=_rows_stay,
    shape=_dense_shape,
    attrs_to_c=_dense_to_c,
    dtypes=reads_bits,
    samples=_dense_samples(residual=False),
)
def dense_bf16(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    *,
    units: int,
    activation: str = "linear",
    transpose_a: bool = False,
    narrow: bool = False,
) -> np.ndarray:
    """activation(x @ weights + b), x and weights rounded to bfloat16, summed in float32.

    x is (..., K), or (K, M) with transpose_a, float32 or bits; w comes from `pack_bf16`; b is
    (units,). The result is (..., units): float32, or with narrow the bits of the nearest bfloat16.
    """
    return narrowed(_product(x, w, b, units, activation, transpose_a), narrow)


@op(
    kernel="dense_bf16",
    rows=_rows_stay,
    shape=_dense_shape,
    attrs_to_c=_dense_to_c,
    dtypes=reads_bits,
    samples=_dense_samples(residual=True),
)
def dense_bf16_add(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    residual: np.ndarray,
    *,
    units: int,
    activation: str = "linear",
    transpose_a: bool = False,
    narrow: bool = False,
) -> np.ndarray:
    """`dense_bf16` with a residual like the result, added before the activation.

    The residual is float32 or bits.
    """
    if residual.dtype == np.uint16:
        residual = floats_of(residual)
    return narrowed(_product(x, w, b + residual, units, activation, transpose_a), narrow)
