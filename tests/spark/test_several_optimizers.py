"""Steps with several optimizers train on executors as on one, also when one of these is lost."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import SPLITS, GlobalBatches, rdd_of
from steps_in_phases import MODELS, built, gan, moved, rows
from test_snapshots import Kills

import zoo_keras as keras
from zoo_keras import callbacks, layers, optimizers

pytestmark = pytest.mark.spark
X = rows(43)
OPTIONS = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}


def fit_on(sc, model, sizes, **more):
    return model.fit(rdd_of(sc, list(X), sizes), **{**OPTIONS, **more}).history


def assert_same_state(a, b):
    for ours, theirs in zip(moved(a), moved(b), strict=True):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=3e-4, atol=3e-6)


@pytest.mark.parametrize("name", MODELS)
def test_ranks_train_as_one(cluster4, name):
    alone, together = built(name, X), built(name, X)
    batches = GlobalBatches((X,), SPLITS[4], 16)
    expected = alone.fit(batches, epochs=2, shuffle=False, verbose=0).history
    found = fit_on(cluster4, together, SPLITS[4])
    assert list(found) == list(expected)
    for key in found:
        np.testing.assert_allclose(found[key], expected[key], rtol=3e-4)
    assert_same_state(together, alone)


def test_a_second_fit_goes_on_and_sees_rates_that_callbacks_set(cluster2):
    def slower(epoch):
        for name in ("c_optimizer", "g_optimizer"):
            optimizer = getattr(model, name)
            optimizer.learning_rate = 0.01 / (epoch + 1)

    states = []
    for split in ([2], [1, 1]):
        model = built("gan", X)
        slow = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: slower(epoch))
        first = 0
        for epochs in split:
            options = {"initial_epoch": first, "epochs": first + epochs, "callbacks": [slow]}
            fit_on(cluster2, model, SPLITS[2], **options)
            first += epochs
        states.append([np.array(v) for v in moved(model)])
    assert all(map(np.array_equal, *states))


def test_a_fit_that_broke_off_goes_on_in_a_new_model(local2, tmp_path):
    """With all optimizers, and with the draws of the steps that come next."""

    def cut(epoch):
        if epoch == 1:
            raise KeyError("power cut")

    models = [built("gan", X) for _ in range(3)]
    for model in models:
        model.built = True
    backup = callbacks.BackupAndRestore(tmp_path)
    fit_on(local2, models[0], SPLITS[2])
    power = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: cut(epoch))
    with pytest.raises(KeyError, match="power cut"):
        fit_on(local2, models[1], SPLITS[2], callbacks=[backup, power])
    fit_on(local2, models[2], SPLITS[2], callbacks=[callbacks.BackupAndRestore(tmp_path)])
    for ours, theirs in zip(moved(models[0]), moved(models[2]), strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))


def normalized():
    keras.utils.set_random_seed(1)
    return gan(optimizers.Adam(0.01), optimizers.SGD(0.01))


@pytest.mark.parametrize("wire", ["float32", "bfloat16"])
def test_a_restart_in_the_middle_of_an_epoch_changes_no_bit(cluster2, monkeypatch, wire):
    data = cluster2.parallelize(list(X) * 75, 2)  # long enough for the driver to see a copy
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "snapshot_steps": 20, "wire": wire}
    models = [normalized(), normalized()]
    expected = models[0].fit(data, **options, seed=3).history
    kills = Kills(cluster2, monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"goes on from step \d+1 of epoch 2, restart 1"):
        found = models[1].fit(data, **options, seed=3).history
    assert kills.step
    assert found == expected
    for ours, theirs in zip(*map(moved, models), strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))


def inner_rates(model):
    return [float(o.learning_rate) for o in model.optimizer.optimizers]


def test_a_map_of_optimizers_trains_on_ranks(cluster2):
    def make():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(1)])
        chosen = optimizers.OptimizerMap(optimizers.SGD(0.1), {".*kernel": optimizers.Adam(0.01)})
        model.compile(optimizers.MultiOptimizer(chosen), "mse")
        return model

    alone, together = make(), make()
    slower = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            together.optimizer.optimizers[0], "learning_rate", 0.02
        )
    )
    targets = X[:, :1]
    batches = GlobalBatches((X, targets), SPLITS[2], 16)
    alone.fit(batches, epochs=1, shuffle=False, verbose=0)
    alone.optimizer.optimizers[0].learning_rate = 0.02
    alone.fit(batches, epochs=1, shuffle=False, verbose=0)
    records = rdd_of(cluster2, list(zip(X, targets)), SPLITS[2])
    together.fit(records, **OPTIONS, callbacks=[slower])
    assert inner_rates(together) == inner_rates(alone)
    for ours, theirs in zip(
        [*together.weights, *together.optimizer.variables],
        [*alone.weights, *alone.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=3e-4, atol=3e-6)
