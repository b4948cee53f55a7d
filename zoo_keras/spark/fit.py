"""fit on an RDD or DataFrame: the driver's side. Checks, one barrier job, callbacks, restarts.

In: a compiled Model and distributed records. Out: the model's weights and optimizer state, trained,
and a History. The driver compiles programs, publishes them, watches the ranks' boards, and runs all
callbacks; it never sees a record but the first.
"""

from __future__ import annotations

import pickle
import warnings
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import weights as weights_module
from zoo_keras.callbacks.callback import CallbackList, History
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.spark import cluster
from zoo_keras.spark.compiler import FitCompiler
from zoo_keras.spark.frames import Records, records_of
from zoo_keras.spark.job import BarrierJob, JobError
from zoo_keras.spark.plan import FitPlan, engine_fingerprint
from zoo_keras.spark.rank import MAX_BOARD_METRICS, train_rank
from zoo_keras.training.loop import next_shuffle_seed

POLL = 0.02  # seconds between looks at the ranks' boards


class FitOptions(NamedTuple):
    """Arguments of fit that exist only for Spark.

    Attributes:
        feature_cols, label_cols, weight_col: columns of a DataFrame.
        num_ranks: tasks that train together; default: as many as partitions, at most the slots.
        wire: dtype of gradients on the network: float32, bfloat16 or float16.
        max_restarts: how often a lost executor is survived by going back to the last epoch's end.
        step_timeout: seconds to wait for the slowest rank within a step.
        data_budget: bytes of records that a rank keeps in memory before it uses a file.
    """

    feature_cols: Any = None
    label_cols: Any = None
    weight_col: str | None = None
    num_ranks: int | None = None
    wire: str = "float32"
    max_restarts: int = 3
    step_timeout: float = 600.0
    data_budget: int = 1 << 30


def _options(given: dict[str, Any]) -> FitOptions:
    unknown = sorted(set(given) - set(FitOptions._fields))
    if unknown:
        raise ConfigError(
            f"fit on Spark: unknown arguments. Received: {unknown}. "
            f"Known ones are {', '.join(FitOptions._fields)}."
        )
    return FitOptions(**given)


def fit_on_spark(model: Any, x: Any, **arguments: Any) -> History:
    """What Model.fit does for an RDD or DataFrame; arguments are those of Model.fit."""
    return SparkFit(model, x, arguments).run()


