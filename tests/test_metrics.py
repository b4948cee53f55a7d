"""Metrics: state, weights, masks, names and errors. Values: test_golden_metrics.py."""

from __future__ import annotations

import numpy as np
import pytest
from traced import in_program

import zoo_keras as keras
from zoo_keras import losses, metrics, ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import current_trace

pytestmark = pytest.mark.filterwarnings("ignore:.*each weight is a float")

TRUE = np.float32([[0, 1], [1, 0], [1, 1], [0, 0]])
PRED = np.float32([[0.2, 0.9], [0.4, 0.6], [0.7, 0.3], [0.1, 0.8]])
IDS = np.int32([1, 0, 0, 1])
WEIGHT = np.float32([1, 2, 0, 1])

ALL = [
    (metrics.Sum(), (PRED,)), (metrics.Mean(), (PRED,)), (metrics.BinaryAccuracy(), (TRUE, PRED)),
    (metrics.SparseCategoricalAccuracy(), (IDS, PRED)), (metrics.AUC(), (TRUE, PRED)),
    (metrics.AUC(multi_label=True), (TRUE, PRED)), (metrics.Precision(), (TRUE, PRED)),
    (metrics.Recall(thresholds=[0.3, 0.6]), (TRUE, PRED)),
    (metrics.PrecisionAtRecall(0.5), (TRUE, PRED)), (metrics.F1Score(), (TRUE, PRED)),
    (metrics.R2Score(), (TRUE, PRED)), (metrics.RootMeanSquaredError(), (TRUE, PRED)),
    (metrics.MeanIoU(2), (IDS, 1 - IDS)), (metrics.KLDivergence(), (TRUE, PRED)),
    (metrics.SparseTopKCategoricalAccuracy(1), (IDS, PRED)),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "batch"), ALL, ids=lambda x: getattr(x, "name", ""))
def test_states_of_two_ranks_add_up_to_the_state_of_all_rows(metric, batch):
    metric = metric.from_config(metric.get_config())
    metric.build(*[np.shape(b) for b in (batch * 2)[:2]])
    zero = metric.stateless_reset_state()
    whole = metric.stateless_update_state(zero, *batch, sample_weight=WEIGHT)
    halves = [
        metric.stateless_update_state(zero, *[b[s] for b in batch], sample_weight=WEIGHT[s])
        for s in (slice(0, 3), slice(3, 4))
    ]
    assert all(v.aggregation == "sum" and v.dtype == "float32" for v in metric.variables)
    for total, first, second in zip(whole, *halves, strict=True):
        np.testing.assert_allclose(first + second, total, rtol=1e-5, atol=1e-6)
    assert all((v.numpy() == 0).all() for v in metric.variables)


@pytest.mark.parametrize(("metric", "batch"), ALL, ids=lambda x: getattr(x, "name", ""))
def test_a_program_updates_the_state_as_arrays_do(metric, batch):
    metric.build(*[np.shape(b) for b in (batch * 2)[:2]])
    in_program(lambda *xs: metric.update_state(*xs[:-1], sample_weight=xs[-1]), *batch, WEIGHT)
    got = np.asarray(metric.result())
    metric.reset_state()
    metric.update_state(*batch, sample_weight=WEIGHT)
    np.testing.assert_allclose(got, metric.result(), rtol=1e-5, atol=1e-6)
    metric.reset_state()


def test_result_in_a_program_is_that_of_the_updated_state():
    mean = metrics.Mean()
    assert in_program(lambda x: mean(x), PRED) == pytest.approx(PRED.mean())
    assert float(mean.result()) == pytest.approx(PRED.mean())


