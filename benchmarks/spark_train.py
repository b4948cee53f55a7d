"""How fast does a fit on two executors train, beside TorchDistributor and elephas?

    python benchmarks/spark_train.py mlp lenet5 ncf --peer-python P --elephas-python E

In: tables in Parquet, made here, one file for each rank. Each contender has a session of its own
(`sessions.py`) and they take turns. Out, for each: seconds of a whole fit, of its start alone (the
fit less its epochs at the steady rate), samples/s once it runs, peak memory of a worker. `local` is
zoo_keras on arrays, one process of two threads. elephas' workers train all epochs apart and average
once; its rate is the difference between fits of one and of many epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sessions
import workloads


class Case(NamedTuple):
    """Rows of the table, and of a global batch."""

    rows: int
    batch: int


CASES = {"mlp": Case(60_000, 256), "lenet5": Case(60_000, 256), "ncf": Case(400_000, 2048)}
INPUTS = {"ncf": ["user", "item"]}
PEERS = ["torch", "torch_sparse", "elephas"]


def write(name: str, rows: int, folder: str) -> None:
    """One Parquet file for each rank."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from scoring import lists_of

    work = workloads.WORKLOADS[f"train_{name}"]._replace(batch=rows)
    xs, y = workloads.data(work)
    half = rows // 2
    (Path(folder) / name).mkdir()
    for rank in range(2):
        part = slice(rank * half, (rank + 1) * half)
        columns = [x[part] if x.ndim == 1 else lists_of(x[part].reshape(half, -1)) for x in xs]
        named = dict(zip(INPUTS.get(name, ["f"]), columns, strict=True))
        pq.write_table(pa.table({**named, "y": y[part].ravel()}), f"{folder}/{name}/{rank}.parquet")


def arrays(name: str, path: str) -> tuple[list[np.ndarray], np.ndarray]:
    """What a file, or all of a folder, holds: inputs in the model's shape, and labels."""
    import pyarrow.parquet as pq

    table = pq.read_table(path).combine_chunks()
    shape, xs = workloads.IMAGES.get(name, (-1,)), []
    for column in INPUTS.get(name, ["f"]):
        chunk = table[column].combine_chunks()
        one = hasattr(chunk, "flatten") and name not in INPUTS
        xs.append(chunk.flatten().to_numpy().reshape(len(chunk), *shape) if one
                  else chunk.to_numpy())  # fmt: skip
    y = table["y"].to_numpy()
    return xs, y[:, None] if y.dtype.kind == "f" else y


# ---- contenders ----------------------------------------------------------------------------------


def zoo_keras(name: str, folder: str) -> dict[str, sessions.Action]:
    from scaling import EpochTimes
    from scoring import workers

    import zoo_keras as keras
    from zoo_keras.spark.cluster import init_session

    spark = init_session(sessions.MASTER, "zoo_keras", conf=sessions.settings())
    spark.sparkContext.setLogLevel("ERROR")
    frame = spark.read.parquet(f"{folder}/{name}")

    def fit(epochs: int) -> dict[str, Any]:
        times, model = EpochTimes(), workloads.compiled(keras, name)
        history = model.fit(frame, feature_cols=INPUTS.get(name, "f"), label_cols="y", num_ranks=2,
                            batch_size=CASES[name].batch, epochs=epochs, verbose=0,
                            callbacks=[times])  # fmt: skip
        peak = max(workers(os.getpid()).values()) / 1024
        return {"epochs": times.seconds, "timing": history.timing, "peak_mb": peak}

    return {"fit": fit}


def local(name: str, folder: str) -> dict[str, sessions.Action]:
    import resource

    from scaling import EpochTimes

    import zoo_keras as keras
    from zoo_keras import native

    native.set_threads(2)

    def fit(epochs: int) -> dict[str, Any]:
        times, model = EpochTimes(), workloads.compiled(keras, name)
        xs, y = arrays(name, f"{folder}/{name}")
        model.fit(xs if len(xs) > 1 else xs[0], y, batch_size=CASES[name].batch, epochs=epochs,
                  verbose=0, callbacks=[times])  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"epochs": times.seconds, "peak_mb": peak}

    return {"fit": fit}


def torch(name: str, folder: str, sparse: bool = False) -> dict[str, sessions.Action]:
    from pyspark.ml.torch.distributor import TorchDistributor

    if sparse and name != "ncf":
        raise ValueError("the model has no tables")
    sessions.spark_session("torch")
    made = TorchDistributor(num_processes=2, local_mode=False, use_gpu=False)
    return {
        "fit": lambda epochs: made.run(
            train_torch, f"{folder}/{name}", name, CASES[name].batch // 2, epochs, sparse
        )
    }


def torch_sparse(name: str, folder: str) -> dict[str, sessions.Action]:
    return torch(name, folder, sparse=True)


