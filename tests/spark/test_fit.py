"""fit on a cluster gives what fit on one machine gives for the same global batches."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import SPLITS, GlobalBatches, rdd_of, records_of

import zoo_keras as keras
from zoo_keras import callbacks, ops, optimizers
from zoo_keras.layers import (
    BatchNormalization,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
)

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


def adam():
    return optimizers.Adam(0.01, epsilon=1e-3)


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


@pytest.mark.parametrize("ranks", SPLITS)
@pytest.mark.parametrize("case", CASES)
def test_ranks_train_as_one(cluster4, case, ranks):
    build, data, options = CASES[case]
    alone, together = build(), build()
    expected = fit_locally(alone, data, SPLITS[ranks], **options)
    found = fit_on(cluster4, together, data, SPLITS[ranks], **options)
    assert_same_history(found, expected)
    assert_same_state(together, alone)