def test_a_custom_metric_is_written_as_in_keras():
    class Largest(metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.seen = self.add_weight(name="seen")
            self.inner = metrics.Mean(name="inner")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.seen.assign(ops.maximum(self.seen, ops.max(y_pred)))
            self.inner.update_state(y_pred)

        def result(self):
            return self.seen + self.inner.result()

    made = Largest()
    assert float(made(TRUE, PRED)) == pytest.approx(0.9 + PRED.mean())
    assert [v.path for v in made.variables] == ["largest/seen", "inner/total", "inner/count"]
    made.reset_state()
    assert float(made.result()) == 0


def test_a_mask_that_travels_with_the_predictions_weighs_them():
    accuracy = metrics.SparseCategoricalAccuracy()

    def step(ids, pred, mask):
        current_trace().masks[pred] = mask
        accuracy.update_state(ids, pred)

    in_program(step, IDS, PRED, np.array([True, False, False, True]))
    assert float(accuracy.result()) == 1 and float(accuracy.count.numpy()) == 2


def test_top_k_counts_ties_and_refuses_ids_outside():
    scores = np.float32([[1, 1, 0], [5, 4, 3], [5, 4, 3]])
    hits = metrics.sparse_top_k_categorical_accuracy(np.int32([1, 1, 7]), scores, k=1)
    np.testing.assert_array_equal(hits, [1, 0, 0])


@pytest.mark.parametrize(("name", "cls"), [
    ("mse", metrics.MeanSquaredError), ("MAE", metrics.MeanAbsoluteError),
    ("auc", metrics.AUC), ("AUC", metrics.AUC), ("Precision", metrics.Precision),
    ("accuracy", metrics.Accuracy), ("top_k_categorical_accuracy", metrics.TopKCategoricalAccuracy),
    ("binary_crossentropy", metrics.BinaryCrossentropy), ("f1_score", metrics.F1Score),
])  # fmt: skip
def test_names_of_metrics(name, cls):
    assert type(metrics.get(name)) is cls


def test_any_loss_is_a_metric_by_its_name():
    huber = metrics.get("huber")
    huber.update_state(TRUE, PRED)
    assert huber.name == "huber"
    assert float(huber.result()) == pytest.approx(float(losses.Huber()(TRUE, PRED)))
    hinge = metrics.MeanMetricWrapper(losses.hinge, name="h")
    again = metrics.deserialize(metrics.serialize(hinge))
    assert (again.name, again._fn) == ("h", losses.hinge)


def test_label_weights_in_the_form_of_keras_are_read():
    config = metrics.AUC(multi_label=True, label_weights=[0.2, 0.8]).get_config()
    tensor = {"class_name": "__tensor__", "config": {"value": [0.2, 0.8], "dtype": "float32"}}
    made = metrics.AUC.from_config({**config, "label_weights": tensor})
    np.testing.assert_allclose(made.label_weights, [0.2, 0.8])


def test_an_unknown_metric_is_refused_with_the_known_names():
    with pytest.raises(ConfigError, match=r"acuracy.*accuracy"):
        metrics.get("acuracy")
    with pytest.raises(UnsupportedError, match="MeanRelativeError"):
        _ = metrics.MeanRelativeError


REFUSED = [
    (lambda: metrics.AUC(curve="XYZ"), "XYZ"),
    (lambda: metrics.AUC(num_thresholds=1), "1"),
    (lambda: metrics.AUC(num_labels=3), "num_labels=3"),
    (lambda: metrics.Precision(thresholds=[0.2, 1.2]), "1.2"),
    (lambda: metrics.FBetaScore(beta=-1.0), "-1.0"),
    (lambda: metrics.R2Score(class_aggregation="x"), "x"),
    (lambda: metrics.IoU(2, [0, 2]), "2"),
    (lambda: metrics.RecallAtPrecision(1.5), "1.5"),
]


@pytest.mark.parametrize(("call", "received"), REFUSED)
def test_bad_arguments_are_refused(call, received):
    with pytest.raises(ConfigError, match=f"Received: .*{received}"):
        call()


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="F1Score"):
        metrics.F1Score().update_state(IDS, PRED)
    with pytest.raises(ShapeError, match="class_id"):
        metrics.Precision(class_id=1).update_state(TRUE[:, 0], PRED[:, 0])
    with pytest.raises(ShapeError, match="2 variables"):
        metrics.Mean().stateless_result([1.0])


def test_a_metric_that_forgets_super_is_told_so():
    class Forgetful(metrics.Metric):
        def __init__(self):
            self.total = 0

    with pytest.raises(ConfigError, match="super"):
        Forgetful()


IGNORED = np.array([[0, -1, 2], [3, -1, 1]])


@pytest.mark.parametrize(
    "weights", [None, [1.0, 2.0], [[1.0], [2.0]], np.arange(6.0).reshape(2, 3)], ids=repr
)
def test_ignored_classes_count_nowhere(weights):
    rows = np.random.default_rng(0).dirichlet(np.ones(4), (2, 3)).astype("f4")
    losses = -np.log(rows)
    each = np.take_along_axis(losses, np.maximum(IGNORED, 0)[..., None], -1)[..., 0]
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=-1)
    metric.update_state(IGNORED, rows, sample_weight=weights)
    full = np.ones((2, 1)) if weights is None else np.asarray(weights, float).reshape(2, -1)
    kept = np.broadcast_to(full, (2, 3)) * (IGNORED >= 0)
    np.testing.assert_allclose(metric.result(), (each * kept).sum() / kept.sum(), rtol=1e-5)


def test_a_function_that_ignores_a_class_is_left_out_of_every_mean():
    def ignoring(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, ignore_class=-1)

    x, y = np.random.default_rng(0).random((4, 3), np.float32), np.array([0, 1, -1, 2])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    logs = []
    for loss in (ignoring, keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)):
        model.compile("sgd", loss, metrics=[ignoring], weighted_metrics=[ignoring])
        logs.append(model.evaluate(x, y, verbose=0))
    assert np.ptp(logs) == pytest.approx(0, abs=1e-6)


def test_counts_of_whole_numbers_warn_of_weights_that_are_none():
    metric = metrics.MeanIoU(num_classes=3)
    with pytest.warns(UserWarning, match="each weight is a float"):
        metric(np.array([0, 1]), np.array([0, 1]), sample_weight=np.array([0.2, 1.5]))


def test_a_metric_has_the_variables_and_metrics_in_its_lists_and_dicts():
    metric = metrics.Mean()
    metric.more = {"a": [keras.Variable(0.0), metrics.Mean()], "b": keras.Variable(1.0)}
    assert len(metric.variables) == 6


def test_what_is_no_number_between_0_and_1_is_named():
    for given in ([-1, 0.5, 2], None):
        with pytest.raises(ConfigError, match=r"Threshold values must be in \[0, 1\]"):
            metrics.FalsePositives(thresholds=given or [None])
