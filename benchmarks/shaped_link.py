"""Does a step between two machines take as long as scaling_model.py says?

    python benchmarks/shaped_link.py --points points.json               # 1 and 10 Gbit/s, 1 ms

Needs root, `ip` and /dev/net/tun. Two network namespaces, joined by a link that this program is:
it reads packets from a TUN device in each and hands them over at the link's rate, after its
latency. A Spark master, a worker and the driver run in one namespace, a second worker in the other;
two ranks, one core each. All-reduces of several sizes are measured beside the model, whose costs
come from the points that scaling_model.py has saved on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scaling_model import CORES, Link, exchange, fitted

SIZES = (10_000, 2_700_000, 25_000_000, 50_000_000)
MTU = 60_000  # so that Python has few packets to move
SPACES, ADDRESSES, PORT = ("zk-left", "zk-right"), ("10.77.0.1", "10.77.0.2"), 17077
_TUNSETIFF, _TUN_WITHOUT_HEADER = 0x400454CA, 0x0001 | 0x1000
_SPIN = 100e-6  # sleep is no more exact than that


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def tun(name: str) -> int:
    """A TUN device; returns the file from which its packets are read."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEADER))
    return fd


class Cable(threading.Thread):
    """One direction: packets come out of `source`, one after the other at the link's rate, and go
    into `target` when its latency has passed."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(daemon=True)
        self.source, self.target, self.link = source, target, Link(1e9, 0.0)
        self._due: deque[tuple[float, bytes]] = deque()
        self._some, self._room = threading.Semaphore(0), threading.Semaphore(4096)

    def run(self) -> None:
        threading.Thread(target=self._deliver, daemon=True).start()
        free = 0.0
        while packet := self._packet():
            free = max(free, time.perf_counter()) + len(packet) / self.link.rate
            self._room.acquire()
            self._due.append((free + self.link.latency, packet))
            self._some.release()

    def _packet(self) -> bytes:
        try:
            return os.read(self.source, MTU + 100)
        except OSError:  # the namespace has gone, and the device with it
            return b""

    def _deliver(self) -> None:
        while True:
            self._some.acquire()
            due, packet = self._due.popleft()
            self._room.release()
            while (left := due - time.perf_counter()) > 0:
                time.sleep(max(0.0, left - _SPIN))
            with contextlib.suppress(OSError):  # a device that is down takes nothing
                os.write(self.target, packet)


@contextlib.contextmanager
def namespaces() -> Iterator[tuple[Cable, Cable]]:
    """Both namespaces, and the cables between them."""
    try:
        ends = []
        for space, address in zip(SPACES, ADDRESSES, strict=True):
            run("ip", "netns", "add", space)
            ends.append(tun(space))
            run("ip", "link", "set", space, "netns", space)
            inside = ("ip", "-n", space)
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "link", "set", space, "mtu", str(MTU), "txqueuelen", "2000", "up")
            run(*inside, "addr", "add", f"{address}/24", "dev", space)
        cables = Cable(*ends), Cable(*reversed(ends))
        for cable in cables:
            cable.start()
        yield cables
    finally:
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], check=False)


@contextlib.contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """A standalone master and two workers; its address."""
    import pyspark

    program = Path(pyspark.__file__).parent / "bin/spark-class"
    master = f"spark://{ADDRESSES[0]}:{PORT}"
    roles = [(0, "master.Master", ["-h", ADDRESSES[0], "-p", str(PORT), "--webui-port", "0"])]
    for i, address in enumerate(ADDRESSES):
        words = ["-h", address, "-c", "1", "-m", "2g", "--webui-port", "0", "-d", str(folder)]
        roles.append((i, "worker.Worker", [*words, master]))
    running = []
    try:
        for i, role, words in roles:
            command = ["ip", "netns", "exec", SPACES[i], program]
            with open(folder / f"{role}-{i}.log", "w") as log:
                running.append(subprocess.Popen(
                    [*command, f"org.apache.spark.deploy.{role}", *words],
                    env={**os.environ, "SPARK_LOCAL_IP": ADDRESSES[i]}, start_new_session=True,
                    stdout=log, stderr=subprocess.STDOUT,
                ))  # fmt: skip
            time.sleep(4)
        yield master
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


# ---- the driver, inside --------------------------------------------------------------------------


def inside(master: str, options: Any) -> None:
    """All-reduces of both ranks, for each link that the parent sets up when it is asked to."""
    import allreduce

    sizes = options.sizes
    given = SimpleNamespace(ranks=2, sizes=sizes, wire="float32", seconds=3.0, turns=1, warm_up=4.0)
    allreduce.WARM_UP = 100
    os.environ["PYSPARK_PYTHON"] = sys.executable
    cluster = allreduce.Cluster(
        given, master,
        **{"spark.driver.host": ADDRESSES[0], "spark.driver.bindAddress": ADDRESSES[0],
           "spark.executor.memory": "1g", "spark.executor.cores": "1",
           "spark.zookeras.sameHost": "false"},
    )  # fmt: skip
    try:
        for gbit in options.gbit:
            print(json.dumps({"gbit": gbit}), flush=True)
            sys.stdin.readline()
            allreduce.measure([allreduce.Ours(cluster.job, "network", given)], given)
    finally:
        cluster.close()


def compare(options: Any, cables: tuple[Cable, Cable], driver: Any) -> list[float]:
    """Prints each measured step beside the model's; returns their ratios."""
    which = "least_ms" if options.least else "median_ms"
    costs = fitted(json.loads(options.points.read_text())["allreduce"], which)
    link, ratios = Link(0, 0), []
    print(f"{'Gbit/s':>8}{'bytes':>12}{'measured ms':>13}{'model ms':>10}{'ratio':>7}")
    for line in driver.stdout:
        told = json.loads(line)
        if "gbit" in told:
            link = Link(told["gbit"] * 1e9 / 8, options.latency)
            for cable in cables:
                cable.link = link
            driver.stdin.write("go\n")
            driver.stdin.flush()
            continue
        found = 1e3 * exchange(costs, link, told["bytes"], 2, CORES)
        ratios.append(found / told[which])
        print(f"{link.rate * 8 / 1e9:8g}{told['bytes']:12}{told[which]:13.2f}{found:10.2f}"
              f"{ratios[-1]:7.2f}", flush=True)  # fmt: skip
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=Path, required=True, help="of scaling_model.py --save")
    parser.add_argument("--least", action="store_true", help="least times, on a busy machine")
    parser.add_argument("--gbit", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="bytes")
    parser.add_argument("--latency", type=float, default=1e-3, help="seconds, one way")
    parser.add_argument("--folder", type=Path, default=Path("build/shaped_link"))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options)
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # clean up, too
    options.folder.mkdir(parents=True, exist_ok=True)
    with namespaces() as cables, spark_cluster(options.folder.resolve()) as master:
        command = ["ip", "netns", "exec", SPACES[0], sys.executable, __file__, *sys.argv[1:]]
        with subprocess.Popen([*command, "--inside", master], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as driver:  # fmt: skip
            ratios = compare(options, cables, driver)
    worst = max(abs(ratio - 1) for ratio in ratios)
    print(json.dumps({"benchmark": "shaped_link", "ratios": ratios, "worst": worst}))
    sys.exit(0 if worst <= 0.2 and driver.returncode == 0 else 1)


if __name__ == "__main__":
    main()
