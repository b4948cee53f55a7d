"""The thread pool: every task runs once, results do not depend on the number of threads, and a
forked process has a pool of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, native
from zoo_keras.random import set_random_seed

HERE = Path(__file__).parent
ROOT = HERE.parent


def test_tasks_are_neither_lost_nor_repeated_under_stress(tmp_path):
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        pytest.skip("no C compiler")
    (pool,) = (ROOT / "csrc").rglob("threads.c")
    program, sources = tmp_path / "stress", [pool, HERE / "threads_stress.c"]
    flags = ["-O2", "-std=gnu11", "-pthread", f"-I{pool.parent}", "-o", str(program)]
    subprocess.run([compiler, *map(str, sources), *flags], check=True)
    done = subprocess.run([program, "50000"], timeout=300, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def model(seed: int = 1) -> zk.Model:
    """Large enough that every kind of kernel in it cuts its work into several tasks."""
    set_random_seed(seed)
    made = zk.Sequential([
        zk.Input((20, 20, 6)),
        layers.Conv2D(24, 3, activation="relu"), layers.BatchNormalization(),
        layers.MaxPooling2D(), layers.Conv2D(24, 3, groups=2), layers.LayerNormalization(),
        layers.Flatten(), layers.Dropout(0.3, seed=1), layers.Dense(200, activation="tanh"),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    made.compile(zk.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def batch(seed: int = 0, rows: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 20, 20, 6)).astype("f"), rng.integers(0, 10, rows).astype("i4")


def trained(seed: int = 1, steps: int = 2) -> bytes:
    """All weights and predictions of a model after a few steps."""
    made, (x, y) = model(seed), batch(seed)
    for _ in range(steps):
        made.train_on_batch(x, y)
    arrays = [*made.get_weights(), made.predict_on_batch(x)]
    return b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)


def test_one_two_and_three_threads_give_the_same_bits():
    found = set()
    for count in (1, 2, 3):
        with native.using_threads(count):
            found.add(trained())
    assert len(found) == 1


def test_models_trained_in_two_python_threads_are_as_if_alone():
    alone = {seed: trained(seed) for seed in (1, 2)}
    made = {seed: model(seed) for seed in (1, 2)}
    together: dict[int, bytes] = {}

    def work(seed: int) -> None:
        x, y = batch(seed)
        for _ in range(2):
            made[seed].train_on_batch(x, y)
        arrays = [*made[seed].get_weights(), made[seed].predict_on_batch(x)]
        together[seed] = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


FORKS = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    os._exit(0 if work() == before else 3)
assert os.waitpid(pid, 0)[1] == 0, "the child"
assert work() == before, "the parent"
""",
    "a fork of a fork": """
pid = os.fork()
if pid == 0:
    ok = work() == before
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if work() == before else 3)
    os._exit(0 if ok and os.waitpid(grandchild, 0)[1] == 0 else 4)
assert os.waitpid(pid, 0)[1] == 0
""",
    "multiprocessing": """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, range(4)) == [before] * 4
assert work() == before
""",
    "a fork while another thread computes": """
stop = False
def loop():
    while not stop:
        work()
thread = threading.Thread(target=loop)
thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work() == before else 3)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
thread.join()
""",
}

WORK = """
import os, sys, threading
import numpy as np
from zoo_keras import gemm, native
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import registry
by = int(gemm.load_mkl())  # its threads must not survive a fork either
x = np.random.default_rng(0).normal(size=(300, 300)).astype("f")
def work(_=0):
    product = native.call_kernel("matmul", [((300, 300), "float32")], [x, x], [0, 0, by], 3)[0]
    specs = [Spec((300, 300), "float32")]
    numbers = list(registry["softmax"].attrs_to_c({"axis": 1}, specs, specs))
    return native.call_kernel("softmax", specs, [product], numbers, 3)[0].tobytes()
before = work()
"""


@pytest.mark.parametrize("code", FORKS.values(), ids=FORKS)
def test_a_forked_process_computes_and_does_not_hang(code):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", WORK + code]
    done = subprocess.run(command, timeout=120, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_number_of_threads_is_what_was_asked_for(monkeypatch):
    before = native.threads()
    assert before >= 1
    with native.using_threads(5):
        assert native.threads() == 5
        with native.using_threads(1):
            assert native.threads() == 1
    assert native.threads() == before
    monkeypatch.setattr(native, "_threads", None)
    monkeypatch.setenv("ZK_THREADS", "7")
    assert native.threads() == 7
    monkeypatch.delenv("ZK_THREADS")
    assert native.threads() == len(os.sched_getaffinity(0))


def test_no_threads_at_all_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        native.set_threads(0)
