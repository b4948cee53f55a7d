"""fit on a cluster gives what fit on one machine gives for the same global batches."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import SPLITS, GlobalBatches, places, rdd_of, records_of

import zoo_keras as keras
from zoo_keras import callbacks, ops, optimizers
from zoo_keras.callbacks import progress
from zoo_keras.layers import (
    BatchNormalization,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
)
from zoo_keras.spark.fit.turns import wants_turns

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(7)
ROWS, BATCH = 43, 16
X = RNG.standard_normal((ROWS, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, ROWS).astype(np.int32)
TARGETS = (X @ RNG.standard_normal((6, 2))).astype(np.float32)
WORDS = RNG.integers(0, 11, (ROWS, 4)).astype(np.int32)
WEIGHTS = RNG.random(ROWS).astype(np.float32)


def classifier(optimizer="sgd", loss="sparse_categorical_crossentropy", *, extra=(), **dense):
    keras.utils.set_random_seed(5)
    layers = [Dense(8, activation="tanh", **dense), *extra, Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile(optimizer, loss, metrics=["accuracy"], weighted_metrics=["accuracy"])
    return model


def regression(optimizer="sgd", loss="mse", **compiled):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), Dense(8, activation="relu"), Dense(2)])
    model.compile(optimizer, loss, **compiled)
    return model


def decayed():
    model = classifier(optimizers.AdamW(0.01, weight_decay=0.1, epsilon=1e-3))
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    return model


def constrained():
    keras.utils.set_random_seed(5)
    limits = {"kernel_constraint": keras.constraints.MaxNorm(0.7), "bias_constraint": "non_neg"}
    model = keras.Sequential([keras.Input((6,)), Dense(8, **limits), Dense(2)])
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def regularized():
    keras.utils.set_random_seed(5)
    hidden = Dense(8, kernel_regularizer="l2", activity_regularizer="l1", activation="tanh")
    model = keras.Sequential([keras.Input((6,)), hidden, Dense(2)])
    model.compile("sgd", "mae")
    return model


def words():
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), Embedding(11, 5), GlobalAveragePooling1D(), Dense(2)]
    )
    model.compile(optimizers.Adam(0.05, epsilon=1e-3), "mse")
    return model


def masked():
    """One output a word; word 0 is padding and counts neither in the loss nor its denominator."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), Embedding(11, 5, mask_zero=True), Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.SGD(0.5), loss)
    return model


def two_outputs():
    keras.utils.set_random_seed(5)
    a, b = keras.Input((6,), name="a"), keras.Input((4,), dtype="int32", name="b")
    both = Concatenate()([Dense(5, activation="tanh")(a), Flatten()(Embedding(11, 2)(b))])
    outputs = {"size": Dense(2, name="size")(both), "kind": Dense(3, name="kind")(both)}
    model = keras.Model({"a": a, "b": b}, list(outputs.values()))
    model.compile(
        optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "huber"},
        loss_weights={"kind": 0.3, "size": 2.0},
        metrics={"size": ["mae"], "kind": ["accuracy"]},
    )
    return model