def train_torch(folder: str, name: str, batch: int, epochs: int, sparse: bool) -> dict[str, Any]:
    """What every process of TorchDistributor runs: DistributedDataParallel over gloo."""
    import resource

    import torch as t
    import torch.distributed as ranks
    from contenders import Torch

    ranks.init_process_group("gloo")
    work = workloads.WORKLOADS[f"train_{name}"]
    made = Torch(work, 1, layout="last" if name in workloads.IMAGES else "",
                 **({"sparse": True} if sparse else {}))  # fmt: skip
    optimizers = made.optimizers(sparse)
    model = t.nn.parallel.DistributedDataParallel(made.model)
    xs, y = (
        [t.from_numpy(x.copy()) for x in each] for each in _of_rank(folder, name, ranks.get_rank())
    )
    loss_of = t.nn.CrossEntropyLoss() if y[0].ndim == 1 else t.nn.BCEWithLogitsLoss()
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        order = t.randperm(len(y[0]))
        for rows in order.split(batch):
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss_of(model(*(x[rows] for x in xs)), y[0][rows]).backward()
            for optimizer in optimizers:
                optimizer.step()
        seconds.append(time.perf_counter() - start)
    ranks.destroy_process_group()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"epochs": seconds, "peak_mb": peak}


def _of_rank(folder: str, name: str, rank: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A rank's file as torch wants it: channels first, classes and ids as int64."""
    xs, y = arrays(name, f"{folder}/{rank}.parquet")
    xs = [x.astype(np.int64) if x.dtype.kind == "i" else x for x in xs]
    if name in workloads.IMAGES:
        xs = [x.transpose(0, 3, 1, 2) for x in xs]
    return xs, [y.astype(np.int64) if y.dtype.kind == "i" else y]


def elephas(name: str, folder: str) -> dict[str, sessions.Action]:
    import keras
    from elephas.spark_model import SparkModel
    from scoring import workers

    if name in INPUTS:
        raise ValueError("elephas feeds one input")
    spark = sessions.spark_session("elephas")
    shape = workloads.IMAGES.get(name, (-1,))
    frame = spark.read.parquet(f"{folder}/{name}")

    def record(row: Any) -> tuple[np.ndarray, Any]:
        return np.array(row["f"], np.float32).reshape(shape), row["y"]

    def fit(epochs: int) -> dict[str, Any]:
        model = SparkModel(workloads.compiled(keras, name), frequency="epoch", mode="synchronous",
                           num_workers=2)  # fmt: skip
        model.fit(frame.rdd.map(record), epochs=epochs, batch_size=CASES[name].batch // 2,
                  verbose=0, validation_split=0.0)  # fmt: skip
        return {"epochs": [], "peak_mb": max(workers(os.getpid()).values()) / 1024}

    return {"fit": fit}


CONTENDERS = {f.__name__: f for f in (zoo_keras, local, torch, torch_sparse, elephas)}


# ---- turns ---------------------------------------------------------------------------------------


def measure(name: str, folder: str, pythons: dict[str, str], options: Any) -> None:
    """All contenders in turn, `options.rounds` times."""
    found = sessions.started(str(Path(__file__)), name, folder, pythons)
    fits: dict[str, list[dict[str, Any]]] = {s.name: [] for s in found}
    try:
        for _ in range(options.rounds):
            for session in found:
                fits[session.name].append(_fit(session, options.epochs))
                print(json.dumps({"case": name, "contender": session.name,
                                  **fits[session.name][-1]}), flush=True)  # fmt: skip
    except RuntimeError as error:
        print(f"{name}: {error}", flush=True)
    finally:
        for session in found:
            session.close()
    _report(name, fits, options.now, options.epochs)


def _fit(session: sessions.Session, epochs: int) -> dict[str, Any]:
    first = None if session.name != "elephas" else session.ask("fit", 1)["seconds"]
    answer = session.ask("fit", epochs)
    whole, steps = answer["seconds"], answer["epochs"][1:]
    epoch = (whole - first) / (epochs - 1) if first else statistics.median(steps)
    return {**answer, "epoch": epoch, "start": whole - epochs * epoch}


def _report(name: str, fits: dict[str, list[dict[str, Any]]], rows: int, epochs: int) -> None:
    ours = fits.get("zoo_keras") or []
    print(f"\n{name}, {rows} rows, {epochs} epochs\n{'contender':14}{'first fit':>10}{'next':>8}"
          f"{'start':>8}{'samples/s':>11}{'rate':>7}{'peak MB':>9}")  # fmt: skip
    for who, each in fits.items():
        if not each:
            continue
        later = each[1:] or each
        middle = {k: statistics.median(f[k] for f in later) for k in ("seconds", "start", "epoch")}
        ratio = statistics.median([f["epoch"] / o["epoch"] for f, o in zip(each, ours)] or [0.0])
        peak = max(f["peak_mb"] for f in each)
        print(f"{who:14}{each[0]['seconds']:10.2f}{middle['seconds']:8.2f}{middle['start']:8.2f}"
              f"{rows / middle['epoch']:11.0f}{ratio:7.2f}{peak:9.0f}", flush=True)  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        _, _, who, name, folder = sys.argv
        return sessions.serve(lambda: CONTENDERS[who](name, folder))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="fewer than the case's own")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--peer-python", default=os.environ.get("ZK_PEER_PYTHON", sys.executable))
    parser.add_argument("--elephas-python", default=os.environ.get("ZK_ELEPHAS_PYTHON"))
    options = parser.parse_args()
    python = dict.fromkeys(PEERS, options.peer_python) | {"elephas": options.elephas_python}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            options.now = options.rows or CASES[name].rows
            write(name, options.now, folder)
            pythons = {c: python.get(c, sys.executable) for c in options.contenders
                       if python.get(c, "") is not None}  # fmt: skip
            measure(name, folder, pythons, options)


if __name__ == "__main__":
    from spark_train import main as run  # by its name, so that workers import what they keep

    run()