class SparkFit:
    """One call of fit: possibly several barrier jobs, when executors are lost."""

    def __init__(self, model: Any, x: Any, arguments: dict[str, Any]) -> None:
        names = set(FitOptions._fields)
        self.options = _options({k: v for k, v in arguments.items() if k in names
                                 or k not in _KERAS_ARGUMENTS})  # fmt: skip
        self.args = {k: v for k, v in arguments.items() if k in _KERAS_ARGUMENTS}
        _refuse_local_arguments(self.args)
        self.model = model
        self.sc = cluster.spark_context(x)
        o = self.options
        self.records = records_of(x, o.feature_cols, o.label_cols, o.weight_col)
        self.validation = self._validation_records()
        ranks = self._ranks()
        self.records = self.records.spread(ranks)
        if self.validation is not None:
            self.validation = self.validation.spread(ranks)
        cluster.check_barrier(self.sc, ranks)
        self.ranks = ranks
        self.layout = self.records.layout(model)
        self.compiler = FitCompiler(model, self.layout, self.args["class_weight"] is not None,
                                    cluster.task_cpus(self.sc))  # fmt: skip
        self.seed = next_shuffle_seed()
        self.bars = self._callback_list()

    def _ranks(self) -> int:
        wanted, slots = self.options.num_ranks, cluster.slots(self.sc)
        if wanted is None:
            return max(1, min(self.records.partitions, slots))
        if wanted < 1:
            raise ConfigError(f"fit: num_ranks must be at least 1. Received: {wanted}.")
        return wanted

    def _validation_records(self) -> Records | None:
        given = self.args["validation_data"]
        if given is None:
            return None
        if self.args["validation_split"]:
            raise ConfigError("fit: give validation_data or validation_split, not both.")
        o = self.options
        return records_of(given, o.feature_cols, o.label_cols, o.weight_col, sc=self.sc,
                          like=self.records)  # fmt: skip

    def _callback_list(self) -> CallbackList:
        verbose = self.args["verbose"]
        level = 1 if verbose == "auto" else int(verbose)
        return CallbackList(
            self.args["callbacks"], add_history=True, add_progbar=bool(level), model=self.model,
            verbose=level, epochs=self.args["epochs"], steps=self.args["steps_per_epoch"],
        )  # fmt: skip

    # ---- the whole fit -------------------------------------------------------------------------

    def run(self) -> History:
        first, last = self.args["initial_epoch"], self.args["epochs"]
        self.model.stop_training = False
        self.model._note(_trained=True)
        self.bars.on_train_begin()
        self.epoch, self.logs = first, {}
        self.snapshot = self.compiler.snapshot()
        restarts = 0
        while self.epoch < last and not self.model.stop_training:
            try:
                self._job(last)
            except JobError as error:
                restarts += 1
                self._recover(error, restarts)
        self.bars.on_train_end(self.logs)
        if self.bars.history is None:
            raise ConfigError("fit lost its History callback.")
        return self.bars.history

    def _recover(self, error: JobError, restarts: int) -> None:
        """Go back to the end of the last epoch, or give up."""
        if not error.restartable or restarts > self.options.max_restarts:
            raise error
        warnings.warn(
            f"fit goes on from the start of epoch {self.epoch + 1}, restart {restarts} of at most "
            f"{self.options.max_restarts}: {error}",
            RuntimeWarning,
            stacklevel=4,
        )
        self.compiler.restore(self.snapshot)
        cluster.wait_for_slots(self.sc, self.ranks)

    def _plan(self, last: int) -> FitPlan:
        a, o = self.args, self.options
        freq = a["validation_freq"]
        epochs = range(self.epoch, last)
        chosen = [e for e in epochs if ((e + 1) % freq == 0 if isinstance(freq, int)
                                        else (e + 1) in freq)]  # fmt: skip
        wants = self.validation is not None or bool(a["validation_split"])
        batch = a["batch_size"] or 32
        stops = any(type(c).__name__ == "TerminateOnNaN" for c in self.bars.callbacks)
        return self.compiler.plan(
            batch_size=batch, epochs=(self.epoch, last), steps=a["steps_per_epoch"],
            shuffle=bool(a["shuffle"]), seed=self.seed, validation=float(a["validation_split"]),
            validation_batch=a["validation_batch_size"] or batch,
            validation_epochs=tuple(chosen) if wants else (), class_weight=a["class_weight"],
            wire=o.wire, budget=o.data_budget, kernels=engine_fingerprint(), checks_loss=not stops,
        )  # fmt: skip

    def _job(self, last: int) -> None:
        plan = self._plan(last)
        validation = self.validation.rdd if self.validation is not None else None
        decode = self.records.decoder(self.layout)
        body = _Body(plan, decode)
        with BarrierJob(self.records.rdd, body, validation=validation, name="fit",
                        timeout=self.options.step_timeout) as job:  # fmt: skip
            watcher = _Watcher(self, job, plan)
            watcher.start()
            while not job.wait(POLL):
                watcher.look()
            job.result()


class _Body:
    """The function that every rank runs; holds plain data only."""

    def __init__(self, plan: FitPlan, decode: Any) -> None:
        self.plan, self.decode = plan, decode

    def __call__(self, rank: Any) -> int:
        return train_rank(rank, self.plan, self.decode)