def plain_mean(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


class OwnStep(keras.Model):
    """No `call`: a step of its own, with a loss that fits neither `compile` nor `add_loss`."""

    def __init__(self):
        super().__init__()
        self.net = regression("sgd")
        self.error = keras.metrics.MeanSquaredError(name="error")

    @property
    def metrics(self):
        return [self.error]

    def train_step(self, data):
        x, y = data
        with keras.GradientTape() as tape:
            found = self.net(x, training=True)
            loss = ops.mean(ops.square(y - found)) + 0.1 * ops.mean(ops.abs(found))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.error.update_state(y, found)
        return {"error": self.error.result()}

    def test_step(self, data):
        self.error.update_state(data[1], self.net(data[0]))
        return {"error": self.error.result()}


def own_step():
    model = OwnStep()
    model.compile(optimizers.Adam(0.01, epsilon=1e-3, clipnorm=0.1))
    return model


def adam():
    return optimizers.Adam(0.01, epsilon=1e-3)


class OnTop(keras.Model):
    """A loss of its own on top of what compile was given."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        whole = super().compute_loss(x, y, y_pred, sample_weight, training)
        return 2.0 * whole + ops.mean(ops.square(y_pred) * x[:, :1])


def with_own_loss():
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,))
    model = OnTop(inputs, Dense(2, kernel_regularizer="l2")(inputs))
    model.compile(optimizers.SGD(0.05), BY_WEIGHT, metrics=["mae"])
    return model


def skipping():
    """The first scales overflow: those steps are left out. Later ones grow."""
    inner = optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_overwrite_frequency=2)
    return optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127, dynamic_growth_steps=2)


BOTH = ({"a": X, "b": WORDS}, {"size": TARGETS, "kind": LABELS})
WORD_LABELS = RNG.integers(0, 3, (ROWS, 4)).astype(np.int32)
ZEROS_FIRST = np.where(np.arange(ROWS) < 30, 0, WEIGHTS).astype(np.float32)
SUM = keras.losses.MeanSquaredError(reduction="sum")
BY_WEIGHT = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

CASES = {
    "momentum": (lambda: classifier(optimizers.SGD(0.1, momentum=0.9)), (X, LABELS), {}),
    "class_weight": (lambda: classifier(adam()), (X, LABELS), {"class_weight": {0: 3.0, 2: 0.2}}),
    "sample_weight": (
        lambda: classifier(optimizers.RMSprop(0.01, epsilon=1e-3)), (X, LABELS, WEIGHTS), {},
    ),
    "clipnorm": (lambda: regression(optimizers.SGD(0.1, clipnorm=0.05)), (X, TARGETS), {}),
    "global_clipnorm": (
        lambda: regression(optimizers.SGD(0.1, momentum=0.5, global_clipnorm=0.1)),
        (X, TARGETS), {},
    ),
    "weight decay": (decayed, (X, LABELS), {}),
    "constraints": (constrained, (X, TARGETS), {}),
    "compute_loss": (with_own_loss, (X, TARGETS, WEIGHTS), {}),
    "average": (
        lambda: regression(
            optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2)
        ),
        (X, TARGETS), {},
    ),
    "regularizers": (regularized, (X, TARGETS), {}),
    "embedding": (words, (WORDS, TARGETS), {}),
    "dropout": (lambda: classifier(adam(), extra=[Dropout(0.5, seed=3)]), (X, LABELS), {}),
    "several outputs": (two_outputs, BOTH, {}),
    "sum": (lambda: regression(optimizers.SGD(0.001), SUM), (X, TARGETS), {}),
    "own loss": (lambda: regression("sgd", plain_mean), (X, TARGETS), {}),
    "mean by weight": (lambda: regression("sgd", BY_WEIGHT), (X, TARGETS, ZEROS_FIRST), {}),
    "mask": (masked, (WORDS, WORD_LABELS), {}),
    "schedule": (
        lambda: regression(optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))),
        (X, TARGETS), {},
    ),
    "lamb": (
        lambda: classifier(optimizers.Lamb(0.1, weight_decay=0.1)),
        (X, LABELS), {},
    ),
    "own step": (own_step, (X, TARGETS), {}),
    "accumulated": (
        lambda: regression(optimizers.Adam(0.1, gradient_accumulation_steps=3)), (X, TARGETS), {},
    ),
    "muon": (lambda: regression(optimizers.Muon(0.05, clipnorm=0.1)), (X, TARGETS), {}),
    "adafactor": (
        lambda: regression(optimizers.Adafactor(0.1, global_clipnorm=0.5)), (X, TARGETS), {},
    ),
    "loss scale": (lambda: regression(skipping()), (X, TARGETS), {}),
    "steps_per_epoch": (
        lambda: regression(optimizers.SGD(0.1)), (X, TARGETS), {"steps_per_epoch": 2},
    ),
}  # fmt: skip


def fit_locally(model, data, sizes, **options):
    batches = GlobalBatches(data, sizes, BATCH)
    return model.fit(batches, epochs=2, shuffle=False, verbose=0, **options).history


def fit_on(sc, model, data, sizes, **options):
    rdd = rdd_of(sc, records_of(data), sizes)
    arguments = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0, **options}
    return model.fit(rdd, **arguments).history


def assert_same_state(a, b):
    """Weights, optimizer state and step count are equal to rounding."""
    for ours, theirs in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=3e-6)
    for ours, theirs in zip(a.optimizer.variables, b.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=3e-4, atol=3e-6)


def assert_same_history(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=3e-5, atol=3e-6, err_msg=name)


# Every case on four ranks; on two, one of each kind: data, a norm of all, rows of tables, outputs,
# moving averages, statistics of columns, steps of one's own.
ON_TWO = ("class_weight", "global_clipnorm", "embedding", "several outputs", "average", "adafactor",
          "own step")  # fmt: skip
ON_RANKS = [*[(case, 4) for case in CASES], *[(case, 2) for case in ON_TWO]]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(("case", "ranks"), ON_RANKS)
def test_ranks_train_as_one(cluster4, case, ranks):
    build, data, options = CASES[case]
    alone, together = build(), build()
    expected = fit_locally(alone, data, SPLITS[ranks], **options)
    found = fit_on(cluster4, together, data, SPLITS[ranks], **options)
    assert_same_history(found, expected)
    assert_same_state(together, alone)


# ---- every record once, and the same bits --------------------------------------------------------


class Total(keras.losses.Loss):
    """Minus the sum of all outputs: the gradient of a weight counts how often it was used."""

    def call(self, y_true, y_pred):
        return ops.multiply(y_pred[..., 0], -1.0)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"epochs": 3}, 3),
        ({"epochs": 4, "steps_per_epoch": 2}, 2),  # a pass has 3 steps: 2, 1, 2, 1
        ({"epochs": 4, "initial_epoch": 2}, 2),
        ({"epochs": 2, "batch_size": 1}, 2),
        ({"epochs": 2, "batch_size": 1000}, 2),
    ],
)
def test_every_record_is_used_once_an_epoch(cluster4, options, times):
    model = keras.Sequential([keras.Input((ROWS,)), Dense(1, use_bias=False)])
    model.compile(optimizers.SGD(1.0), Total(reduction="sum"))
    model.set_weights([np.zeros((ROWS, 1))])
    data = np.eye(ROWS, dtype=np.float32), np.zeros(ROWS, np.float32)
    fit_on(cluster4, model, data, SPLITS[4], shuffle=True, **options)
    assert model.get_weights()[0].ravel().tolist() == [times] * ROWS


def test_the_same_fit_gives_the_same_bits(cluster4):
    """Also when records must be moved: 3 partitions on 2 ranks."""
    found = []
    for _ in range(2):
        model = classifier("adam", extra=[BatchNormalization(), Dropout(0.2, seed=1)])
        rdd = cluster4.parallelize(list(zip(X, LABELS)), 3)
        model.fit(rdd, batch_size=BATCH, epochs=3, num_ranks=2, verbose=0)
        found.append([*model.get_weights(), *[v.numpy() for v in model.optimizer.variables]])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_moving_averages_are_averaged_by_rows(cluster4):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), BatchNormalization(momentum=0.5), Dense(2)])
    model.compile(optimizers.SGD(0.0), "mse")
    fit_on(cluster4, model, (X, TARGETS), SPLITS[4], epochs=1, batch_size=ROWS)
    mean, variance = model.layers[0].get_weights()[2:]
    np.testing.assert_allclose(mean, 0.5 * X.mean(axis=0), rtol=1e-5, atol=1e-6)
    parts = [X[rows] for rows in places(SPLITS[4]) if rows]
    within = sum(len(p) * p.var(axis=0) for p in parts) / ROWS
    np.testing.assert_allclose(variance, 0.5 + 0.5 * within, rtol=1e-5)


@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
def test_narrow_wires_train_nearly_as_well(cluster4, wire):
    models = [classifier(adam(), extra=[BatchNormalization()]) for _ in range(2)]
    for model, options in zip(models, ({}, {"wire": wire})):
        fit_on(cluster4, model, (X, LABELS), SPLITS[2], epochs=4, **options)
    for ours, theirs in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        assert np.abs(ours - theirs).max() < 0.02
    assert not np.array_equal(models[1].get_weights()[0], models[0].get_weights()[0])


# ---- validation and callbacks --------------------------------------------------------------------


def validated(sc, model, given, **options):
    return fit_on(sc, model, (X, LABELS), SPLITS[2], validation_data=given, **options)


def test_validation_data_may_be_an_rdd_arrays_or_held_back(cluster4):
    test = (X[::2], LABELS[::2], WEIGHTS[::2])
    expected = fit_locally(classifier(), (X, LABELS), SPLITS[2], validation_data=test)
    rdd = cluster4.parallelize(list(zip(*test)), 3)
    for given in (test, rdd):
        assert_same_history(validated(cluster4, classifier(), given), expected)
    expected = fit_locally(classifier(), (X, LABELS), SPLITS[2], validation_data=test[:2])
    assert_same_history(validated(cluster4, classifier(), test[:2]), expected)


def test_validation_split_holds_back_the_last_rows_of_each_rank(cluster4):
    first, second = np.split(np.arange(ROWS), [20])
    kept = [*first[:15], *second[:17]]
    tests = [*first[15:], *second[17:]]
    expected = fit_locally(
        classifier(), (X[kept], LABELS[kept]), (15, 17), validation_data=(X[tests], LABELS[tests])
    )
    found = fit_on(cluster4, classifier(), (X, LABELS), (20, 23), validation_split=0.25)
    assert_same_history(found, expected)


def test_validation_of_losses_whose_denominator_data_decide(cluster4):
    given = (WORDS[::2], WORD_LABELS[::2])
    expected = fit_locally(
        masked(), (WORDS, WORD_LABELS), SPLITS[2], validation_data=given, validation_batch_size=50
    )
    for data in (given, cluster4.parallelize(list(zip(*given)), 2)):
        found = fit_on(cluster4, masked(), (WORDS, WORD_LABELS), SPLITS[2], validation_data=data,
                       validation_batch_size=50)  # fmt: skip
        assert_same_history(found, expected)


def test_validation_runs_after_the_epochs_asked_for(cluster4):
    found = validated(cluster4, classifier(), (X, LABELS), epochs=4, validation_freq=[2, 4])
    assert [len(found["loss"]), len(found["val_loss"])] == [4, 2]


def frame_of(spark, rows=slice(None)):
    columns = X[rows].tolist(), LABELS[rows].tolist(), WEIGHTS[rows].tolist()
    rdd = spark.sparkContext.parallelize(list(zip(*columns)), 2)
    return spark.createDataFrame(rdd, "f array<float>, y long, w float")


def test_a_frame_trains_as_its_rows_do(cluster4, sessions):
    from pyspark.sql import SparkSession

    spark = SparkSession(cluster4)
    names = {"feature_cols": "f", "label_cols": "y", "weight_col": "w"}
    options = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0}
    sizes = (ROWS // 2, ROWS - ROWS // 2)
    arrays = X[::2], LABELS[::2], WEIGHTS[::2]
    expected = fit_locally(classifier(), (X, LABELS, WEIGHTS), sizes, validation_data=arrays)
    for validation in (frame_of(spark, slice(None, None, 2)), arrays):
        found = classifier().fit(frame_of(spark), **names, **options, validation_data=validation)
        assert_same_history(found.history, expected)


def test_callbacks_run_on_the_driver_and_reach_the_ranks(cluster4, tmp_path):
    given = lambda: [  # noqa: E731
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0),
        callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True),
        callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    models = [classifier(optimizers.SGD(0.4, momentum=0.9)) for _ in range(2)]
    expected = fit_locally(models[0], (X, LABELS), SPLITS[2], callbacks=given())
    found = fit_on(cluster4, models[1], (X, LABELS), SPLITS[2], callbacks=given())
    assert_same_history(found, expected)
    assert_same_state(*models)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    models[0].load_weights(tmp_path / "2.weights.h5")
    assert all(map(np.array_equal, models[0].get_weights(), models[1].get_weights()))


def test_early_stopping_restores_the_best_weights(cluster4):
    models = [classifier(optimizers.SGD(5.0)) for _ in range(2)]
    stop = lambda: callbacks.EarlyStopping(  # noqa: E731
        "val_loss", patience=1, restore_best_weights=True
    )
    options = {"validation_data": (X[:5], LABELS[:5]), "epochs": 6}
    expected = models[0].fit(
        GlobalBatches((X, LABELS), SPLITS[2], BATCH), shuffle=False, verbose=0, callbacks=[stop()],
        **options,
    ).history  # fmt: skip
    found = fit_on(cluster4, models[1], (X, LABELS), SPLITS[2], callbacks=[stop()], **options)
    assert 1 < len(expected["loss"]) < 6
    assert_same_history(found, expected)
    for ours, theirs in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


class StopAfter(callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step, self.steps = step, []

    def on_train_batch_end(self, batch, logs=None):
        assert np.isfinite(logs["loss"])
        self.steps.append(batch)
        self.model.stop_training = batch >= self.step


def test_stopping_within_an_epoch_stops_every_rank_at_that_step(cluster4):
    model, stop = regression(optimizers.SGD(1e-4), metrics=["mae"]), StopAfter(3)
    fit_on(cluster4, model, (X, TARGETS), SPLITS[4], batch_size=4, epochs=1000, callbacks=[stop])
    assert stop.steps == [0, 1, 2, 3]
    assert int(model.optimizer.iterations.numpy()) == 4
    assert model.history.epoch == [0]


class Watches(callbacks.Callback):
    """Notes every hook, changes the rate at every step, and the weights at some."""

    def __init__(self):
        super().__init__()
        self.seen, self.losses = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(("epoch", epoch))

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("begin", batch))
        self.model.optimizer.learning_rate = 0.02 * len(self.seen)

    def on_train_batch_end(self, batch, logs=None):
        step = int(self.model.optimizer.iterations)
        self.seen.append(("end", batch, step, *logs))
        self.losses.append(logs["loss"])
        if step == 4:
            self.model.set_weights([w * 0.5 for w in self.model.get_weights()])


@pytest.mark.parametrize("wire", ["float32", "bfloat16"])
def test_every_hook_runs_at_its_step_and_takes_effect_there(local2, wire):
    models = [regression(optimizers.SGD(0.1, momentum=0.5), metrics=["mae"]) for _ in range(2)]
    watches = [Watches(), Watches()]
    fit_locally(models[0], (X, TARGETS), SPLITS[2], callbacks=[watches[0]])
    fit_on(local2, models[1], (X, TARGETS), SPLITS[2], callbacks=[watches[1]], wire=wire)
    assert watches[1].seen == watches[0].seen
    rounded = 3e-5 if wire == "float32" else 0.02
    np.testing.assert_allclose(watches[1].losses, watches[0].losses, rtol=rounded)
    if wire == "float32":
        assert_same_state(*models)


def test_a_checkpoint_after_so_many_steps_holds_the_weights_of_that_step(local2, tmp_path):
    for place, run in (("a", fit_locally), ("b", lambda *a, **k: fit_on(local2, *a, **k))):
        path = str(tmp_path / place) + "{epoch}-{batch}.weights.h5"
        saves = callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=2)
        run(constrained(), (X, TARGETS), SPLITS[2], callbacks=[saves])
    assert len(list(tmp_path.glob("b*"))) == 3
    for ours in tmp_path.glob("b*"):
        models = [constrained(), constrained()]
        for model, file in zip(models, (ours, ours.with_name("a" + ours.name[1:]))):
            model.load_weights(file)
        for a, b in zip(*(m.get_weights() for m in models), strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-6)


def test_callbacks_of_ours_let_the_ranks_run_free():
    class Saves(callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            """The user's own."""

    free = [
        callbacks.ProgbarLogger(),
        callbacks.TerminateOnNaN(),
        callbacks.CSVLogger("a.csv"),
        callbacks.ModelCheckpoint("a.keras"),
        callbacks.LambdaCallback(on_epoch_end=print),
    ]
    assert not wants_turns(free)
    for hook in (callbacks.ModelCheckpoint("a.keras", save_freq=3), Saves("a.keras"), Watches(),
                 callbacks.LambdaCallback(on_train_batch_begin=print)):  # fmt: skip
        assert wants_turns([*free, hook])


def test_rows_out_of_a_shuffle_are_ordered_by_their_content(local2):
    rows = list(zip(X, LABELS))
    weights = []
    for order in (rows, rows[::-1], rows[::-1]):
        shuffled = local2.parallelize(order, 1).keyBy(lambda r: int(r[1])).partitionBy(2).values()
        model = classifier("adam")
        options = {"batch_size": BATCH, "epochs": 1, "verbose": 0, "validation_split": 0.2}
        model.fit(shuffled, **options, order_rows=len(weights) < 2)
        weights.append(model.get_weights())
    assert all(map(np.array_equal, weights[0], weights[1]))
    assert not all(map(np.array_equal, weights[0], weights[2]))


class SetsWeights(callbacks.Callback):
    def __init__(self, hook):
        super().__init__()
        setattr(self, hook, self.zero)

    def zero(self, *args):
        self.model.set_weights([np.zeros_like(w) for w in self.model.get_weights()])


@pytest.mark.parametrize(
    "hook", ["on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_batch_end"]
)
def test_weights_set_by_a_callback_reach_the_ranks(cluster4, hook):
    models = [regression() for _ in range(2)]
    fit_locally(models[0], (X, TARGETS), SPLITS[2], callbacks=[SetsWeights(hook)])
    fit_on(cluster4, models[1], (X, TARGETS), SPLITS[2], callbacks=[SetsWeights(hook)])
    assert_same_state(*models)


def test_fit_goes_on_where_the_last_fit_ended(cluster4):
    once, twice = (classifier(adam()) for _ in range(2))
    data = X, LABELS
    fit_on(cluster4, once, data, SPLITS[2], epochs=4)
    fit_on(cluster4, twice, data, SPLITS[2], epochs=2)
    twice.fit(GlobalBatches(data, SPLITS[2], BATCH), epochs=1, shuffle=False, verbose=0)
    fit_on(cluster4, twice, data, SPLITS[2], epochs=4, initial_epoch=3)
    assert_same_state(once, twice)


def test_a_fit_that_broke_off_goes_on_from_its_backup(local2, tmp_path):
    whole, broken = (classifier(adam()) for _ in range(2))
    fit_on(local2, whole, (X, LABELS), SPLITS[2], epochs=3)

    def fail(epoch, logs):
        if epoch == 2:
            raise KeyError("power cut")

    backup = callbacks.BackupAndRestore(tmp_path / "backup")
    failing = callbacks.LambdaCallback(on_epoch_begin=fail)
    with pytest.raises(KeyError, match="power cut"):
        fit_on(local2, broken, (X, LABELS), SPLITS[2], epochs=3, callbacks=[backup, failing])
    again = classifier(adam())
    fit_on(local2, again, (X, LABELS), SPLITS[2], epochs=3, callbacks=[backup])
    assert again.history.epoch == [2]
    assert_same_state(again, whole)
    assert not (tmp_path / "backup").exists()


def test_metrics_with_more_state_than_a_board_holds(cluster4):
    auc = {"num_thresholds": 400, "name": "auc"}
    models = [regression(metrics=[keras.metrics.AUC(**auc)]) for _ in range(2)]
    data = X, (TARGETS > 0).astype(np.float32)
    for model in models:
        model.layers[-1].activation = keras.activations.sigmoid
    stop = StopAfter(10**9)
    expected = fit_locally(models[0], data, SPLITS[4])
    assert_same_history(fit_on(cluster4, models[1], data, SPLITS[4], callbacks=[stop]), expected)


def test_a_bar_is_drawn_to_its_end(cluster4, capsys, monkeypatch):
    monkeypatch.setattr(progress, "on_screen", lambda: True)
    fit_on(cluster4, regression(), (X, TARGETS), SPLITS[2], verbose=1, epochs=1)
    shown = capsys.readouterr().out
    assert "Epoch 1/1: 100%" in shown
    assert "3/3" in shown
    assert "loss" in shown


def test_by_default_there_are_as_many_ranks_as_slots(cluster4):
    model = regression()
    model.fit(cluster4.parallelize(list(zip(X, TARGETS)), 9), batch_size=4, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 11
