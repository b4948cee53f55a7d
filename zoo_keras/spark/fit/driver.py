"""fit on an RDD or DataFrame: the driver's side. Checks, one job of ranks, callbacks, restarts.

In: a compiled Model and distributed records. Out: the model's weights and optimizer state, trained,
and a History. The driver compiles programs, publishes them, watches the ranks' boards, and runs all
callbacks; it never sees a record but the first.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import Any

from zoo_keras.callbacks.averages import SwapEMAWeights
from zoo_keras.callbacks.callback import History
from zoo_keras.errors import ClusterError, ConfigError, UnsupportedError
from zoo_keras.spark import cluster, slots
from zoo_keras.spark.data import partitions
from zoo_keras.spark.data.frames import Held, Records, held_arrays, records_of
from zoo_keras.spark.data.records import Layout
from zoo_keras.spark.engine import this_engine
from zoo_keras.spark.fit.compiler import FitCompiler, Snapshot
from zoo_keras.spark.fit.layer_state import refuse_assigned, refuse_stateful
from zoo_keras.spark.fit.middle import Middle
from zoo_keras.spark.fit.options import FitOptions, default_wire, for_cluster, make_options
from zoo_keras.spark.fit.plan import FitPlan
from zoo_keras.spark.fit.task import train_rank
from zoo_keras.spark.fit.turns import wants_turns
from zoo_keras.spark.fit.watch import Watcher
from zoo_keras.spark.transport.bridge import PeerLostError
from zoo_keras.spark.transport.failures import LateRanksError
from zoo_keras.spark.transport.job import JobError, RankJob
from zoo_keras.training import clock
from zoo_keras.training.arguments import FitArguments
from zoo_keras.training.interface import TrainedModel
from zoo_keras.training.label_counts import class_counts
from zoo_keras.training.labels import check_labels
from zoo_keras.training.loop import next_shuffle_seed

STARTUP = 30.0  # seconds after the session's start in which more executors may yet come
LOSS = 60.0  # seconds until a job ends of which a rank is gone
IO_ENCRYPTION = "spark.io.encryption.enabled"
RETURN = 60.0  # seconds to wait for executors that were there and are gone


def fit_on_spark(
    model: TrainedModel, x: Any, arguments: FitArguments, options: dict[str, Any]
) -> History:
    """What Model.fit does for an RDD or DataFrame; options are those of `FitOptions`."""
    return SparkFit(model, x, for_cluster(arguments), make_options(options)).run()


class SparkFit:
    """One call of fit: possibly several jobs, when executors are lost."""

    def __init__(self, model: TrainedModel, x: Any, arguments: FitArguments, o: FitOptions) -> None:
        self.model, self.args, self.options = model, arguments, o
        self.began, self.account = time.perf_counter(), clock.Account()
        refuse_stateful(model, "fit")
        self.sc = cluster.spark_context(x)
        cluster.check_not_inside(self.sc, "fit", o.num_ranks or 1)
        self.records = self._records(x)
        self.validation = self._validation()
        cluster.check_session(self.sc, o.num_ranks or 1)
        self.layout = self.records.layout(model, "fit")
        self.compiler = self._compiler()
        self.ranks = self._ranks()
        cluster.check_session(self.sc, self.ranks)
        ordered = self.args.shuffle and o.order_rows
        self.by_content = bool(ordered and partitions.arrives_by_luck(self.records.source))
        self._given = self.records, self.validation
        self._spread()
        self.seed = next_shuffle_seed() if o.seed is None else o.seed
        self.bars = arguments.bars(model, None)
        self.epoch: int = self.args.initial_epoch
        self.begun: int | None = None  # the epoch whose callbacks have heard that it begins
        self.hosts: list[str] = []  # of the ranks of the last epoch
        self.isa: str | None = None  # of the ranks that the epochs so far ran on
        self.logs: dict[str, Any] = {}
        self.snapshot: Snapshot = self.compiler.snapshot()
        self.middle: Middle | None = None  # newer than the snapshot
        self._refuse_snapshots_in_turns()

    def _spread(self) -> None:
        """The records in as many partitions as there are ranks."""
        records, validation = self._given
        self.records = records.spread(self.ranks, self.by_content).packed(self.layout)
        if isinstance(validation, Records):
            tests = self.compiler.test_layout
            self.validation = validation.spread(self.ranks).packed(tests)

    def _refuse_snapshots_in_turns(self) -> None:
        o = self.options
        if (o.snapshot_steps or o.snapshot_seconds) and wants_turns(self.bars.callbacks):
            raise ConfigError(
                "fit: copies within an epoch don't go with callbacks that see every step, for what "
                f"these change would be lost. Received: snapshot_steps={o.snapshot_steps}, "
                f"snapshot_seconds={o.snapshot_seconds} and such a callback. Leave one of them out."
            )

    def _records(self, x: Any) -> Records:
        o = self.options
        return records_of(
            x, o.feature_cols, o.label_cols, o.weight_col, self.model, self.args.fill_value,
            self.args.pad_value,
        )  # fmt: skip

    def _validation(self) -> Records | Held | None:
        given = self.args.validation_data
        if given is None:
            return None
        if isinstance(given, (tuple, list)):
            return held_arrays(given, self.model, self.args.fill_value, self.args.pad_value)
        found = self._records(given)
        if (found.groups is None) != (self.records.groups is None):
            raise ConfigError(
                "fit: validation_data must be of x's kind, or arrays. Received: an RDD and a "
                "DataFrame. Convert one of them."
            )
        return found

    def _compiler(self) -> FitCompiler:
        model, tests = self.model, self.layout
        if self.validation is not None:
            tests = (self.validation.layout(model) if isinstance(self.validation, Held)
                     else self.validation.layout(model, "fit, validation_data"))  # fmt: skip
        weighted = self.args.class_weight is not None
        threads, size = cluster.task_cpus(self.sc), int(self.args.batch_size or 1)
        made = FitCompiler(model, self.layout, tests, weighted, threads, size)
        if self.validation is not None or self.args.validation_split:
            refuse_assigned(model, made.test_shapes, made.test_structure, "fit, its validation,")
        if isinstance(self.validation, Held):
            _check_held(self.validation, tests, made)
        return made

    def _ranks(self) -> int:
        """num_ranks, or as many as there are partitions and slots."""
        if self.options.num_ranks is not None:
            return int(self.options.num_ranks)
        wanted = partitions.count(self.records.source)
        if cluster.is_elastic(self.sc):  # a number that luck does not change
            return max(1, int(min(wanted, cluster.room(self.sc))))
        promised = min(wanted, cluster.promised_slots(self.sc))
        left = STARTUP - (time.time() - self.sc.startTime / 1000)
        with contextlib.suppress(ClusterError):
            cluster.wait_for_slots(self.sc, promised, timeout=RETURN)
            cluster.wait_for_slots(self.sc, wanted, timeout=max(0.0, left))
        found = max(1, min(wanted, cluster.slots(self.sc)))
        if found < promised:
            warnings.warn(
                f"fit trains with fewer ranks than this session has had slots for, so its results "
                f"will differ from those of other runs. Received: {found} of {promised} slots "
                f"after {RETURN:.0f} s. Pass num_ranks to wait for that many, or be refused.",
                RuntimeWarning,
                stacklevel=5,
            )
        return found

    # ---- the whole fit -------------------------------------------------------------------------

    def run(self) -> History:
        """All epochs."""
        with self.bars.closed_by_failure():
            return self._run(self.args.epochs)

    def _run(self, last: int) -> History:
        self.model.stop_training = False
        self.model._note(_trained=True)
        self.bars.on_train_begin()
        self.compiler.count_anew()
        self.epoch = self.model.begun_at(self.epoch)
        self.snapshot = self.compiler.snapshot(self.snapshot)
        restarts = 0
        while self.epoch < last and not self.model.stop_training:
            try:
                self._job(last)
            except JobError as error:
                restarts += 1
                self.account.end_job()
                self._recover(error, restarts)
            except (LateRanksError, cluster.TooFewSlotsError) as error:
                if not (restarts or getattr(error, "lost", None)):
                    raise  # the cluster is as it was when fit was called
                self.account.end_job()
                restarts += self._meet_again(error, restarts)
        if last:
            self.model.optimizer.finalize_variable_values(self.compiler.state.trained)
        history = self.tell_history()
        self.bars.on_train_end(self.logs)
        return history

    def tell_history(self) -> History:
        """Where the seconds went until now, for callbacks and for who has called fit."""
        history = self.bars.history
        if history is None:
            raise ConfigError(
                "fit tells its History callback what it has measured. Received: none in the list "
                "of callbacks. Don't take callbacks out of the list while fit runs."
            )
        history.ranks, history.waits = self.account.ranks(), self.account.waits()
        history.hosts = self.hosts
        history.timing = clock.mean(history.ranks)
        return history

    def _recover(self, error: JobError, restarts: int) -> None:
        """Go back to the end of the last epoch, or give up."""
        if not error.restartable or restarts > self.options.max_restarts:
            raise error
        self._announce(error, restarts)
        try:
            cluster.check_session(self.sc, self.ranks, timeout=self.options.start_timeout)
        except cluster.TooFewSlotsError as missing:
            self._go_on_with_fewer(missing)
        self._restore()

    def _meet_again(self, error: ClusterError, restarts: int) -> bool:
        """Ranks were missing. With fewer ranks from here on, or once more with as many when slots
        have come back; the latter is a restart."""
        fewer = self._go_on_with_fewer(error)
        if not fewer:
            if restarts >= self.options.max_restarts:
                raise error
            self._announce(error, restarts + 1)
        self._restore()
        return not fewer

    def _announce(self, error: ClusterError, restarts: int) -> None:
        warnings.warn(
            f"fit goes on from {self._place()} of epoch {self.epoch + 1}, restart {restarts} of at "
            f"most {self.options.max_restarts}: {error}",
            RuntimeWarning,
            stacklevel=6,
        )

    def _go_on_with_fewer(self, missing: ClusterError) -> bool:
        """As many ranks as there are slots, from the last epoch's end, if the user allows it. False
        when executors have come back, and there are slots for all."""
        left, least = min(self.ranks, cluster.slots(self.sc)), self.options.min_ranks
        if left == self.ranks:
            return False
        if least is None or left < least:
            raise missing
        warnings.warn(
            f"fit goes on with fewer ranks, from the start of epoch {self.epoch + 1}. Received: "
            f"{left} of {self.ranks} slots {self.options.start_timeout:.0f} s after executors were "
            "lost. Give the application more executors, or wait longer by start_timeout.",
            RuntimeWarning,
            stacklevel=6,
        )
        self.ranks, self.middle = left, None
        self._spread()
        return True

    def _restore(self) -> None:
        self.compiler.restore(self.snapshot)
        if self.middle is not None:
            self.middle.put(self.compiler)

    def _place(self) -> str:
        return "the start" if self.middle is None else f"step {self.middle.step + 1}"

    def _plan(self, last: int) -> FitPlan:
        a, o = self.args, self.options
        stops = any(type(c).__name__ == "TerminateOnNaN" for c in self.bars.callbacks)
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        averaged = optimizer.use_ema and any(
            isinstance(c, SwapEMAWeights) for c in self.bars.callbacks
        )
        if averaged and self.compiler.state.shared:
            raise UnsupportedError(
                "fit on Spark: ranks that run a step in phases validate on the weights. Received: "
                "SwapEMAWeights and a train_step with several optimizers or updates, or layers "
                "with synchronized=True. Leave the callback out."
            )
        return self.compiler.plan(
            batch_size=a.batch_size, epochs=(self.epoch, last), origin=a.initial_epoch,
            first_step=0 if self.middle is None else self.middle.step,
            snapshot_steps=o.snapshot_steps, snapshot_seconds=o.snapshot_seconds,
            steps=a.steps_per_epoch, shuffle=bool(a.shuffle), seed=self.seed,
            by_content=self.by_content, validation_split=float(a.validation_split),
            held=isinstance(self.validation, Held),
            validation_batch=a.validation_batch_size,
            validation_epochs=self._validation_epochs(last), class_weight=a.class_weight,
            wire=o.wire or default_wire(self.model), budget=o.data_budget,
            spills=cluster.setting(self.sc, IO_ENCRYPTION, "false").lower() != "true",
            engine=this_engine(), isa=self.isa, halts=stops, averaged=averaged,
            led=wants_turns(self.bars.callbacks),
        )  # fmt: skip

    def _validation_epochs(self, last: int) -> tuple[int, ...]:
        """After which epochs validation runs."""
        if self.validation is None and not self.args.validation_split:
            return ()
        return tuple(epoch for epoch in range(self.epoch, last) if self.args.validates(epoch))

    def _job(self, last: int) -> None:
        plan = self._plan(last)
        body = _Body(plan, self.records.decoder(self.layout), None)
        validation = None
        if isinstance(self.validation, Records):
            validation = self.validation.source
            body.decode_tests = self.validation.decoder(self.compiler.test_layout)
        try:
            self._watch(plan, body, validation)
        except ClusterError:
            raise
        except Exception as error:
            if cluster.is_stopped(self.sc):  # what py4j then says means nothing to anybody
                raise cluster.stopped_error("a fit") from error
            raise

    def _description(self, plan: FitPlan) -> str:
        first, last = plan.epochs
        return (
            f"zoo_keras fit of {self.model.name}: epochs {first + 1} to {last}, "
            f"{self.ranks} ranks, batches of {plan.batch_size}"
        )

    def _watch(self, plan: FitPlan, body: _Body, validation: Any) -> None:
        """One job, watched to its end."""
        with (
            slots.taken(self.sc, self.ranks),
            RankJob(self.records.source, body, validation=validation, name="fit",
                    description=self._description(plan), timeout=self.options.step_timeout,
                    start_timeout=self.options.start_timeout) as job,
            cluster.holding(self.sc, job.size),
        ):  # fmt: skip
            watcher = Watcher(self, job, plan)
            watcher.start()
            while not job.wait(watcher.pause):
                try:
                    watcher.look()
                except PeerLostError:  # met by a callback; the job will say why
                    if not job.wait(LOSS):
                        raise
            job.result()


def _check_held(held: Held, layout: Layout, made: FitCompiler) -> None:
    """Labels of validation arrays are checked here, before any job."""
    _, ys, _ = layout.split(held.columns)
    known = class_counts(made.model, made.test_shapes, made.test_structure)
    for y, classes in zip(ys, known, strict=True):
        if classes is not None:
            check_labels(y, classes, "validation_data, ")


class _Body:
    """The function that every rank runs; holds plain data only."""

    def __init__(self, plan: FitPlan, decode: Any, decode_tests: Any) -> None:
        self.plan, self.decode, self.decode_tests = plan, decode, decode_tests

    def __call__(self, rank: Any) -> int:
        return train_rank(rank, self.plan, self.decode, self.decode_tests)
