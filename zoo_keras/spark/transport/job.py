"""A Spark job whose tasks, the ranks, talk to each other and to the driver while they run.

In: an RDD (or DataFrame) with one partition for each rank, perhaps a second one for validation, and
a function that each rank runs. Out: what the functions return, in rank order, or one clear error.
Knows blocks and boards, not models.

The ranks are ordinary tasks, which dynamic allocation accepts, and no barrier stage. What a barrier
stage would see to is seen to here: all ranks begin within a time, or give their slots back; each
runs once (`Start.java` refuses copies and retries); the first that fails ends all (`Watch.java`).

On the driver:

    with RankJob(rdd, body, validation=None, name="fit") as job:   # checks first, then starts
        job.control.write([lr], {"stop": False}); job.control.publish("program", data)
        while not job.wait(0.1):                    # True when the job has ended
            record = job.progress(0)                # Record | None
            array = job.fetch(0, "weights")         # np.ndarray of uint8
        results = job.result()    # raises JobError, or the ZooKerasError that a rank raised

`run_rank_job(rdd, body, watch=lambda job: ...)` is that loop. On the ranks:

    def body(rank: RankContext) -> result:
        rows = list(rank.rows); more = list(rank.validation)   # before gather
        facts = rank.gather({"rows": len(rows)})               # once; one dict for each rank
        ring = rank.all_reduce(count)                          # see allreduce.py
        rank.progress.write([step, loss])                      # see board.py
        rank.control.read(max_age=0.05)                        # Record | None
        program = rank.control.fetch("program")
"""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import errors
from zoo_keras.errors import ClusterError, ConfigError
from zoo_keras.spark import cluster
from zoo_keras.spark.java import call_java
from zoo_keras.spark.transport import bridge as bridges
from zoo_keras.spark.transport import failures
from zoo_keras.spark.transport.allreduce import AllReduce
from zoo_keras.spark.transport.board import Board, Record, RemoteBoard
from zoo_keras.spark.transport.bridge import Bridge, BridgeError, Peer, PeerLostError
from zoo_keras.spark.transport.failures import JobError, LateRanksError, LostExecutor
from zoo_keras.spark.transport.group import Group
from zoo_keras.spark.transport.pulse import Pulse, Pulses

SAME_HOST = "spark.zookeras.sameHost"  # "false": all data go through Spark's block transfer
# The second comes from Spark 3.5, which may hand out a worker of a cancelled task once more.
_WORKER_GONE = ("Python worker exited unexpectedly", "SocketException: Socket is closed")
_SHUFFLE_GONE = (
    "FetchFailed("  # what a shuffle made went with its executor: a new job makes it again
)
# What a rank says that has failed only because something else did.
_CONSEQUENCES = ("EOFError", "PeerLostError", "TaskCancelledError", "BridgeError")
_LOOK_EVERY = 0.1
_PROGRESS_TIMEOUT = 2.0
_CANCEL_TIMEOUT = 30.0
_LOSS_TIMEOUT = 5.0
_IDLE = "Executor killed by driver"  # as dynamic allocation takes back what no task wants
_GONE_TIMEOUT = 10.0
_LATER = 5.0  # seconds by which the driver knows who stands still before others miss it
_VERDICT_TIMEOUT = 3.0
_MINE, _ALL = "facts", "all facts"  # blobs by which ranks meet
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05


class _Spec(NamedTuple):
    """What the driver tells every rank; pickled with the task."""

    job: str
    driver: Peer
    size: int
    timeout: float
    paired: bool
    same_host: bool


