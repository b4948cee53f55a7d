"""Tables whose gradient stays rows: training equals training with the gradient of the whole table."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, optimizers
from zoo_keras.optimizers import schedules

ROWS, STEPS = 40, 1000
DECAY = schedules.CosineDecay(0.02, 900, alpha=0.05)
MADE = {
    "sgd": lambda: optimizers.SGD(0.05),
    "sgd_decay": lambda: optimizers.SGD(DECAY, weight_decay=0.01),
    "momentum": lambda: optimizers.SGD(0.01, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(DECAY, momentum=0.8, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adam_schedule": lambda: optimizers.Adam(DECAY),
    "adam_betas": lambda: optimizers.Adam(0.01, beta_1=0.8, beta_2=0.9, epsilon=1e-3),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.05),
    "adamax": lambda: optimizers.Adamax(0.01),
    "nadam": lambda: optimizers.Nadam(0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop_momentum": lambda: optimizers.RMSprop(0.003, momentum=0.7, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "lion": lambda: optimizers.Lion(0.001),
    "ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=1e-3, beta=0.1),
    "clipvalue": lambda: optimizers.Adam(0.01, clipvalue=0.01),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.1),
    "global_clipnorm": lambda: optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
}


def same(w):
    """A constraint that changes nothing, but wants to see the whole table."""
    return w


def model_of(optimizer, dense: bool = False, shared: bool = False):
    rng = np.random.default_rng(7)
    ids = zk.Input((3,), dtype="int32")
    table = layers.Embedding(ROWS, 3, embeddings_constraint=same if dense else None, name="table")
    x = layers.Flatten()(table(ids))
    if shared:
        x = layers.Concatenate()([x, layers.Flatten()(table(ids[:, :1]))])
    model = zk.Model(ids, layers.Dense(2, name="dense")(x))
    model.set_weights([rng.normal(size=w.shape) * 0.3 for w in model.get_weights()])
    model.compile(optimizer, "mse")
    return model


def batches(count: int, size: int = 4):
    """Ids of which some come rarely; row 0 never does."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        ids = (1 + (ROWS - 1) * rng.power(0.2, (size, 3))).astype("int32").clip(1, ROWS - 1)
        yield ids, np.sin(ids[:, :2] * 0.7).astype("f4")


def tables_of(model):
    return model._local().state.tables


def assert_same(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)
    for x, y in zip(a.optimizer.variables, b.optimizer.variables, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-3, atol=1e-6, err_msg=x.name)


@pytest.mark.parametrize("name", MADE)
def test_a_thousand_steps_equal_those_with_whole_gradients(name):
    sparse, dense = model_of(MADE[name]()), model_of(MADE[name](), dense=True)
    for step, (x, y) in enumerate(batches(STEPS)):
        if step in (300, 610) and not isinstance(sparse.optimizer._learning_rate, schedules.CosineDecay):
            for model in (sparse, dense):
                model.optimizer.learning_rate = float(model.optimizer.learning_rate) * 0.3
        sparse.train_on_batch(x, y)
        dense.train_on_batch(x, y)
        if step in (0, 7, 480):
            assert_same(sparse, dense)
    assert len(tables_of(sparse)) == 1 and not len(tables_of(dense))
    assert sparse._local().state.gradients.size == dense._local().state.gradients.size - ROWS * 3
    assert_same(sparse, dense)
