"""The driver's eye on the ranks of a running fit: programs out, progress in, epochs closed.

In: the boards of a RankJob and the fit's compiler and callbacks. Out: programs and control
records for the ranks; logs for the callbacks; after each epoch the trained state in the model.
"""

from __future__ import annotations

import pickle
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo_keras.engine.spaces import ITERATIONS, SLOT, STATE, WEIGHTS
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.spark.data.frames import Held
from zoo_keras.spark.fit.compiler import Snapshot
from zoo_keras.spark.fit.measures import Measured
from zoo_keras.spark.fit.middle import joined
from zoo_keras.spark.fit.plan import FitPlan
from zoo_keras.spark.fit.schedule import place_of_epoch
from zoo_keras.spark.fit.turns import Lagging
from zoo_keras.spark.transport.bridge import BridgeError, PeerLostError
from zoo_keras.spark.transport.job import RankJob
from zoo_keras.training.epochs import warn_interrupted

if TYPE_CHECKING:
    from zoo_keras.spark.fit.driver import SparkFit

POLL, POLL_LED = 0.02, 0.001  # seconds between looks at the ranks' boards
POLL_SHOWN, POLL_UNSEEN = 0.1, 0.5  # the longest, with and without callbacks that see batches


class _Results(NamedTuple):
    """What the ranks have made in an epoch."""

    trained: list[Measured]
    tested: list[Measured] | None
    weights: np.ndarray
    slots: dict[str, list[tuple[int, int, np.ndarray]]]
    scalars: list[np.ndarray]
    clocks: list[tuple[dict[str, float], dict[int, float]]]


def pause_before(left: float, longest: float) -> float:
    """Seconds until the next look, of an epoch that should go on for `left` seconds. Each look
    keeps the JVMs busy on cores where ranks compute, so most are made near the end."""
    return max(POLL, min(longest, left / 4))


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    kind = np.int32 if a.itemsize == 4 else np.uint8
    return np.array_equal(a.reshape(-1).view(kind), b.reshape(-1).view(kind))


