"""Losses: reductions, weights, masks and parts, names and errors. Values: test_golden_losses.py."""

from __future__ import annotations

import numpy as np
import pytest
from traced import in_program

import zoo_keras as zk
from zoo_keras import losses, ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError

TRUE = np.float32([[0, 1], [1, 1], [2, 0]])
PRED = np.float32([[0, 0], [3, 1], [2, 4]])
BY_ROW = np.float32([0.5, 2, 8])  # mean square errors
WEIGHT = np.float32([1, 0, 3])


@pytest.mark.parametrize(
    ("reduction", "plain", "weighted"),
    [
        ("sum_over_batch_size", 3.5, 24.5 / 3), ("mean", 3.5, 24.5 / 3), ("sum", 10.5, 24.5),
        ("mean_with_sample_weight", 3.5, 24.5 / 4), ("none", BY_ROW, BY_ROW * WEIGHT),
        (None, BY_ROW, BY_ROW * WEIGHT),
    ],
)  # fmt: skip
def test_reductions(reduction, plain, weighted):
    loss = losses.MeanSquaredError(reduction=reduction)
    np.testing.assert_allclose(loss(TRUE, PRED), plain, rtol=1e-6)
    np.testing.assert_allclose(loss(TRUE, PRED, WEIGHT), weighted, rtol=1e-6)
    np.testing.assert_allclose(in_program(loss, TRUE, PRED, WEIGHT), weighted, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
def test_parts_of_two_ranks_add_up_to_the_loss_of_the_whole_batch(reduction):
    loss = losses.MeanAbsoluteError(reduction=reduction)
    parts = [loss.parts(TRUE[s], PRED[s], WEIGHT[s]) for s in (slice(0, 1), slice(1, 3))]
    total = sum(p[0] for p in parts) / sum(p[1] for p in parts)
    assert total == pytest.approx(float(loss(TRUE, PRED, WEIGHT)))


def test_masked_values_count_neither_in_the_sum_nor_in_the_denominator():
    mask = np.array([True, False, True])
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        loss = losses.MeanSquaredError(reduction=reduction)
        assert float(loss.weighted(TRUE, PRED, None, mask)) == pytest.approx(8.5 / 2)
    assert float(losses.MeanSquaredError().weighted(TRUE, PRED, WEIGHT, mask)) == 24.5 / 2


def test_weights_of_zero_give_a_loss_of_zero():
    loss = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    assert float(loss(TRUE, PRED, WEIGHT * 0)) == 0
    assert float(losses.MeanSquaredError().weighted(TRUE, PRED, None, [False] * 3)) == 0


def test_ignored_classes_do_not_count():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    pred = np.float32([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]])
    expected = -np.log([0.5, 0.8]).mean()
    for run in (loss, lambda *xs: in_program(loss, *xs)):
        assert float(run(np.int32([0, -1, 1]), pred)) == pytest.approx(expected, rel=1e-5)


def test_a_column_of_targets_meets_a_vector_of_predictions():
    assert float(losses.MeanSquaredError()(TRUE[:, :1], PRED[:, 0])) == pytest.approx(4 / 3)
    np.testing.assert_allclose(losses.mean_squared_error(TRUE[:, 0], PRED[:, :1]), [0, 4, 0])


def test_wide_logits_neither_overflow_nor_lose_the_loss():
    logits = np.float32([[800, 0], [0, -800]])
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    np.testing.assert_allclose(sparse(np.int32([1, 1]), logits), [800, 800])
    binary = losses.BinaryCrossentropy(from_logits=True, reduction="none")
    np.testing.assert_allclose(binary(np.float32([[0, 1], [1, 1]]), logits),
                               [(800 + np.log(2)) / 2, (np.log(2) + 800) / 2])  # fmt: skip


def test_a_custom_loss_is_written_as_in_keras():
    class Cubed(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

    loss = Cubed(name="cubed", reduction="sum")
    want = float((np.abs(TRUE - PRED) ** 3).mean(1).sum())
    assert float(loss(TRUE, PRED)) == want and float(in_program(loss, TRUE, PRED)) == want
    assert Cubed().name == "cubed" and loss.get_config() == {"name": "cubed", "reduction": "sum"}


@pytest.mark.parametrize(("name", "function"), [
    ("mse", losses.mean_squared_error), ("MAE", losses.mean_absolute_error),
    ("kld", losses.kl_divergence), ("bce", losses.binary_crossentropy),
    ("msle", losses.mean_squared_logarithmic_error), ("logcosh", losses.log_cosh),
    ("sparse_categorical_crossentropy", losses.sparse_categorical_crossentropy),
])  # fmt: skip
def test_names_of_functions(name, function):
    assert losses.get(name) is function


def test_get_takes_classes_configs_and_objects():
    made = losses.BinaryCrossentropy(label_smoothing=0.5)
    assert losses.get(made) is made and losses.get(None) is None
    assert isinstance(losses.get("Huber"), losses.Huber)
    assert losses.get(losses.serialize(made)).label_smoothing == 0.5
    assert losses.get({"class_name": "Huber", "config": {"delta": 2.0}}).delta == 2.0
    assert losses.get(losses.serialize(losses.hinge)) is losses.hinge


def test_an_unknown_loss_is_refused_with_the_known_names():
    with pytest.raises(ConfigError, match=r"mean_sqared_error.*mean_squared_error"):
        losses.get("mean_sqared_error")
    with pytest.raises(UnsupportedError, match="Nothing"):
        _ = losses.Nothing


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="reduction='average'"):
        losses.Hinge(reduction="average")
    with pytest.raises(ConfigError, match="axis=True"):
        losses.categorical_crossentropy(TRUE, PRED, axis=True)
    with pytest.raises(ConfigError, match="q=2"):
        losses.CategoricalGeneralizedCrossEntropy(q=2)
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        losses.CategoricalCrossentropy()(TRUE[:, :1], PRED)
    with pytest.raises(NotImplementedError, match="call"):
        losses.Loss()(TRUE, PRED)


def test_an_alignment_is_learnt_without_numpy():
    x = np.random.default_rng(0).normal(size=(8, 6, 3)).astype("f4")
    labels = np.array([[1, 2, 0], [2, 2, 1], [3, 0, 0], [1, 1, 2]] * 2, "int32")
    model = zk.Sequential([zk.Input((6, 3)), zk.layers.Dense(16, "relu"), zk.layers.Dense(4)])
    model.compile(zk.optimizers.Adam(0.05), zk.losses.CTC())
    first = model.train_on_batch(x, labels)
    for _ in range(60):
        last = model.train_on_batch(x, labels)
    assert last < first / 2
    assert not any(program.by_numpy() for _, _, program in model._local().programs())
    want = zk.losses.ctc(labels, model.predict(x, verbose=0))
    np.testing.assert_allclose(model.evaluate(x, labels, verbose=0), want.mean(), 1e-4)
