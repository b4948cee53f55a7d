"""Data given to fit, evaluate and predict: kinds, order, splits, weights."""

from __future__ import annotations

import os

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import native
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.layers import Add, Dense
from zoo_keras.training.data import ArrayData, Orders, epoch_order, gathered, make_data

RNG = np.random.default_rng(0)


def seen_rows(data, order=None):
    return np.concatenate([b.x[0][:, 0] for b in data.batches(order)])


@pytest.mark.parametrize("shuffle", [True, "batch"])
@pytest.mark.parametrize("rows", [1, 7, 64, 65])
def test_every_row_is_used_once_an_epoch(rows, shuffle):
    data = ArrayData(np.arange(rows)[:, None], batch_size=8)
    order = epoch_order(rows, shuffle, 3, 0, 8)
    assert sorted(seen_rows(data, order)) == list(range(rows))


def test_the_order_depends_on_seed_and_epoch_alone():
    a, b = epoch_order(50, True, 1, 2), epoch_order(50, True, 1, 2)
    assert (a == b).all()
    assert (a != epoch_order(50, True, 1, 3)).any()
    assert (a != epoch_order(50, True, 2, 2)).any()


def test_batch_shuffle_keeps_rows_together():
    order = epoch_order(20, "batch", 1, 0, 5)
    assert all((np.diff(order[i : i + 5]) == 1).all() for i in range(0, 20, 5))


def test_the_last_batch_is_shorter():
    data = ArrayData(np.zeros((10, 2)), batch_size=4)
    assert [b.rows for b in data.batches()] == [4, 4, 2]
    assert data.steps == 3


def test_validation_split_takes_the_last_rows():
    train, test = ArrayData(np.arange(10)[:, None]).split(0.3)
    assert seen_rows(train).tolist() == list(range(7))
    assert seen_rows(test).tolist() == [7, 8, 9]


def test_class_weights_multiply_sample_weights():
    y, w = np.array([0, 1, 2]), np.array([1.0, 2.0, 3.0])
    data = ArrayData(np.zeros((3, 1)), y, w, class_weight={1: 10.0})
    assert data.weights[0].tolist() == [1.0, 20.0, 3.0]


def test_class_weights_of_one_hot_labels():
    data = ArrayData(np.zeros((2, 1)), np.eye(3)[[2, 0]], class_weight={2: 5.0})
    assert data.weights[0].tolist() == [5.0, 1.0]


@pytest.mark.parametrize(
    ("given", "dtype"),
    [(np.float64, "float32"), (np.float16, "float32"), (np.int64, "int32"), (np.uint8, "uint8")],
)
def test_wide_types_are_narrowed(given, dtype):
    assert ArrayData(np.ones((2, 2), given)).x[0].dtype == dtype


def test_y_beside_a_generator_is_refused():
    with pytest.raises(ConfigError, match="generator"):
        make_data(iter([]), np.zeros(3))


def sums():
    model = keras.Sequential([keras.Input((2,)), Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    model.set_weights([np.array([[0.5], [-0.5]]), np.zeros(1)])
    return model


X, Y = RNG.random((24, 2), np.float32), RNG.random((24, 1), np.float32)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return X[rows], Y[rows]


def generator():
    for i in range(3):
        yield X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]


@pytest.mark.parametrize("source", [generator, Batches])
def test_generators_and_datasets_train_like_arrays(source):
    arrays, other = sums(), sums()
    arrays.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    other.fit(source(), shuffle=False, verbose=0)
    np.testing.assert_array_equal(arrays.get_weights()[0], other.get_weights()[0])


def test_steps_per_epoch_goes_on_where_the_last_epoch_ended():
    whole, parts = sums(), sums()
    whole.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    parts.fit(X, Y, batch_size=8, shuffle=False, verbose=0, epochs=3, steps_per_epoch=1)
    np.testing.assert_array_equal(whole.get_weights()[0], parts.get_weights()[0])


def test_weights_of_zero_leave_rows_out():
    used, weighted = sums(), sums()
    weights = np.r_[np.ones(12), np.zeros(12)]
    used.fit(X[:12], Y[:12], batch_size=12, shuffle=False, verbose=0)
    loss = weighted.fit(X, Y, sample_weight=weights * 2, batch_size=24, shuffle=False, verbose=0)
    np.testing.assert_allclose(used.get_weights()[0], weighted.get_weights()[0], rtol=1e-5)
    assert loss.history["loss"][0] > 0


def two_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"a": a, "b": b}, Add()([Dense(1, name="left")(a), Dense(1)(b)]))
    model.compile("sgd", "mse")
    return model


