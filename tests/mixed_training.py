"""Whether training under mixed_bfloat16 follows training in float32: for tests of kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import zoo_keras as zk
from zoo_keras import config


def check_follows_float32(
    model: Callable[[], zk.Model], x: np.ndarray, y: np.ndarray, rate: float, rtol: float
) -> None:
    """model: makes the same weights each time. Losses of six steps of SGD fall, and stay within
    rtol; weights stay float32."""
    losses = []
    for policy in ("float32", "mixed_bfloat16"):
        config.set_dtype_policy(policy)
        try:
            made = model()
        finally:
            config.set_dtype_policy("float32")
        made.compile(zk.optimizers.SGD(rate), "mse")
        losses.append([float(made.train_on_batch(x, y)) for _ in range(6)])
        assert {w.dtype for w in made.get_weights()} == {np.dtype("float32")}
    assert losses[1] != losses[0] and losses[1][-1] < losses[1][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=rtol)
