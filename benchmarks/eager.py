"""Ops and layers on arrays: where does the engine beat numpy, and what does a call of a layer cost?

    python benchmarks/eager.py

Prints, for each op and number of floats, microseconds by numpy and by the engine, taken in turn;
`zoo_keras.engine.eager.LEAST` is the size from which the engine computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from zoo_keras import Input, Sequential, layers, ops
from zoo_keras.engine import eager

RULE = eager.in_engine
ROUNDS, CALLS = 9, 40
CONVOLUTIONS = (((1, 5, 5, 1), 1), ((1, 8, 8, 4), 8), ((1, 16, 16, 8), 16), ((8, 32, 32, 16), 32))
IDS = np.arange(100, dtype=np.int32)
OPS: dict[str, Callable[[np.ndarray], object]] = {
    "add": lambda a: ops.add(a, a),
    "exp": ops.exp,
    "tanh": ops.tanh,
    "relu": ops.relu,
    "gelu": ops.gelu,
    "less": lambda a: ops.less(a, a),
    "sum": ops.sum,
    "max of rows": lambda a: ops.max(a.reshape(-1, 64), -1),
    "matmul": lambda a: ops.matmul(a.reshape(-1, 64), a[:4096].reshape(64, 64)),
    "softmax": lambda a: ops.softmax(a.reshape(-1, 64)),
    "take": lambda a: ops.take(a.reshape(-1, 8), IDS, axis=0),
}


def microseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        work()
    return (time.perf_counter() - start) / CALLS * 1e6


def in_turn(*works: Callable[[], object]) -> list[float]:
    """The median of each, measured one after the other again and again."""
    for work in works:
        work()
    rounds = [[microseconds(work) for work in works] for _ in range(ROUNDS)]
    return [median(times) for times in zip(*rounds, strict=True)]


def by(engine: bool | None, work: Callable[[], object]) -> Callable[[], object]:
    """The work by the engine, by numpy, or as the rule says (None)."""

    def run() -> object:
        eager.in_engine = RULE if engine is None else lambda *_: bool(engine)
        return work()

    return run


def convolution(shape: tuple[int, ...], filters: int) -> str:
    """A 3 x 3 convolution of arrays beside a model that is one."""
    image = np.random.default_rng(0).random(shape, np.float32)
    kernel = np.random.default_rng(1).random((3, 3, shape[-1], filters), np.float32)
    model = Sequential([Input(shape[1:]), layers.Conv2D(filters, 3, use_bias=False)])
    eager.in_engine = RULE
    compiled, eagerly = in_turn(
        lambda: model.predict_on_batch(image), lambda: ops.conv(image, kernel)
    )
    return f"{eagerly:.1f} us on arrays, {compiled:.1f} compiled"


def main() -> None:
    for name, op in OPS.items():
        row = []
        for power in (12, 13, 14, 15, 16, 18):
            array = np.random.default_rng(0).random(1 << power, np.float32)
            work = lambda op=op, array=array: op(array)  # noqa: E731
            numpy_, engine = in_turn(by(False, work), by(True, work))
            row.append(f"2^{power} {numpy_:.0f}/{engine:.0f}")
        print(f"{name}: numpy/engine", *row)
    for shape, filters in CONVOLUTIONS:
        print(f"conv {shape} to {filters}: {convolution(shape, filters)}")
    dense, x = layers.Dense(4), np.ones((8, 4), np.float32)
    print(f"Dense on an array: {in_turn(lambda: dense(x))[0]:.0f} us")


if __name__ == "__main__":
    main()
