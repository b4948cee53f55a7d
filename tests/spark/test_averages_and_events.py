"""Callbacks of a fit on a cluster that need more than the logs of epochs."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import records_of

import zoo_keras as keras
from zoo_keras import callbacks, optimizers
from zoo_keras.layers import Dense
from zoo_keras.spark.fit.turns import wants_turns

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(3)
X = RNG.standard_normal((32, 4)).astype(np.float32)
Y = (X @ RNG.standard_normal((4, 2))).astype(np.float32)
EPOCHS, BATCH = 3, 32  # one batch of all rows: their order does not matter


def regression(optimizer, **kernel):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((4,)), Dense(8, "tanh", **kernel), Dense(2)])
    model.compile(optimizer, "mse")
    return model


def optimizer_of(kind):
    if kind == "whole":  # every rank updates all weights
        return optimizers.Lamb(0.1, use_ema=True, ema_momentum=0.8)
    return optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.8)


class Seen(callbacks.Callback):
    """Keeps the weights that it finds at the end of every epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


@pytest.mark.parametrize(
    ("kind", "stays"),
    [("slices", False), ("whole", False), ("constrained", True), ("bfloat16", False)],
)
def test_ranks_validate_with_the_averages(cluster2, kind, stays):
    """As one machine does; training goes on with the weights themselves."""
    kernel = {"kernel_constraint": keras.constraints.MaxNorm(0.5)} if kind == "constrained" else {}
    found = []
    for spark in (False, True):
        model, seen = regression(optimizer_of(kind), **kernel), Seen()
        options = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0,
                   "callbacks": [callbacks.SwapEMAWeights(swap_on_epoch=stays), seen],
                   "validation_data": (X, Y)}  # fmt: skip
        if spark:
            rdd = cluster2.parallelize(records_of((X, Y)), 2)
            wire = "bfloat16" if kind == "bfloat16" else "float32"
            logs = model.fit(rdd, wire=wire, **options).history
        else:
            logs = model.fit(X, Y, shuffle=False, **options).history
        found.append((logs, seen.weights, model.get_weights()))
    (logs, epochs, last), (far_logs, far_epochs, far_last) = found
    near = 0.01 if kind == "bfloat16" else 1e-4
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(far_logs[name], logs[name], rtol=near)
    for here, there in zip([*epochs, last], [*far_epochs, far_last], strict=True):
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(b, a, rtol=near, atol=near / 10)


def test_event_files_of_a_cluster_fit_hold_every_step(cluster2, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    board = callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=1)
    assert wants_turns([board])
    assert not wants_turns([callbacks.TensorBoard(tmp_path)])
    rdd = cluster2.parallelize(records_of((X, Y)), 2)
    model = regression(optimizers.SGD(0.1))
    model.fit(rdd, batch_size=8, epochs=2, verbose=0, callbacks=[board])
    steps, values = {}, {}
    for path in tmp_path.glob("train/events*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
                values.setdefault(value.tag, []).append(value.tensor)
    assert steps["batch_loss"] == list(range(1, 9))
    assert steps["epoch_loss"] == [0, 1]
    assert sum(tag.endswith("/histogram") for tag in steps) == 4
    ranks = [f"rank_{rank}/{part}" for rank in (0, 1) for part in ("exchange", "wait")]
    for tag in [*ranks, "epoch_samples_per_second", "epoch_learning_rate"]:
        assert steps[tag] == [0, 1]
    shares = np.array([[make_ndarray(v) for v in values[tag]] for tag in ranks])
    assert (shares >= 0).all() and (shares[0::2] > 0).all()
    assert (shares.reshape(2, 2, 2).sum(axis=1) <= 1).all()
    assert all(make_ndarray(v) > 0 for v in values["epoch_samples_per_second"])
