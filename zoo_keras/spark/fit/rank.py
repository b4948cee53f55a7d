"""One rank of a fit, inside its executor's Python worker: trains epochs on its rows.

In: a RankContext (rows, bridge, boards) and a FitPlan. Out: weights and optimizer slots in shared
memory, which the driver fetches. Knows programs and flat vectors; no model, no layer, no Keras
object ever gets here.
"""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.engine import spaces
from zoo_keras.engine.runner import Runner
from zoo_keras.errors import NonFiniteLossError
from zoo_keras.spark.data.records import Layout
from zoo_keras.spark.fit.middle import Kept
from zoo_keras.spark.fit.plan import FitPlan
from zoo_keras.spark.fit.rank_data import PAUSE, RankData, wait_for_blob
from zoo_keras.spark.fit.schedule import make_schedule, place_of_epoch
from zoo_keras.spark.transport.allreduce import SUM_VALUES, AllReduce
from zoo_keras.spark.transport.bridge import Region
from zoo_keras.spark.transport.job import RankContext
from zoo_keras.training.clock import Clock
from zoo_keras.training.data import epoch_order, gathered

REPORT_EVERY = 0.05  # seconds between progress records
ASK_EVERY = 0.5  # seconds between looks at the driver's board within an epoch: two JVMs serve each
MAX_BOARD_METRICS = 1000  # of more metric values only the first ones are shown during an epoch


