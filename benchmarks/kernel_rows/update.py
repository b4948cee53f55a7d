"""Optimizers' updates of one flat vector, in place: SGD, momentum, Adam, RMSprop.

GB/s of weights, gradient and slots, each read once and, but for the gradient, written once; the
limit is that of the loop a += s * b ("update" in the table's head). Rows named "scaled" multiply
the gradient as clipping by norm does, the others by 1. Against torch's fused optimizers where there
is one. MKL: w = w - lr * g is cblas_saxpy; it has no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_rows import mkl
from kernel_rows.peer import torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.update import HOW, KINDS, optimizer_update, update_inputs

SIZES = (("mlp", 669_706), ("large", 8_000_000))
FUSED = ("sgd", "momentum", "adam")


def torch_step(kind: str, n: int) -> Any:
    """A step of torch's fused optimizer."""
    w = torch.nn.Parameter(torch.rand(n))
    w.grad = torch.rand(n)
    if kind == "adam":
        return torch.optim.Adam([w], fused=True).step
    return torch.optim.SGD([w], momentum=0.9 if kind == "momentum" else 0.0, fused=True).step


def ours(kind: str, n: int, scale: float, threads: int) -> Any:
    """The kernel over vectors of its own."""
    inputs = update_inputs(np.random.default_rng(0), kind, n, False)
    inputs[-1] = np.asarray(scale, np.float32)
    how = {"kind": kind, "how": HOW[kind]}
    return prepared(optimizer_update, inputs, how, threads, inplace=True)


def row(kind: str, label: str, n: int, scale: float = 1.0) -> Row:
    """One optimizer and length; peers step without a scale."""
    peers = torch_peer(lambda: torch_step(kind, n)) if kind in FUSED else {}
    if kind == "sgd":
        peers |= mkl.saxpy(n)
    streams = 3 + 2 * KINDS[kind].slots
    call = lambda threads: ours(kind, n, scale, threads)  # noqa: E731
    return Row(f"{kind} {label} {n}", 4.0 * n * streams, "GB/s", call, peers, inplace=True)


def rows() -> Iterator[Row]:
    """Every optimizer and length."""
    for kind in ("sgd", "momentum", "adam", "rmsprop"):
        for label, n in SIZES:
            yield row(kind, label, n)
    for label, n in SIZES:
        yield row("sgd", f"scaled {label}", n, 0.75)
