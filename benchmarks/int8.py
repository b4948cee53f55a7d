"""int8 against float32: the same model before and after `quantize("int8")`, alternating in one run.

    python benchmarks/int8.py [--threads 2] [--rounds 15]

Whole models through `predict_on_batch`: an mlp 784-512-512-10, a CNN, and models of one
convolution, which stays float32 where int8 is not expected to gain.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import zoo_keras as zk
from zoo_keras import native

layers = zk.layers
SHORTEST = 0.02  # seconds that one window lasts, about
# channels, filters, size of the square map, size of the window
CONVOLUTIONS = (
    (64, 64, 56, 3), (128, 128, 28, 3), (512, 512, 7, 3),
    (64, 256, 56, 1), (256, 64, 56, 1), (512, 2048, 7, 1),
)  # fmt: skip


def mlp() -> Any:
    """784-512-512-10."""
    dense = [layers.Dense(512, activation="relu") for _ in range(2)]
    last = layers.Dense(10, activation="softmax")
    return zk.Sequential([layers.Input((784,)), *dense, last])


def cnn() -> Any:
    """Two convolutions of a 32x32 image, then most weights in a dense layer."""
    return zk.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def one_convolution(channels: int, filters: int, size: int, window: int) -> Any:
    """A convolution that keeps the map's size."""
    convolution = layers.Conv2D(filters, window, activation="relu", padding="same")
    return zk.Sequential([layers.Input((size, size, channels)), convolution])


def best_of(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of a call, the best of several windows in which all take turns."""
    repeats = {}
    for name, call in calls.items():
        call()
        begin = time.perf_counter()
        call()
        repeats[name] = max(1, int(SHORTEST / (time.perf_counter() - begin)))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            best[name] = min(best[name], (time.perf_counter() - begin) / repeats[name])
    return best


def model_row(name: str, build: Callable[[], Any], batch: int, rounds: int) -> str:
    """One line: float32, int8 with a scale for each row, int8 calibrated by a sample."""
    rng = np.random.default_rng(0)
    models = {"float32": build(), "int8": build(), "int8 calibrated": build()}
    x = rng.uniform(size=(batch, *models["float32"].input_shape[1:])).astype(np.float32)
    for model in models.values():
        model.set_weights(models["float32"].get_weights())
    models["int8"].quantize("int8")
    models["int8 calibrated"].quantize("int8", sample=x)
    calls = {n: (lambda m=m: m.predict_on_batch(x)) for n, m in models.items()}
    return row(f"{name} b{batch}", best_of(calls, rounds))


def row(name: str, seconds: dict[str, float]) -> str:
    """Microseconds, and how many times faster than the first each is."""
    first, *others = seconds.items()
    cells = [f"{first[0]} {1e6 * first[1]:9.1f} us"]
    cells += [f"{n} {1e6 * s:9.1f} us ({first[1] / s:.2f}x)" for n, s in others]
    return f"{name:22} " + "   ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    native.set_threads(options.threads)
    warnings.simplefilter("ignore")  # some convolutions stay float32
    print(f"{native.instruction_set()}, {options.threads} threads, best of {options.rounds}")
    for name, build, batch in (("mlp", mlp, 1), ("mlp", mlp, 32), ("mlp", mlp, 1024),
                               ("cnn", cnn, 1), ("cnn", cnn, 64)):  # fmt: skip
        print(model_row(name, build, batch, options.rounds), flush=True)
    for channels, filters, size, window in CONVOLUTIONS:
        name = f"{window}x{window} {channels}-{filters}, {size}x{size}"
        build = partial(one_convolution, channels, filters, size, window)
        print(model_row(name, build, 1, options.rounds), flush=True)


if __name__ == "__main__":
    main()