class RankWorker:
    """Runs the steps of one rank."""

    def __init__(
        self,
        rank: RankContext,
        plan: FitPlan,
        data: RankData,
        facts: list[dict[str, Any]],
        clock: Clock,
    ) -> None:
        self.rank, self.plan, self.data, self.clock = rank, plan, data, clock
        self.schedule = make_schedule([f["rows"] for f in facts], plan.batch_size)
        self.tests = make_schedule([f["tests"] for f in facts], plan.validation_batch)
        self.facts: dict[str, Any] = {
            "rows": data.rows, "tests": data.test_rows, "done": plan.epochs[0] - 1,
            "isa": facts[0]["isa"], "ran": clock.total(), "host": socket.gethostname(),
        }  # fmt: skip
        self.runners: dict[str, Runner] = {}
        self._reported = 0.0
        self._versions: dict[str, int] = {}
        self._renewed = self._halts = self._snaps = False
        self._snapped = time.monotonic()
        self._pass: tuple[int, np.ndarray | None] = (-1, None)
        self._allocate()
        self._announce()
        self._load()

    # ---- memory --------------------------------------------------------------------------------

    def _allocate(self) -> None:
        plan = self.plan
        self.ring = self.rank.all_reduce(plan.tail.end, wire=plan.wire)
        self.own, self.behind = plan.tail.divide(*self.ring.bounds)  # weights and state of its own
        self.current = self.ring.weights  # weights, and the state that is shared
        self.constrained = self.current[: plan.weights].copy() if plan.constrained else None
        self._allocate_rest(*self.own)

    def _allocate_rest(self, lo: int, hi: int) -> None:
        """Room for all but the vector that is exchanged; slots for weights lo..hi."""
        plan, self.kept, size = self.plan, (lo, hi), hi - lo
        self.slot_region = Region(self.rank.bridge, 4 * max(size, 1) * max(len(plan.slots), 1))
        self.slots = {
            name: self.slot_region.array(4 * size * i, size) for i, name in enumerate(plan.slots)
        }
        self.state = native.aligned(4 * plan.state).view(np.float32)
        self.metrics = native.aligned(4 * plan.metrics).view(np.float32)
        self.others = [array.copy() for array in plan.others]
        self.scalars = [array.copy() for array in plan.scalars]
        self.rng, self.share = np.zeros(2, np.int64), np.zeros((), np.float32)
        self.logs = np.zeros(plan.logs, np.float32)
        self.counts = np.ones(max(plan.outputs, 1), np.float32)
        self.lr, self.iterations = np.zeros((), np.float32), np.array(plan.iterations, np.int32)
        self.norms = np.zeros(max(plan.variables, 1), np.float32)

    def _spaces(self) -> dict[str, np.ndarray]:
        weights = self.current if self.constrained is None else self.constrained
        found = {
            spaces.WEIGHTS: weights, spaces.GRADS: self.ring.gradient, spaces.STATE: self.state,
            spaces.METRICS: self.metrics, spaces.RNG: self.rng, spaces.SHARE: self.share,
            spaces.COUNTS: self.counts, spaces.RATE: self.lr, spaces.ITERATIONS: self.iterations,
            spaces.NORMS: self.norms, spaces.LOGS: self.logs, **spaces.VAR.named(self.others),
            **spaces.OPTIMIZER.named(self.scalars),
        }  # fmt: skip
        found.update({spaces.SLOT(name): array for name, array in self.slots.items()})
        return found

    def _announce(self) -> None:
        """Tell the driver which programs this rank needs, and where its memory can be read."""
        rank, plan = self.rank.rank, self.plan
        sizes, tests = self.schedule.sizes(rank), self.tests.sizes(rank)
        need = self._train_programs() + [f"count:{n}" for n in sizes if plan.counts]
        need += [f"test:{n}" for n in tests]
        need += [f"test-count:{n}" for n in tests if plan.test_counts]
        self.facts["need"] = need
        self.facts["slice"] = list(self.kept)
        if rank == 0 and self._lives_in_ring():
            whole = [self.ring.part("weights", 0, self.ring.count)]
            self.rank.progress.share(spaces.WEIGHTS, whole)
        self._share_slots()
        self._write(-1)

    def _train_programs(self) -> list[str]:
        return [f"train:{n}" for n in self.schedule.sizes(self.rank.rank)]

    def _share_slots(self) -> None:
        size = self.kept[1] - self.kept[0]
        for i, name in enumerate(self.plan.slots if size else ()):
            place = self.slot_region.part(4 * size * i, 4 * size)
            self.rank.progress.share(spaces.SLOT(name), [place])

    def _lives_in_ring(self) -> bool:
        """Whether the weights are in shared memory at all times, for the driver to read."""
        return self.constrained is None

    def _load(self) -> None:
        """Take over weights, state and slots from the driver."""
        self._take_weights(self._blob(spaces.WEIGHTS).view(np.float32))
        self._take_slots(self.slots)

    def _take_slots(self, names: Iterable[str]) -> None:
        size, (lo, hi) = self.plan.weights, self.kept
        for name in names if hi > lo else ():
            self.slots[name][:] = self._blob(spaces.SLOT(name)).view(np.float32)[:size][lo:hi]

    def _take_weights(self, flat: np.ndarray) -> None:
        p = self.plan.weights
        self.current[:p] = flat[:p]
        self.state[:] = flat[p : p + self.plan.state]
        self.plan.tail.put(self.state, self.current)
        self._renewed = True
        if self.constrained is not None:
            self.constrained[:] = flat[:p]

    # ---- talking to the driver -----------------------------------------------------------------

    def _blob(self, name: str) -> np.ndarray:
        return wait_for_blob(self.rank, name)

    def _runner(self, name: str) -> Runner:
        if name not in self.runners:
            program = pickle.loads(self._blob(name).tobytes())
            runner = Runner(program)
            for space, array in self._spaces().items():
                runner.set(space, array)
            self.runners[name] = runner
        return self.runners[name]

    def _write(self, step: int) -> None:
        shown = self.metrics[:MAX_BOARD_METRICS]
        self.rank.progress.write([step, *shown], self.facts)
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
            time.sleep(PAUSE)
        self._follow(facts)
        self.clock.lap("gate")
        return True

    def _follow(self, facts: dict[str, Any]) -> None:
        """Take over the learning rate, and what a callback has set of all else."""
        told, had = facts["versions"], self._versions
        new = {space for space, version in told.items() if version != had.get(space)}
        if spaces.WEIGHTS in new:
            self._take_weights(self._blob(spaces.WEIGHTS).view(np.float32))
        self._take_slots(name for name in self.slots if spaces.SLOT(name) in new)
        rest = {**spaces.VAR.named(self.others), **spaces.OPTIMIZER.named(self.scalars)}
        for space in new & rest.keys():
            array = rest[space]
            array[...] = self._blob(space).view(array.dtype).reshape(array.shape)
        if spaces.ITERATIONS in new:
            self.iterations[...] = facts["count"]
        self._versions = told
        self.lr[...] = facts["lr"]
        for number, rate in facts["rates"]:
            self.scalars[number][...] = rate

    def _turn(self, epoch: int, step: int) -> bool:
        """Where the driver leads every step: wait for its word; False when training stops here."""
        while self.plan.led:
            record = self.rank.control.read()
            if record and record.facts.get("turn", [-1, -1]) >= [epoch, step]:
                self._follow(record.facts)
                self.clock.lap("gate")
                return not record.facts.get("stop")
            time.sleep(PAUSE)
        return True

    def _report(self, epoch: int, step: int, halted: bool) -> None:
        """After a step that the driver leads: all that callbacks may want to see."""
        if not self.plan.led:
            return
        self._publish(self._measured(self.data.rows, self.logs), None)
        self.facts.update(turned=[epoch, step], halted=halted, iterations=int(self.iterations))
        self._write(step)

    def _publish(self, trained: Any, tested: Any) -> None:
        """What was measured, and what of the state is not live in shared memory."""
        if self.rank.rank == 0 and not self._lives_in_ring():
            weights = self.current if self.constrained is None else self.constrained
            p = self.plan.weights
            self.rank.progress.publish(
                spaces.WEIGHTS, np.concatenate([weights[:p], self.current[p:]])
            )
        clock = self.clock.seconds, self.clock.waits
        measured = pickle.dumps((trained, tested, self.scalars, clock))
        self.rank.progress.publish("measured", measured)

    # ---- training ------------------------------------------------------------------------------

    def epoch(self, epoch: int) -> None:
        """All steps of one epoch, then validation and the report."""
        self._reset_metrics()
        self.facts["epoch"] = epoch
        self._resume(epoch)
        self._write(-1)
        steps = self._steps(epoch)
        self._agree()
        self.clock.lap("exchange")
        self._finish(epoch, steps)

    def _steps(self, epoch: int) -> int:
        """All steps of an epoch, or as many as the driver wants; returns their number."""
        self._halts = False
        self.clock.together()
        steps = self._place_of(epoch)[2]
        for step in range(self._first_step(epoch), steps):
            if not self._turn(epoch, step):
                return step
            halted = self._step(epoch, step)
            if self._snaps and step + 1 < steps:
                self._snapshot(epoch, step)
            self._report(epoch, step, halted)
            if halted:
                break
        self._turn(epoch, step + 1)
        return step + 1

    def _agree(self) -> None:
        """Whoever starts from here has the owners' very weights, however they have travelled."""
        if self.plan.wire != "float32":
            self.ring.all_gather(exact=True)
            self._after_gather()

    def _reset_metrics(self) -> None:
        self.metrics[:] = 0
        for i in self.plan.metric_others:
            self.others[i][...] = 0

    def _place_of(self, epoch: int) -> tuple[int, int, int]:
        done = epoch - self.plan.origin
        return place_of_epoch(done, self.plan.steps, self.schedule.steps)

    def _place(self, epoch: int, step: int) -> tuple[int, np.ndarray | None]:
        """(step within a pass over the records, order of rows in that pass)."""
        passes, first, _ = self._place_of(epoch)
        passed, step = self.plan.origin + passes, first + step
        if self._pass[0] != passed:
            seed = self.plan.seed * 1_000_003 + self.rank.rank
            order = epoch_order(self.data.rows, self.plan.shuffle, seed, passed)
            base = self.data.order
            self._pass = passed, order if base is None or order is None else base[order]
        return step, self._pass[1]

    def _step(self, epoch: int, number: int) -> bool:
        """One global batch; True when the driver wants to stop."""
        rank, ring = self.rank.rank, self.ring
        step, order = self._place(epoch, number)
        if not self.schedule.batch(step):
            return False
        lo, hi = self.schedule.slice_of(rank, step)
        rows = slice(lo, hi) if order is None else order[lo:hi]
        self._prepare("", rows, hi - lo, self.schedule.batch(step))
        self.rng[:] = int(self.iterations), self.schedule.first_row(rank, step)
        self.logs[:] = 0
        self._gradient(rows, hi - lo)
        if hi > lo:
            self._check_loss(epoch, number)
        wishes, alone = self._wishes(), self.clock.apart()
        self.clock.lap("compute")
        notes = ring.reduce_scatter([*wishes, alone, self._wants_snapshot(number)])
        self.clock.met(alone, notes[:, 2].tolist())
        self.lr[...] = notes[0, 1]
        self._snaps = bool(notes[0, 3])
        self._move(exact=number == 0 or self._renewed or self._snaps)
        self._renewed = self._snaps  # as after a restart from here
        self.clock.lap("update")
        if time.monotonic() - self._reported > REPORT_EVERY:
            self._write(number)
        return bool(notes[:, 0].any())

    def _gradient(self, rows: Any, count: int) -> None:
        """What this rank's rows, `count` of them, add to the vector that is summed."""
        if count:
            self._run(f"train:{count}", rows)
        else:
            self.ring.gradient[:] = 0
        self.plan.tail.put_moves(self.state, self.current, self.share, self.ring.gradient)

    # ---- going on in the middle of an epoch ----------------------------------------------------

    def _first_step(self, epoch: int) -> int:
        return self.plan.first_step if epoch == self.plan.epochs[0] else 0

    def _wants_snapshot(self, step: int) -> float:
        """Whether all ranks shall keep a copy after this step; rank 0's answer counts."""
        every, seconds = self.plan.snapshot_steps, self.plan.snapshot_seconds
        due = every is not None and (step + 1) % every == 0
        return float(due or (seconds is not None and time.monotonic() - self._snapped >= seconds))

    def _snapshot(self, epoch: int, step: int) -> None:
        """A copy, for the driver, of all that a rank needs to go on behind this step."""
        whole = None
        if self.rank.rank == 0:
            weights, p = self._spaces()[spaces.WEIGHTS], self.plan.weights
            whole = np.concatenate([weights[:p], self.current[p:]]), self.scalars
        lo, hi = self.facts["slice"]
        slots = self.slots if hi > lo else {}
        measured = self.metrics, self.others
        kept = Kept([epoch, step + 1], int(self.iterations), whole, (lo, hi), slots, measured)
        self.rank.progress.publish("snapshot", pickle.dumps(kept, protocol=5))
        self.facts["snapped"], self._snapped = kept.place, time.monotonic()
        self._write(step)

    def _resume(self, epoch: int) -> None:
        """What was measured before the step with which a restart begins."""
        if self._first_step(epoch):
            metrics, others = pickle.loads(self._blob(f"resume:{self.rank.rank}").tobytes())
            self.metrics[:] = metrics
            for array, value in zip(self.others, others, strict=True):
                array[...] = value

    def _move(self, exact: bool) -> None:
        """From the summed gradient to the new weights, on every rank."""
        self._update()
        self.clock.lap("update")
        self.ring.all_gather(exact=exact)
        self.clock.lap("exchange")
        self.clock.together()
        self._after_gather()

    def _prepare(self, kind: str, rows: Any, count: int, whole: int) -> None:
        """How the rank's part counts in the global batch of `whole` rows."""
        self.share[...] = count / max(whole, 1)
        if not (self.plan.test_counts if kind else self.plan.counts):
            return
        mine = np.zeros_like(self.counts)
        if count:
            self._runner(f"{kind}count:{count}").set(spaces.OUT(0), mine)
            self._run(f"{kind}count:{count}", rows)
        total = self._sum(mine)
        self.counts[:] = np.where(total == 0, 1, total)

    def _run(self, name: str, rows: Any) -> None:
        """Run a program on rows of this rank."""
        tests = name.startswith("test")
        layout, columns = self.plan.layout, self.data.columns
        if tests:
            layout, columns = self.plan.test_layout, self.data.tests
        runner = self._runner(name)
        for space, array in self._batch(layout, columns, rows).items():
            runner.set(space, array)
        runner.run()

    @staticmethod
    def _batch(layout: Layout, columns: list[np.ndarray], rows: Any) -> dict[str, np.ndarray]:
        """The leaves of a batch by the names of their spaces."""
        found = [a[rows] for a in columns] if isinstance(rows, slice) else gathered(columns, rows)
        batch = spaces.of_batch(layout.split(found))
        return {space: np.ascontiguousarray(array) for space, array in batch.items()}

    def _wishes(self) -> list[float]:
        """(stop, learning rate); rank 0 asks the driver and its answer counts."""
        if self.rank.rank or self.plan.led or self._halts:
            return [float(self._halts), float(self.lr)]
        record = self.rank.control.read(max_age=ASK_EVERY)
        facts = record.facts if record else {}
        return [float(bool(facts.get("stop"))), float(facts.get("lr", self.lr))]

    def _update(self) -> None:
        """The optimizer on this rank's slice, and what the ranks made of the layers' state."""
        ring, (lo, hi), (a, b) = self.ring, self.own, self.behind
        if self.constrained is not None:
            ring.weights[lo:hi] = self.constrained[lo:hi]
        if self.plan.clips:
            self._sum_norms()
        if hi > lo:
            runner = self._runner(f"update:{self.rank.rank}")
            runner.set(spaces.WEIGHTS, ring.weights)
            runner.run()
        self.iterations[...] += 1
        every = self.plan.average_every
        if every and int(self.iterations) % every == 0 and hi > lo:
            ring.weights[lo:hi] = self.slots["average"]
        ring.weights[a:b] += ring.gradient[a:b]

    def _sum_norms(self) -> None:
        """Sums of squares of each weight's gradient over all ranks."""
        sums = np.zeros_like(self.norms)
        if self.own[1] > self.own[0]:
            runner = self._runner(f"norm:{self.rank.rank}")
            runner.set(spaces.OUT(0), sums)
            runner.run()
        self.norms[:] = self._sum(sums)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over ranks of any number of values."""
        parts = [values[i : i + SUM_VALUES] for i in range(0, len(values), SUM_VALUES)]
        return np.concatenate([self.ring.all_sum(part) for part in parts])

    def _after_gather(self) -> None:
        self.plan.tail.take(self.current, self.state)
        if self.constrained is not None:
            self.constrained[:] = self.ring.weights[: self.plan.weights]
            self._runner("constraints").run()

    def _check_loss(self, epoch: int, step: int) -> None:
        i = self.plan.loss_index
        if np.isfinite(self.metrics[i]):
            return
        self._halts = self.plan.halts
        if not self._halts:
            raise NonFiniteLossError(
                "The loss is no longer finite. Received: a loss of "
                f"{self.metrics[i]} at epoch {epoch + 1}, step {step + 1}, in partition "
                f"{self.rank.rank}. Check the data for NaN, lower the learning rate, or use "
                "callbacks.TerminateOnNaN to stop without an error."
            )

    # ---- the end of an epoch -------------------------------------------------------------------

    def _finish(self, epoch: int, steps: int) -> None:
        """Validate, and tell the driver that the epoch of so many steps is done."""
        trained = self._measured(self.data.rows, self.logs)
        tested = self._validate(epoch)
        self.clock.lap("validate")
        self.metrics[:] = trained[0]
        self._publish(trained, tested)
        self.facts.update(done=epoch, steps=steps, iterations=int(self.iterations))
        self._write(steps - 1)

    def _measured(self, rows: int, logs: Any = ()) -> tuple[Any, ...]:
        others = [array.copy() for array in self.others]
        return self.metrics.copy(), others, rows, np.array(logs, np.float32)

    def _validate(self, epoch: int) -> tuple[Any, ...] | None:
        """Metrics of this rank's validation rows, or None when it is not the epoch for it."""
        if epoch not in self.plan.validation_epochs:
            return None
        before = [array.copy() for array in self.others]
        self._reset_metrics()
        with self._averages() if self.plan.averaged else nullcontext():
            self._test()
        found = self._measured(self.data.test_rows)
        for array, value in zip(self.others, before, strict=True):
            array[...] = value
        return found

    def _test(self) -> None:
        for step in range(self.tests.steps):
            lo, hi = self.tests.slice_of(self.rank.rank, step)
            self._prepare("test-", slice(lo, hi), hi - lo, self.tests.batch(step))
            if hi > lo:
                self._run(f"test:{hi - lo}", slice(lo, hi))

    @contextmanager
    def _averages(self) -> Iterator[None]:
        """Inside, the moving averages stand in place of the weights; their owners send them."""
        ring, (lo, hi) = self.ring, self.own
        self._sum(np.zeros(1))  # the others have read what the last step made of this rank's part
        kept, weights = ring.weights.copy(), self.constrained
        if hi > lo:
            ring.weights[lo:hi] = self.slots["average"]
        ring.all_gather(exact=True)
        if weights is not None:
            before, weights[:] = weights.copy(), ring.weights[: self.plan.weights]
        yield
        self._sum(np.zeros(1))  # and now the averages
        ring.weights[:] = kept
        self._renewed = True  # changes that travel are those of the weights, not of the averages
        if weights is not None:
            weights[:] = before

    def close(self) -> None:
        """Leave together with the others."""
        self.ring.close()
        self.slot_region.close()


