"""How well would training scale to 256 nodes? A model of a step, from what is measured here.

    python benchmarks/scaling_model.py --save points.json       # measures, checks, projects
    python benchmarks/scaling_model.py --points points.json     # the last two alone
    python benchmarks/scaling_model.py --points points.json --gbit 25 --latency 2e-5

A step of P ranks, each with its own batch: t(P) = compute + wait(P) + exchange(P, bytes).

- compute: one rank's step, gradient and update, measured in one process with all cores of a node;
  that of images with a batch of 8, and four times that for 32.
- wait: the slowest of P equal ranks is sd * sqrt(2 ln P) late, sd that of the measured steps.
- exchange: reduce-scatter and all-gather, each rank with every other one directly. Each of the two
  takes `start` (Python, socket, JVM), `peer` for each of the P - 1 others (a bell and a request),
  5 latencies (bell, request of the block, its answer, request of its bytes, the first byte), and
  (P - 1) / P of the vector, at the link's rate or at `byte`, what Netty and adding up take from the
  CPU, whichever is slower: they run side by side. `start`, `peer` and `byte` are fitted to
  measured all-reduces through Spark's block transfer, over loopback.

Assumed: one rank a node, full duplex links without congestion (a switch that serves all at once),
nothing overlaps with compute, whole gradients travel (no sparse rows), float32 on the wire, epochs
so long that gates between them do not count. Ranks that share this machine's cores take turns: what
the CPU does takes P / cores as long. That is how the measured points are checked.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

SIZES = (10_000, 300_000, 2_700_000, 25_000_000, 100_000_000)
RANKS = (1, 2, 4)
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LATENCIES = 5
CORES = os.cpu_count() or 1
MODELS = ("mlp", "ncf", "resnet50", "inception_v3")
BATCH = {"mlp": 128, "ncf": 2048, "resnet50": 8, "inception_v3": 8}
NODE_BATCH = {**BATCH, "resnet50": 32, "inception_v3": 32}


class Costs(NamedTuple):
    """Seconds of CPU in one of a step's two exchanges: each time, for each peer, for each byte."""

    start: float
    peer: float
    byte: float


class Link(NamedTuple):
    """Bytes a second in each direction, and seconds one way."""

    rate: float
    latency: float


LOOPBACK = Link(math.inf, 0.0)


def exchange(costs: Costs, link: Link, nbytes: int, ranks: int, cores: float = math.inf) -> float:
    """Seconds of both exchanges of a vector; `cores` are those that all ranks share."""
    if ranks == 1:
        return 0.0
    turns, travels = max(1.0, ranks / cores), (ranks - 1) / ranks * nbytes
    once = costs.start + costs.peer * (ranks - 1)
    bulk = travels * max(costs.byte * turns, 1 / link.rate)
    return 2 * (once * turns + LATENCIES * link.latency + bulk)


def fitted(points: list[dict[str, Any]], which: str = "median_ms") -> Costs:
    """The costs that come nearest to measured all-reduces, by relative error; none is negative."""
    rows, ones = [], []
    for point in points:
        ranks, seconds = point["ranks"], point[which] / 1e3
        turns = max(1.0, ranks / CORES)
        row = np.array([1, ranks - 1, (ranks - 1) / ranks * point["bytes"]])
        rows.append(2 * turns * row / seconds)
        ones.append(1.0)
    return Costs(*map(float, not_negative(np.array(rows), np.array(ones))))


def not_negative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The best x >= 0 of a x = b: of all choices of columns, for there are few."""
    best, least = np.zeros(a.shape[1]), math.inf
    for count in range(1, a.shape[1] + 1):
        for chosen in itertools.combinations(range(a.shape[1]), count):
            x = np.zeros(a.shape[1])
            x[list(chosen)] = np.linalg.lstsq(a[:, chosen], b, rcond=None)[0]
            off = float(np.sum((a @ x - b) ** 2))
            if (x >= 0).all() and off < least:
                best, least = x, off
    return best


def step(compute: dict[str, float], costs: Costs, link: Link, ranks: int,
         cores: float = math.inf) -> float:  # fmt: skip
    """Seconds of a step; on shared cores everybody's compute takes turns, and nobody is late."""
    own = compute["seconds"] * max(1.0, ranks / cores)
    late = compute["sd"] * math.sqrt(2 * math.log(ranks)) if cores == math.inf else 0.0
    return own + late + exchange(costs, link, int(compute["bytes"]), ranks, cores)


# ---- measuring -----------------------------------------------------------------------------------


def model_of(name: str) -> Any:
    import workloads

    import zoo_keras as keras

    if name != "inception_v3":
        return workloads.compiled(keras, name)
    model = keras.applications.InceptionV3(weights=None, classifier_activation=None)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def batch_of(name: str) -> tuple[Any, np.ndarray]:
    import workloads

    if name == "inception_v3":
        rng = np.random.default_rng(0)
        shape = BATCH[name], 299, 299, 3
        return rng.random(shape, np.float32), rng.integers(0, 1000, BATCH[name]).astype(np.int32)
    xs, y = workloads.data(workloads.Workload(name, BATCH[name], 0, True))
    return (xs if len(xs) > 1 else xs[0]), y


def computed(name: str, threads: int, seconds: float = 10) -> dict[str, float]:
    """A step in this process: its median, spread and the bytes of the weights."""
    from zoo_keras import native

    native.set_threads(threads)
    model, (x, y) = model_of(name), batch_of(name)
    model.train_on_batch(x, y)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 4:
        start = time.perf_counter()
        model.train_on_batch(x, y)
        times.append(time.perf_counter() - start)
    quarter = statistics.quantiles(times, n=4)
    spread = (quarter[2] - quarter[0]) / 1.349  # of a normal distribution
    return {"model": name, "threads": threads, "seconds": statistics.median(times), "sd": spread,
            "bytes": 4.0 * model.count_params()}  # fmt: skip


