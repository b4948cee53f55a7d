"""Layer, root-mean-square, group and batch normalization in training, forward and backward.

GB/s of arrays that are read or written once each; statistics need a second reading, which batch
normalization takes from memory when its batch does not fit in cache. Against torch (images in
channels_last). MKL has none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from kernel_rows.peer import backward, channels_first, forward, torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.group_norm import group_norm, group_norm_grad, rms_norm, rms_norm_grad
from zoo_keras.primitives.norm import batch_norm, batch_norm_grad, layer_norm, layer_norm_grad
from zoo_keras.primitives.op import Op

EPSILON = 1e-3


class Kind(NamedTuple):
    """The ops of a normalization, its vectors, what its gradient is told, and shapes."""

    forward: Op
    backward: Op
    vectors: int
    extra: dict[str, Any]
    told: dict[str, Any]
    shapes: Sequence[tuple[int, ...]]


TOKENS = ((2048, 256), (8192, 768))
IMAGES = ((128, 32, 32, 16), (16, 56, 56, 64), (32, 56, 56, 128))
KINDS = (
    Kind(layer_norm, layer_norm_grad, 2, {}, {}, TOKENS),
    Kind(rms_norm, rms_norm_grad, 1, {}, {}, TOKENS),
    Kind(group_norm, group_norm_grad, 2, {"groups": 8}, {}, IMAGES),
    Kind(batch_norm, batch_norm_grad, 2, {}, {"epsilon": EPSILON}, IMAGES),
)


def torch_function(kind: Kind, width: int) -> Callable[..., Any]:
    """torch's function of x, gamma and beta (rms: gamma alone)."""
    f = torch.nn.functional
    return {
        "layer_norm": lambda x, w, b: f.layer_norm(x, (width,), w, b, EPSILON),
        "rms_norm": lambda x, w: f.rms_norm(x, (width,), w, EPSILON),
        "group_norm": lambda x, w, b: f.group_norm(x, kind.extra["groups"], w, b, EPSILON),
        "batch_norm": lambda x, w, b: f.batch_norm(x, None, None, w, b, True, 0.1, EPSILON),
    }[kind.forward.name]


def peer(kind: Kind, made: list[np.ndarray], g: np.ndarray | None) -> Callable[[], object]:
    """torch's forward, or backward given g."""
    x, *vectors = made
    turned = channels_first if x.ndim > 2 else torch.from_numpy
    function, inputs = torch_function(kind, x.shape[-1]), [turned(x), *vectors]
    if g is None:
        return forward(function, *inputs)
    return backward(function, inputs, turned(g), range(len(inputs)))


def ours_back(kind: Kind, made: list[np.ndarray], g: np.ndarray, threads: int) -> Any:
    """The gradient kernel, with the statistics of a forward run."""
    first = prepared(kind.forward, made, {"epsilon": EPSILON, **kind.extra}, threads)
    first()
    statistics = first.arrays[2 : 1 + len(first.arrays) - 1 - len(made)]
    return prepared(kind.backward, [g, *made[:2], *statistics], kind.told, threads)


def both(kind: Kind, shape: tuple[int, ...]) -> Iterator[Row]:
    """The two rows of a kind and shape."""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal(shape, "f4"), rng.standard_normal(shape, "f4")
    made = [x, *[rng.uniform(0.5, 1, shape[-1:]).astype("f4") for _ in range(kind.vectors)]]
    how = {"epsilon": EPSILON, **kind.extra}
    label = f"{kind.forward.name} {' x '.join(map(str, shape))}"
    yield Row(f"fwd {label}", 2 * x.nbytes, "GB/s",
              lambda t: prepared(kind.forward, made, how, t),
              torch_peer(lambda: peer(kind, made, None)))  # fmt: skip
    yield Row(f"bwd {label}", 3 * x.nbytes, "GB/s",
              lambda t: ours_back(kind, made, g, t),
              torch_peer(lambda: peer(kind, made, g)))  # fmt: skip


def rows() -> Iterator[Row]:
    """Every kind and shape."""
    for kind in KINDS:
        for shape in kind.shapes:
            yield from both(kind, shape)
