"""Real processes that die, stand still or find no room, at every moment of a fit: the same bits
afterwards, or a clear error; nothing left behind, and no executor lost that was not killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import leftovers
import numpy as np
import pytest
from PIL import Image
from test_fit_failures import (
    assert_three_parts,
    classifier,
    executor_pids,
    fit,
    records,
    running,
    state_of,
)

import zoo_keras as keras
from zoo_keras import callbacks, layers
from zoo_keras.errors import ClusterError, DataError
from zoo_keras.spark import cluster
from zoo_keras.spark.data.spill import SpillFile
from zoo_keras.spark.fit import driver, rank_data
from zoo_keras.spark.fit.rank import RankWorker
from zoo_keras.spark.transport.allreduce import AllReduce
from zoo_keras.spark.transport.job import JobError, RankContext

pytestmark = pytest.mark.spark
HERE = Path(__file__).parent
OPTIONS = {"epochs": 3, "batch_size": 4, "validation_split": 0.2}

# Where a rank is: whose function, its name, and which of its calls.
PHASES = {
    "reading": (rank_data, "_read", lambda *given: True),
    "gathering": (RankContext, "_tell_all", lambda *given: True),
    "step": (RankWorker, "_step", lambda rank, epoch, step: (epoch, step) == (1, 2)),
    "exchange": (AllReduce, "reduce_scatter", lambda ring, note: True),
    "gate": (RankWorker, "gate", lambda rank, epoch: epoch == 1),
    "snapshot": (RankWorker, "_snapshot", lambda rank, epoch, step: epoch == 1),
}
STRIKES = {
    "executor": lambda: os.kill(leftovers._parent(leftovers._parent(os.getpid())), signal.SIGKILL),
    "worker": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


class Struck(driver._Body):
    """What ranks run; rank 1 is struck in one phase, once."""

    def __init__(self, phase, strike, mark, *given):
        super().__init__(*given)
        self.phase, self.strike, self.mark = phase, strike, mark

    def __call__(self, rank):
        if rank.rank != 1 or self.mark.exists():
            return super().__call__(rank)
        owner, name, now = PHASES[self.phase]
        original = getattr(owner, name)

        def struck(*given, **named):
            if now(*given, **named) and not self.mark.exists():
                jvm = leftovers._parent(leftovers._parent(os.getpid()))
                self.mark.write_text(str(jvm) if self.strike == "executor" else "")
                STRIKES[self.strike]()
            return original(*given, **named)

        with mock.patch.object(owner, name, struck):
            return super().__call__(rank)


_undisturbed = {}


def expected(sc):
    """(history, state) of the same fit without faults."""
    if not _undisturbed:
        model = classifier()
        _undisturbed["is"] = fit(model, sc, **OPTIONS), state_of(model)
    return _undisturbed["is"]


def assert_clean(sc, before, killed):
    leftovers.wait_until(lambda: running(sc), [])
    cluster.wait_for_slots(sc, 2, timeout=60)
    leftovers.wait_until(lambda: leftovers.executors(sc), {(0, 0, 0)})
    leftovers.wait_until(leftovers.driver, leftovers.NOTHING)
    assert set(before) - {killed} <= set(executor_pids(sc))
    stale = [f for f in Path("/tmp").glob(f"zookeras-{killed}-*") if killed]
    assert not stale, "the socket of the executor that was killed"


CASES = [
    *[(phase, "executor") for phase in PHASES],
    *[(phase, "worker") for phase in ("reading", "gathering", "step")],
    ("reading", "stop"),
    ("step", "stop"),
]


@pytest.mark.parametrize(("phase", "strike"), CASES)
def test_a_rank_that_is_struck_changes_no_bit(cluster2, monkeypatch, tmp_path, phase, strike):
    history, state = expected(cluster2)
    before, mark = executor_pids(cluster2), tmp_path / "struck"
    monkeypatch.setattr(driver, "_Body", lambda *given: Struck(phase, strike, mark, *given))
    options = {**OPTIONS, **({"snapshot_steps": 2} if phase == "snapshot" else {})}
    if strike == "stop":
        options["step_timeout"] = 5
    model = classifier()
    told = {
        "executor": r"lost an executor. Received: executor \d+ on",
        "worker": "Python worker exited unexpectedly|lost rank 1",
        "stop": r"no sign of life of rank 1 \(host .*executor \d+\) for",
    }
    with pytest.warns(RuntimeWarning, match=rf"(?s)goes on from .*restart 1.*({told[strike]})"):
        found = fit(model, cluster2, **options)
    assert found == history
    assert all(map(np.array_equal, state_of(model), state))
    assert_clean(cluster2, before, int(mark.read_text() or 0))


def test_a_rank_that_stands_still_is_an_error_where_no_restart_is_left(
    cluster2, monkeypatch, tmp_path
):
    mark = tmp_path / "struck"
    monkeypatch.setattr(driver, "_Body", lambda *given: Struck("step", "stop", mark, *given))
    with pytest.raises(JobError, match=r"no sign of life of rank 1 \(host") as caught:
        fit(classifier(), cluster2, **OPTIONS, step_timeout=3, max_restarts=0)
    assert "step_timeout" in str(caught.value)
    leftovers.wait_until(lambda: running(cluster2), [])


# ---- data ----------------------------------------------------------------------------------------


def picture(value):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 255 - value)).save(file, "PNG")
    return bytearray(file.getvalue())


def test_a_corrupt_image_in_the_middle_is_named_and_harms_no_executor(cluster2, sessions):
    rows = [(picture(row), row % 2) for row in range(40)]
    rows[27] = (rows[27][0][:45], 1)
    spark = sessions.get("local-cluster[2,1,1024]")
    data = spark.createDataFrame(cluster2.parallelize(rows, 2), "image binary, y int")
    model = keras.Sequential(
        [keras.Input((), dtype="string"), layers.DecodeImage(), layers.Resizing(4, 4),
         layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )  # fmt: skip
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = executor_pids(cluster2)
    with pytest.raises(DataError, match=r"Partition 1: .*[Rr]ow 7.*image"):
        model.fit(data, feature_cols="image", label_cols="y", verbose=0)
    assert_clean(cluster2, before, 0)
    assert executor_pids(cluster2) == before


# ---- processes of their own ----------------------------------------------------------------------


def started(*words, before=()):
    """A program of in_process.py, in a session of processes by itself."""
    paths = [str(HERE.parent.parent), str(HERE), *sys.path]
    return subprocess.Popen(
        [*before, sys.executable, str(HERE / "in_process.py"), *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def session_of(pid):
    """Processes of a process's session, wherever their parents have gone."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[3] == str(pid) and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def until(process, line):
    for said in process.stdout:
        if said.rstrip("\n") == line:
            return
    raise AssertionError(f"it ended with status {process.wait(30)} and did not say {line!r}")