class WholeWorker(RankWorker):
    """One rank of a fit whose optimizer must see each weight as a whole (Lamb, Muon, Adafactor,
    LossScaleOptimizer): the summed gradient goes to every rank, and every rank makes the same
    update of all weights. The exchange carries gradients where it else carries weights."""

    def _allocate(self) -> None:
        plan = self.plan
        self.ring = self.rank.all_reduce(plan.tail.end, wire=plan.wire)
        self.current = native.aligned(4 * self.ring.count).view(np.float32)
        self.constrained = None
        self._allocate_rest(0, plan.weights)

    def _lives_in_ring(self) -> bool:
        return False

    def _announce(self) -> None:
        super()._announce()
        if self.rank.rank:
            self.facts["slice"] = [0, 0]
            self._write(-1)

    def _share_slots(self) -> None:
        if self.rank.rank == 0:
            super()._share_slots()

    def _agree(self) -> None:
        """Every rank has made the same weights."""

    @contextmanager
    def _averages(self) -> Iterator[None]:
        own = self.current[: self.plan.weights]
        kept, own[:] = own.copy(), self.slots["average"]
        yield
        own[:] = kept

    def _move(self, exact: bool) -> None:
        ring, p = self.ring, self.plan.weights
        self._spread(ring)
        self._update_all(ring.weights)
        self.current[p:] += ring.weights[p:]
        self._after_gather()

    def _spread(self, ring: AllReduce) -> None:
        """Every rank's sums to every rank, where `weights` lie in a RankWorker's ring."""
        lo, hi = ring.bounds
        ring.weights[lo:hi] = ring.gradient[lo:hi]
        ring.all_gather(exact=True)
        self.clock.lap("exchange")
        self.clock.together()

    def _update_all(self, gradient: np.ndarray) -> None:
        p, number = self.plan.weights, self.plan.loss_scale
        scale = np.zeros(()) if number is None else self.scalars[number]
        before = float(scale)
        runner = self._runner("update")
        runner.set(spaces.GRADS, gradient)
        runner.run()
        if self.plan.constrained:
            self._runner("constraints").run()
        if float(scale) < before:
            return  # gradients that were not finite: the step was left out
        self.iterations[...] += 1
        every = self.plan.average_every
        if every and int(self.iterations) % every == 0:
            self.current[:p] = self.slots["average"]
