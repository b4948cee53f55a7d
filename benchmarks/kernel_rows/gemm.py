"""Matrix products of dense layers: an mlp, NeuMF, a transformer and one large square.

`fwd` adds bias and relu and packs the weights in each call, `packed` has them packed beforehand
(inference); `dx` and `dw` are the two gradients. Batch 1 is a product with a vector, bound by
reading the weights, hence in GB/s. MKL's column is cblas_sgemm (batch 1: cblas_sgemv) without bias
and relu.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from kernel_rows import mkl
from kernel_rows.peer import forward, torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.products import dense, dense_packed, matmul, pack_dense


class Layer(NamedTuple):
    """A product of (rows, inputs) and (inputs, units)."""

    name: str
    rows: int
    inputs: int
    units: int


MLP = ((784, 512), (512, 512), (512, 10))
LAYERS = (
    *[Layer("mlp", 128, *size) for size in MLP],
    *[Layer("mlp", 1024, *size) for size in MLP],
    Layer("neumf", 2048, 256, 256),
    Layer("neumf", 2048, 256, 128),
    Layer("neumf", 2048, 128, 64),
    Layer("neumf", 2048, 128, 1),
    Layer("transformer", 2048, 256, 256),
    Layer("transformer", 2048, 256, 1024),
    Layer("transformer", 2048, 1024, 256),
    Layer("square", 1024, 1024, 1024),
)


class Arrays(NamedTuple):
    """x (rows, inputs), w (inputs, units), b (units), g (rows, units)."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    g: np.ndarray


def arrays(layer: Layer) -> Arrays:
    """Random numbers for a layer."""
    rng = np.random.default_rng(0)
    rows, k, n = layer[1:]
    return Arrays(*[rng.standard_normal(s, "f4") for s in ((rows, k), (k, n), (n,), (rows, n))])


def forward_calls(a: Arrays) -> dict[str, Any]:
    """Ours with weights as they are and packed."""
    relu = {"activation": "relu"}
    packed, units = pack_dense(a.w), {"units": a.w.shape[1]}
    return {
        "fwd": lambda t: prepared(dense, [a.x, a.w, a.b], relu, t),
        "packed": lambda t: prepared(dense_packed, [a.x, packed, a.b], relu | units, t),
    }


def torch_dense(a: Arrays) -> Any:
    """torch's product with bias, and relu in place."""
    return lambda: forward(lambda x, w, b: torch.addmm(b, x, w).relu_(), a.x, a.w, a.b)


def product(a: np.ndarray, b: np.ndarray, turn_a: bool, turn_b: bool) -> tuple[Any, dict[str, Any]]:
    """Ours and the peers for a @ b."""
    how = {"transpose_a": turn_a, "transpose_b": turn_b}
    left, right = (a.T if turn_a else a), (b.T if turn_b else b)
    peers = torch_peer(lambda: forward(torch.matmul, left, right))
    return lambda t: prepared(matmul, [a, b], how, t), peers | mkl.sgemm(a, b, turn_a, turn_b)


def rows() -> Iterator[Row]:
    """All products of every layer, then the forward ones of batch 1."""
    for layer in LAYERS:
        a = arrays(layer)
        label = f"{layer.name} {layer.inputs}-{layer.units} b{layer.rows}"
        work = 2.0 * a.x.size * layer.units
        peers = torch_peer(torch_dense(a)) | mkl.sgemm(a.x, a.w)
        for kind, call in forward_calls(a).items():
            yield Row(f"{kind} {label}", work, "GF/s", call, peers)
        yield Row(f"dx {label}", work, "GF/s", *product(a.g, a.w, False, True))
        yield Row(f"dw {label}", work, "GF/s", *product(a.x, a.g, True, False))
    for k, n in MLP:
        a = arrays(Layer("mlp", 1, k, n))
        peers = torch_peer(torch_dense(a)) | mkl.sgemv(a.w, a.x, turned=True)
        work = sum(array.nbytes for array in a)
        for kind, call in forward_calls(a).items():
            yield Row(f"{kind} mlp {k}-{n} b1", work, "GB/s", call, peers)
