"""Recurrent layers over whole sequences: LSTM, GRU (both forms) and the simple layer.

`infer` is the projection of the inputs and the sequence; `train` adds all gradients. Against
torch.nn's layer of the same kind, forward, or forward and backward. MKL has none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from kernel_rows.peer import forward, torch, torch_peer
from kernel_rows.prepared import prepared, several
from kernel_rows.row import Row

from zoo_keras.primitives.gru import gru, gru_grad, gru_reset_first, gru_reset_first_grad
from zoo_keras.primitives.op import Op
from zoo_keras.primitives.products import dense, matmul
from zoo_keras.primitives.recurrent import lstm, lstm_grad, simple_rnn, simple_rnn_grad


class Kind(NamedTuple):
    """The ops of a layer; which outputs of the forward op the backward op reads."""

    forward: Op
    backward: Op
    gates: int
    states: int
    outputs: int
    saved: tuple[int, ...]
    peer: str | None
    bias: bool = False
    attrs: dict[str, Any] = {}


KINDS = {
    "LSTM": Kind(lstm, lstm_grad, 4, 2, 6, (0, 1), "LSTM"),
    "GRU": Kind(gru, gru_grad, 3, 1, 5, (0, 1, 2), "GRU", bias=True),
    "GRU reset first": Kind(gru_reset_first, gru_reset_first_grad, 3, 1, 5, (0, 2), None),
    "RNN": Kind(simple_rnn, simple_rnn_grad, 1, 1, 3, (1,), "RNN", attrs={"activation": "tanh"}),
}
# batch, steps, inputs, units
SIZES = ((64, 200, 128, 128), (32, 50, 64, 128), (64, 24, 32, 256), (64, 30, 512, 512),
         (1, 100, 32, 64))  # fmt: skip


def ours(kind: Kind, size: tuple[int, ...], train: bool) -> Any:
    """A call for so many threads."""
    batch, steps, features, units = size
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype("f4")

    width = kind.gates * units
    x, w, u, b = (
        some(batch, steps, features),
        some(features, width),
        some(units, width),
        some(width),
    )
    xp, states = some(batch, steps, width), [some(batch, units) for _ in range(kind.states)]
    light = [i >= kind.outputs - kind.states for i in range(kind.outputs)]
    how = {"reverse": False, **kind.attrs}
    inputs = [xp, u, *[b] * kind.bias, *states]
    first = [
        (dense, [x, w, b], {}),
        (kind.forward, inputs, {**how, "kept": (True,) * kind.outputs if train else light}),
    ]

    saved = kind.forward(*inputs, kept=(True,) * kind.outputs, **how) if train else ()
    given = (False, False, True, *[False] * (kind.states - 1))
    middle = [states[1]] if kind.states == 2 else []
    kept = [saved[i] for i in kind.saved] if train else []
    flat, dz = x.reshape(-1, features), xp.reshape(-1, width)
    turned = {"transpose_a": True, "transpose_b": False}
    back = [(kind.backward, [*kept, u, *middle, states[0]], {**how, "given": given}),
            (matmul, [flat, dz], turned),
            (matmul, [some(batch * steps, units), dz], turned),
            (matmul, [dz, w], {"transpose_a": False, "transpose_b": True})]  # fmt: skip
    rows = first + back if train else first
    return lambda threads: several([prepared(op, a, how, threads) for op, a, how in rows])


def peers(kind: Kind, size: tuple[int, ...], train: bool) -> dict[str, Any]:
    """torch's layer, if it has one."""
    name = kind.peer
    if name is None:
        return {}
    batch, steps, features, units = size

    def build() -> Callable[[], object]:
        layer = getattr(torch.nn, name)(features, units, batch_first=True)
        x = torch.randn(batch, steps, features, requires_grad=train)
        if not train:
            return forward(layer, x)
        return lambda: layer(x)[0][:, -1].sum().backward()

    return torch_peer(build)


def rows() -> Iterator[Row]:
    """Every kind and size."""
    for name, kind in KINDS.items():
        for size in SIZES:
            batch, steps, features, units = size
            work = 2.0 * batch * steps * (features + units) * kind.gates * units
            for mode, times in (("infer", 1), ("train", 3)):
                label = f"{mode} {name} b{batch} t{steps} i{features} h{units}"
                call = ours(kind, size, mode == "train")
                yield Row(label, work * times, "GF/s", call, peers(kind, size, mode == "train"))
