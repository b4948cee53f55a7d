"""Every layer and op alone, forward and in training, beside Keras on TensorFlow and torch.

    python benchmarks/layers.py [--only REGEX] [--json FILE]

Three processes of one thread take turns; a number is the CPU time of a whole call, of
`predict_on_batch` and `train_on_batch` of a model of that one layer (in torch the module itself,
and a step of SGD). In training a row of weights stands before the layer, so that there is a
gradient of its input. The ratio is the median over the rounds of the faster peer's time over ours;
what seems slower is measured again, longer. Ends with what is below 0.9 of the better peer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from layer_cases import CHANNELS_FIRST, SHAPES, Case, cases

CONTENDERS = ("zoo_keras", "keras_tf", "torch")
LEVEL = 0.9


# ---- the one process of a contender --------------------------------------------------------------


def array(case: Case, size: str) -> np.ndarray:
    shape, rng = SHAPES[case.kind][size], np.random.default_rng(0)
    if case.kind == "ids":
        return rng.integers(0, 64, shape).astype("int32")
    return rng.normal(size=shape).astype("float32")


def with_keras(keras: Any, case: Case, size: str, train: bool, **options: Any) -> Callable[[], Any]:
    class Scale(keras.layers.Layer):  # type: ignore[name-defined, misc]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

        def call(self, x: Any) -> Any:
            return x * self.scale

    x = array(case, size)
    inputs = keras.Input(x.shape[1:], dtype=str(x.dtype))
    scaled = Scale()(inputs) if train and x.dtype.kind == "f" else inputs
    outputs = case.make(keras)(scaled)
    model = keras.Model(inputs, outputs)
    if not train:
        return lambda: model.predict_on_batch(x)
    model.compile(keras.optimizers.SGD(1e-3), lambda y, out: keras.ops.mean(out * out), **options)
    y = np.zeros((len(x), 1), "float32")
    return lambda: model.train_on_batch(x, y)


def zoo_keras(case: Case, size: str, train: bool) -> Callable[[], Any]:
    import zoo_keras as keras
    from zoo_keras import native

    native.set_threads(1)
    return with_keras(keras, case, size, train)


def keras_tf(case: Case, size: str, train: bool) -> Callable[[], Any]:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf

    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    return with_keras(keras, case, size, train, jit_compile=False)


def torch(case: Case, size: str, train: bool) -> Callable[[], Any]:
    import torch as t

    t.set_num_threads(1)
    if case.torch is None:
        raise LookupError("no counterpart")
    x = t.from_numpy(array(case, size))
    channels = x.shape[-1]
    shape = (channels,)
    if case.kind in CHANNELS_FIRST:
        x = x.movedim(-1, 1).contiguous()
        shape = (channels, *(1,) * (x.ndim - 2))
    x = x.long() if case.kind == "ids" else x
    layer = case.torch(t, channels)
    if not train:
        if isinstance(layer, t.nn.Module):
            layer.eval()

        def predict() -> Any:
            with t.inference_mode():
                return layer(x)

        return predict
    scale = t.nn.Parameter(t.ones(shape))
    own = list(layer.parameters()) if hasattr(layer, "parameters") else []
    optimizer = t.optim.SGD([scale, *own] if x.is_floating_point() else own, 1e-3, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        found = layer(x * scale if x.is_floating_point() else x)
        found = found[0] if isinstance(found, tuple) else found
        loss = (found * found).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def worker(name: str) -> None:
    """Lines on stdin: a case to prepare, or seconds to run for; lines of JSON on stdout."""
    every, call = cases(), None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "case" in order:
                made = globals()[name](every[order["case"]], order["size"], order["train"])
                made(), made()
                call, answer = made, {}
            else:
                answer = {"seconds": timed(call, order["seconds"])}
        except Exception as error:  # any failure of a contender is an answer
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[:1]}"[:200]}
        print(json.dumps(answer), flush=True)


def timed(call: Any, seconds: float) -> float:
    """CPU seconds of a call, over a window of so many of them."""
    count, start, now = 0, time.process_time(), 0.0
    while count < 3 or now < seconds:
        call()
        count += 1
        now = time.process_time() - start
    return now / count


# ---- the driver ----------------------------------------------------------------------------------


class Contender:
    def __init__(self, name: str, python: str) -> None:
        root = str(Path(__file__).parent.parent)
        environment = dict(os.environ, OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3",
                           CUDA_VISIBLE_DEVICES="", PYTHONPATH=root)  # fmt: skip
        self.name = name
        self.process = subprocess.Popen(
            [python, __file__, "--worker", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        while (line := self.process.stdout.readline()) and line[0] != "{":
            pass  # what a library prints
        return json.loads(line) if line else {"error": "it died"}


def measure(
    team: list[Contender], case: str, size: str, train: bool, rounds: int, seconds: float
) -> dict[str, Any]:
    """Medians of each contender, errors of those that have none, and the ratio."""
    answers = {c.name: c.ask(case=case, size=size, train=train) for c in team}
    ready = [c for c in team if "error" not in answers[c.name]]
    times: dict[str, list[float]] = {c.name: [] for c in ready}
    for _ in range(rounds):
        for contender in [c for c in ready if c.name in times]:
            answers[contender.name] = answer = contender.ask(seconds=seconds)
            if "error" in answer:
                del times[contender.name]
            else:
                times[contender.name].append(answer["seconds"])
    found: dict[str, Any] = {"case": case, "size": size, "train": train}
    found["us"] = {name: statistics.median(t) * 1e6 for name, t in times.items()}
    found["errors"] = {n: a["error"] for n, a in answers.items() if "error" in a}
    peers = [name for name in times if name != "zoo_keras"]
    if peers and "zoo_keras" in times:
        found["ratio"] = min(
            statistics.median(p / o for p, o in zip(times[peer], times["zoo_keras"], strict=True))
            for peer in peers
        )
    return found


def show(found: dict[str, Any]) -> None:
    what = f"{found['case']:28} {found['size']:7} {'train' if found['train'] else 'forward':8}"
    us = "".join(f"{found['us'].get(name, float('nan')):12.1f}" for name in CONTENDERS)
    ratio = f"{found['ratio']:7.2f}" if "ratio" in found else "      -"
    wrong = found["errors"].get("zoo_keras", "")
    print(what, us, ratio, "slower" if found.get("ratio", 1) < LEVEL else wrong, flush=True)


def sweep(options: Any) -> list[dict[str, Any]]:
    team = [
        Contender(n, sys.executable if n == "zoo_keras" else options.peer_python)
        for n in CONTENDERS
    ]
    results = []
    try:
        print(f"{'':45}" + "".join(f"{name:>12}" for name in CONTENDERS), "us;   ratio")
        for case in cases().values():
            if not re.search(options.only, case.name):
                continue
            for size in options.sizes:
                for train in (False, True)[: 1 + case.train]:
                    found = measure(team, case.name, size, train, options.rounds, options.seconds)
                    if found.get("ratio", 1) < LEVEL:
                        again = options.rounds * 2 + 1
                        found = measure(team, case.name, size, train, again, options.seconds * 2)
                    show(found)
                    results.append(found)
    finally:
        for contender in team:
            contender.process.kill()
            contender.process.wait()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name this expression finds")
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.01, help="of CPU for each window")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--peer-python", default=os.environ.get("ZK_PEER_PYTHON", sys.executable))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker)
    results = sweep(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    ratios = [each["ratio"] for each in results if "ratio" in each]
    slow = sorted((e for e in results if e.get("ratio", 1) < LEVEL), key=lambda e: e["ratio"])
    print(
        f"\n{len(ratios)} compared, median {statistics.median(ratios):.2f}; "
        f"below {LEVEL}: {len(slow)}"
    )
    for each in slow:
        show(each)


if __name__ == "__main__":
    main()
