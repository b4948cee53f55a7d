"""Softmax, its logarithm and cross-entropy with integer labels, forward and backward.

GB/s of arrays that are read or written once each. Against torch; MKL has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_rows.peer import backward, forward, torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.softmax import (
    log_softmax,
    log_softmax_grad,
    softmax,
    softmax_grad,
    sparse_softmax_cross_entropy,
    sparse_softmax_cross_entropy_grad,
)

SHAPES = ((128, 10), (1024, 100), (1024, 1000), (512, 20000))


def softmax_rows(x: np.ndarray, g: np.ndarray) -> Iterator[Row]:
    """Both forms in both directions."""
    label = f"{x.shape[0]} x {x.shape[1]}"
    for op, grad in ((softmax, softmax_grad), (log_softmax, log_softmax_grad)):
        y = op(x, axis=-1)
        peer = getattr(torch, op.name, None)
        yield Row(f"fwd {op.name} {label}", 2 * x.nbytes, "GB/s",
                  lambda t, op=op: prepared(op, [x], {"axis": -1}, t),
                  torch_peer(lambda f=peer: forward(f, x, -1)))  # fmt: skip
        yield Row(f"bwd {op.name} {label}", 3 * x.nbytes, "GB/s",
                  lambda t, y=y, grad=grad: prepared(grad, [g, y], {"axis": -1}, t),
                  torch_peer(lambda f=peer: backward(f, [x, -1], g)))  # fmt: skip


def cross_entropy(x: Any, labels: Any) -> Any:
    """torch's, one value a row."""
    return torch.nn.functional.cross_entropy(x, labels, reduction="none")


def entropy_rows(x: np.ndarray, g: np.ndarray, labels: np.ndarray) -> Iterator[Row]:
    """Cross-entropy of integer labels; backward reads logits (torch: the logarithms)."""
    label = f"cross-entropy {x.shape[0]} x {x.shape[1]}"
    long, shares = labels.astype("i8"), np.ascontiguousarray(g[:, 0])
    grad = sparse_softmax_cross_entropy_grad
    yield Row(f"fwd {label}", x.nbytes, "GB/s",
              lambda t: prepared(sparse_softmax_cross_entropy, [labels, x], {}, t),
              torch_peer(lambda: forward(cross_entropy, x, long)))  # fmt: skip
    yield Row(f"bwd {label}", 2 * x.nbytes, "GB/s",
              lambda t: prepared(grad, [shares, labels, x], {}, t),
              torch_peer(lambda: backward(cross_entropy, [x, long], shares)))  # fmt: skip


def rows() -> Iterator[Row]:
    """Every function and shape."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        x, g = rng.standard_normal(shape, "f4"), rng.standard_normal(shape, "f4")
        labels = rng.integers(0, shape[1], shape[0]).astype("i4")
        yield from softmax_rows(x, g)
        yield from entropy_rows(x, g, labels)
