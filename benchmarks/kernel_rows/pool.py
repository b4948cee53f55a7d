"""Maximum, average and global average pooling, forward and backward.

GB/s of arrays that are read or written once each. Against torch in channels_last. MKL has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_rows.peer import backward, channels_first, forward, torch, torch_peer
from kernel_rows.prepared import prepared
from kernel_rows.row import Row

from zoo_keras.primitives.pool import avg_pool, avg_pool_grad, max_pool, max_pool_grad
from zoo_keras.primitives.reduce import reduce_mean

# what, x, window, stride, padding
SIZES = (
    ("r50 stem max", max_pool, (2, 112, 112, 64), 3, 2, 1),
    ("vgg max", max_pool, (4, 224, 224, 64), 2, 2, 0),
    ("cnn max", max_pool, (32, 32, 32, 32), 2, 2, 0),
    ("lenet avg", avg_pool, (128, 28, 28, 6), 2, 2, 0),
    ("inception avg", avg_pool, (8, 35, 35, 192), 3, 1, 1),
)


def torch_function(op: Any, window: int, stride: int, side: int) -> Any:
    """torch's pooling of an image."""
    f = torch.nn.functional
    if op is max_pool:
        return lambda x: f.max_pool2d(x, window, stride, side)
    return lambda x: f.avg_pool2d(x, window, stride, side, count_include_pad=False)


def both(name: str, op: Any, shape: tuple[int, ...], *sizes: int) -> Iterator[Row]:
    """Forward and backward."""
    rng = np.random.default_rng(0)
    window, stride, side = sizes
    x = rng.standard_normal(shape, "f4")
    how = {"pool": (window,) * 2, "strides": (stride,) * 2, "padding": ((side, side),) * 2}
    y = op(x, **how)
    g = rng.standard_normal(y.shape, "f4")
    if op is max_pool:
        grad, inputs, more = max_pool_grad, [g, x, y], {}
    else:
        grad, inputs, more = avg_pool_grad, [g], {"input_shape": shape}
    label = f"{name} {window}x{window}s{stride} {' x '.join(map(str, shape))}"
    moved = sum(a.nbytes for a in inputs) + x.nbytes
    yield Row(f"fwd {label}", x.nbytes + y.nbytes, "GB/s",
              lambda t: prepared(op, [x], how, t),
              torch_peer(lambda: forward(torch_function(op, *sizes), channels_first(x))),
              )  # fmt: skip
    yield Row(f"bwd {label}", moved, "GB/s",
              lambda t: prepared(grad, inputs, how | more, t),
              torch_peer(lambda: backward(torch_function(op, *sizes), [channels_first(x)],
                                          channels_first(g))))  # fmt: skip


def rows() -> Iterator[Row]:
    """Every window, then the mean of whole maps."""
    for size in SIZES:
        yield from both(*size)
    x = np.random.default_rng(0).standard_normal((16, 7, 7, 2048), "f4")
    yield Row("fwd global avg 16 x 7 x 7 x 2048", x.nbytes, "GB/s",
              lambda t: prepared(reduce_mean, [x], {"axes": (1, 2), "keepdims": False}, t),
              torch_peer(lambda: forward(lambda a: a.mean((2, 3)), channels_first(x))),
              )  # fmt: skip
