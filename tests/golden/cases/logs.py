"""What callbacks are told: fits, evaluations and predictions with a callback that writes down each
hook, its number and its logs.

In: `keras`, real or ours. Out: the events [hook, number or None, {name: value}], in order; nothing
is drawn at random and no row is shuffled.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

Events = list[list[Any]]
CASES: dict[str, Any] = {}
HOOKS = [f"on_{kind}_{when}" for kind in ("train", "test", "predict", "epoch", "train_batch",
         "test_batch", "predict_batch") for when in ("begin", "end")]  # fmt: skip
RNG = np.random.default_rng(5)
X = RNG.normal(size=(10, 3)).astype("f4")
BITS = (X[:, :1] > 0).astype("f4")
CLASSES = RNG.integers(0, 3, 10).astype("i4")
WEIGHTS = RNG.uniform(0.2, 2, 10).astype("f4")
KERNEL = RNG.normal(size=(3, 4)).astype("f4")


def case(function: Any) -> Any:
    CASES[function.__name__] = function
    return function


def recorder(keras: Any, events: Events) -> Any:
    def hook(name: str) -> Any:
        def told(self: Any, *given: Any) -> None:
            number, logs = given if len(given) == 2 else (None, given[0] if given else None)
            logs = {k: float(v) for k, v in (logs or {}).items() if k != "outputs"}
            events.append([name, None if number is None else int(number), logs])

        def with_number(self: Any, number: Any, logs: Any = None) -> None:
            told(self, number, logs)

        def without(self: Any, logs: Any = None) -> None:
            told(self, logs)

        return with_number if "batch" in name or "epoch" in name else without

    return type("Recorder", (keras.callbacks.Callback,), {name: hook(name) for name in HOOKS})()


def one(keras: Any, optimizer: Any = None, **compiled: Any) -> Any:
    """A net for BITS."""
    dense = keras.layers.Dense(1, activation="sigmoid", name="out", kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((3,)), dense])
    model.set_weights([KERNEL[:, :1], KERNEL[0, :1]])
    rate = optimizer or keras.optimizers.SGD(0.1)
    model.compile(rate, **({"loss": "binary_crossentropy"} | compiled))
    return model


def two(keras: Any, **compiled: Any) -> Any:
    """A net for BITS and CLASSES. Batches are even: traced on TensorFlow, Keras does not know their
    rows, and a shorter batch counts as much as the others in the loss of one output."""
    x = keras.Input((3,))
    bits = keras.layers.Dense(1, activation="sigmoid", name="bits")
    classes = keras.layers.Dense(3, activation="softmax", name="classes")
    model = keras.Model(x, {"bits": bits(x), "classes": classes(x)})
    model.set_weights([KERNEL[:, :1], KERNEL[0, :1], KERNEL[:, 1:], KERNEL[1, 1:]])
    model.compile(keras.optimizers.SGD(0.1), **compiled)
    return model


def fitted(keras: Any, model: Any, *data: Any, callbacks: Any = (), **options: Any) -> Events:
    """The events, and the history as the last of them."""
    events: Events = []
    how = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0} | options
    told = [*callbacks, recorder(keras, events)]
    history = model.fit(*data, callbacks=told, **how).history
    for number, row in enumerate(zip(*history.values(), strict=True)):
        logs = {k: float(v) for k, v in zip(history, row, strict=True)}
        events.append(["history", number, logs])
    return events


@case
def no_metrics(keras: Any) -> Events:
    return fitted(keras, one(keras), X, BITS)


@case
def many_metrics(keras: Any) -> Events:
    kinds = keras.metrics
    model = one(
        keras,
        metrics=["accuracy", "mse", kinds.AUC(name="area"), kinds.Precision(name="sure"), "mae"],
        weighted_metrics=["accuracy", "mse", kinds.Recall(name="found")],
    )
    held = (X[:5] + 1, BITS[:5], WEIGHTS[:5])
    return fitted(keras, model, X, BITS, sample_weight=WEIGHTS, validation_data=held)


@case
def class_weights(keras: Any) -> Events:
    model = one(keras, metrics=["mae"], weighted_metrics=["mae"])
    return fitted(keras, model, X, BITS, class_weight={0: 0.5, 1: 3.0}, validation_split=0.3)


@case
def validation_now_and_then(keras: Any) -> Events:
    model, held = one(keras, metrics=["accuracy"]), (X[::-1], BITS)
    events: Events = []
    how = {"batch_size": 4, "epochs": 4, "shuffle": False, "verbose": 0, "initial_epoch": 1}
    model.fit(
        X, BITS, validation_data=held, validation_freq=2, validation_batch_size=3,
        callbacks=[recorder(keras, events)], **how,
    )  # fmt: skip
    return events


@case
def two_outputs(keras: Any) -> Events:
    model = two(
        keras,
        loss={"bits": "mse", "classes": "sparse_categorical_crossentropy"},
        loss_weights={"bits": 0.25, "classes": 2.0},
        metrics={"bits": ["mae", "accuracy"], "classes": ["accuracy"]},
        weighted_metrics={"classes": ["accuracy"]},
    )
    given = {"bits": BITS, "classes": CLASSES}
    weights = {"bits": WEIGHTS, "classes": WEIGHTS[::-1].copy()}
    held = (X, given)
    return fitted(
        keras, model, X, given, sample_weight=weights, validation_data=held, batch_size=5
    )


@case
def two_outputs_without_weights(keras: Any) -> Events:
    losses = {"bits": "binary_crossentropy", "classes": "sparse_categorical_crossentropy"}
    model = two(keras, loss=losses)
    given = {"bits": BITS, "classes": CLASSES}
    return fitted(keras, model, X, given, validation_split=0.4, batch_size=2)


@case
def evaluated_and_predicted(keras: Any) -> Events:
    model = one(keras, metrics=["accuracy"], weighted_metrics=["mse"])
    events: Events = []
    told = {"callbacks": [recorder(keras, events)], "verbose": 0}
    values = model.evaluate(X, BITS, sample_weight=WEIGHTS, batch_size=3, **told)
    model.predict(X, batch_size=4, **told)
    events.append(["returned", None, {str(i): float(v) for i, v in enumerate(values)}])
    return events


@case
def steps_and_repeats(keras: Any) -> Events:
    model = one(keras, metrics=["mae"])
    return fitted(keras, model, X[:8], BITS[:8], steps_per_epoch=1, epochs=2)


@case
def several_steps_at_once(keras: Any) -> Events:
    model = one(keras, metrics=["mae"], steps_per_execution=2)
    return fitted(keras, model, X, BITS, batch_size=2, validation_data=(X, BITS))


@case
def rates_that_change(keras: Any) -> Events:
    kinds = keras.callbacks
    told = [
        kinds.LearningRateScheduler(lambda epoch, rate: rate * (0.5 if epoch else 1.0)),
        kinds.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=10.0, cooldown=1),
    ]
    return fitted(keras, one(keras), X, BITS, callbacks=told, epochs=5)


@case
def stopped_early(keras: Any) -> Events:
    stop = keras.callbacks.EarlyStopping(
        "val_loss", min_delta=0.05, patience=2, restore_best_weights=True, start_from_epoch=1
    )
    model = one(keras)
    events = fitted(keras, model, X, BITS, validation_split=0.3, callbacks=[stop], epochs=9)
    weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
    found = {str(i): float(w) for i, w in enumerate(weights)}
    return [*events, ["stopped", int(stop.stopped_epoch), found]]


@case
def stopped_by_a_number(keras: Any) -> Events:
    x = X.copy()
    x[5] = np.inf
    stop = keras.callbacks.TerminateOnNaN()
    return fitted(keras, one(keras, loss="mse"), x, BITS, callbacks=[stop])


@case
def averaged_weights(keras: Any) -> Events:
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8)
    model = one(keras, optimizer, metrics=["mae"])
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    return fitted(keras, model, X, BITS, validation_data=(X, BITS), callbacks=[swap])


@case
def functions_as_callbacks(keras: Any) -> Events:
    events: Events = []

    def told(name: str) -> Any:
        return lambda number, logs: events.append(
            [name, int(number), {k: float(v) for k, v in (logs or {}).items()}]
        )

    hooks = ("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end")
    callback = keras.callbacks.LambdaCallback(**{name: told(name) for name in hooks})
    history = keras.callbacks.History()
    fitted(keras, one(keras), X, BITS, callbacks=[callback, history])
    return [*events, ["epochs", None, {str(e): float(e) for e in history.epoch}]]


@case
def a_list_of_callbacks(keras: Any) -> Events:
    events: Events = []
    model = one(keras)
    told = keras.callbacks.CallbackList(
        [recorder(keras, events)], add_history=True, model=model, epochs=1
    )
    told.on_train_begin()
    told.on_epoch_begin(3)
    told.on_train_batch_begin(0)
    told.on_train_batch_end(0, {"loss": 2.0})
    told.on_epoch_end(3, {"loss": 1.0})
    told.on_train_end({"loss": 1.0})
    return [*events, ["history", None, {"loss": model.history.history["loss"][0]}]]


@case
def a_file_of_numbers(keras: Any) -> Events:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        logger = keras.callbacks.CSVLogger(str(path), separator=";")
        model = one(keras, metrics=["mae"])
        fitted(keras, model, X, BITS, validation_split=0.3, callbacks=[logger])
        with path.open() as file:
            rows = list(csv.DictReader(file, delimiter=";"))
    return [["row", None, {k: float(v) for k, v in row.items()}] for row in rows]