def exchanged(ranks: int) -> list[dict[str, Any]]:
    """All-reduces through Spark's block transfer."""
    import allreduce

    allreduce.WARM_UP = 1000
    options = SimpleNamespace(ranks=ranks, sizes=SIZES, wire="float32", seconds=1.5, turns=2,
                              warm_up=3.0)  # fmt: skip
    cluster = allreduce.Cluster(options)
    try:
        return allreduce.measure([allreduce.Ours(cluster.job, "network", options)], options)
    finally:
        cluster.close()


def trained(name: str, ranks: int, steps: int = 40) -> dict[str, Any]:
    """Steps of a fit on ranks of one core that exchange through the network."""
    from zoo_keras.spark.cluster import init_session

    conf = {"spark.ui.enabled": "false", "spark.zookeras.sameHost": "false"}
    spark = init_session(f"local-cluster[{ranks},1,1536]", "scaling model", conf=conf)
    spark.sparkContext.setLogLevel("OFF")
    x, y = batch_of(name)
    rows = list(zip(*x, y) if isinstance(x, list) else zip(x, y))
    several = isinstance(x, list)  # inputs, each an array: a tuple of numbers is one vector
    records = [(tuple(map(np.asarray, row[:-1])) if several else row[0], row[-1]) for row in rows]
    rdd = spark.sparkContext.parallelize(list(range(ranks)), ranks).flatMap(lambda _: records)
    options = {"batch_size": ranks * BATCH[name], "verbose": 0, "steps_per_epoch": steps}
    model = model_of(name)
    model.fit(rdd, epochs=1, **options)
    seconds = model.fit(rdd, epochs=4, **options).timing
    spark.stop()
    parts = {part: seconds[part] / (4 * steps) for part in ("compute", "exchange", "update")}
    return {"model": name, "ranks": ranks, **parts}


def measured() -> dict[str, Any]:
    """Everything that the model is made of, and is checked against."""
    return {
        "cores": CORES,
        "allreduce": [point for ranks in RANKS[1:] for point in exchanged(ranks)],
        "compute": [computed(name, CORES) for name in MODELS],
        "one_core": [computed(name, 1) for name in MODELS[:2]],
        "fits": [trained(name, ranks) for name in MODELS[:2] for ranks in RANKS],
    }


# ---- tables --------------------------------------------------------------------------------------


def print_costs(costs: Costs, points: list[dict[str, Any]], which: str) -> None:
    print(f"start {1e6 * costs.start:.0f} us, peer {1e6 * costs.peer:.0f} us, "
          f"byte {1e9 * costs.byte:.3f} ns of CPU in each of the two exchanges\n")  # fmt: skip
    print(f"{'bytes':>12}{'ranks':>7}{'measured ms':>13}{'model ms':>10}{'ratio':>7}")
    for point in points:
        found = 1e3 * exchange(costs, LOOPBACK, point["bytes"], point["ranks"], CORES)
        print(f"{point['bytes']:12}{point['ranks']:7}{point[which]:13.2f}{found:10.2f}"
              f"{found / point[which]:7.2f}")  # fmt: skip


def print_check(costs: Costs, points: dict[str, Any]) -> None:
    """Fits on 1, 2, 4 ranks of this machine beside the model with one core's compute."""
    one = {each["model"]: each for each in points["one_core"]}
    print(f"\n{'fit':14}{'ranks':>7}{'measured ms':>13}{'model ms':>10}{'ratio':>7}")
    for fit in points["fits"]:
        real = 1e3 * (fit["compute"] + fit["exchange"] + fit["update"])
        found = 1e3 * step(one[fit["model"]], costs, LOOPBACK, fit["ranks"], points["cores"])
        print(f"{fit['model']:14}{fit['ranks']:7}{real:13.2f}{found:10.2f}{found / real:7.2f}")


def print_projection(costs: Costs, points: dict[str, Any], link: Link) -> None:
    """Efficiency: what one node alone needs for a step, over what it needs among others."""
    print(f"\nEfficiency at {link.rate * 8 / 1e9:g} Gbit/s, {1e6 * link.latency:.0f} us one way")
    print(f"{'model':14}{'MB':>7}{'batch':>7}{'step s':>9}" + "".join(f"{n:6}" for n in NODES))
    for each in points["compute"]:
        name = each["model"]
        times = NODE_BATCH[name] / BATCH[name]
        compute = {**each, **{key: times * each[key] for key in ("seconds", "sd")}}
        alone = compute["seconds"]
        shares = [alone / step(compute, costs, link, nodes) for nodes in NODES]
        print(f"{name:14}{compute['bytes'] / 1e6:7.1f}{NODE_BATCH[name]:7}"
              f"{alone:9.4f}" + "".join(f"{share:6.2f}" for share in shares))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=Path, help="measured before, with --save")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--least", action="store_true", help="least times, on a busy machine")
    parser.add_argument("--gbit", type=float, nargs="+", default=[1, 10, 25])
    parser.add_argument("--latency", type=float, default=5e-5, help="seconds, one way")
    options = parser.parse_args()
    points = json.loads(options.points.read_text()) if options.points else measured()
    if options.save:
        options.save.write_text(json.dumps(points))
    which = "least_ms" if options.least else "median_ms"
    costs = fitted(points["allreduce"], which)
    print_costs(costs, points["allreduce"], which)
    print_check(costs, points)
    for gbit in options.gbit:
        print_projection(costs, points, Link(gbit * 1e9 / 8, options.latency))
    print(json.dumps({"benchmark": "scaling_model", "costs": costs._asdict()}))


if __name__ == "__main__":
    main()