def test_dicts_go_by_input_name_whatever_their_order():
    model = two_inputs()
    straight = model.predict({"a": X, "b": Y.repeat(2, 1)}, verbose=0)
    turned = model.predict({"b": Y.repeat(2, 1), "a": X}, verbose=0)
    np.testing.assert_array_equal(straight, turned)
    model.fit({"b": X, "a": X}, Y, verbose=0)


def test_several_outputs_take_lists_and_dicts_of_targets_and_losses():
    x = keras.Input((2,))
    model = keras.Model(x, [Dense(1, name="p")(x), Dense(1, name="q")(x)])
    model.compile("sgd", {"p": "mse", "q": "mae"}, loss_weights={"q": 0.5}, metrics={"q": ["mse"]})
    lists = model.evaluate(X, [Y, 2 * Y], verbose=0, return_dict=True)
    dicts = model.evaluate(X, {"q": 2 * Y, "p": Y}, verbose=0, return_dict=True)
    assert lists == pytest.approx(dicts)
    assert set(lists) == {"loss", "p_loss", "q_loss", "q_mse"}
    assert lists["loss"] == pytest.approx(lists["p_loss"] + 0.5 * lists["q_loss"], rel=1e-5)


def test_predict_joins_batches_in_order():
    model = sums()
    want = X @ np.array([[0.5], [-0.5]], np.float32)
    np.testing.assert_allclose(model.predict(X, batch_size=7, verbose=0), want, atol=1e-6)


def test_ragged_lists_name_the_array():
    with pytest.raises(DataError, match=r"x\[1\]"):
        make_data([np.zeros((2, 2)), [[1, 2], [3]]])


def batches_of(count):
    for _ in range(count):
        yield X[:8], Y[:8]


class Ended(keras.callbacks.Callback):
    count = 0

    def on_train_end(self, logs=None):
        self.count += 1


@pytest.mark.parametrize(("count", "steps", "epochs"), [(5, 3, 2), (4, 4, 1), (3, None, 1)])
def test_a_generator_that_ends_in_a_later_epoch_ends_training(count, steps, epochs):
    model, ended = sums(), Ended()
    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(
            batches_of(count), steps_per_epoch=steps, epochs=4, verbose=0, callbacks=[ended]
        )
    assert history is model.history
    assert len(history.history["loss"]) == epochs
    assert ended.count == 1
    assert int(model.optimizer.iterations) == count


def test_arrays_that_end_within_an_epoch_start_anew_in_the_next():
    model = sums()
    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(X, Y, batch_size=8, steps_per_epoch=2, epochs=3, verbose=0)
    assert int(model.optimizer.iterations) == 2 + 1 + 2
    assert len(history.history["loss"]) == 3


def test_validation_data_that_have_run_out_add_no_zeros():
    with pytest.warns(UserWarning, match="validation_steps"):
        history = sums().fit(
            X, Y, epochs=3, verbose=0, validation_data=batches_of(2), validation_steps=1
        )
    assert len(history.history["val_loss"]) == 2
    assert len(history.history["loss"]) == 3


def test_whole_groups_of_steps_warn_of_no_lack(recwarn):
    model = sums()
    model.compile("sgd", "mse", steps_per_execution=2)
    model.fit(batches_of(3), steps_per_epoch=3, verbose=0)
    model.evaluate(batches_of(3), steps=3, verbose=0)
    assert not [w for w in recwarn if "ran out of data" in str(w.message)]


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_too_many_steps_warn(method):
    with pytest.warns(UserWarning, match="ran out of data"):
        getattr(sums(), method)(batches_of(2), steps=3, verbose=0)


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __init__(self):
        super().__init__()
        self.seen = []

    def __getitem__(self, index):
        self.seen.append(index)
        return X[:8], Y[:8]

    def on_epoch_begin(self):
        self.seen.append("begin")

    def on_epoch_end(self):
        self.seen.append("end")


