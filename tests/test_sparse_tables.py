"""Tables whose gradient stays rows: training equals that with the gradient of the whole table."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, optimizers
from zoo_keras.optimizers import schedules
from zoo_keras.training.data import batch_of

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


def train(model, x, y):
    """train_on_batch without the logs, which take most of its time."""
    model._train_batch(batch_of((x, y, None)))


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
    rate = sparse.optimizer._learning_rate
    for step, (x, y) in enumerate(batches(STEPS)):
        if step in (300, 610) and not isinstance(rate, schedules.CosineDecay):
            for model in (sparse, dense):
                model.optimizer.learning_rate = float(model.optimizer.learning_rate) * 0.3
        train(sparse, x, y)
        train(dense, x, y)
        if step in (0, 7, 480):
            assert_same(sparse, dense)
    assert len(tables_of(sparse)) == 1 and not len(tables_of(dense))
    assert sparse._local().state.gradients.size == dense._local().state.gradients.size - ROWS * 3
    assert_same(sparse, dense)


def trained_pair(made=lambda: optimizers.Adam(0.02), steps: int = 30, **options):
    """Two models after the same steps, one with rows that lag behind."""
    pair = model_of(made(), **options), model_of(made(), dense=True, **options)
    for x, y in batches(steps):
        for model in pair:
            model.train_on_batch(x, y)
    assert int(tables_of(pair[0]).noted) == steps
    return pair


IDS = np.arange(ROWS)[:39].reshape(13, 3).astype("int32")
READS = {
    "get_weights": lambda m: m.get_weights()[0],
    "layer": lambda m: m.get_layer("table").embeddings.numpy(),
    "value": lambda m: np.array(m.get_layer("table").embeddings.value),
    "asarray": lambda m: np.asarray(m.get_layer("table").embeddings),
    "operator": lambda m: np.asarray(m.get_layer("table").embeddings + 0.0),
    "slot": lambda m: m.optimizer.variables[2].numpy(),
    "predict": lambda m: m.predict(IDS, verbose=0),
    "predict_on_batch": lambda m: [m.predict_on_batch(IDS) for _ in range(2)][1],
    "call": lambda m: np.asarray(m(IDS)),
    "evaluate": lambda m: m.evaluate(IDS, np.zeros((13, 2), "f4"), verbose=0),
    "copy": lambda m: copy.deepcopy(m.get_layer("table").embeddings).numpy(),
    "pickle": lambda m: pickle.loads(pickle.dumps(m.get_layer("table").embeddings)).numpy(),
}  # fmt: skip


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_who_reads_sees_all_steps(read):
    sparse, dense = trained_pair()
    np.testing.assert_allclose(read(sparse), read(dense), rtol=1e-4, atol=1e-6)
    for x, y in batches(3):
        sparse.train_on_batch(x, y)
        dense.train_on_batch(x, y)
    np.testing.assert_allclose(read(sparse), read(dense), rtol=1e-4, atol=1e-6)
    assert_same(sparse, dense)


def test_a_saved_model_holds_all_steps(tmp_path):
    sparse, dense = trained_pair()
    sparse.save(tmp_path / "model.keras")
    again = zk.models.load_model(tmp_path / "model.keras")
    assert_same(again, dense)
    for x, y in batches(5):
        again.train_on_batch(x, y)
        dense.train_on_batch(x, y)
    assert len(tables_of(again)) == 1
    assert_same(again, dense)


def test_values_may_be_set_between_steps():
    pair = trained_pair()
    for model in pair:
        model.get_layer("table").embeddings.assign(np.full((ROWS, 3), 0.25))
        model.optimizer.variables[3].assign(np.full((ROWS, 3), 0.01))
        for x, y in batches(20):
            model.train_on_batch(x, y)
    assert_same(*pair)


class Steps(zk.callbacks.Callback):
    """Looks at the table and changes rate and table at the end of an epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.get_weights()[0])
        self.model.optimizer.learning_rate = 0.02 / (epoch + 2)
        if epoch == 1:
            self.model.set_weights([w * 0.5 for w in self.model.get_weights()])


