"""Every metric against real Keras 3, over three batches of different sizes."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from golden.compare import OUTPUT, assert_close, differences
from golden.store import Golden

import zoo_keras as zk

GOLDEN = Golden("metrics")
RUNS = [(name, kind) for name in GOLDEN.cases for kind in ("unweighted", "weighted")]

IN_A_MODEL = [
    "AUC-roc",
    "AUC-thresholds",
    "BinaryAccuracy-labels",
    "CategoricalAccuracy-plain",
    "ConcordanceCorrelation-plain",
    "CosineSimilarity-matrix",
    "F1Score-macro",
    "FBetaScore-weighted",
    "MeanSquaredError-matrix",
    "PearsonCorrelation-plain",
    "Precision-labels",
    "PrecisionAtRecall-half",
    "R2Score-uniform_average",
    "Recall-top_k",
    "RecallAtPrecision-most",
    "SensitivityAtSpecificity-half",
    "SparseCategoricalAccuracy-plain",
    "SparseTopKCategoricalAccuracy-k2",
    "TopKCategoricalAccuracy-k2",
]


def made(name):
    case = GOLDEN.cases[name]
    kwargs = dict(case["kwargs"])
    if "fn" in kwargs:
        kwargs["fn"] = getattr(zk.losses, kwargs["fn"])
    return getattr(zk.metrics, case["class"])(**kwargs)


def batches(name, kind):
    """(positional arguments, weights or None, expected result) of each update."""
    arrays = GOLDEN.arrays(name)
    for step in range(GOLDEN.cases[name]["batches"]):
        given = [arrays[k + str(step)] for k in ("true", "pred") if k + str(step) in arrays]
        weight = arrays[f"weight{step}"] if kind == "weighted" else None
        yield given, weight, arrays[f"{kind}{step}"]


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_configuration_round_trips(name):
    config = GOLDEN.cases[name]["config"]
    assert not differences(zk.metrics.serialize(made(name)), config)
    assert not differences(zk.metrics.serialize(zk.metrics.get(deepcopy(config))), config)


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_result_after_each_update(name, kind):
    metric = made(name)
    for given, weight, want in batches(name, kind):
        metric.update_state(*given, sample_weight=weight)
        assert_close(metric.result(), want, OUTPUT)


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_reset_forgets_all_updates(name):
    metric = made(name)
    (first, weight, want), *rest = batches(name, "weighted")
    for given, other, _ in [(first, weight, want), *rest]:
        metric.update_state(*given, sample_weight=other)
    metric.reset_state()
    metric.update_state(*first, sample_weight=weight)
    assert_close(metric.result(), want, OUTPUT)


@pytest.mark.parametrize("name", IN_A_MODEL)
def test_metric_of_a_model_is_the_metric_on_arrays(name):
    case = GOLDEN.cases[name]
    (given, weight, want), *_ = batches(name, "weighted")
    true, pred = given
    model = zk.Sequential([zk.Input(shape=pred.shape[1:]), zk.layers.Identity()])
    loss = "sparse_categorical_crossentropy" if true.dtype == np.int32 else "mse"
    model.compile(optimizer="sgd", loss=loss, weighted_metrics=[made(name)])
    logs = model.test_on_batch(pred, true, sample_weight=weight, return_dict=True)
    assert logs[case["kwargs"]["name"]] == pytest.approx(float(want), rel=OUTPUT, abs=1e-6)