def test_a_dataset_without_an_end_goes_on_from_epoch_to_epoch():
    data = Endless()
    sums().fit(data, steps_per_epoch=2, epochs=2, verbose=0)
    assert data.seen == ["begin", 0, 1, "end", "begin", 2, 3, "end"]


def test_a_dataset_without_an_end_needs_a_number_of_steps():
    with pytest.raises(ConfigError, match="steps_per_epoch"):
        sums().fit(Endless(), verbose=0)


def test_a_dataset_without_a_length_is_told_so():
    class Nameless(keras.utils.PyDataset):
        def __getitem__(self, index):
            return X[:8], Y[:8]

    with pytest.raises(ConfigError, match="Nameless must say how many batches"):
        sums().fit(Nameless(), verbose=0)


def test_an_evaluation_without_data_is_refused():
    with pytest.raises(ConfigError, match="no batch"):
        sums().evaluate(batches_of(0), verbose=0)


def wide_and_narrow():
    inputs = [keras.Input((2,)), keras.Input((1,))]
    model = keras.Model(inputs, Dense(1)(keras.layers.Concatenate()(inputs)))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("rows", [2, 3])
def test_plain_lists_are_arrays_and_several_inputs(rows):
    a, b, y = RNG.random((rows, 2)), RNG.random((rows, 1)), RNG.random(rows)
    model = wide_and_narrow()
    lists, mixed = [a.tolist(), b.tolist()], [a, b.tolist()]
    want = model.evaluate([a, b], y, verbose=0)
    assert model.evaluate(lists, y.tolist(), verbose=0) == want
    assert model.evaluate(mixed, y, verbose=0) == want
    assert sums().evaluate(a.tolist(), y.tolist(), verbose=0) == sums().evaluate(a, y, verbose=0)


def test_labels_without_a_class_weight_count_once():
    y = np.array([-1, 0, 1, 2**30])
    assert ArrayData(np.zeros((4, 1)), y, class_weight={1: 5}).weights[0].tolist() == [1, 1, 5, 1]


def test_epochs_of_few_steps_go_on_and_validation_begins_anew():  # as keras 3.15.1
    model = keras.Sequential([keras.Input((1,)), Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.arange(10.0)[:, None], np.zeros((10, 1))
    how = {"batch_size": 2, "verbose": 0, "epochs": 2, "shuffle": False}
    history = model.fit(x, y, steps_per_epoch=2, validation_data=(x, y), validation_steps=2, **how)
    assert history.history["loss"] == [3.5, 31.5]
    assert history.history["val_loss"] == [3.5, 3.5]


def test_a_large_shuffled_batch_holds_the_rows_that_a_small_one_would():
    x = np.arange(40_000, dtype="f4").reshape(-1, 4)
    order = epoch_order(len(x), True, seed=3, epoch=1)
    large = [b.x[0] for b in ArrayData(np.repeat(x, 40, axis=1), batch_size=3000).batches(order)]
    small = [b.x[0] for b in ArrayData(x, batch_size=16).batches(order)]
    np.testing.assert_array_equal(np.concatenate(large)[:, ::40], np.concatenate(small))


def test_an_order_made_ahead_is_the_one_asked_for(monkeypatch):
    monkeypatch.setattr(Orders, "LONG", 1)
    orders = Orders(lambda epoch: np.array([epoch]), 2)
    assert [int(orders.of(epoch, epoch == 2)[0]) for epoch in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["?", "u1", "f2", "i4", "f8", "M8[s]", "O"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 7), (0,), (150,)])
def test_gathered_rows_are_those_that_numpy_takes(dtype, shape):
    array = np.arange(50 * int(np.prod(shape))).reshape(50, *shape).astype("i8").astype(dtype)
    order = np.random.default_rng(0).integers(0, 50, 40)
    for given in (array, array[::-1], array[::2][:25]):
        rows = order % len(given)
        for none in (rows[:0], rows):
            (found,) = gathered([given], none)
            assert found.dtype == given.dtype
            np.testing.assert_array_equal(found, given[none])


@pytest.mark.parametrize("order", [[0, 4], [3, -1], [1 << 40], [0, 2, -1 << 63], [(1 << 63) - 1]])
@pytest.mark.parametrize("rows, short", [((4, 9), 0), ((9, 4), 1), ((4, 4), 0), ((4, 0), 1)])
def test_a_row_that_an_array_lacks_is_refused(order, rows, short):
    first = 0 if rows[0] == 4 or order[-1] not in range(9) else short
    with pytest.raises(DataError, match=f"array {first} does not have"):
        gathered([np.zeros(rows[0]), np.zeros((rows[1], 2))], np.array(order))


def test_no_rows_of_arrays_that_have_none():
    assert [len(a) for a in gathered([np.zeros(0), np.zeros((4, 2))], np.arange(0))] == [0, 0]


def test_the_order_of_many_rows_holds_each_once_and_depends_on_seed_and_epoch():
    count = Orders.LONG + 3
    order = epoch_order(count, True, 7, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    np.testing.assert_array_equal(order, epoch_order(count, True, 7, 0))
    assert not np.array_equal(order, epoch_order(count, True, 7, 1))
    assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.01


def test_a_batch_of_many_tasks_is_gathered_whole():
    array = np.arange(40_000 * 9).reshape(-1, 9)
    order = np.random.default_rng(0).permutation(40_000)
    rows, last = gathered([array, array[:, 0].copy()], order)
    np.testing.assert_array_equal(rows, array[order])
    np.testing.assert_array_equal(last, array[order, 0])


@pytest.fixture
def two_threads():
    native.set_threads(2)
    yield
    native.set_threads(None)


def ordered_batches(x, order, size=500):
    return ArrayData(x, x[:, 0].copy(), batch_size=size).batches(order)


def test_batches_copied_ahead_are_whole_while_the_engine_computes(two_threads):
    x = np.arange(200_000, dtype="f4").reshape(-1, 20)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(64), keras.layers.Dense(1)])
    order = epoch_order(len(x), True, 5, 0)
    for i, batch in enumerate(ordered_batches(x, order)):
        model.predict_on_batch(batch.x[0])
        rows = order[i * 500 : i * 500 + 500]
        np.testing.assert_array_equal(batch.x[0], x[rows])
        np.testing.assert_array_equal(batch.y[0], x[rows, 0])


