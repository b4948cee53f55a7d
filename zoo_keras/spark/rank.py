"""One rank of a fit, inside its executor's Python worker: reads its rows, then trains epochs.

In: a RankContext (rows, bridge, boards) and a FitPlan. Out: weights and optimizer slots in shared
memory, which the driver fetches. Knows programs and flat vectors; no model, no layer, no Keras
object ever gets here.
"""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.errors import ClusterError, DataError, NonFiniteLossError
from zoo_keras.execute import Runner
from zoo_keras.spark.bridge import Region
from zoo_keras.spark.job import RankContext
from zoo_keras.spark.plan import FitPlan, engine_fingerprint
from zoo_keras.spark.rows import Columns
from zoo_keras.spark.schedule import Schedule, make_schedule
from zoo_keras.training.data import class_weights_of, epoch_order
from zoo_keras.training.labels import check_labels

REPORT_EVERY = 0.05  # seconds between progress records
GATE_PAUSE = 0.002
MAX_BOARD_METRICS = 700  # more metric values than this travel as a blob


def train_rank(rank: RankContext, plan: FitPlan, decode: Any = None) -> int:
    """The body of the barrier job; `decode` turns items into columns. Returns the number of rows that this rank held."""
    check_engine(plan.kernels)
    native.set_threads(rank.cores)
    data = RankData(rank, plan, decode)
    facts = rank.gather({"rows": data.rows, "validation": data.validation_rows})
    worker = RankWorker(rank, plan, data, facts)
    for epoch in range(*plan.epochs):
        if not worker.gate(epoch):
            break
        worker.epoch(epoch)
    worker.gate(plan.epochs[1])
    worker.close()
    return data.rows


def check_engine(wanted: str) -> None:
    """Programs run only on the engine build that they were compiled for."""
    own = engine_fingerprint()
    if own != wanted:
        raise ClusterError(
            f"The driver and this executor have different builds of zoo_keras. Received: {wanted} "
            f"from the driver, {own} here. Install the same wheel everywhere."
        )


class RankData:
    """This rank's columns for training and validation."""

    def __init__(self, rank: RankContext, plan: FitPlan, decode: Any = None) -> None:
        read = self._read(rank, plan, rank.rows, decode)
        self.columns = read
        self.rows = len(read[0])
        self.validation = self._read(rank, plan, rank.validation, decode)
        if plan.validation:
            kept = int(self.rows * (1 - plan.validation))
            self.validation = [c[kept:] for c in read]
            self.columns, self.rows = [c[:kept] for c in read], kept
        self.validation_rows = len(self.validation[0])
        self._check_labels(plan, rank.rank)
        if plan.class_weight is not None:
            self._weigh(plan)

    @staticmethod
    def _read(rank: RankContext, plan: FitPlan, items: Any, decode: Any) -> list[np.ndarray]:
        columns = Columns(plan.layout, rank.rank, plan.budget)
        if decode is not None:
            return columns.read_chunks(decode(items))
        return columns.read(items, supervised=True)

    def _check_labels(self, plan: FitPlan, partition: int) -> None:
        for columns in (self.columns, self.validation):
            _, ys, _ = plan.layout.split(columns)
            for y, classes in zip(ys, plan.labels, strict=True):
                if classes is not None and y.size:
                    check_labels(y, classes, f"Partition {partition}, ")

    def _weigh(self, plan: FitPlan) -> None:
        _, ys, ws = plan.layout.split(self.columns)
        weights = class_weights_of(ys, ws, plan.class_weight or {})
        keep = plan.layout.counts[0] + plan.layout.counts[1]
        self.columns = [*self.columns[:keep], weights]
        _, _, vs = plan.layout.split(self.validation)
        unit = vs or [np.ones(self.validation_rows, np.float32)]
        self.validation = [*self.validation[:keep], *unit]