def test_callbacks_see_and_change_all_rows():
    x, y = (np.concatenate(part) for part in zip(*batches(25), strict=True))
    seen = []
    for dense in (False, True):
        model, steps = model_of(optimizers.Adam(0.02), dense), Steps()
        model.fit(x, y, 8, epochs=4, shuffle=False, verbose=0, callbacks=[steps],
                  validation_data=(x[:20], y[:20]))  # fmt: skip
        seen.append([*steps.seen, *model.get_weights()])
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_batches_of_other_sizes_share_the_bookkeeping():
    pair = trained_pair()
    for size in (1, 30, 2, 4):
        for x, y in batches(4, size):
            for model in pair:
                model.train_on_batch(x, y)
    assert_same(*pair)


def test_a_table_that_is_looked_up_twice_is_updated_once():
    assert_same(*trained_pair(shared=True))


def test_another_optimizer_starts_from_up_to_date_rows():
    pair = trained_pair()
    for model in pair:
        model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
        for x, y in batches(20):
            model.train_on_batch(x, y)
    assert_same(*pair)


def test_a_table_that_is_frozen_keeps_its_up_to_date_rows():
    pair = trained_pair()
    for model in pair:
        model.get_layer("table").trainable = False
        model.compile(optimizers.SGD(0.1), "mse")
        for x, y in batches(5):
            model.train_on_batch(x, y)
    assert_same(*pair)


class Sometimes(layers.Layer):
    """Reads a table by rows, and with large batches all of it as well."""

    def build(self, shape):
        self.table = self.add_weight(shape=(ROWS, 3), initializer="ones", name="table")

    def call(self, ids):
        found = zk.ops.sum(zk.ops.take(self.table, ids, axis=0), axis=1)
        return found + zk.ops.mean(self.table) if ids.shape[0] > 4 else found


def test_a_step_that_reads_all_rows_makes_the_gradient_whole():
    model = zk.Sequential([zk.Input((3,), dtype="int32"), Sometimes()])
    model.compile(optimizers.Adam(0.02), "mse")
    for size, tables in ((4, 1), (5, 0), (4, 1), (4, 1)):
        ((x, y),) = batches(1, size)
        model.train_on_batch(x, np.tile(y, 2)[:, :3])
        before = model.get_weights()[0]
        assert len(tables_of(model)) <= tables
    assert np.isfinite(before).all() and (before[0] < 1).all()


WHOLE = {
    "constraint": {"embeddings_constraint": same},
    "regularizer": {"embeddings_regularizer": "l2"},
    "small": {"input_dim": 8},
}


@pytest.mark.parametrize("options", WHOLE.values(), ids=WHOLE)
def test_tables_whose_gradient_is_whole(options):
    options = {"input_dim": ROWS, "output_dim": 2, **options}
    model = zk.Sequential([zk.Input((3,), dtype="int32"), layers.Embedding(**options)])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 3), "int32"), np.zeros((2, 3, 2), "f4"))
    assert not len(tables_of(model))


class Doubled(optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * 2, variable, learning_rate)


@pytest.mark.parametrize(
    "optimizer",
    [Doubled(0.1), optimizers.Adam(use_ema=True), optimizers.Lamb(0.1),
     optimizers.Ftrl(0.1, l2_shrinkage_regularization_strength=0.1)],
    ids=lambda o: type(o).__name__,
)  # fmt: skip
def test_optimizers_that_need_whole_gradients(optimizer):
    model = model_of(optimizer)
    for x, y in batches(3):
        model.train_on_batch(x, y)
    assert not len(tables_of(model) or ())
    assert np.isfinite(model.get_weights()[0]).all()


def resident_kilobytes() -> int:
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_steps_need_no_more_memory(name):
    model = model_of(MADE[name]())
    given = list(batches(50))
    for x, y in given * 12:  # more than the notes hold
        train(model, x, y)
    before = resident_kilobytes()
    for x, y in given * 20:
        train(model, x, y)
    assert resident_kilobytes() - before < 2000