class RankContext:
    """One rank of a job, inside its Python worker.

    Attributes:
        rank, size: which of how many.
        cores: cores Spark gives this task.
        rows: this partition's items, to be read once.
        validation: items of the second RDD; empty without one. Reading it skips unread rows.
        control: the driver's board. progress: this rank's board.
        bridge: for regions and blocks of one's own.
        facts, peers: of all ranks, after `gather`.
    """

    def __init__(self, spec: _Spec, items: Iterator[Any]) -> None:
        from pyspark import TaskContext

        self._task = TaskContext.get()
        self._spec = spec
        self.rank, self.size, self.job = self._task.partitionId(), spec.size, spec.job
        self.cores = self._task.cpus()
        marker = next(items)
        self.bridge = Bridge(marker if isinstance(marker, str) else marker.decode())
        self.rows = _until(items, marker) if spec.paired else items
        self.validation = _after(self.rows, items) if spec.paired else iter(())
        self.control = RemoteBoard(self.bridge, spec.driver, f"{spec.job}-control")
        name = f"{spec.job}-progress-{self.rank}"
        self.progress = Board(self.bridge, name, findable=True)
        self._pulse = Pulse(self.progress.pulse)
        self._group: Group | None = None

    def gather(self, facts: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Tells every rank's facts (JSON values) to every rank, once, and lets them exchange data
        from then on. Waits for the slowest, so read the whole partition first.

        Raises:
            ClusterError: it has been called already.
        """
        if self._group is not None:
            raise ClusterError(
                "RankContext.gather tells facts once in a job. Received: a second call. "
                "Use AllReduce.all_sum or notes for what changes."
            )
        self._group = Group(
            self.bridge,
            self.job,
            self.rank,
            self.size,
            gather=self._tell_all,
            facts=facts,
            timeout=self._spec.timeout,
            same_host=self._spec.same_host,
        )
        return self._group.facts

    def _tell_all(self, mine: dict[str, Any]) -> list[dict[str, Any]]:
        """Rank 0 collects what the boards say, and puts it up on its own."""
        if self.size == 1:
            return [mine]
        self.progress.publish(_MINE, json.dumps(mine).encode())
        if self.rank:
            return self._posted(0, _ALL)
        told = [mine, *(self._posted(rank, _MINE) for rank in range(1, self.size))]
        self.progress.publish(_ALL, json.dumps(told).encode())
        return told

    def _posted(self, rank: int, blob: str) -> Any:
        """What another rank has put on its board, as soon as it is there. A board that is gone is
        no error here: when its rank has failed, Spark ends this one too."""
        name, pause = f"{self.job}-progress-{rank}", _SHORTEST_PAUSE
        while True:
            with contextlib.suppress(PeerLostError, ConfigError):
                peer = self.bridge.locate(name)
                if peer is not None:
                    return self._fetched(peer, name, blob)
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            self.bridge.check()

    def _fetched(self, peer: Peer, name: str, blob: str) -> Any:
        with contextlib.closing(RemoteBoard(self.bridge, peer, name, name)) as board:
            return json.loads(board.fetch(blob).tobytes())

    @property
    def group(self) -> Group:
        """The ranks' group.

        Raises:
            ClusterError: before `gather`.
        """
        if self._group is None:
            raise ClusterError(
                "RankContext.gather must be called before ranks exchange data. "
                "Received: no call yet. Read the partition, then call gather."
            )
        return self._group

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What every rank told at `gather`."""
        return self.group.facts

    @property
    def peers(self) -> list[Peer]:
        """Every rank's address."""
        return self.group.peers

    def all_reduce(self, count: int, *, wire: str = "float32") -> AllReduce:
        """An all-reduce of `count` float32 values over all ranks; every rank must ask for it."""
        return AllReduce(self.group, count, wire=wire)

    def barrier(self) -> None:
        """Returns when every rank has called it."""
        self.group.barrier()

    def close(self) -> None:
        """Leaves together with all others."""
        if self._group is not None:
            self._group.close()
        self._pulse.close()
        self.bridge.close()

    def hang_up(self) -> None:
        """Leaves at once: the others will fail if they wait for this rank."""
        if self._group is not None:
            self._group.leave()
        self._pulse.close()
        self.bridge.close()


def _until(items: Iterator[Any], marker: Any) -> Iterator[Any]:
    kind = type(marker)
    for item in items:
        if type(item) is kind and item == marker:
            return
        yield item


def _after(rows: Iterator[Any], items: Iterator[Any]) -> Iterator[Any]:
    for _ in rows:
        pass
    yield from items


def _run_rank(spec: _Spec, body: Callable[[RankContext], Any], items: Iterator[Any]) -> Any:
    """The task of one rank."""
    rank = RankContext(spec, items)
    try:
        result = body(rank)
        rank.close()
    except Exception as error:
        if isinstance(error, PeerLostError):
            _await_verdict(rank.bridge)
        rank.hang_up()
        raise RuntimeError(failures.describe(rank.rank, error)) from error
    yield result


def _await_verdict(bridge: Bridge) -> None:
    """The rank that is gone may have failed for a reason of its own, which must reach the driver
    before this one's: Spark reports the first."""
    end = time.monotonic() + _VERDICT_TIMEOUT
    with contextlib.suppress(BridgeError):
        while time.monotonic() < end:
            bridge.check()
            time.sleep(_LOOK_EVERY)


class RankJob:
    """A running job of ranks, seen from the driver. Starts at once; use it as a context manager.

    Args:
        rows: an RDD or a DataFrame; each partition is a rank. Rows of a DataFrame come as Arrow
            record batches (bytes; see `bridge.arrow_batches`).
        body: what every rank runs: body(RankContext) -> result. Must pickle.
        validation: a second RDD or DataFrame with as many partitions, read after `rows`.
        name: for messages. description: shown in Spark's UI, unless the user's own is set.
        timeout: seconds a rank waits for the slowest other one in an exchange, and for which its
            process may stand still while `progress` is asked for.
        wait: seconds to wait for executors before starting.
        start_timeout: seconds after the first rank within which all must have begun; else the job
            ends, so that those which hold slots give them back.
        same_host: whether ranks of one machine may read each other's memory; None takes it from
            spark.zookeras.sameHost, which is true by default.

    Attributes:
        control: the driver's board, which the ranks read.

    Raises:
        ClusterError: see `cluster.check_session`.
    """

    def __init__(
        self,
        rows: Any,
        body: Callable[[RankContext], Any],
        *,
        validation: Any = None,
        name: str = "fit",
        description: str = "",
        timeout: float = 600.0,
        wait: float = 60.0,
        start_timeout: float = 600.0,
        same_host: bool | None = None,
    ) -> None:
        self._sc = cluster.spark_context(rows)
        rows = _as_rdd(rows)
        validation = None if validation is None else _as_rdd(validation)
        self.size = rows.getNumPartitions()
        cluster.check_session(self._sc, self.size, timeout=wait)
        self._description = description or f"zoo_keras {name}"
        self.name, self.job = name, f"zk-{uuid.uuid4().hex[:12]}"
        self._hosts = {executor.id: executor.host for executor in cluster.executors(self._sc)}
        self._boards: dict[int, RemoteBoard] = {}
        self._unseen, self._start_timeout = set(range(self.size)), start_timeout
        self._first_seen: float | None = None  # stages before this job's last hold no rank's slot
        self._pulses, self._timeout = Pulses(), timeout
        self._given_up: ClusterError | None = None
        self._error: BaseException | None = None
        self._results: list[Any] = []
        self._cancelled = False
        if same_host is None:
            same_host = cluster.setting(self._sc, SAME_HOST, "true").lower() == "true"
        data = bridges.with_bridge(rows, validation)
        with contextlib.ExitStack() as undo:
            self._bridge = undo.enter_context(contextlib.closing(bridges.driver_bridge(self._sc)))
            self.control = Board(self._bridge, f"{self.job}-control")
            sc = self._sc
            self._watch = call_java(sc, "Watch", "begin", sc._jsc.sc())
            undo.callback(self._watch.stop)
            self._watch.follow(self.job)
            spec = _Spec(
                job=self.job,
                driver=self._bridge.here(),
                size=self.size,
                timeout=timeout + _LATER,
                paired=validation is not None,
                same_host=same_host,
            )
            self._thread = self._start(data, spec, body)
            self._undo = undo.pop_all()

    def _start(self, data: Any, spec: _Spec, body: Any) -> threading.Thread:
        from pyspark import InheritableThread

        def task(items: Iterator[Any]) -> Any:
            return _run_rank(spec, body, items)

        def run() -> None:
            try:
                self._label()
                self._results = data.mapPartitions(task).collect()
            except BaseException as error:
                self._error = error

        thread: threading.Thread = InheritableThread(target=run)
        thread.name, thread.daemon = f"zookeras-{self.job}", True
        thread.start()
        return thread

    def _label(self) -> None:
        """A tag, by which this job alone is cancelled: its group, pool and other local properties
        are those of the thread that called fit."""
        self._sc.addJobTag(self.job)
        self._sc.setInterruptOnCancel(True)
        if self._sc.getLocalProperty(cluster.DESCRIPTION) is None:
            self._sc.setLocalProperty(cluster.DESCRIPTION, self._description)

    def wait(self, seconds: float) -> bool:
        """Waits at most so long; True when the job has ended."""
        self._thread.join(seconds)
        if self._unseen and self._thread.is_alive():
            self._look_for_ranks()
        return not self._thread.is_alive()

    def _look_for_ranks(self) -> None:
        """Ends the job when ranks have not begun in time: others wait for them in slots."""
        self._unseen -= {rank for rank in self._unseen if self._located(self._board_name(rank))}
        if len(self._unseen) == self.size:
            return
        self._first_seen = self._first_seen or time.monotonic()
        waited = time.monotonic() - self._first_seen
        if self._unseen and waited > self._start_timeout:
            late = _too_late(self.name, self.size, len(self._unseen), waited)
            late.lost, self._given_up = self.lost(), late
            self.cancel()

    def _board_name(self, rank: int) -> str:
        return f"{self.job}-progress-{rank}"

    def progress(self, rank: int) -> Record | None:
        """What a rank's board says; None while it says nothing or cannot be reached."""
        try:
            board = self._board(rank)
            if board is None:
                return None
            record = board.read()
        except BridgeError:
            return None
        seconds = self._pulses.still(rank, int(board.pulse[0]))
        if seconds > self._timeout and self._given_up is None:
            self._given_up = _stands_still(self.name, rank, board.peer, seconds)
            self.cancel()
        return record

    def fetch(
        self, rank: int, name: str, *, timeout: float = 600.0, again: bool = False
    ) -> np.ndarray:
        """A copy of a blob of a rank's board, as uint8; `again` as in RemoteBoard.fetch.

        Raises:
            ConfigError: there is no such blob.
            PeerLostError: the rank is gone.
        """
        board = self._board(rank)
        if board is None:
            raise ConfigError(
                f"Rank {rank} of job {self.job} has not started. Received: a request for its blob "
                f"{name!r}. Wait until progress({rank}) gives a record."
            )
        return board.fetch(name, timeout=timeout, again=again)

    def _board(self, rank: int) -> RemoteBoard | None:
        """A rank's board while the rank is there: asking Spark first is quicker than failing."""
        name = self._board_name(rank)
        peer = self._bridge.locate(name)
        if peer is None:
            return None
        if rank not in self._boards:
            self._boards[rank] = RemoteBoard(
                self._bridge, peer, name, f"rank {rank}", timeout=_PROGRESS_TIMEOUT
            )
        return self._boards[rank]

    def executor(self, rank: int) -> str | None:
        """The id of the executor that runs a rank; None before it has started."""
        board = self._board(rank)
        return board.peer.executor if board else None

    def result(self) -> list[Any]:
        """Waits for the end; every rank's result, in rank order.

        Raises:
            JobError: the job failed. ZooKerasError: a rank raised it.
        """
        self._thread.join()
        if self._error is not None:
            failures.raise_instead(self._error, self._explain(self._error))
        return self._results

    def cancel(self) -> None:
        """Stops the job and waits until it has ended."""
        self._cancelled = True
        self._sc.cancelJobsWithTag(self.job)
        self._thread.join(_CANCEL_TIMEOUT)

    def lost(self) -> list[LostExecutor]:
        """The executors that have gone away since the job began."""
        fields = [line.split("\t", 1) for line in self._watch.lost().splitlines()]
        return [
            LostExecutor(id, self._hosts.get(id, "unknown"), why)
            for id, why in fields
            if _IDLE not in why
        ]

    def _explain(self, error: BaseException) -> Exception:
        if isinstance(error, pickle.PicklingError):
            return self._unsendable_error(str(error))
        text = self._watch.failure() or str(error)
        if self._given_up is not None:
            return self._given_up
        if self._cancelled:
            return self._cancelled_error("a request to stop")
        if cluster.is_stopped(self._sc):
            return cluster.stopped_error(f"job {self.name}")
        if by_user := re.search(r"Job \d+ cancelled([^\n]*)", text):
            return self._cancelled_error(by_user[0])
        failure = failures.of_rank(text)
        if failure is None and (missing := failures.of_installation(text)):
            return missing
        if failure is None or failure["type"] in _CONSEQUENCES:
            own = failures.of_user(text)
            if own is not None:
                return own.as_error(self.name)
        kind = failure and getattr(errors, failure["type"], None)
        if failure and kind and failure["module"] == "zoo_keras.errors":
            made: Exception = kind(
                f"{failure['message']} (rank {failure['rank']} on {failure['host']})"
            )
            return made
        return self._cluster_error(text, failure)

    def _unsendable_error(self, received: str) -> ConfigError:
        return ConfigError(
            f"Job {self.name} could not be sent to the executors. Received: {received}. Leave "
            "sessions, locks and open files out of the functions that make the data."
        )

    def _cancelled_error(self, received: str) -> JobError:
        return JobError(
            f"Job {self.name} was cancelled. Received: {received}. "
            "Start it again when it is wanted.",
            cancelled=True,
        )

    def _cluster_error(self, text: str, failure: dict[str, Any] | None) -> JobError:
        broken = failure is not None and failure["type"] == PeerLostError.__name__
        crashed = any(words in text for words in (*_WORKER_GONE, _SHUFFLE_GONE))
        if broken or crashed or "ExecutorLostFailure" in text:
            self._wait_for_loss()
        lost = self.lost()
        advice = "See the executor's log (Spark's UI, Executors) for its last words."
        if lost:
            names = "; ".join(f"executor {e.id} on {e.host}: {e.reason}" for e in lost)
            message = f"Job {self.name} lost an executor. Received: {names}. {advice}"
        elif failure:
            message = (
                f"Job {self.name} failed in rank {failure['rank']} on {failure['host']}. Received: "
                f"{failure['type']}: {failure['message']}. {advice}\n{failure['trace']}"
            )
        else:
            message = f"Job {self.name} failed. Received: {failures.in_short(text)}. {advice}"
        return JobError(message, lost=lost, restartable=bool(lost) or broken or crashed)

    def _wait_for_loss(self) -> None:
        """The news of a lost executor may come a little after the failure it caused."""
        if "driver" in self._hosts:  # local mode: there is no executor to lose
            return
        end = time.monotonic() + _LOSS_TIMEOUT
        while not self.lost() and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)

    def close(self) -> None:
        """Stops the job if it still runs and takes back blocks, memory and threads."""
        with self._undo:
            if self._thread.is_alive():
                self.cancel()
            if self._error is not None or self._thread.is_alive():
                self._wait_until_gone()

    def _wait_until_gone(self) -> None:
        """Spark ends a failed or cancelled job before its tasks have ended."""
        end = time.monotonic() + _GONE_TIMEOUT
        names = [self._board_name(rank) for rank in range(self.size)]
        with contextlib.suppress(BridgeError):  # Ctrl-C may have ended our bridge
            while not cluster.is_stopped(self._sc) and time.monotonic() < end:
                if not any(map(self._located, names)):
                    return
                time.sleep(_LOOK_EVERY)

    def _located(self, name: str) -> bool:
        """Whether a task still publishes a block; a session that has just stopped has none."""
        try:
            return bool(self._bridge.locate(name))
        except bridges.BridgeError:
            if cluster.is_stopped(self._sc):
                return False
            raise

    def __enter__(self) -> RankJob:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _too_late(name: str, size: int, missing: int, waited: float) -> LateRanksError:
    return LateRanksError(
        f"Job {name} was given up, for not all of its ranks could run at once. Received: "
        f"{size - missing} of {size} ranks had begun, the first {waited:.0f} s ago. Free slots "
        "that other jobs hold, let the application have more executors "
        "(spark.dynamicAllocation.maxExecutors), lower num_ranks, or raise start_timeout."
    )


def _stands_still(name: str, rank: int, peer: Peer, seconds: float) -> JobError:
    return JobError(
        f"Job {name} was given up, for one of its processes does not run. Received: no sign of "
        f"life of rank {rank} (host {peer.host}, executor {peer.executor}) for {seconds:.0f} s. "
        "See whether something has stopped it, or the machine is out of memory; step_timeout is "
        "the time allowed.",
        restartable=True,
    )


def _as_rdd(rows: Any) -> Any:
    return rows if hasattr(rows, "_jrdd") else bridges.arrow_batches(rows)


def run_rank_job(
    rows: Any,
    body: Callable[[RankContext], Any],
    *,
    watch: Callable[[RankJob], None] | None = None,
    interval: float = 0.1,
    **options: Any,
) -> list[Any]:
    """Runs a job of ranks to its end, with `watch(job)` called every `interval` seconds in this
    thread. Ctrl-C cancels the job. Options are those of RankJob.

    Returns:
        Every rank's result, in rank order.

    Raises:
        JobError, ClusterError, or the ZooKerasError that a rank raised.
    """
    with RankJob(rows, body, **options) as job:
        while not job.wait(interval):
            if watch is not None:
                watch(job)
        return job.result()
