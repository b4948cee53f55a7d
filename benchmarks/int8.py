"""int8 against float32: the same model before and after `quantize("int8")`, alternating in one run.

    python benchmarks/int8.py [--threads 2] [--rounds 15]

First whole models through `predict_on_batch`: an mlp 784-512-512-10, and a CNN of which only the
dense layers go to int8. Then what int8 convolutions could gain at most: the multiplications of the
int8 product with the sizes of a convolution, as if its windows lay ready and rounded in memory,
against the whole float32 convolution.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import zoo_keras as zk
from zoo_keras import native
from zoo_keras.engine.program import Place, compile_graph
from zoo_keras.engine.runner import Runner
from zoo_keras.graph import Graph, input_tensor
from zoo_keras.primitives.conv_choice import winograd_packed
from zoo_keras.primitives.conv_fused import conv_packed, pack_conv
from zoo_keras.primitives.int8 import dense_int8, pack_int8

layers = zk.layers
FEW = 16  # filters of the product that is mostly rounding
SHORTEST = 0.02  # seconds that one window lasts, about
# name, batch, channels, filters, size of the square map, size of the window
CONVOLUTIONS = (
    ("3x3 64-64, 56x56", 1, 64, 64, 56, 3),
    ("3x3 128-128, 28x28", 1, 128, 128, 28, 3),
    ("3x3 512-512, 7x7", 1, 512, 512, 7, 3),
    ("1x1 64-256, 56x56", 1, 64, 256, 56, 1),
    ("1x1 256-64, 56x56", 1, 256, 64, 56, 1),
    ("1x1 512-2048, 7x7", 1, 512, 2048, 7, 1),
)


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


def prepared(arrays: list[np.ndarray], build: Callable[..., Any]) -> Callable[[], None]:
    """A call that runs build(x, w) as a program, with w prepared beforehand."""
    inputs = [input_tensor(f"x{i}", a.shape, a.dtype.name) for i, a in enumerate(arrays)]
    result = build(*inputs)
    places = {t: Place(f"x{i}") for i, t in enumerate(inputs)}
    program = compile_graph(Graph(inputs, [result]), places, [Place("out0")], Place)
    runner = Runner(program)
    out = np.empty(result.shape, result.dtype)
    for name, array in [*((f"x{i}", a) for i, a in enumerate(arrays)), ("out0", out)]:
        runner.set(name, array)
    return lambda runner=runner, keep=(arrays, out): runner.run()


def int8_product(rows: int, inner: int, filters: int) -> Callable[[], None]:
    """A call of the int8 product (rows, inner) x (inner, filters)."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(rows, inner)).astype(np.float32)
    w = np.ascontiguousarray(pack_int8(rng.integers(-127, 128, (inner, filters)).astype("i1")))
    scale, bias = np.full(filters, 500, np.float32), np.zeros(filters, np.float32)
    attrs = {"units": filters, "activation": "relu", "input_scale": 127.0}
    return prepared([x, w, scale, bias], lambda *a: dense_int8(*a, **attrs))


def convolution_row(case: tuple[str, int, int, int, int, int], rounds: int) -> str:
    """The float32 convolution, and the multiplications alone of the int8 product of its size.

    Rounding is taken away as what the time would be for no filters at all.
    """
    name, batch, channels, filters, size, window = case
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(batch, size, size, channels)).astype(np.float32)
    w = rng.normal(size=(window, window, channels, filters)).astype(np.float32)
    pad = (window // 2, window // 2)
    attrs = {"strides": (1, 1), "padding": (pad, pad), "dilation": (1, 1), "groups": 1}
    fast = winograd_packed((batch, size, size, filters), w.shape, attrs)
    packed = pack_conv(w, groups=1, winograd=fast)
    attrs |= {"activation": "relu", "kernel_shape": w.shape}
    bias = np.zeros(filters, np.float32)
    sizes = batch * size * size, window * window * channels
    calls = {
        "float32": prepared([x, packed, bias], lambda *a: conv_packed(*a, **attrs)),
        "many": int8_product(*sizes, filters),
        "few": int8_product(*sizes, FEW),
    }
    best = best_of(calls, rounds)
    alone = (best["many"] - best["few"]) * filters / (filters - FEW)
    kind = "float32 Winograd" if fast else "float32 direct"
    return row(name, {kind: best["float32"], "int8, at most": alone})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    native.set_threads(options.threads)
    warnings.simplefilter("ignore")  # the convolutions stay float32
    print(f"{native.instruction_set()}, {options.threads} threads, best of {options.rounds}")
    for name, build, batch in (("mlp", mlp, 1), ("mlp", mlp, 32), ("mlp", mlp, 1024),
                               ("cnn", cnn, 1), ("cnn", cnn, 64)):  # fmt: skip
        print(model_row(name, build, batch, options.rounds), flush=True)
    for case in CONVOLUTIONS:
        print(convolution_row(case, options.rounds), flush=True)


if __name__ == "__main__":
    main()
