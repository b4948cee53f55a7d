"""fit on a cluster when things go wrong: lost executors, bad rows, bad calls, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import threading
import traceback

import leftovers
import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import callbacks, errors, optimizers
from zoo_keras.errors import ClusterError, ConfigError, DataError, NonFiniteLossError
from zoo_keras.layers import BatchNormalization, Dense, Dropout
from zoo_keras.spark import cluster
from zoo_keras.spark.transport import failures
from zoo_keras.spark.transport.job import JobError

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(3)
ROWS = 40
X = RNG.standard_normal((ROWS, 5)).astype(np.float32)
LABELS = RNG.integers(0, 3, ROWS).astype(np.int32)


def classifier():
    keras.utils.set_random_seed(11)
    layers = [Dense(8, activation="tanh"), BatchNormalization(), Dropout(0.3)]
    model = keras.Sequential([keras.Input((5,)), *layers, Dense(3, activation="softmax")])
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def records(sc, x=X, y=LABELS, partitions=2):
    return sc.parallelize(list(zip(x, y)), partitions)


def state_of(model):
    return [*model.get_weights(), *[v.numpy() for v in model.optimizer.variables]]


def jvm_of_this_task(items):
    """The process that runs this task's executor: worker, daemon, JVM."""
    yield leftovers._parent(leftovers._parent(os.getpid()))


def executor_pids(sc):
    return sorted(set(sc.parallelize(range(8), 8).mapPartitions(jvm_of_this_task).collect()))


class Kills(callbacks.Callback):
    """Kills an executor in the middle of an epoch, once."""

    def __init__(self, sc, epoch=1):
        super().__init__()
        self.pid, self.epoch, self.now, self.batch = executor_pids(sc)[-1], epoch, -1, -1

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and self.batch < 0:
            self.batch = batch
            os.kill(self.pid, signal.SIGKILL)


class Changes(callbacks.Callback):
    """Halves a weight and all that the optimizer keeps of it, and sets its step count, between
    two epochs."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            slots = [v for v in self.model.optimizer.variables if v.shape == self.weight.shape]
            for variable in (self.weight, *slots):
                variable.assign(variable.numpy() / 2)
            self.model.optimizer.iterations.assign(3)

    @property
    def weight(self):
        return self.model.trainable_variables[0]


def fit(model, sc, **options):
    arguments = {"batch_size": 8, "epochs": 3, "verbose": 0, **options}
    return model.fit(records(sc), **arguments).history


@pytest.mark.parametrize("wire", ["float32", "bfloat16"])
def test_a_killed_executor_changes_no_bit(cluster2, wire):
    options = {"batch_size": 4, "wire": wire, "validation_split": 0.2}
    undisturbed = classifier()
    expected = fit(undisturbed, cluster2, **options, callbacks=[Changes()])
    kills = Kills(cluster2)
    disturbed = classifier()
    with pytest.warns(RuntimeWarning, match=r"(?s)goes on from the start of epoch 2.*executor \d+"):
        found = fit(disturbed, cluster2, **options, callbacks=[Changes(), kills])
    assert kills.batch == 0
    assert found == expected
    assert all(map(np.array_equal, state_of(disturbed), state_of(undisturbed)))


def test_after_the_last_restart_the_executor_is_named(cluster2):
    before = leftovers.driver()
    kills = Kills(cluster2, epoch=0)
    with pytest.raises(JobError, match=r"lost an executor. Received: executor \d+ on"):
        fit(classifier(), cluster2, callbacks=[kills], max_restarts=0, batch_size=4)
    leftovers.wait_until(leftovers.driver, before)


def test_with_leave_a_fit_goes_on_with_fewer_ranks(cluster2, monkeypatch):
    """As a fit that begins anew at the last epoch's end with as many ranks as there are slots."""
    options = {"batch_size": 4, "seed": 3}
    plain = classifier()
    fit(plain, cluster2, **options, epochs=1)
    expected = fit(plain, cluster2, **options, initial_epoch=1, epochs=2, num_ranks=1)
    kills, found = Kills(cluster2), cluster.executors

    def not_replaced(sc):
        return found(sc)[: 1 if kills.batch >= 0 else None]

    monkeypatch.setattr(cluster, "executors", not_replaced)
    model = classifier()
    first = pytest.warns(RuntimeWarning, match="goes on from the start of epoch 2, restart 1")
    fewer = "goes on with fewer ranks, from the start of epoch 2. Received: 1 of 2 slots"
    with first, pytest.warns(RuntimeWarning, match=fewer):
        more = {"epochs": 2, "callbacks": [kills], "min_ranks": 1, "start_timeout": 15.0}
        history = fit(model, cluster2, **options, **more)
    assert {name: values[1:] for name, values in history.items()} == expected
    assert all(map(np.array_equal, state_of(model), state_of(plain)))