class RankWorker:
    """Runs the steps of one rank."""

    def __init__(
        self, rank: RankContext, plan: FitPlan, data: RankData, facts: list[dict[str, Any]]
    ) -> None:
        self.rank, self.plan, self.data = rank, plan, data
        self.schedule = make_schedule([f["rows"] for f in facts], plan.batch_size)
        self.tests = make_schedule([f["validation"] for f in facts], plan.validation_batch)
        self.facts: dict[str, Any] = {"rows": data.rows, "done": plan.epochs[0] - 1}
        self.runners: dict[str, Runner] = {}
        self._reported = 0.0
        self._weights_version = 0
        self._allocate()
        self._announce()
        self._load()

    # ---- memory --------------------------------------------------------------------------------

    def _allocate(self) -> None:
        plan = self.plan
        extra = sum(hi - lo for lo, hi in plan.averaged)
        self.ring = self.rank.all_reduce(plan.weights + extra, wire=plan.wire)
        lo, hi = self.ring.bounds
        self.own = min(lo, plan.weights), min(hi, plan.weights)  # the part that is weights
        self.tail = max(lo, plan.weights), max(hi, plan.weights)  # the part that is state
        size = self.own[1] - self.own[0]
        self.slot_region = Region(self.rank.bridge, 4 * max(size, 1) * max(len(plan.slots), 1))
        self.slots = {
            name: self.slot_region.array(4 * size * i, size) for i, name in enumerate(plan.slots)
        }
        self.state = native.aligned(4 * plan.state).view(np.float32)
        self.metrics = native.aligned(4 * plan.metrics).view(np.float32)
        self.constrained = self.ring.weights[: plan.weights].copy() if plan.constrained else None
        self.rng, self.share = np.zeros(2, np.int64), np.zeros((), np.float32)
        self.lr, self.iterations = np.zeros((), np.float32), np.array(plan.iterations)
        self.norms = np.zeros(1, np.float32)

    def _spaces(self) -> dict[str, np.ndarray]:
        weights = self.ring.weights if self.constrained is None else self.constrained
        found = {
            "weights": weights, "grads": self.ring.gradient, "state": self.state,
            "metrics": self.metrics, "rng": self.rng, "share": self.share, "lr": self.lr,
        }  # fmt: skip
        found.update({f"slot:{name}": array for name, array in self.slots.items()})
        found.update({f"var{i}": array for i, array in enumerate(self.plan.others)})
        return found

    def _announce(self) -> None:
        """Tell the driver which programs this rank needs, and where its memory can be read."""
        rank = self.rank.rank
        need = [f"train:{n}" for n in self.schedule.sizes(rank)]
        if self.data.validation_rows:
            need += [f"test:{n}" for n in self.tests.sizes(rank)]
        self.facts["need"] = need
        self.facts["slice"] = list(self.own)
        size = self.own[1] - self.own[0]
        if rank == 0 and self.constrained is None:
            whole = [self.ring.part("weights", 0, self.ring.count)]
            self.rank.progress.share("weights", whole)
        for i, name in enumerate(self.plan.slots):
            if size:
                place = self.slot_region.part(4 * size * i, 4 * size)
                self.rank.progress.share(f"slot:{name}", [place])
        self._write(-1)

    def _load(self) -> None:
        """Take over weights, state and slots from the driver."""
        weights = self._blob("weights").view(np.float32)
        self._take_weights(weights)
        size, (lo, hi) = self.plan.weights, self.own
        for name, array in self.slots.items():
            if hi > lo:
                array[:] = self._blob(f"slot:{name}").view(np.float32)[:size][lo:hi]

    def _take_weights(self, flat: np.ndarray) -> None:
        p = self.plan.weights
        self.ring.weights[:p] = flat[:p]
        self.state[:] = flat[p : p + self.plan.state]
        self._pack_state(self.ring.weights, 1.0)
        if self.constrained is not None:
            self.constrained[:] = flat[:p]

    def _pack_state(self, vector: np.ndarray, share: float) -> None:
        at = self.plan.weights
        for lo, hi in self.plan.averaged:
            np.multiply(self.state[lo:hi], np.float32(share), out=vector[at : at + hi - lo])
            at += hi - lo

    def _unpack_state(self) -> None:
        at = self.plan.weights
        for lo, hi in self.plan.averaged:
            self.state[lo:hi] = self.ring.weights[at : at + hi - lo]
            at += hi - lo

    # ---- talking to the driver -----------------------------------------------------------------

    def _blob(self, name: str) -> np.ndarray:
        """A blob of the driver's, waiting until it is published."""
        while True:
            self.rank.control.read()
            if name in self.rank.control.blobs():
                return self.rank.control.fetch(name)
            time.sleep(GATE_PAUSE)

    def _runner(self, name: str) -> Runner:
        if name not in self.runners:
            program = pickle.loads(self._blob(name).tobytes())
            runner = Runner(program)
            for space, array in self._spaces().items():
                runner.set(space, array)
            self.runners[name] = runner
        return self.runners[name]

    def _write(self, step: int, values: np.ndarray | None = None) -> None:
        small = self.plan.metrics <= MAX_BOARD_METRICS
        shown = values if values is not None else self.metrics
        self.rank.progress.write([step, *(shown if small else ())], self.facts)
        self._reported = time.monotonic()

    def gate(self, epoch: int) -> bool:
        """Wait until the driver lets this epoch begin; False when training ends here."""
        while True:
            record = self.rank.control.read()
            facts = record.facts if record else {}
            if facts.get("end"):
                return False
            if facts.get("go", -1) >= epoch:
                break
            time.sleep(GATE_PAUSE)
        if facts.get("weights_version", 0) != self._weights_version:
            self._weights_version = facts["weights_version"]
            self._take_weights(self._blob("weights").view(np.float32))
        self.lr[...] = facts["lr"]
        return True

    # ---- training ------------------------------------------------------------------------------

    def epoch(self, epoch: int) -> None:
        """All steps of one epoch, then validation and the report."""
        self.metrics[:] = 0
        order = self._order(epoch)
        steps = min(self.schedule.steps, self.plan.steps or self.schedule.steps)
        for step in range(steps):
            stopped = self._step(epoch, step, order)
            if stopped:
                break
        self._finish(epoch, step)

    def _order(self, epoch: int) -> np.ndarray | None:
        seed = self.plan.seed * 1_000_003 + self.rank.rank
        return epoch_order(self.data.rows, self.plan.shuffle, seed, epoch)

    def _step(self, epoch: int, step: int, order: np.ndarray | None) -> bool:
        """One global batch; True when the driver wants to stop."""
        rank, plan, ring = self.rank.rank, self.plan, self.ring
        lo, hi = self.schedule.slice_of(rank, step)
        share = (hi - lo) / max(self.schedule.batch(step), 1)
        if hi > lo:
            rows = slice(lo, hi) if order is None else order[lo:hi]
            self._gradient(rows, hi - lo, share, self.schedule.first_row(rank, step))
            self._check_loss(epoch, step)
        else:
            ring.gradient[:] = 0
        self._pack_state(ring.gradient, share)
        notes = ring.reduce_scatter(self._wishes())
        self.lr[...] = notes[0, 1]
        self._update()
        ring.all_gather()
        self._after_gather()
        if time.monotonic() - self._reported > REPORT_EVERY:
            self._write(step)
        return bool(notes[0, 0])

    def _wishes(self) -> list[float]:
        """(stop, learning rate); rank 0 asks the driver and its answer counts."""
        if self.rank.rank:
            return [0.0, float(self.lr)]
        record = self.rank.control.read(max_age=REPORT_EVERY)
        facts = record.facts if record else {}
        return [float(bool(facts.get("stop"))), float(facts.get("lr", self.lr))]

    def _gradient(self, rows: Any, count: int, share: float, first: int) -> None:
        runner = self._runner(f"train:{count}")
        self.rng[:] = int(self.iterations), first
        self.share[...] = share
        self._feed(runner, self.data.columns, rows)
        runner.run()

    def _feed(self, runner: Runner, columns: list[np.ndarray], rows: Any) -> None:
        xs, ys, ws = self.plan.layout.split(columns)
        for letter, arrays in (("x", xs), ("y", ys), ("w", ws)):
            for i, array in enumerate(arrays):
                runner.set(f"{letter}{i}", np.ascontiguousarray(array[rows]))

    def _update(self) -> None:
        """The optimizer on this rank's slice; averaged layer state is taken as it is."""
        ring, (lo, hi), (a, b) = self.ring, self.own, self.tail
        if self.constrained is not None:
            ring.weights[lo:hi] = self.constrained[lo:hi]
        if self.plan.clips:
            self._sum_norms()
        if hi > lo:
            runner = self._runner(f"update:{self.rank.rank}")
            runner.set("weights", ring.weights)
            runner.set("norms", self.norms)
            runner.set("iterations", self.iterations)
            runner.run()
        self.iterations[...] += 1
        every = self.plan.average_every
        if every and int(self.iterations) % every == 0 and hi > lo:
            ring.weights[lo:hi] = self.slots["average"]
        ring.weights[a:b] = ring.gradient[a:b]

    def _sum_norms(self) -> None:
        """Sums of squares of each weight's gradient over all ranks."""
        lo, hi = self.own
        count = int(self.rank.control.read(max_age=1e9).facts["weights_count"])  # type: ignore[union-attr]
        sums = np.zeros(max(count, 1), np.float32)
        if hi > lo:
            runner = self._runner(f"norm:{self.rank.rank}")
            runner.set("out0", sums)
            runner.run()
        self.norms = self.ring.all_sum(sums).astype(np.float32)

    def _after_gather(self) -> None:
        self._unpack_state()
        if self.constrained is not None:
            self.constrained[:] = self.ring.weights[: self.plan.weights]
            self._runner("constraints").run()

    def _check_loss(self, epoch: int, step: int) -> None:
        i = self.plan.loss_index
        if i >= 0 and not np.isfinite(self.metrics[i]):
            raise NonFiniteLossError(
                "The loss is no longer finite. Received: a loss of "
                f"{self.metrics[i]} at epoch {epoch + 1}, step {step + 1}, in partition "
                f"{self.rank.rank}. Check the data for NaN, lower the learning rate, or use "
                "callbacks.TerminateOnNaN to stop without an error."
            )

    # ---- the end of an epoch -------------------------------------------------------------------

    def _finish(self, epoch: int, step: int) -> None:
        trained = self.metrics.copy()
        tested = self._validate(epoch)
        self.metrics[:] = trained
        if self.rank.rank == 0:
            if self.constrained is not None:
                tail = self.ring.weights[self.plan.weights :]
                self.rank.progress.publish("weights", np.concatenate([self.constrained, tail]))
            self.rank.progress.publish("others", _pickled(list(self.plan.others)))
        blob = trained if tested is None else np.concatenate([trained, tested])
        self.rank.progress.publish("metrics", blob)
        self.facts.update(done=epoch, steps=step + 1, validated=tested is not None)
        self._write(step)

    def _validate(self, epoch: int) -> np.ndarray | None:
        """Metrics of this rank's validation rows, or None when it is not the epoch for it."""
        if epoch not in self.plan.validation_epochs:
            return None
        self.metrics[:] = 0
        for step in range(self.tests.steps):
            lo, hi = self.tests.slice_of(self.rank.rank, step)
            if hi > lo:
                runner = self._runner(f"test:{hi - lo}")
                self._feed(runner, self.data.validation, slice(lo, hi))
                runner.run()
        return self.metrics.copy()

    def close(self) -> None:
        """Leave together with the others."""
        self.ring.close()
        self.slot_region.close()


def _pickled(value: Any) -> np.ndarray:
    return np.frombuffer(pickle.dumps(value, protocol=5), np.uint8)


