"""torch as a peer, when this interpreter can import it.

Gradients are taken by autograd from a graph that is kept, so each call includes some 20 us of its
bookkeeping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from kernel_rows.row import Make

try:
    import torch
except ImportError:
    torch = None


def torch_peer(build: Callable[[], Callable[[], object]]) -> dict[str, Make]:
    """The column "torch"; `build` makes its call when the row's turn comes. Empty without torch."""
    if torch is None:
        return {}

    def make(threads: int) -> Callable[[], object]:
        torch.set_num_threads(threads)
        return build()

    return {"torch": make}


def forward(function: Callable[..., object], *inputs: Any) -> Callable[[], object]:
    """function(*inputs) without a tape; arrays become tensors."""
    tensors = [tensor(a) for a in inputs]

    def call() -> object:
        with torch.inference_mode():
            return function(*tensors)

    return call


def backward(
    function: Callable[..., Any], inputs: Sequence[Any], g: Any, wanted: Sequence[int] = (0,)
) -> Callable[[], object]:
    """The gradients of function(*inputs) for the wanted inputs, given that of its result."""
    tensors = [tensor(a) for a in inputs]
    leaves = [tensors[i].detach().requires_grad_() for i in wanted]
    for i, leaf in zip(wanted, leaves, strict=True):
        tensors[i] = leaf
    y, g = function(*tensors), tensor(g)
    return lambda: torch.autograd.grad(y, leaves, g, retain_graph=True)


def tensor(array: Any) -> Any:
    """A tensor over an array's memory; anything else as it is."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def channels_first(array: np.ndarray) -> Any:
    """(batch, *spatial, channels) as torch's (batch, channels, *spatial) over the same memory."""
    return torch.from_numpy(array).movedim(-1, 1)