def test_without_leave_a_fit_that_lacks_executors_ends(cluster2, monkeypatch):
    kills, found = Kills(cluster2), cluster.executors

    def not_replaced(sc):
        return found(sc)[: 1 if kills.batch >= 0 else None]

    monkeypatch.setattr(cluster, "executors", not_replaced)
    with pytest.warns(RuntimeWarning), pytest.raises(ClusterError, match="needs 2 task slots"):
        fit(classifier(), cluster2, callbacks=[kills], batch_size=4, start_timeout=15.0)


# ---- what is left behind -------------------------------------------------------------------------


def running(sc):
    """Numbers of Spark's running jobs."""
    return list(sc.statusTracker().getActiveJobsIds())


def everything(sc):
    """What could be left: files and threads here, blocks and mappings there."""
    return leftovers.driver(), leftovers.executors(sc), threading.active_count()


def with_bad_row(sc):
    x = X.copy()
    x[-1, 2] = np.nan
    with pytest.raises(DataError, match="Partition 1, row 19: x: expected finite numbers"):
        classifier().fit(records(sc, x), verbose=0)


def with_ctrl_c(sc):
    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(classifier(), sc, callbacks=[callbacks.LambdaCallback(on_epoch_end=interrupt)])


def to_the_end(sc):
    fit(classifier(), sc, validation_data=(X, LABELS))


@pytest.mark.parametrize("ends", [to_the_end, with_bad_row, with_ctrl_c])
def test_nothing_is_left_behind(cluster2, ends):
    to_the_end(cluster2)  # what a session keeps from its first job on is no leftover
    leftovers.wait_until(lambda: running(cluster2), [])
    before = everything(cluster2)
    ends(cluster2)
    leftovers.wait_until(lambda: running(cluster2), [])
    leftovers.wait_until(lambda: everything(cluster2), before)


def test_the_weights_are_those_of_the_last_full_epoch_after_ctrl_c(local2):
    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        fit(model, local2, callbacks=[callbacks.LambdaCallback(on_epoch_begin=interrupt)])
    shorter = classifier()
    fit(shorter, local2, epochs=1)
    assert all(map(np.array_equal, state_of(model), state_of(shorter)))


# ---- bad data ------------------------------------------------------------------------------------


def changed(row, x=None, y=None):
    found = list(zip(X, LABELS))
    found[row] = (X[row] if x is None else x, LABELS[row] if y is None else y)
    return found


