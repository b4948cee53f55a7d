"""BatchNormalization(synchronized=True): ranks normalise as one process with all rows does."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import SPLITS, GlobalBatches, rdd_of, records_of

import zoo_keras as keras
from zoo_keras import layers, optimizers
from zoo_keras.errors import UnsupportedError

pytestmark = pytest.mark.spark
RNG = np.random.default_rng(4)
X = (RNG.normal(size=(43, 6, 4)) * [1, 5, 0.2, 2] + [0, 30, 1, -4]).astype(np.float32)
X[5:30, 4:] = 0  # what a mask leaves out
LABELS = (X[:, 0, 0] > 0).astype(np.int32)
DATA = X, LABELS
OPTIONS = {"batch_size": 16, "epochs": 2, "verbose": 0}


def net(optimizer=None, masked=False, synchronized=True, far=0.0, **given):
    keras.utils.set_random_seed(2)
    normal = {"synchronized": synchronized, "momentum": 0.9, **given}
    model = keras.Sequential([
        keras.Input((6, 4)), *([layers.Masking()] if masked else []),
        *([layers.Rescaling(1.0, far)] if far else []),
        layers.BatchNormalization(**normal),
        layers.Dense(5, "relu", use_bias=False, kernel_regularizer="l2"),
        layers.BatchNormalization(**normal), layers.GlobalAveragePooling1D(), layers.Dense(2),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


CASES = {
    "adam": {},
    "clipped": {"optimizer": lambda: optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5)},
    "accumulated": {"optimizer": lambda: optimizers.SGD(0.1, gradient_accumulation_steps=2)},
    "another axis": {"axis": 1},
    "masked": {"masked": True},
    "renorm": {"renorm": True},
    "far from 0": {"far": 300.0, "optimizer": lambda: optimizers.SGD(0.1)},
    "without gamma and beta": {"scale": False, "center": False},
}  # fmt: skip


def made(case, **more):
    given = dict(CASES[case])
    optimizer = given.pop("optimizer", lambda: optimizers.Adam(0.01))()
    return net(optimizer, **given, **more)


@pytest.mark.parametrize("case", CASES)
def test_ranks_normalise_as_one(cluster4, case):
    """One of the four has no rows, and one a single row."""
    alone, together = made(case), made(case)
    batches = GlobalBatches(DATA, SPLITS[4], 16)
    test = {"validation_data": DATA}
    expected = alone.fit(batches, epochs=2, shuffle=False, verbose=0, **test).history
    rdd = rdd_of(cluster4, records_of(DATA), SPLITS[4])
    found = together.fit(rdd, shuffle=False, **OPTIONS, **test).history
    assert list(found) == list(expected)
    for key in found:
        np.testing.assert_allclose(found[key], expected[key], rtol=3e-4)
    for ours, theirs in zip(together.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_without_it_each_rank_has_statistics_of_its_own(cluster4):
    batches = GlobalBatches(DATA, SPLITS[4], 16)
    alone, apart = net(synchronized=False), net(synchronized=False)
    expected = alone.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]
    rdd = rdd_of(cluster4, records_of(DATA), SPLITS[4])
    found = apart.fit(rdd, shuffle=False, **OPTIONS).history["loss"]
    assert abs(found[1] - expected[1]) > 1e-3


def test_training_goes_on_here_and_scores_as_ever(cluster2):
    rdd = rdd_of(cluster2, records_of(DATA), SPLITS[2])
    model = net()
    before = model.fit(rdd, seed=1, wire="bfloat16", **OPTIONS).history["loss"]
    scored = np.array(model.predict(rdd.map(lambda record: record[0])).collect())
    np.testing.assert_array_equal(scored, model.predict(X, verbose=0))
    after = model.fit(X, LABELS, **OPTIONS).history["loss"]
    last = model.fit(rdd, seed=1, **OPTIONS).history["loss"]
    assert before[0] > after[0] > last[-1]
    assert int(model.optimizer.iterations) == 3 * 2 * 3


class Repeated(keras.layers.Layer):
    """One layer called on each part of a sequence: its second statistics build on the first."""

    def __init__(self, **normal):
        super().__init__()
        self.inner = layers.BatchNormalization(**normal)

    def call(self, x, training=None):
        first = self.inner(x[:, :3], training=training)
        return self.inner(x[:, 3:] + first, training=training)


def wrapped(kind):
    normal = {"synchronized": True, "momentum": 0.9}
    if kind == "called twice":
        return Repeated(**normal)
    inner = layers.BatchNormalization(**normal)
    if kind == "in a wrapper":
        return layers.TimeDistributed(inner)
    return keras.Sequential([keras.Input((6, 4)), inner])


@pytest.mark.parametrize("kind", ["called twice", "in a wrapper", "in an inner model"])
def test_a_layer_may_be_called_anywhere(cluster2, kind):
    found = []
    rdd = rdd_of(cluster2, records_of(DATA), SPLITS[2])
    for x, size in ((GlobalBatches(DATA, SPLITS[2], 16), None), (rdd, 16)):
        keras.utils.set_random_seed(2)
        ends = [layers.Flatten(), layers.Dense(2, "softmax")]
        model = keras.Sequential([keras.Input((6, 4)), wrapped(kind), *ends])
        model.compile("sgd", "sparse_categorical_crossentropy")
        history = model.fit(x, epochs=2, shuffle=False, verbose=0, batch_size=size).history
        found.append((history["loss"], model.get_weights()))
    (expected, alone), (loss, together) = found
    np.testing.assert_allclose(loss, expected, rtol=3e-4)
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_nine_ranks_of_one_host_train_as_one(sessions):
    """More ranks than rows in some steps; one has none at all."""
    sizes = (5, 0, 9, 1, 2, 6, 3, 13, 4)
    alone, together = net(), net()
    batches = GlobalBatches(DATA, sizes, 16)
    want = alone.fit(batches, epochs=2, shuffle=False, verbose=0).history
    rdd = rdd_of(sessions.get("local[9]").sparkContext, records_of(DATA), sizes)
    history = together.fit(rdd, num_ranks=9, shuffle=False, **OPTIONS)
    assert len(history.ranks) == 9
    for name in want:
        np.testing.assert_allclose(history.history[name], want[name], rtol=3e-4)
    for ours, theirs in zip(together.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("masked, reduction", [(True, "sum_over_batch_size"), (False, "sum")])
def test_losses_that_are_no_means_over_rows_are_refused_beside_it(local2, masked, reduction):
    inputs = keras.Input((6, 4))
    x = layers.Masking()(inputs) if masked else inputs
    y = layers.Dense(2, name="head")(layers.BatchNormalization(synchronized=True, name="norm")(x))
    model = keras.Model(inputs, y)
    model.compile("sgd", keras.losses.MeanSquaredError(reduction))
    rdd = rdd_of(local2, records_of((X, X[..., :2])), SPLITS[2])
    with pytest.raises(UnsupportedError, match=r"\['norm'\], and for \"head\" a loss that"):
        model.fit(rdd, **OPTIONS)