class _Watcher:
    """Serves programs to the ranks, shows progress, and closes each epoch."""

    def __init__(self, fit: SparkFit, job: BarrierJob, plan: FitPlan) -> None:
        self.fit, self.job, self.plan = fit, job, plan
        self.model, self.bars = fit.model, fit.bars
        self.served: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.slices: dict[int, list[int]] = {}
        self.step = -1
        self.began = False
        self.weights_version = 0
        self.ended = False

    def start(self) -> None:
        """Publish the model and open the first epoch."""
        for name, array in self.fit.compiler.blobs().items():
            self.job.control.publish(name, array)
        self._open()

    def _open(self) -> None:
        self.step = -1
        self.bars.on_epoch_begin(self.fit.epoch)
        self._tell(go=self.fit.epoch, stop=False)

    def _tell(self, **facts: Any) -> None:
        self.facts.update(facts, lr=float(self.model.optimizer.learning_rate),
                          weights_count=self.fit.compiler.weights_count,
                          weights_version=self.weights_version)  # fmt: skip
        self.job.control.write((), self.facts)

    def look(self) -> None:
        """One look at all boards."""
        records = [self.job.progress(rank) for rank in range(self.job.size)]
        if self.ended or any(r is None for r in records):
            return
        for rank, record in enumerate(records):
            self._serve(rank, record.facts)  # type: ignore[union-attr]
        done = min(r.facts.get("done", -1) for r in records)  # type: ignore[union-attr]
        if done >= self.fit.epoch:
            self._close_epoch(records)
        else:
            self._show(records)

    def _serve(self, rank: int, facts: dict[str, Any]) -> None:
        self.slices[rank] = facts.get("slice", [0, 0])
        wanted = [*facts.get("need", ()), f"update:{rank}"]
        wanted += [f"norm:{rank}"] * self.plan.clips + ["constraints"] * self.plan.constrained
        for name in wanted:
            if name not in self.served:
                self.served.add(name)
                program = self.fit.compiler.program(name, self.slices[rank])
                if program is not None:
                    self.job.control.publish(name, _pickled(program))

    def _show(self, records: list[Any]) -> None:
        step = int(min(r.values[0] for r in records))
        if step <= self.step or any(r.facts.get("done", -1) >= self.fit.epoch for r in records):
            return
        self.step = step
        if self.bars.needs_batch_logs and self.plan.metrics <= MAX_BOARD_METRICS:
            logs = self.fit.compiler.logs(sum(r.values[1:] for r in records))
            self._set_total(records)
            self.bars.on_train_batch_end(step, logs)
            if self.model.stop_training:
                self._tell(stop=True)
            elif self.facts["lr"] != float(self.model.optimizer.learning_rate):
                self._tell()

    def _set_total(self, records: list[Any]) -> None:
        """Now that row counts are known, the progress bar can show how many steps there are."""
        if self.began:
            return
        self.began = True
        rows = sum(r.facts["rows"] for r in records)
        steps = self.plan.steps or max(1, -(-rows // self.plan.batch_size))
        for callback in self.bars.callbacks:
            callback.params["steps"] = steps
            if getattr(callback, "_bar", None) is not None:
                callback._bar.total = steps

    def _close_epoch(self, records: list[Any]) -> None:
        """Every rank waits at the gate: fetch what it made, run the callbacks, open the next."""
        fit, size = self.fit, self.job.size
        rows = sum(r.facts["rows"] for r in records)
        if rows == 0:
            raise DataError("fit: the RDD or DataFrame holds no records. Received: 0 rows.")
        parts = [self.job.fetch(rank, "metrics").view(np.float32) for rank in range(size)]
        count, total = self.plan.metrics, np.sum(parts, axis=0, dtype=np.float64)
        fit.logs = fit.compiler.logs(total[:count])
        if records[0].facts.get("validated"):
            tested = fit.compiler.logs(total[count:])
            fit.logs.update({f"val_{name}": value for name, value in tested.items()})
        steps = int(records[0].facts["steps"])
        self._fetch_state(steps)
        before = weights_module.version()
        if self.bars.needs_batch_logs and self.step < steps - 1:
            self._set_total(records)
            self.bars.on_train_batch_end(steps - 1, dict(fit.logs))
        self.bars.on_epoch_end(fit.epoch, fit.logs)
        fit.epoch += 1
        fit.snapshot = fit.compiler.snapshot()
        if fit.epoch >= self.plan.epochs[1] or self.model.stop_training:
            self.ended = True
            self._tell(end=True)
            return
        if weights_module.version() != before:
            self.weights_version += 1
            self.job.control.publish("weights", fit.compiler.blobs()["weights"])
        self._open()

    def _fetch_state(self, steps: int) -> None:
        """Weights from rank 0, slots from whoever owns each slice."""
        job, compiler = self.job, self.fit.compiler
        whole = job.fetch(0, "weights").view(np.float32)
        slots = {
            name: [(lo, hi, job.fetch(rank, f"slot:{name}").view(np.float32))
                   for rank, (lo, hi) in self.slices.items() if hi > lo]
            for name in self.plan.slots
        }  # fmt: skip
        others = pickle.loads(job.fetch(0, "others").tobytes())
        compiler.take(whole, slots, others, steps)


def _pickled(value: Any) -> np.ndarray:
    return np.frombuffer(pickle.dumps(value, protocol=5), np.uint8)


_KERAS_ARGUMENTS = frozenset(
    "y batch_size epochs verbose callbacks validation_split validation_data shuffle class_weight "
    "sample_weight initial_epoch steps_per_epoch validation_steps validation_batch_size "
    "validation_freq".split()
)


def _refuse_local_arguments(args: dict[str, Any]) -> None:
    for name in ("y", "sample_weight"):
        if args[name] is not None:
            raise ConfigError(
                f"fit on Spark: {name} comes with the records. Received: {name} as an argument. "
                "Use an RDD of (x, y[, sample_weight]), or label_cols/weight_col of a DataFrame."
            )
    size = args["batch_size"]
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ConfigError(f"fit: batch_size must be a whole number above 0. Received: {size!r}.")
    if args["validation_steps"] is not None:
        raise ConfigError("fit on Spark: validation_steps is not supported; all rows are used.")
    if args["shuffle"] not in (True, False):
        raise ConfigError(f"fit on Spark: shuffle must be a bool. Received: {args['shuffle']!r}.")