def ended(process):
    """Waits for its end; all processes that its session has had."""
    seen = set()
    while process.poll() is None:
        seen |= set(session_of(process.pid))
        time.sleep(0.1)
    return seen


def left_by(pids):
    """Sockets of these processes, and files of ours that only they can have made."""
    sockets = [f for pid in pids for f in Path("/tmp").glob(f"zookeras-{pid}-*")]
    return [*sockets, *Path("/dev/shm").glob("zookeras-*")]


def test_ctrl_c_in_a_script_ends_the_fit_alone():
    with started("interrupted") as process:
        until(process, "training")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        until(process, "as before")
        assert process.wait(60) == 0
    leftovers.wait_until(lambda: session_of(process.pid), [])


def test_ctrl_c_in_a_notebook_ends_the_cell_alone(monkeypatch):
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    paths = [str(HERE.parent.parent), str(HERE), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    kernel, client = manager.start_new_kernel(startup_timeout=120, kernel_name="python3")
    try:
        run_cell(client, "import in_process; session = in_process.Interrupted()")
        client.execute("session.endless()")
        said = said_by(client)
        assert any("training" in text for kind, text in said)
        kernel.interrupt_kernel()
        assert ("error", "KeyboardInterrupt") in list(said)
        assert "as before" in run_cell(client, "session.look(); session.sc.stop()")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel()


def said_by(client):
    """(kind, text) of what the running cell says, to its end."""
    while True:
        message = client.get_iopub_msg(timeout=180)
        kind, content = message["msg_type"], message["content"]
        if kind in ("stream", "error"):
            yield kind, content.get("text") or content["ename"]
        if kind == "error":
            print("\n".join(content["traceback"]))
        if kind == "status" and content["execution_state"] == "idle":
            return


def run_cell(client, code):
    client.execute(code)
    said = list(said_by(client))
    assert "error" not in [kind for kind, _ in said], said
    return "".join(text for _, text in said)


def test_a_driver_that_was_killed_leaves_a_backup_and_nothing_else(cluster2, tmp_path):
    folder = tmp_path / "backup"
    with started("killed_driver", str(folder)) as process:
        pids = ended(process)
        assert process.returncode == -signal.SIGKILL
    leftovers.wait_until(lambda: session_of(process.pid), [], seconds=60)
    leftovers.wait_until(lambda: left_by(pids), [])
    again = classifier()
    found = again.fit(records(cluster2), batch_size=8, epochs=4, verbose=0,
                      callbacks=[callbacks.BackupAndRestore(folder)])  # fmt: skip
    assert found.epoch == [2, 3]
    whole = classifier()
    whole.fit(records(cluster2), batch_size=8, epochs=4, verbose=0)
    assert all(map(np.array_equal, state_of(again), state_of(whole)))


def may_mount():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="a namespace of mounts needs root")
def test_full_and_unwritable_disks_are_told_or_done_without(tmp_path):
    mounts = f"mount -t tmpfs -o size=6m none {tmp_path}; mount -t tmpfs -o size=64k none /dev/shm"
    namespace = ["unshare", "-m", "sh", "-c", f'{mounts}; exec "$@"', "sh"]
    with started("poor_disks", str(tmp_path), before=namespace) as process:
        said = process.stdout.read()
        assert process.wait(60) == 0, said
    assert "no /dev/shm\n" in said and said.endswith("as before\n")
    full, unwritable = said.splitlines()[1:3]
    assert f"could not be written to {tmp_path}" in full and "No space left on device" in full
    assert_three_parts(full)
    assert "Read-only file system" in unwritable and "Exception in" not in said
    assert_three_parts(unwritable)


def test_records_spill_where_there_is_a_folder(monkeypatch, tmp_path):
    rows = np.arange(6.0).reshape(3, 2)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path}/none,{tmp_path}")
    spilled = SpillFile()
    assert spilled.folder == str(tmp_path) and not list(tmp_path.iterdir())
    spilled.write(rows[:2])
    spilled.write(rows[2:])
    assert np.array_equal(spilled.mapped((3, 2), "float64"), rows)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path}/none")
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}/neither")
    with pytest.raises(ClusterError, match=r"have no place on disk.*none.*neither") as caught:
        SpillFile()
    assert_three_parts(caught.value)
