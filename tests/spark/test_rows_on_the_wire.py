"""Ranks exchange the touched rows of embedding tables, and train as one process does."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import SPLITS, GlobalBatches, rdd_of, records_of
from test_fit import assert_same_history, assert_same_state
from test_snapshots import Kills

import zoo_keras as keras
from zoo_keras import layers, optimizers

pytestmark = pytest.mark.spark
RNG = np.random.default_rng(3)
ROWS, BATCH, USERS, ITEMS = 43, 16, 300, 200
DATA = (
    {"user": RNG.integers(0, USERS, ROWS).astype(np.int32),
     "items": RNG.integers(0, ITEMS, (ROWS, 3)).astype(np.int32)},
    RNG.standard_normal((ROWS, 2)).astype(np.float32),
)  # fmt: skip


def pairs(optimizer, users=USERS, regularizer=None):
    """Two tables that a batch touches little of, one (for a bound) that it may touch all of."""
    keras.utils.set_random_seed(5)
    user = keras.Input((), dtype="int32", name="user")
    items = keras.Input((3,), dtype="int32", name="items")
    a = layers.Embedding(users, 4, embeddings_regularizer=regularizer)(user)
    b = layers.GlobalAveragePooling1D()(layers.Embedding(ITEMS, 4)(items))
    c = layers.Flatten()(layers.Embedding(ITEMS, 2)(items))
    hidden = layers.Dense(4, "tanh", kernel_constraint="max_norm")
    both = hidden(layers.Concatenate()([a, b, c]))
    model = keras.Model({"user": user, "items": items}, layers.Dense(2)(both))
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


CASES = {
    "adam": lambda: optimizers.Adam(0.05, epsilon=1e-3),
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum, decay, norm": lambda: optimizers.SGD(
        0.1, momentum=0.9, weight_decay=0.1, global_clipnorm=0.1
    ),
    "norms of each": lambda: optimizers.RMSprop(0.01, clipnorm=0.05, epsilon=1e-3),
}


def local(model):
    batches = GlobalBatches(DATA, SPLITS[4], BATCH)
    return model.fit(batches, epochs=2, shuffle=False, verbose=0).history


def on_spark(sc, model, sizes, **more):
    options = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0, **more}
    return model.fit(rdd_of(sc, records_of(DATA), sizes), **options).history


@pytest.mark.parametrize("name", CASES)
def test_ranks_train_as_one(cluster4, name):
    alone, together = pairs(CASES[name]()), pairs(CASES[name]())
    expected, found = local(alone), on_spark(cluster4, together, SPLITS[4])
    assert together._local().state.tables is None  # what ranks have is theirs
    assert_same_history(found, expected)
    assert_same_state(together, alone)


def tables_of(model, batch_size):
    """The widths of the tables that travel as rows."""
    from zoo_keras.spark.data.records import layout_of
    from zoo_keras.spark.fit.compiler import FitCompiler

    layout = layout_of(records_of(DATA)[0], supervised=True)
    made = FitCompiler(model, layout, layout, False, 1, batch_size)
    return sorted(v.shape for v in made.tables.tables) if made.tables else []


def test_tables_travel_whole_where_rows_save_nothing():
    adam = CASES["adam"]
    every = [(ITEMS, 2), (ITEMS, 4), (USERS, 4)]
    assert tables_of(pairs(adam()), 16) == every
    assert tables_of(pairs(adam()), 49) == every[2:]  # 2 / 49 * 49 is less than 2
    assert tables_of(pairs(adam()), 150) == every[2:]  # 450 of 200 items
    assert tables_of(pairs(adam()), 151) == []
    assert tables_of(pairs(adam(), regularizer="l2"), 16) == every[:2]
    assert tables_of(pairs(optimizers.Lamb(0.1)), 16) == []
    assert tables_of(pairs(optimizers.Adam(0.1, use_ema=True)), 16) == []


def test_gathers_without_gradient_travel_too():
    """All ranks know where each has its rows from how many gathers there are."""
    from zoo_keras.engine import spaces
    from zoo_keras.spark.data.records import layout_of
    from zoo_keras.spark.fit.compiler import FitCompiler

    items, table = keras.Input((2,), dtype="int32"), layers.Embedding(ITEMS, 4)
    both = table(items[:, 0]) * keras.ops.stop_gradient(table(items[:, 1]))
    model = keras.Model(items, layers.Dense(1)(both))
    model.compile("adam", "mse")
    layout = layout_of((np.zeros(2, np.int32), np.zeros(1, np.float32)), supervised=True)
    made = FitCompiler(model, layout, layout, False, 1, BATCH)
    program = made.program("train:5")
    assert program.bytes_of(spaces.IDS(0)) == 4 * 5 * 2
    assert program.bytes_of(spaces.ROWS(0)) == 4 * 5 * 2 * 4


def test_a_restart_in_the_middle_of_an_epoch_changes_no_bit(cluster2, monkeypatch):
    data = cluster2.parallelize(records_of(DATA) * 48, 2)
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "snapshot_steps": 20, "seed": 3}
    models = [pairs(CASES["adam"]()) for _ in range(2)]
    expected = models[0].fit(data, **options).history
    kills = Kills(cluster2, monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"goes on from step \d+1 of epoch 2, restart 1"):
        found = models[1].fit(data, **options).history
    assert kills.step
    assert found == expected
    for ours, theirs in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_are_settled_before_anybody_looks(local2):
    """Validation, a callback that reads weights, and a fit that goes on see all steps."""
    seen = []
    models = [pairs(CASES["adam"]()) for _ in range(2)]
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: seen.append(models[1].get_weights()[0])
    )
    for model, more in zip(models, ({}, {"callbacks": [look]})):
        on_spark(local2, model, SPLITS[2], validation_data=DATA, **more)
    assert len(seen) == 6
    assert_same_state(models[1], models[0])
