"""Softmax attention over heads, forward and backward, with and without the causal mask.

Operations are those of the two products forward and of the five backward (the scores are computed
again), half of them when causal. Against torch's scaled_dot_product_attention. MKL has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_rows.peer import backward, forward, torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.attention import attention, attention_grad

# batch, tokens, heads, width of a head, causal
SIZES = ((16, 128, 8, 32, False), (4, 512, 8, 64, False), (4, 512, 8, 64, True),
         (1, 2048, 8, 64, False), (1, 2048, 8, 64, True))  # fmt: skip


def forward_row(label: str, work: float, made: list[np.ndarray], how: dict[str, Any]) -> Row:
    """q, k and v to the result and its statistics."""

    def peer() -> Any:
        return forward(attend(how), *heads_first(made[:3]))

    def ours(threads: int) -> Any:
        return prepared(attention, made[:3], how, threads)

    return Row(f"fwd {label}", work, "GF/s", ours, torch_peer(peer))


def backward_row(label: str, work: float, made: list[np.ndarray], how: dict[str, Any]) -> Row:
    """The gradients of q, k and v."""
    q, k, v, g = made

    def peer() -> Any:
        *inputs, given = heads_first(made)
        return backward(attend(how), inputs, given, (0, 1, 2))

    def ours(threads: int) -> Any:
        first = prepared(attention, [q, k, v], how, threads)
        first()
        y, stats = first.arrays[1:3]
        return prepared(attention_grad, [g, y, stats, q, k, v], how, threads)

    return Row(f"bwd {label}", 2.5 * work, "GF/s", ours, torch_peer(peer))


def heads_first(made: list[np.ndarray]) -> list[Any]:
    """(batch, tokens, heads, width) as torch wants it: (batch, heads, tokens, width)."""
    return [torch.from_numpy(np.ascontiguousarray(a.swapaxes(1, 2))) for a in made]


def attend(how: dict[str, Any]) -> Any:
    """torch's function of q, k and v."""
    function = torch.nn.functional.scaled_dot_product_attention
    return lambda q, k, v: function(q, k, v, is_causal=how["causal"])


def rows() -> Iterator[Row]:
    """Both directions of every size."""
    rng = np.random.default_rng(0)
    for *shape, causal in SIZES:
        batch, tokens, heads, width = shape
        made = [rng.standard_normal(shape, "f4") for _ in range(4)]
        how = {"scale": width**-0.5, "causal": causal}
        work = 4.0 * batch * heads * tokens**2 * width / (2 if causal else 1)
        label = f"attention b{batch} t{tokens} h{heads}x{width}{' causal' * causal}"
        yield forward_row(label, work, made, how)
        yield backward_row(label, work, made, how)