def test_several_shuffled_sources_are_read_side_by_side(two_threads):
    x = np.arange(40_000, dtype="f4").reshape(-1, 20)
    orders = [epoch_order(len(x), True, seed, 0) for seed in range(3)]
    for read in zip(*[ordered_batches(x, order) for order in orders], strict=True):
        assert len({batch.x[0].tobytes() for batch in read}) == 3
    for order in orders:
        found = np.concatenate([batch.x[0] for batch in ordered_batches(x, order)])
        np.testing.assert_array_equal(found, x[order])


def test_an_epoch_left_early_lets_go_of_its_next_batch(two_threads):
    x = np.arange(400_000, dtype="f4").reshape(-1, 20)
    order = epoch_order(len(x), True, 5, 0)
    for _ in range(20):
        next(ordered_batches(x, order, 9000))
    found = np.concatenate([batch.x[0] for batch in ordered_batches(x, order, 9000)])
    np.testing.assert_array_equal(found, x[order])


def test_a_forked_child_ends_the_batch_that_threads_had_begun(two_threads):
    x = np.arange(2_000_000, dtype="f4").reshape(-1, 20)
    order = epoch_order(len(x), True, 5, 0)
    reading = ordered_batches(x, order, 40_000)
    next(reading)
    child = os.fork()
    if not child:
        os._exit(0 if (next(reading).x[0] == x[order[40_000:80_000]]).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(next(reading).x[0], x[order[40_000:80_000]])


def test_orders_of_many_rows_are_equally_likely():
    seeds = np.random.default_rng(0).integers(1, 1 << 63, (2000, 4), np.uint64)
    firsts = np.array([native.permutation(5, seed) for seed in seeds])
    counts = np.array([[(firsts[:, at] == k).sum() for k in range(5)] for at in range(5)])
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)
    assert len({tuple(order) for order in firsts}) == 120


def test_an_order_does_not_depend_on_the_number_of_threads():
    seed = np.array([1, 2, 3, 4], np.uint64)
    found = []
    for threads in (1, 2, 3):
        with native.using_threads(threads):
            found.append(native.permutation(100_000, seed))
    np.testing.assert_array_equal(np.sort(found[0]), np.arange(100_000))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
