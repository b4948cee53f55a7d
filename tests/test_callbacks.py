"""Callbacks: when they are called, what they see, and what they change."""

from __future__ import annotations

import csv
import io
import re
import sys
import types
import warnings

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import callbacks
from zoo_keras.callbacks import progress
from zoo_keras.errors import ConfigError
from zoo_keras.layers import Dense

RNG = np.random.default_rng(0)
X, Y = RNG.random((32, 4), np.float32), RNG.random((32, 1), np.float32)


def regression(rate=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def fit(model, *given, epochs=3, **more):
    return model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(given), **more)


class Recorder(callbacks.Callback):
    """Notes every call with its first argument."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("train")

    def on_train_end(self, logs=None):
        self.calls.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"done {epoch} {sorted(logs)}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch {batch}")

    def on_test_end(self, logs=None):
        self.calls.append("test")


def test_hooks_are_called_in_keras_order():
    recorder = Recorder()
    fit(regression(), recorder, epochs=2, validation_data=(X, Y))
    epoch = ["batch 0", "batch 1", "test"]
    want = ["train"]
    for i in range(2):
        want += [f"epoch {i}", *epoch, f"done {i} ['loss', 'val_loss']"]
    assert recorder.calls == [*want, "end"]


def test_history_has_one_value_an_epoch_and_real_epoch_numbers():
    history = fit(regression(), epochs=4, initial_epoch=1)
    assert history.epoch == [1, 2, 3]
    assert len(history.history["loss"]) == 3
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_early_stopping_stops_and_restores_the_best_weights():
    class Worse(callbacks.Callback):
        seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(self.model.get_weights()[0].copy())
            logs["score"] = [1.0, 0.5, 0.7, 0.8, 0.9][epoch]

    worse = Worse()
    stop = callbacks.EarlyStopping("score", patience=2, restore_best_weights=True, mode="min")
    model = regression()
    history = fit(model, worse, stop, epochs=5)
    assert history.epoch == [0, 1, 2, 3]
    assert stop.best_epoch == 1
    np.testing.assert_array_equal(model.get_weights()[0], worse.seen[1])


def test_stop_training_in_a_batch_ends_the_epoch():
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    recorder = Recorder()
    fit(regression(), Stop(), recorder)
    assert [c for c in recorder.calls if c.startswith("batch")] == ["batch 0"]


def test_checkpoint_writes_the_best_model_under_a_formatted_name(tmp_path):
    path = str(tmp_path / "m{epoch:02d}-{loss:.3f}.keras")
    history = fit(regression(), callbacks.ModelCheckpoint(path, "loss", save_best_only=True))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [f"m{i + 1:02d}-{v:.3f}.keras" for i, v in enumerate(history.history["loss"])]
    loaded = keras.saving.load_model(tmp_path / names[-1])
    assert loaded.predict(X, verbose=0).shape == (32, 1)


def test_checkpoint_of_weights_needs_the_right_ending():
    with pytest.raises(ConfigError, match=r"\.weights\.h5"):
        callbacks.ModelCheckpoint("best.keras", save_weights_only=True)


def test_scheduler_sets_the_rate_before_each_epoch():
    seen = []
    model = regression()
    rate = callbacks.LearningRateScheduler(lambda epoch, lr: 0.1 / (epoch + 1))
    note = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(float(model.optimizer.learning_rate))
    )
    history = fit(model, rate, note)
    assert seen == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.1 / 3, 0.1 / 3])
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_plateau_lowers_the_rate_when_nothing_improves():
    plateau = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0)
    model = regression()
    fit(model, plateau, epochs=4)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 * 0.5**3)


def test_a_monitored_metric_that_is_missing_warns():
    with pytest.warns(UserWarning, match="val_loss"):
        fit(regression(), callbacks.EarlyStopping(), epochs=1)


def test_csv_logger_writes_a_row_an_epoch_and_appends(tmp_path):
    path = tmp_path / "log.csv"
    fit(regression(), callbacks.CSVLogger(path), epochs=2)
    fit(regression(), callbacks.CSVLogger(path, append=True), epochs=1)
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [r["epoch"] for r in rows] == ["0", "1", "0"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])


def test_terminate_on_nan_stops_without_an_error(capsys):
    model = regression(rate=1e30)
    history = fit(model, callbacks.TerminateOnNaN(), epochs=5)
    assert len(history.epoch) < 5
    assert "Invalid loss" in capsys.readouterr().out


def test_progress_bar_shows_metrics_and_verbose_2_prints_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "on_screen", lambda: True)
    model = regression()
    model.fit(X, Y, batch_size=16, epochs=2, verbose=1)
    shown = capsys.readouterr().out
    assert "Epoch 1/2" in shown and "loss" in shown and "2/2" in shown
    model.fit(X, Y, epochs=1, verbose=2)
    assert capsys.readouterr().out.startswith("Epoch 1/1 - ")
    model.fit(X, Y, epochs=1, verbose=0)
    assert capsys.readouterr().out == ""


def test_a_log_file_gets_a_line_for_each_epoch_and_call(capsys):
    model = regression()
    model.fit(X, Y, batch_size=16, epochs=2)
    model.evaluate(X, Y)
    model.predict(X)
    lines = capsys.readouterr().out.splitlines()
    shown = [re.sub(r"\d+\.\d+s", "0.1s", line.partition(" - loss")[0]) for line in lines]
    shown = [re.sub(r"[\d,]+ samples/s", "9 samples/s", line) for line in shown]
    assert shown == [
        "Epoch 1/2 - 0.1s - 9 samples/s", "Epoch 2/2 - 0.1s - 9 samples/s", "Evaluate - 0.1s",
        "Predict - 0.1s",
    ]  # fmt: skip
    assert "loss: " in lines[0] and "loss: " in lines[2]


def test_samples_a_second_are_those_of_the_steps_made(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = callbacks.ProgbarLogger()
    bar.set_params({"samples": 6000, "steps": 4})
    bar.on_epoch_begin(0)
    now[0] = 12.0
    bar.on_train_batch_end(2, {})
    assert bar._told({"loss": 1.0}) == "2,250 samples/s - loss: 1.0000"
    bar.set_params({"steps": None})  # of a generator nobody knows
    bar.on_epoch_begin(1)
    bar.on_train_batch_end(2, {})
    assert bar._told({"loss": 1.0}) == "loss: 1.0000"


def test_a_terminal_or_a_notebook_gets_a_bar(monkeypatch):
    assert not progress.on_screen()
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert progress.on_screen()
    monkeypatch.delitem(sys.modules, "ipykernel")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not progress.on_screen()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert progress.on_screen()


class Every(callbacks.Callback):
    """Notes every hook with what it got."""

    HOOKS = [n for n in dir(callbacks.Callback)
             if n.startswith("on_") and n not in ("on_batch_begin", "on_batch_end")]  # fmt: skip

    def __init__(self):
        super().__init__()
        self.calls = []
        for name in self.HOOKS:
            setattr(self, name, lambda *args, name=name: self.note(name, *args))

    def note(self, name, *args):
        assert isinstance(args[-1], dict), f"{name} got {args}"
        self.calls.append((name.removeprefix("on_"), *args[:-1], *sorted(args[-1])))


def test_every_hook_comes_once_in_order_with_a_dict():
    seen, model = Every(), regression()
    model.fit(X[:16], Y[:16], batch_size=8, verbose=0, callbacks=[seen],
              validation_data=(X[:4], Y[:4]))  # fmt: skip
    assert seen.calls == [
        ("train_begin",), ("epoch_begin", 0),
        ("train_batch_begin", 0), ("train_batch_end", 0, "loss"),
        ("train_batch_begin", 1), ("train_batch_end", 1, "loss"),
        ("test_begin",), ("test_batch_begin", 0), ("test_batch_end", 0, "loss"),
        ("test_end", "loss"), ("epoch_end", 0, "loss", "val_loss"),
        ("train_end", "loss", "val_loss"),
    ]  # fmt: skip
    seen.calls.clear()
    model.predict(X[:4], verbose=0, callbacks=[seen])
    assert seen.calls == [("predict_begin",), ("predict_batch_begin", 0),
                          ("predict_batch_end", 0, "outputs"), ("predict_end",)]  # fmt: skip


def test_older_names_of_batch_hooks_come_once_and_not_beside_the_new_ones():
    class Old(callbacks.Callback):
        calls = 0

        def on_batch_end(self, batch, logs=None):
            Old.calls += 1

    class Both(Old):
        def on_train_batch_end(self, batch, logs=None):
            pass

    fit(regression(), Old(), Both(), epochs=1)
    assert Old.calls == 2


def test_a_rate_set_before_a_batch_holds_for_that_batch():
    class Rates(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.1 * batch

    model, rows = regression(), slice(0, 16)
    before = model.get_weights()
    fit(model, Rates(), epochs=1, shuffle=False)
    other = regression()
    other.set_weights(before)
    other.optimizer.learning_rate = 0.1
    rows = slice(16, 32)
    other.train_on_batch(X[rows], Y[rows])
    for mine, want in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, want)


def test_checkpoints_every_n_batches_count_across_epochs(tmp_path):
    keep = callbacks.ModelCheckpoint(str(tmp_path / "{epoch}-{batch}.keras"), save_freq=3)
    fit(regression(), keep, epochs=3)  # two batches an epoch
    assert sorted(f.name for f in tmp_path.iterdir()) == ["2-1.keras", "3-2.keras"]


def test_evaluation_and_prediction_can_be_stopped():
    class Stop(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch == 1

        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = True

    model = regression()
    stopped = model.evaluate(X, Y, batch_size=8, verbose=0, callbacks=[Stop()])
    assert stopped == pytest.approx(model.evaluate(X[:16], Y[:16], batch_size=8, verbose=0))
    assert len(model.predict(X, batch_size=8, verbose=0, callbacks=[Stop()])) == 8


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_csv_file_has_all_columns_from_the_first_row(tmp_path, every):
    path = tmp_path / "log.csv"
    fit(regression(), callbacks.CSVLogger(path), validation_data=(X, Y), validation_freq=every)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["val_loss"] != "NA" for row in rows] == [n % every == 0 for n in (1, 2, 3)]
    assert {len(row) for row in rows} == {3}


def test_a_csv_file_that_goes_on_keeps_its_columns(tmp_path):
    path = tmp_path / "log.csv"
    fit(regression(), callbacks.CSVLogger(path), validation_data=(X, Y))
    fit(regression(), callbacks.CSVLogger(path, append=True))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["val_loss"] == "NA" for row in rows] == [False] * 3 + [True] * 3
    assert float(rows[3]["loss"]) > 0


def test_files_are_closed_when_training_raises(tmp_path):
    class Fails(callbacks.Callback):
        ended = False

        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("mine")

        def on_train_end(self, logs=None):
            Fails.ended = True

    log = callbacks.CSVLogger(tmp_path / "log.csv")
    with pytest.raises(KeyError, match="mine"):
        fit(regression(), log, Fails())
    assert log._file is None
    assert not Fails.ended


def data_that_fail():
    yield X[:4], Y[:4]
    raise KeyError("mine")


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_bars_are_closed_when_data_fail(method, monkeypatch):
    monkeypatch.setattr(progress, "on_screen", lambda: True)
    bar, made = callbacks.ProgbarLogger(), []

    class Sees(callbacks.Callback):
        def see(self, batch, logs=None):
            made.append(bar._bar)

        on_train_batch_end = on_test_batch_end = on_predict_batch_end = see

    with pytest.raises(KeyError, match="mine"):
        getattr(regression(), method)(data_that_fail(), verbose=1, callbacks=[bar, Sees()])
    assert made[0] is not None and made[0].disable  # as tqdm marks a closed bar
    assert bar._bar is None


class Batches(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("train", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(("end", batch))

    def on_test_batch_begin(self, batch, logs=None):
        self.seen.append(("test", batch))

    def on_predict_batch_begin(self, batch, logs=None):
        self.seen.append(("predict", batch))


def test_callbacks_are_asked_once_for_each_execution():
    x, y = np.ones((10, 2)), np.ones((10, 1))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=3)
    watch = Batches()
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[watch])
    assert watch.seen == [("train", 0), ("end", 2), ("train", 3), ("end", 5)]
    watch.seen.clear()
    model.evaluate(x, y, batch_size=2, verbose=0, callbacks=[watch])
    model.predict(x, batch_size=2, verbose=0, callbacks=[watch])
    assert watch.seen == [("test", 0), ("test", 3), ("predict", 0), ("predict", 3)]


@pytest.mark.parametrize(
    ("batches", "epochs", "steps", "group", "begun", "bias"),
    [  # what Keras 3.15 on TensorFlow does: the last group of an epoch is a whole one
        (10, 2, 5, 2, "0 2 4|0 2", 0.26216),
        (10, 3, 5, 2, "0 2 4|0 2|0 2 4", 0.31628),
        (20, 3, 3, 2, "0 2|0 2|0 2", 0.35626),
        (12, 3, 4, 3, "0 3|0 3|0 3", 0.3894),
        (10, 2, 5, 1, "0 1 2 3 4|0 1 2 3 4", 0.26216),
    ],
)
def test_steps_of_an_epoch_are_whole_executions(batches, epochs, steps, group, begun, bias):
    x = np.arange(batches * 2 * 3, dtype="f4").reshape(batches * 2, 3) / 60
    y = x.sum(1, keepdims=True)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse", steps_per_execution=group)
    seen = []
    watch = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append("|" * bool(epoch)),
        on_train_batch_begin=lambda batch, logs: seen.append(f" {batch}"),
    )
    options = {"batch_size": 2, "verbose": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these data run out
        model.fit(x, y, epochs=epochs, steps_per_epoch=steps, shuffle=False, callbacks=[watch],
                  **options)  # fmt: skip
    assert "".join(seen).replace("| ", "|").strip() == begun
    assert float(model.weights[1].numpy()[0]) == pytest.approx(bias, abs=1e-5)
    rows = -(-steps // group) * group * 2
    assert len(model.predict(x, steps=steps, **options)) == rows
    assert model.evaluate(x, y, steps=steps, **options) == pytest.approx(
        model.evaluate(x[:rows], y[:rows], **options)
    )
