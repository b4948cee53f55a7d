"""How long does one all-reduce take? Ours over Spark's block managers against torch's gloo.

    python benchmarks/allreduce.py --peer-python /path/to/python/with/torch

Both average one float32 vector over the ranks: ours by reduce-scatter, halving and all-gather in
the executors of a local cluster, gloo by all_reduce and halving in processes of its own. They take
turns in the same run, one waiting while the other works. Prints a table and one JSON line each.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np

SIZES = (10_000, 1_000_000, 25_000_000, 100_000_000)
WARM_UP = 2000  # steps of the smallest size


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="bytes of the vector")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each size and turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--warm-up",
        type=float,
        default=8.0,
        help="seconds for each size: Java compiles what runs often, a fit has thousands of steps",
    )
    parser.add_argument("--wire", default="float32")
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("ZK_PEER_PYTHON", sys.executable),
        help="an interpreter that has torch (or the environment variable ZK_PEER_PYTHON)",
    )
    parser.add_argument("--gloo-rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def timed(step, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


# gloo: a process for each rank, told on stdin what to do.


def serve_gloo(options):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    where = f"tcp://127.0.0.1:{options.port}"
    rank, size = options.gloo_rank, options.ranks
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=size)
    print("ready", flush=True)
    for line in sys.stdin:
        nbytes, count = map(int, line.split())
        vector = torch.ones(nbytes // 4)

        def step(vector=vector):
            dist.all_reduce(vector)
            vector.mul_(1 / options.ranks)

        print(json.dumps(timed(step, count)), flush=True)


class Gloo:
    name = "torch gloo"

    def __init__(self, options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [options.peer_python, __file__, "--ranks", str(options.ranks)]
        command += ["--port", str(port), "--gloo-rank"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.ranks = [
            subprocess.Popen([*command, str(rank)], **pipes) for rank in range(options.ranks)
        ]
        if any(rank.stdout.readline() != "ready\n" for rank in self.ranks):
            raise SystemExit("The gloo processes did not start; their words are above.")

    def run(self, nbytes, count):
        for rank in self.ranks:
            rank.stdin.write(f"{nbytes} {count}\n")
            rank.stdin.flush()
        return np.max([json.loads(rank.stdout.readline()) for rank in self.ranks], axis=0)

    def close(self):
        for rank in self.ranks:
            rank.stdin.close()
            rank.wait(30)


def has_torch(python):
    found = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True)
    return found.returncode == 0


# Ours: one job of ranks, told on the control board what to do.


def serve_ours(rank):
    rank.gather()
    groups = {"one machine": rank.group, "network": network_group(rank)}
    done = 0
    while True:
        order = rank.control.read()
        if order is None or order.version == done:
            time.sleep(0.01)
            continue
        done = order.version
        nbytes, count = map(int, order.values)
        if count == 0:
            groups["network"].close()
            return
        times = run_ours(groups[order.facts["how"]], nbytes, count, order.facts["wire"])
        rank.progress.publish("times", np.array(times))
        rank.progress.write([done])


def network_group(rank):
    """The same ranks, made to use Spark's block transfer as ranks of different machines do."""
    from zoo_keras.spark.transport.group import Group

    name = f"{rank.job}-network"

    def gather(mine):
        rank.progress.publish(name, json.dumps(mine).encode())
        return [mine if r == rank.rank else rank._posted(r, name) for r in range(rank.size)]

    return Group(rank.bridge, name, rank.rank, rank.size, gather=gather, same_host=False)


def run_ours(group, nbytes, count, wire):
    from zoo_keras.spark.transport.allreduce import AllReduce

    ring = AllReduce(group, nbytes // 4, wire=wire)
    lo, hi = ring.bounds
    scale = np.float32(1 / group.size)

    def step():
        ring.reduce_scatter()
        np.multiply(ring.gradient[lo:hi], scale, out=ring.weights[lo:hi])
        ring.all_gather()

    times = timed(step, count)
    ring.close()
    return times


class Cluster:
    """One executor process for each rank, and the job in them."""

    def __init__(self, options, master=None, **conf):
        from zoo_keras.spark.cluster import init_session
        from zoo_keras.spark.transport.job import RankJob

        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        here = os.path.dirname(os.path.abspath(__file__))
        paths = os.pathsep.join([os.path.dirname(here), here])
        conf = {"spark.ui.enabled": "false", "spark.executorEnv.PYTHONPATH": paths, **conf}
        master = master or f"local-cluster[{options.ranks},1,1024]"
        self.spark = init_session(master, conf=conf)
        self.spark.sparkContext.setLogLevel("ERROR")
        rows = self.spark.sparkContext.parallelize(range(options.ranks), options.ranks)
        self.job = RankJob(rows, serve_ours)

    def close(self):
        self.job.control.write([0, 0])
        self.job.result()
        self.job.close()
        self.spark.stop()


class Ours:
    """As users get it on one machine, or through the network as between machines."""

    def __init__(self, job, how, options):
        self.job, self.name, self.options = job, how, options

    def run(self, nbytes, count):
        order = {"how": self.name, "wire": self.options.wire}
        version = self.job.control.write([nbytes, count], order)
        times = []
        for rank in range(self.options.ranks):
            while not (record := self.job.progress(rank)) or record.values[0] != version:
                if self.job.wait(0.02):
                    self.job.result()
            times.append(self.job.fetch(rank, "times").view(np.float64))
        return np.max(times, axis=0)


def warm_up(side, nbytes, options):
    """Returns how many steps make one turn."""
    first = np.median(side.run(nbytes, 5))
    steps = side.run(nbytes, int(np.clip(options.warm_up / first, 5, 5000)))
    return int(np.clip(options.seconds / np.median(steps[-10:]), 5, 2000))


def measure(sides, options):
    for side in sides:
        side.run(10_000, WARM_UP)
    rows = []
    for nbytes in options.sizes:
        counts = {side.name: warm_up(side, nbytes, options) for side in sides}
        times = {side.name: [] for side in sides}
        for _ in range(options.turns):
            for side in sides:
                times[side.name].append(side.run(nbytes, counts[side.name]))
        for name, turns in times.items():
            all_turns = np.concatenate(turns)
            rows.append(
                {
                    "benchmark": "allreduce",
                    "what": name,
                    "bytes": nbytes,
                    "ranks": options.ranks,
                    "median_ms": round(float(np.median(all_turns)) * 1e3, 3),
                    "least_ms": round(float(all_turns.min()) * 1e3, 3),
                    "steps": len(all_turns),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def print_table(rows):
    print(f"\n{'bytes':>12}  {'what':<12} {'median ms':>10} {'least ms':>10}")
    for row in rows:
        print(f"{row['bytes']:>12}  {row['what']:<12} {row['median_ms']:>10} {row['least_ms']:>10}")


def main():
    options = arguments()
    if options.gloo_rank is not None:
        serve_gloo(options)
        return
    cluster = Cluster(options)
    open_sides = [cluster]
    sides = [Ours(cluster.job, how, options) for how in ("one machine", "network")]
    if has_torch(options.peer_python):
        sides.append(Gloo(options))
        open_sides.append(sides[-1])
    else:
        print(f"{options.peer_python} has no torch: gloo is left out (see --peer-python).")
    try:
        print_table(measure(sides, options))
    finally:
        for side in open_sides:
            side.close()


if __name__ == "__main__":
    main()
