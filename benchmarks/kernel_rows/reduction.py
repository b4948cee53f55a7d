"""Sums, maxima and places of maxima over all axes, the first and the last.

GB/s of the array that is read. Against torch, and MKL's cblas_sgemv with a vector of ones for the
sums over one axis of a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_rows import mkl
from kernel_rows.peer import forward, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.reduce import argmax, reduce_max, reduce_sum

SHAPES = ((128, 512), (2048, 1024), (16384, 1024))


def row(name: str, op: Any, x: np.ndarray, how: dict[str, Any], peer: Any, more: Any) -> Row:
    """One function of one matrix; `peer` is torch's method call."""
    label = f"{name} {x.shape[0]} x {x.shape[1]}"
    return Row(label, x.nbytes, "GB/s", lambda t: prepared(op, [x], how, t),
               torch_peer(lambda: forward(peer, x)) | more)  # fmt: skip


def sum_by_mkl(x: np.ndarray, axis: int) -> Any:
    """The product with ones that sums over an axis."""
    return mkl.sgemv(x, np.ones(x.shape[axis], "f4"), turned=axis == 0)


def rows() -> Iterator[Row]:
    """Every function and shape."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        x = rng.standard_normal(shape, "f4")
        every, first, last = [{"axes": a, "keepdims": False} for a in ((0, 1), (0,), (1,))]
        yield row("sum all", reduce_sum, x, every, lambda a: a.sum(), {})
        yield row("sum axis 0", reduce_sum, x, first, lambda a: a.sum(0), sum_by_mkl(x, 0))
        yield row("sum axis -1", reduce_sum, x, last, lambda a: a.sum(1), sum_by_mkl(x, 1))
        yield row("max axis -1", reduce_max, x, last, lambda a: a.amax(1), {})
        yield row("argmax axis -1", argmax, x, {"axis": -1}, lambda a: a.argmax(1), {})