BAD_ROWS = {
    "width": (changed(30, x=np.zeros(6, np.float32)), r"Partition 1, row 10: x: expected shape"),
    "label": (changed(30, y=3), r"Partition 1, row 10: labels must lie in 0..2.*Received: 3"),
    "negative label": (changed(5, y=-1), "Partition 0, row 5: labels must lie in 0..2"),
    "text": (changed(7, x="seven"), r"x in partition 0, row 7: expected numbers"),
    "null": (changed(7, x=[0.0, None, 0, 0, 0]), "x in partition 0, row 7: expected numbers"),
    "no tuple": ([*zip(X, LABELS), 7], "Partition 1, row 20: a record must be a tuple"),
    "dtype": (changed(9, y=0.5), "Partition 0, row 9: y: expected int32"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_wrong_row_is_named(local2, case):
    rows, message = BAD_ROWS[case]
    model = classifier()
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        model.fit(local2.parallelize(rows, 2), verbose=0)
    assert_three_parts(caught.value)
    assert int(model.optimizer.iterations.numpy()) == 0


def assert_three_parts(error):
    assert re.search(r"(?s)\S. Received: .*\S\. [A-Z]", str(error)), str(error)


def test_files_of_callbacks_are_closed_when_a_fit_fails(local2, tmp_path):
    log = callbacks.CSVLogger(tmp_path / "log.csv")
    with pytest.raises(DataError, match="labels must lie"):
        classifier().fit(local2.parallelize(changed(30, y=3), 2), verbose=0, callbacks=[log])
    assert (tmp_path / "log.csv").exists()
    assert log._file is None


def test_a_wrong_row_of_validation_data_is_named(local2):
    tests = local2.parallelize([*zip(X, LABELS), (X[0], 9)], 2)
    with pytest.raises(DataError, match="Validation data, partition 1, row 20: labels must lie"):
        classifier().fit(records(local2), validation_data=tests, verbose=0)
    with pytest.raises(DataError, match="validation_data, row 3: labels must lie"):
        classifier().fit(records(local2), verbose=0, validation_data=(X[:4], np.arange(4)))


def test_a_null_in_a_frame_is_named(local2, sessions):
    rows = [(x.tolist(), 1) for x in X[:19]] + [([1.0] * 5, None)]
    frame = sessions.get("local[2]").createDataFrame(
        local2.parallelize(rows, 2), "f array<float>, y int"
    )
    with pytest.raises(DataError, match="Partition 1: Row 9: column y: expected numbers"):
        classifier().fit(frame, feature_cols="f", label_cols="y", verbose=0)


def test_a_loss_that_is_not_finite_is_told_at_once(local2):
    model = keras.Sequential([keras.Input((5,)), Dense(1)])
    model.compile(optimizers.SGD(1e30), "mse")
    data = records(local2, y=np.ones((ROWS, 1), np.float32))
    with pytest.raises(NonFiniteLossError, match=r"at epoch 1, step .*, in partition") as caught:
        model.fit(data, batch_size=4, epochs=9, verbose=0)
    assert_three_parts(caught.value)
    model.set_weights([np.zeros((5, 1)), np.zeros(1)])
    history = model.fit(data, batch_size=4, epochs=9, verbose=0,
                        callbacks=[callbacks.TerminateOnNaN()])  # fmt: skip
    assert not np.isfinite(history.history["loss"][-1])


# ---- bad calls: refused before any job -----------------------------------------------------------


def uncompiled(sc):
    keras.Sequential([keras.Input((5,)), Dense(3)]).fit(records(sc))


def on_connect(sc):
    frame = type("DataFrame", (), {"schema": None, "select": None})
    frame.__module__ = "pyspark.sql.connect.dataframe"
    classifier().fit(frame(), feature_cols="f", label_cols="y")


def calling(**options):
    return lambda sc: classifier().fit(records(sc), verbose=0, **options)


def on_frame(**options):
    def call(sc):
        from pyspark.sql import SparkSession

        frame = SparkSession(sc).createDataFrame(
            [([0.0] * 4, "x", 1)], "f array<float>, t string, y int"
        )
        classifier().fit(frame, verbose=0, **options)

    return call


BAD_CALLS = {
    "uncompiled": (uncompiled, errors.NotCompiledError, "needs a compiled model"),
    "connect": (on_connect, ClusterError, "Received: a Spark Connect DataFrame"),
    "ranks": (calling(num_ranks=3), ClusterError, "needs 3 task slots"),
    "num_ranks": (calling(num_ranks=0), ConfigError, "num_ranks must be a whole number"),
    "unknown": (calling(colour="red"), ConfigError, r"unknown arguments. Received: \['colour'\]"),
    "y": (calling(y=LABELS), ConfigError, "y comes with the records"),
    "weight": (calling(sample_weight=LABELS), ConfigError, "sample_weight comes with"),
    "batch_size": (calling(batch_size=0), ConfigError, "batch_size must be a whole number"),
    "epochs": (calling(epochs=-1), ConfigError, "epochs must be"),
    "steps": (calling(steps_per_epoch=0), ConfigError, "steps_per_epoch must be"),
    "split": (calling(validation_split=1.0), ConfigError, r"validation_split must lie in \[0, 1\)"),
    "both": (calling(validation_split=0.5, validation_data=(X, LABELS)), ConfigError, "exclude"),
    "validation_steps": (calling(validation_steps=3), ConfigError, "validation uses all rows"),
    "shuffle": (calling(shuffle="batch"), ConfigError, "shuffle must be a bool"),
    "wire": (calling(wire="int8"), ConfigError, "wire must be one of float32"),
    "timeout": (calling(step_timeout=0), ConfigError, "step_timeout must be"),
    "cols": (calling(feature_cols="f"), ConfigError, "belong to a DataFrame"),
    "validation": (calling(validation_data=(X, LABELS[:5])), DataError, "same number of rows"),
    "class_weight": (
        calling(class_weight={"cat": 2.0}), ConfigError, "class numbers .* Received: {'cat': 2.0}",
    ),
    "order": (calling(order_rows=2), ConfigError, "order_rows must be a bool"),
    "no cols": (on_frame(), ConfigError, "needs feature_cols and label_cols"),
    "missing": (on_frame(feature_cols="g", label_cols="y"), ConfigError, r"has no column \['g'\]"),
    "text": (on_frame(feature_cols="t", label_cols="y"), DataError, "Received: StringType"),
}  # fmt: skip


def job_count(sc):
    return len(sc.statusTracker().getJobIdsForGroup(None))


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_wrong_call_is_refused_before_any_job(local2, case):
    call, kind, message = BAD_CALLS[case]
    before = job_count(local2)
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        call(local2)
    assert_three_parts(caught.value)
    assert job_count(local2) == before


ONE_LOOK = {
    "empty": ([], DataError, "the RDD holds no records"),
    "width": ([(np.zeros(6), 0)], errors.ShapeError, r"Received: data of shape \(2, 6\)"),
    "no tuple": ([np.zeros(5)], DataError, "a record must be a tuple"),
    "ragged": ([([[1], [1, 2]], 0)], DataError, "numbers of one shape"),
    "targets": ([(np.zeros(5), None)], DataError, "Received: 0 arrays of targets"),
}


@pytest.mark.parametrize("case", ONE_LOOK)
def test_the_first_record_is_enough_to_refuse(local2, case):
    rows, kind, message = ONE_LOOK[case]
    with pytest.raises(kind, match=message) as caught:
        classifier().fit(local2.parallelize(rows, 2), verbose=0)
    assert_three_parts(caught.value)


def test_a_frame_of_another_width_is_refused(local2):
    with pytest.raises(DataError, match=r"Column f: expected 5 numbers.*Received: 4"):
        on_frame(feature_cols="f", label_cols="y")(local2)


def test_splits_that_leave_nothing_are_refused(local2):
    two = local2.parallelize([(X[0], 0), (X[1], 1)], 2)
    with pytest.raises(DataError, match="rows to train on, and to validate on"):
        classifier().fit(two, validation_split=0.5, verbose=0)


def test_class_weights_need_one_output(local2):
    a = keras.Input((5,))
    model = keras.Model(a, [Dense(1, name="p")(a), Dense(1, name="q")(a)])
    model.compile("sgd", ["mse", "mse"])
    rdd = local2.parallelize([(X[0], [np.zeros(1), np.zeros(1)])], 1)
    with pytest.raises(ConfigError, match="class_weight works for models with one output"):
        model.fit(rdd, class_weight={0: 2.0}, verbose=0)


# ---- faults of the user's own code, and of nobody else's -----------------------------------------


def own_parser(line):
    if line == 37:
        raise KeyError(f"no field in line {line}")
    return X[line], LABELS[line]


def test_an_exception_of_the_users_own_comes_first_and_harms_no_executor(cluster2):
    before = executor_pids(cluster2)
    for _ in range(2):
        with pytest.raises(JobError, match=r"^KeyError: 'no field in line 37'\n") as caught:
            classifier().fit(cluster2.parallelize(range(ROWS), 2).map(own_parser), verbose=0)
        assert "raised in own_parser (" in str(caught.value)
        assert_three_parts(caught.value)
        assert not caught.value.restartable
        assert "own_parser" in str(caught.value.__cause__)
        assert "pyspark" not in f"{caught.value}{caught.value.__cause__}"
    assert executor_pids(cluster2) == before


JAVA_TEXT = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Could not recover from a \
failed barrier ResultStage. Most recent failure reason: Stage failed because barrier task \
ResultTask(3, 1) finished unsuccessfully.
java.io.FileNotFoundException: part-3 does not exist
\tat java.base/java.io.FileInputStream.open(FileInputStream.java:1)
Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler"""


def test_sparks_own_reason_is_cut_short():
    found = failures.in_short(JAVA_TEXT)
    assert found.endswith("java.io.FileNotFoundException: part-3 does not exist")
    assert found.startswith("Stage failed")
    assert failures.of_user(JAVA_TEXT) is None
    assert failures.of_rank(JAVA_TEXT) is None


CHAINED = """org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "/x/pyspark/worker.py", line 1, in main
    process()
  File "/home/u/mine.py", line 2, in one
    int("a")
ValueError: invalid literal

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/u/mine.py", line 4, in two
    raise Oops(text) from None
mine.Oops: first
second

\tat org.apache.spark.api.python"""


def test_the_last_of_chained_exceptions_is_the_one_that_counts():
    found = failures.of_user(CHAINED)
    assert found.text == "mine.Oops: first\nsecond"
    assert found.place == "in two (/home/u/mine.py, line 4)"


def failing(error):
    yield 1
    raise error


@pytest.mark.parametrize("error", [DataError("row 3 is no number"), KeyError("of the user's")])
def test_an_error_of_ours_reaches_spark_without_the_way_to_it(error):
    items = failures.alone(failing(error))
    assert next(items) == 1
    with pytest.raises(type(error)) as caught:
        next(items)
    ours = isinstance(error, DataError)
    places = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert ("failing" in places) is not ours
    assert not ours or (caught.value.__suppress_context__ and caught.value.__cause__ is None)


# ---- a callback that would wait for its own fit --------------------------------------------------


@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_a_job_inside_of_fit_is_refused_at_once(local2, method):
    model, data = classifier(), records(local2)

    def again(epoch, logs):
        getattr(model, method)(data)

    with pytest.raises(ClusterError, match=rf"^{method} was called by a callback") as caught:
        fit(model, local2, callbacks=[callbacks.LambdaCallback(on_epoch_end=again)])
    assert_three_parts(caught.value)
    assert model.evaluate(data, verbose=0, return_dict=True)["loss"] > 0


def test_a_job_inside_of_fit_runs_where_slots_are_free(local2):
    model, found = classifier(), []

    def again(epoch, logs):
        found.append(model.evaluate(records(local2), return_dict=True)["loss"])

    one = local2.parallelize(list(zip(X, LABELS)), 1)
    model.fit(one, epochs=2, verbose=0, callbacks=[callbacks.LambdaCallback(on_epoch_end=again)])
    assert len(found) == 2


# ---- the session's words -------------------------------------------------------------------------


def test_a_job_keeps_the_users_group_and_ends_with_it(local2):
    tracker = local2.statusTracker()

    def runs_in_group():
        return not set(tracker.getActiveJobsIds()).isdisjoint(tracker.getJobIdsForGroup("mine"))

    def look(epoch, logs):
        if epoch == 1:
            leftovers.wait_until(runs_in_group, True)
            local2.cancelJobGroup("mine")

    local2.setJobGroup("mine", "of the user's")
    try:
        with pytest.raises(JobError, match=r"was cancelled. Received: .*group mine") as caught:
            fit(classifier(), local2, epochs=999,
                callbacks=[callbacks.LambdaCallback(on_epoch_end=look)])  # fmt: skip
        assert local2.getLocalProperty("spark.jobGroup.id") == "mine"
    finally:
        local2.setLocalProperty("spark.jobGroup.id", None)
        local2.setLocalProperty("spark.job.description", None)
    assert caught.value.cancelled
    assert not caught.value.restartable


def test_a_stopped_session_is_named(sessions):
    sc = sessions.get("local[2]", **{"spark.zookeras.stopped": "true"}).sparkContext
    rdd, model = records(sc), classifier()

    def stop(epoch, logs):
        sc.stop()

    try:
        with pytest.raises(ClusterError, match="The Spark session has been stopped"):
            fit(model, sc, callbacks=[callbacks.LambdaCallback(on_epoch_end=stop)])
        for method in (model.fit, model.evaluate, model.predict):
            with pytest.raises(ClusterError, match="session has been stopped") as caught:
                method(rdd)
            assert_three_parts(caught.value)
    finally:
        sessions.stop()


def test_fewer_slots_than_before_are_told(local2, monkeypatch):
    monkeypatch.setattr("zoo_keras.spark.fit.driver.RETURN", 0.1)
    monkeypatch.setattr(cluster, "promised_slots", lambda sc: 3)
    with pytest.warns(RuntimeWarning, match=r"fewer ranks .* Received: 2 of 3 slots"):
        classifier().fit(records(local2, partitions=3), verbose=0)
