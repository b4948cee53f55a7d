"""Elementwise functions and chains of them, each as the one instruction that fusion makes.

GB/s of arrays that are read or written once each, in cache (65,536 numbers) and from memory. torch
runs one function after the other; MKL's VML (mode LA) where it has the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from kernel_rows import mkl
from kernel_rows.peer import forward, tensor, torch, torch_peer
from kernel_rows.prepared import prepared_chain
from kernel_rows.row import Row

from zoo_keras.primitives import elementwise as math
from zoo_keras.primitives import smooth

SIZES = ((64, 1024), (8192, 1024))


class Kind(NamedTuple):
    """Ours, torch's (result last, to be filled) and VML's name; number of arrays that are read."""

    name: str
    ours: Callable[..., Any]
    torch: Callable[..., Any]
    vml: str | None = None
    arrays: int = 1


KINDS = (
    Kind("add", math.add, lambda a, b, y: torch.add(a, b, out=y), "vsAdd", 2),
    Kind("multiply", math.multiply, lambda a, b, y: torch.mul(a, b, out=y), "vsMul", 2),
    Kind("sqrt", math.sqrt, lambda x, y: torch.sqrt(x, out=y), "vsSqrt"),
    Kind("exp", math.exp, lambda x, y: torch.exp(x, out=y), "vsExp"),
    Kind("log", math.log, lambda x, y: torch.log(x, out=y), "vsLn"),
    Kind("tanh", math.tanh, lambda x, y: torch.tanh(x, out=y), "vsTanh"),
    Kind("erf", math.erf, lambda x, y: torch.erf(x, out=y), "vsErf"),
    Kind("sigmoid", math.sigmoid, lambda x, y: torch.sigmoid(x, out=y)),
    Kind("relu", math.relu, lambda x, y: torch.clamp_min(x, 0, out=y)),
    Kind("gelu", smooth.gelu, lambda x, y: torch.ops.aten.gelu.out(x, out=y)),
    Kind("gelu gradient", smooth.gelu_grad,
         lambda g, x, y: torch.ops.aten.gelu_backward.grad_input(g, x, grad_input=y), None, 2),
    Kind("chain a * sigmoid(b) + a", lambda a, b: a * math.sigmoid(b) + a,
         lambda a, b, y: torch.addcmul(a, a, torch.sigmoid(b), out=y), None, 2),
    Kind("chain gelu(a + b) * b", lambda a, b: smooth.gelu(a + b) * b,
         lambda a, b, y: torch.mul(torch.nn.functional.gelu(a + b), b, out=y), None, 2),
)  # fmt: skip


def row(kind: Kind, shape: tuple[int, int]) -> Row:
    """One function over arrays of positive numbers."""
    rng = np.random.default_rng(0)
    xs = [0.1 + np.abs(rng.standard_normal(shape, "f4")) for _ in range(kind.arrays)]

    def peer() -> Any:
        return forward(kind.torch, *map(tensor, xs), torch.empty(shape))

    peers = torch_peer(peer) | (mkl.vml(kind.vml, *xs) if kind.vml else {})
    work = (1 + kind.arrays) * xs[0].nbytes
    name = f"{kind.name} {shape[0]} x {shape[1]}"
    return Row(name, work, "GB/s", lambda t: prepared_chain(kind.ours, xs, t), peers)


def rows() -> Iterator[Row]:
    """Every function and size."""
    for kind in KINDS:
        for shape in SIZES:
            yield row(kind, shape)
