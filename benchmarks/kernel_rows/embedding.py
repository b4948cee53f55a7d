"""Rows of tables: gather, and its gradient as touched rows and as a whole table.

GB/s: the rows that are picked and the result (the whole table: the gradient and the table). torch's
counterpart of touched rows is a sparse tensor, coalesced. MKL has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_rows.peer import forward, tensor, torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.index import gather, gather_grad, gather_grad_rows

# what, rows of the table, width, ids
SIZES = (("text", 20000, 128, 64 * 200), ("neumf users", 138493, 64, 2048),
         ("neumf items", 26744, 128, 2048), ("large", 1000000, 64, 65536))  # fmt: skip


def coalesced(g: Any, ids: Any, shape: tuple[int, int]) -> Any:
    """torch's sum over equal ids, as a sparse tensor."""
    return torch.sparse_coo_tensor(ids[None], g, shape, check_invariants=False).coalesce()


def whole(g: Any, ids: Any, count: int) -> Any:
    """torch's gradient as a whole table."""
    return torch.ops.aten.embedding_dense_backward(g, ids, count, -1, False)


def rows_of(name: str, count: int, width: int, picked: int) -> Iterator[Row]:
    """The three rows of a size."""
    rng = np.random.default_rng(0)
    table, g = rng.standard_normal((count, width), "f4"), rng.standard_normal((picked, width), "f4")
    ids = rng.integers(0, count, picked).astype("i4")
    long, label = ids.astype("i8"), f"{name} {count} x {width}, {picked} ids"
    moved = 2 * g.nbytes + ids.nbytes
    yield Row(f"gather {label}", moved, "GB/s", lambda t: prepared(gather, [table, ids], {}, t),
              torch_peer(lambda: forward(torch.embedding, table, tensor(long))))  # fmt: skip
    yield Row(f"grad rows {label}", moved, "GB/s",
              lambda t: prepared(gather_grad_rows, [g, ids], {}, t),
              torch_peer(lambda: forward(coalesced, g, long, table.shape)))  # fmt: skip
    yield Row(f"grad table {label}", g.nbytes + ids.nbytes + table.nbytes, "GB/s",
              lambda t: prepared(gather_grad, [g, ids], {"rows": count}, t),
              torch_peer(lambda: forward(whole, g, long, count)))  # fmt: skip


def rows() -> Iterator[Row]:
    """Every size."""
    for size in SIZES:
        yield from rows_of(*size)
