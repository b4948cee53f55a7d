"""Names in logs for metrics given to compile, as real Keras 3.15 has them; no metric is lost."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, metrics, ops

X = np.random.default_rng(0).random((8, 3), np.float32)
Y = (X[:, :1] > 0.5).astype("f4")
CLASSES = np.arange(8, dtype="i4") % 4
W = X[:, 1]


def scaled(by):
    def inner(y_true, y_pred):
        return ops.mean(y_pred, axis=-1) * by

    return inner


class Mean:
    def __call__(self, y_true, y_pred):
        return ops.mean(y_pred, axis=-1)


def dense(units, activation, name):
    return layers.Dense(units, activation=activation, kernel_initializer="ones", name=name)


def one():
    return keras.Sequential([keras.Input((3,)), dense(1, "sigmoid", "o")])


def two():
    x = keras.Input((3,))
    return keras.Model(x, [dense(1, "sigmoid", "a")(x), dense(4, "softmax", "b")(x)])


def logs(model, y, **compiled):
    model.compile("sgd", **compiled)
    return model.evaluate(X, y, sample_weight=W, verbose=0, return_dict=True)


ONE = [
    ({"metrics": ["acc"]}, "acc"),
    ({"metrics": ["mse", "mse", "mse"]}, "mse mse_1 mse_2"),
    ({"metrics": ["mse"], "weighted_metrics": ["mse", "mse"]}, "mse weighted_mse weighted_mse_1"),
    ({"weighted_metrics": ["accuracy"]}, "accuracy"),
    ({"metrics": [scaled(1), scaled(2)], "weighted_metrics": [scaled(3)]},
     "inner inner_1 weighted_inner"),
    ({"metrics": [lambda y, p: ops.mean(p, axis=-1)]}, "lambda"),
    ({"metrics": [Mean()]}, "mean"),
    ({"metrics": [metrics.MeanSquaredError(name="x"), metrics.AUC(name="x")]}, "x x_1"),
    ({"metrics": [metrics.MeanSquaredError(name="x") for _ in range(2)] + [
        metrics.MeanSquaredError(name="x_1")]}, "x x_1 x_1_1"),
    ({"metrics": {"another name": ["mae"]}}, "mae"),
    ({"metrics": [metrics.MeanAbsoluteError(name="loss")]}, "loss_1"),
]  # fmt: skip


@pytest.mark.parametrize(("compiled", "names"), ONE)
def test_names_with_one_output(compiled, names):
    assert list(logs(one(), Y, loss="mse", **compiled)) == sorted(["loss", *names.split()])


BOTH = ["mse", "sparse_categorical_crossentropy"]
TWO = [
    ({"loss": BOTH, "metrics": [["mse", "mae"], None]}, "a_loss b_loss a_mae a_mse"),
    ({"loss": dict(zip("ab", BOTH, strict=True)), "metrics": {"b": ["accuracy", "accuracy"]},
      "weighted_metrics": {"b": ["accuracy"], "a": ["mae"]}},
     "a_loss b_loss a_mae b_accuracy b_accuracy_1 b_weighted_accuracy"),
    ({"loss": ["mse", None], "metrics": [["mae"], ["accuracy"]]}, "a_mae b_accuracy"),
]  # fmt: skip


@pytest.mark.parametrize(("compiled", "names"), TWO)
def test_names_with_two_outputs(compiled, names):
    assert list(logs(two(), [Y, CLASSES], **compiled)) == sorted(["loss", *names.split()])


def test_each_of_two_metrics_with_one_name_has_its_own_value():
    found = logs(one(), Y, loss="mse", metrics=[scaled(1), scaled(2)])
    assert found["inner_1"] == pytest.approx(2 * found["inner"])


def test_the_plain_metric_has_no_weights_and_the_weighted_one_has():
    found = logs(one(), Y, loss="mse", metrics=["mae"], weighted_metrics=["mae"])
    error = np.abs(one().predict(X, verbose=0) - Y)[:, 0]
    assert found["mae"] == pytest.approx(error.mean(), rel=1e-5)
    assert found["weighted_mae"] == pytest.approx(np.average(error, weights=W), rel=1e-5)


def test_a_result_that_is_a_dict_brings_its_names():
    class Both(metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)

        def result(self):
            return {"once": self.total / self.count, "twice": 2 * self.total / self.count}

    found = logs(one(), Y, loss="mse", metrics=[Both()])
    assert found["twice"] == pytest.approx(2 * found["once"])


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
@pytest.mark.parametrize(
    ("units", "activation", "y", "same"),
    [
        (1, "sigmoid", Y, "binary_crossentropy"),
        (4, "softmax", CLASSES, "sparse_categorical_crossentropy"),
        (4, "softmax", CLASSES[:, None], "sparse_categorical_crossentropy"),
        (4, "softmax", np.eye(4)[CLASSES], "categorical_crossentropy"),
    ],
)
def test_the_loss_crossentropy_is_the_one_that_fits_the_shapes(name, units, activation, y, same):
    found = [logs(keras.Sequential([keras.Input((3,)), dense(units, activation, "o")]), y, loss=n)
             for n in (name, same)]  # fmt: skip
    assert found[0] == found[1]


def test_logs_by_name_are_in_the_order_of_names():
    inputs = keras.Input((3,))
    outputs = {name: layers.Dense(1, name=name)(inputs) for name in ("q", "p")}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"p": ["mae"], "q": ["accuracy"]})
    data = np.ones((4, 3)), {name: np.ones((4, 1)) for name in outputs}
    want = ["loss", "p_loss", "p_mae", "q_accuracy", "q_loss"]
    for call in (model.evaluate, model.train_on_batch, model.test_on_batch):
        more = {"verbose": 0} if call == model.evaluate else {}
        assert list(call(*data, return_dict=True, **more)) == want