class Watcher:
    """One job of a fit. `fit` is the SparkFit: its epoch, logs and snapshot are kept up to date."""

    def __init__(self, fit: SparkFit, job: RankJob, plan: FitPlan) -> None:
        self.fit, self.job, self.plan = fit, job, plan
        self.model, self.bars, self.compiler = fit.model, fit.bars, fit.compiler
        self.served: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.slices: dict[int, list[int]] = {}
        self.step = -1
        self.steps: int | None = None  # of an epoch, once the ranks have counted their rows
        self.passed = 1  # steps of a pass over the records
        self.versions: dict[str, int] = {}  # of each space that hooks have set
        self.turn = [-1, -1]  # (epoch, step) that ranks may make, where the driver leads
        self.fetched: Snapshot | None = None  # what a hook has found
        self.ended = False
        self.kept: list[int] | None = None  # where the ranks made the copy that is here
        self.pause = POLL_LED if plan.led else POLL
        self._first_seen: tuple[float, int] | None = None  # steps of this epoch, and when

    def start(self) -> None:
        """Publish the model and open the first epoch."""
        held = self.fit.validation
        if isinstance(held, Held):
            for rank in range(self.job.size):
                part = pickle.dumps(held.part(rank, self.job.size), protocol=5)
                self.job.control.publish(f"held:{rank}", part)
        middle = self.fit.middle
        for name, blob in (middle.blobs() if middle else {}).items():
            self.job.control.publish(name, blob)
        self._begin_epoch()
        if middle is None:  # of weights that are newer than the last epoch's end there is a copy
            self.fit.snapshot = self.compiler.snapshot(self.fit.snapshot)
        for name, array in self.compiler.blobs().items():
            self.job.control.publish(name, array)
        self._open()

    def _begin_epoch(self) -> None:
        if self.fit.begun != self.fit.epoch:  # a restart's weights and rates are those behind it
            self.bars.on_epoch_begin(self.fit.epoch)
            self.fit.begun = self.fit.epoch
        if self.plan.led:
            self.bars.on_train_batch_begin(0)

    def _open(self) -> None:
        self.step, self.turn = -1, [self.fit.epoch, 0]
        self._first_seen = None
        self._tell(go=self.fit.epoch, turn=self.turn, stop=False)

    def _tell(self, **facts: Any) -> None:
        rate = float(getattr(self.model.optimizer, "learning_rate", 0.0))
        self.facts.update(facts, lr=rate, rates=self.compiler.rates())
        self.facts["versions"], self.facts["count"] = self.versions, self.compiler.steps_done()
        self.job.control.write((), self.facts)

    def look(self) -> None:
        """One look at all boards."""
        if self.ended:  # the ranks take their boards away
            return
        records = [self.job.progress(rank) for rank in range(self.job.size)]
        if any(r is None for r in records):
            return
        self._count(records)
        for rank, record in enumerate(records):
            self._serve(rank, record.facts)  # type: ignore[union-attr]
        if self.plan.led:
            self._lead(records)
        done = [r.facts["done"] for r in records]  # type: ignore[union-attr]
        if min(done) >= self.fit.epoch:
            self._close_epoch(records)
        elif max(done) < self.fit.epoch and not self.plan.led:
            self._show(records)
            self._keep(records)
        self._pace(records)

    def _pace(self, records: list[Any]) -> None:
        """When to look next; copies within an epoch must be seen before the next ones are made."""
        if self.plan.led:
            return
        self.pause = POLL
        begun = all(r.facts.get("epoch") == self.fit.epoch for r in records)
        made = int(min(r.values[0] for r in records)) + 1
        if not begun or made <= 0 or self.plan.snapshot_steps or self.plan.snapshot_seconds:
            return
        now = time.perf_counter()
        self._first_seen = self._first_seen or (now, made)
        since, before = self._first_seen
        if made == before:  # how fast they are is not known yet
            return
        left = (now - since) / (made - before) * (self._steps_now() - made)
        self.pause = pause_before(left, POLL_SHOWN if self.bars.needs_batch_logs else POLL_UNSEEN)

    def _count(self, records: list[Any]) -> None:
        """Once row counts are known: refuse empty data, and tell the progress bar its length."""
        if self.steps is not None:
            return
        rows, tests = (sum(r.facts[key] for r in records) for key in ("rows", "tests"))
        if rows == 0 or (tests == 0 and self.plan.validation_split):
            raise DataError(
                f"fit: there must be rows to train on, and to validate on if asked for. Received: "
                f"{rows} and {tests} rows, with validation_split={self.plan.validation_split}. Use "
                "more rows, or another split."
            )
        self.fit.account.run_since(self.fit.began, max(r.facts["ran"] for r in records))
        self.passed = max(1, -(-rows // self.plan.batch_size))
        self.steps = self.plan.steps or self.passed
        for callback in self.bars.callbacks:
            callback.params["steps"] = self.steps
            callback.params["samples"] = None if self.plan.steps else rows
            if getattr(callback, "_bar", None) is not None:
                callback._bar.total = self.steps

    def _serve(self, rank: int, facts: dict[str, Any]) -> None:
        self.slices[rank] = facts["slice"]
        wanted = [*facts["need"], "update" if self.plan.whole else f"update:{rank}"]
        wanted += [f"norm:{rank}"] * self.plan.clips + ["constraints"] * self.plan.constrained
        for name in wanted:
            if name not in self.served:
                self.served.add(name)
                program = self.compiler.program(name, self.slices[rank])
                if program is not None:
                    self.job.control.publish(name, pickle.dumps(program, protocol=5))

    def _steps_now(self) -> int:
        """Steps of the present epoch, which may end with the records."""
        done = self.fit.epoch - self.plan.origin
        return place_of_epoch(done, self.plan.steps, self.passed)[2]

    # ---- while an epoch runs -------------------------------------------------------------------

    def _show(self, records: list[Any]) -> None:
        """The newest step to callbacks that need not see all: the progress bar."""
        step = int(min(r.values[0] for r in records))
        if step <= self.step or any(r.facts.get("epoch") != self.fit.epoch for r in records):
            return
        self.step = step
        if self.bars.needs_batch_logs:
            logs = self.compiler.quick_logs(sum(r.values[1:] for r in records))
            self.bars.on_train_batch_end(step, logs)

    def _keep(self, records: list[Any]) -> None:
        """The copies that the ranks have made within the epoch, once all have made the same."""
        places = [r.facts.get("snapped") for r in records]
        if places[0] is None or places[0] == self.kept or places.count(places[0]) < len(places):
            return
        if places[0][0] != self.fit.epoch:  # of an epoch that has been closed
            return
        try:
            blobs = [self.job.fetch(rank, "snapshot") for rank in range(self.job.size)]
        except (BridgeError, ConfigError):  # a rank has gone, or goes on to the next copy
            return
        middle = joined([blob.tobytes() for blob in blobs])
        if middle is not None and middle.epoch == self.fit.epoch:
            self.fit.middle, self.kept = middle, places[0]
            self.fit.isa = records[0].facts["isa"]

    # ---- steps that the driver leads -----------------------------------------------------------

    def _lead(self, records: list[Any]) -> None:
        """When all ranks have made the step: its hooks, and the word for the next one."""
        if min(r.facts.get("turned", [-1, -1]) for r in records) < self.turn:
            return
        parts = self._measured()
        if parts is None:
            return
        facts, step = records[0].facts, self.turn[1]
        logs = self.compiler.logs([Measured(*part[0]) for part in parts])
        self.compiler.count(int(facts["iterations"]))
        lagging = Lagging(
            self.model._local(), self.compiler.variables(), lambda: self._catch_up(facts)
        )
        try:
            self.bars.on_train_batch_end(step, logs)
            stop = bool(self.model.stop_training or facts["halted"])  # later ones hold a step on
            if step + 1 < self._steps_now() and not stop:
                self.bars.on_train_batch_begin(step + 1)
        finally:
            lagging.end()
        if lagging.fetched and self.fetched:
            self._publish_changes(self.fetched)
        self._count_if_set(int(facts["iterations"]))
        self.turn = [self.turn[0], step + 1]
        self._tell(turn=self.turn, stop=stop)

    def _catch_up(self, facts: dict[str, Any]) -> None:
        """A hook reads weights: bring the ranks' here."""
        found = self._fetch()
        if found is None:
            raise PeerLostError(
                "fit: a callback has read weights while a rank went away. Received: no answer from "
                "it. Nothing need be done: fit goes back to the last epoch's end."
            )
        self.compiler.take(found.weights, found.slots, found.scalars, int(facts["iterations"]))
        self.fetched = self.compiler.snapshot(self.fetched)

    def _publish_changes(self, before: Snapshot) -> None:
        """Give the ranks what hooks have set since that copy."""
        self.model._local().settle()
        now = self.compiler.state.values()
        changed = {s for s, array in now.items() if not _same_bits(before.arrays[s], array)}
        blobs = {space: now[space] for space in changed - {WEIGHTS, STATE}}
        if changed & {WEIGHTS, STATE}:
            blobs[WEIGHTS] = self.compiler.weights()
        for space, array in blobs.items():
            self.job.control.publish(space, array)
            self._renew(space)

    def _renew(self, space: str) -> None:
        self.versions[space] = self.versions.get(space, 0) + 1

    def _count_if_set(self, before: int) -> None:
        """A hook may have set the optimizer's step count."""
        if self.compiler.steps_done() != before:
            self._renew(ITERATIONS)

    # ---- the end of an epoch -------------------------------------------------------------------

    def _close_epoch(self, records: list[Any]) -> None:
        """Every rank waits at the gate: fetch what it made, run the callbacks, open the next."""
        start, found = time.perf_counter(), self._fetch()
        if found is None:
            return
        self.fit.account.told(*zip(*found.clocks, strict=True))
        self.fit.hosts = [record.facts["host"] for record in records]
        self.fit.tell_history()
        self.fit.middle = None
        fit, steps = self.fit, int(records[0].facts["steps"])
        fit.isa = records[0].facts["isa"]
        if self.plan.steps and self._steps_now() == steps < self.plan.steps:
            warn_interrupted("steps_per_epoch", self.plan.steps)
        iterations = int(records[0].facts["iterations"])
        self.compiler.take(found.weights, found.slots, found.scalars, iterations)
        fit.logs = self.compiler.logs(found.trained)
        fit.snapshot = self.compiler.snapshot(fit.snapshot)
        lagging = Lagging(self.model._local(), self.compiler.variables(), lambda: None)
        try:
            self._call_back(found, steps)
        finally:
            lagging.end()
        self._next(touched=lagging.fetched)
        if not self.ended:  # ranks wait for no callback behind the last epoch
            fit.account.callbacks += time.perf_counter() - start

    def _call_back(self, found: _Results, steps: int) -> None:
        """All hooks between the epochs."""
        fit = self.fit
        if self.bars.needs_batch_logs and self.step < steps - 1 and not self.plan.led:
            self.bars.on_train_batch_end(steps - 1, dict(fit.logs))
        if found.tested is not None:
            self._end_tests(found)
        self.bars.on_epoch_end(fit.epoch, fit.logs)
        fit.epoch += 1
        self.ended = fit.epoch >= self.plan.epochs[1] or self.model.stop_training
        if not self.ended:
            self._begin_epoch()

    def _end_tests(self, found: _Results) -> None:
        self.bars.on_test_begin()
        tested = self.compiler.logs(found.tested or [])
        self.bars.on_test_end(tested)
        self.fit.logs.update({f"val_{name}": value for name, value in tested.items()})

    def _next(self, touched: bool) -> None:
        """Open the next epoch with the weights that callbacks, if they have `touched` any, may
        have set."""
        before = self.fit.snapshot
        self._count_if_set(before.iterations)
        if touched and not self.ended:
            self._publish_changes(before)
        if touched:
            before = self.compiler.snapshot(before)
        self.fit.snapshot = before._replace(iterations=self.compiler.steps_done())
        if self.ended:
            self._tell(end=True)
            return
        self._open()

    def _fetch(self) -> _Results | None:
        """What the ranks have published; None when one of them is gone: the job will say why."""
        ranks, parts = range(self.job.size), self._measured()
        if parts is None:
            return None
        try:
            weights = self.job.fetch(0, WEIGHTS, again=True).view(np.float32)
            slots = {name: [self._slot(name, r) for r in ranks if self._owns(r)]
                     for name in self.plan.slots}  # fmt: skip
        except (BridgeError, ConfigError):  # ConfigError: the rank's board has gone
            return None
        trained, tested = [[Measured(*p[i]) for p in parts if p[i] is not None] for i in (0, 1)]
        return _Results(
            trained, tested or None, weights, slots, parts[0][2], [part[3] for part in parts]
        )

    def _measured(self) -> list[Any] | None:
        """(trained, tested, scalars, (seconds, waits)) of every rank; None when one is gone."""
        try:
            found = [self.job.fetch(rank, "measured") for rank in range(self.job.size)]
        except (BridgeError, ConfigError):
            return None
        return [pickle.loads(blob.tobytes()) for blob in found]

    def _owns(self, rank: int) -> bool:
        lo, hi = self.slices[rank]
        return hi > lo

    def _slot(self, name: str, rank: int) -> tuple[int, int, np.ndarray]:
        lo, hi = self.slices[rank]
        return lo, hi, self.job.fetch(rank, SLOT(name), again=True).view(np.float32)
