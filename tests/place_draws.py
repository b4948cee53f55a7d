"""Random inputs for kernels of places, segments, counts, matrices and waves, beside those of
kernel_draws.py, whose DRAWN they join."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_draws import Draw, Inputs, drawn_for


@drawn_for("take_along_axis_grad")
def put_along_an_axis(name: str, d: Draw) -> Iterator[Inputs]:
    for repeated in (False, True):
        shape = d.shape(elements=20_001)
        axis = int(d.rng.integers(len(shape))) - (len(shape) if d.coin() else 0)
        many = d.size(9) if shape[axis] else 0
        ids_shape = tuple(many if i == axis % len(shape) else n for i, n in enumerate(shape))
        whole = tuple(
            1 if repeated and i != axis % len(shape) and d.coin() else n
            for i, n in enumerate(shape)
        )
        ids = d.whole(ids_shape, shape[axis], d.pick(["int32", "int64"]))
        yield [d.floats(*ids_shape), ids], {"shape": whole, "axis": axis}


@drawn_for("scatter_add", "scatter_update", "scatter_reduce", "gather_nd", "gather_nd_grad")
def at_places(name: str, d: Draw) -> Iterator[Inputs]:
    for dtype in ("float32", "int32"):
        lead, rest = [d.size(17) for _ in range(d.pick([1, 2]))], [d.size(65)] * d.pick([0, 1, 2])
        shape, many = (*lead, *rest), d.batch(2_001)
        if name == "scatter_update":  # of places named twice, gradients do not know the last
            many = min(many, int(np.prod(lead)))
            at = d.rng.permutation(int(np.prod(lead)))[:many]
        else:
            at = d.whole((many,), int(np.prod(lead)))
        ids = np.stack(np.unravel_index(at, lead), -1).astype(d.pick(["int32", "int64"]))
        x, g = [d.whole(s, 9, dtype) - 4 if dtype == "int32" else d.floats(*s)
                for s in (shape, (many, *rest))]  # fmt: skip
        given = {"gather_nd": [x, ids], "gather_nd_grad": [g, ids]}.get(name, [x, ids, g])
        attrs: list[dict[str, Any]] = [{"shape": shape} if name == "gather_nd_grad" else {}]
        if name == "scatter_reduce":
            attrs = [{"kind": kind} for kind in ("max", "min")]
            if dtype == "float32" and many < 100:
                attrs.append({"kind": "mul"})
        for each in attrs:
            yield given, each


@drawn_for("segment_reduce")
def segments(name: str, d: Draw) -> Iterator[Inputs]:
    for dtype in ("float32", "int32"):
        for kind in ("max", "min", "prod"):
            many, few = d.batch(301 if kind == "prod" else 2_001), d.size(17)
            shape = (many, *[d.size(33)] * d.pick([0, 1, 2]))
            x = d.whole(shape, 3, dtype) - 1 if dtype == "int32" else d.floats(*shape)
            ids = d.whole((many,), few + 2, d.pick(["int32", "int64"])) - 1
            yield [x, ids], {"kind": kind, "segments": few}


@drawn_for("searchsorted", exact=True)
def searched(name: str, d: Draw) -> Iterator[Inputs]:
    for right in (False, True):
        x, few = d.whole(d.shape(elements=20_001), 40).astype("f4"), d.size(33)
        edges = np.sort(d.whole((few,), 40).astype("f4"))
        yield [edges, np.where(x == 7, np.float32(np.nan), x)], {"right": right}


@drawn_for("fourier", "rfft")
def waves(name: str, d: Draw) -> Iterator[Inputs]:
    for _ in range(3):
        shape = (d.batch(65, 33), d.size(3), int(d.pick([2, 4, 8, 16, 32, 64, 128, 512])))
        if name == "rfft":
            yield [d.floats(*shape)], {}
        else:
            yield [d.floats(*shape), d.floats(*shape)], {"inverse": d.coin()}


@drawn_for("lu_factor")
def triangles(name: str, d: Draw) -> Iterator[Inputs]:
    """Matrices whose largest elements leave no doubt about the order of rows."""
    rows, columns = d.size(33), d.size(33)
    shape = (d.batch(97), rows, columns)
    first = np.eye(rows, columns, dtype="f4")[d.rng.permutation(rows)]
    yield [d.floats(*shape, low=-0.1, high=0.1) + 4 * first], {}


@drawn_for("count_ids")
def counted(name: str, d: Draw) -> Iterator[Inputs]:
    for dtype in ("float32", "int32"):
        shape, few = (d.batch(2_001), d.size(33)), d.size(17)
        ids = d.whole(shape, few, d.pick(["int32", "int64"]))
        weights = d.whole(shape, 9, dtype) if dtype == "int32" else d.floats(*shape)
        yield [ids, weights], {"length": few}
