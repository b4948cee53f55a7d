"""Whole models against real Keras 3: configuration, predictions and training steps."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from golden.cases.models import MODELS, compile_arguments
from golden.compare import OUTPUT, STEP, assert_all_close, differences
from golden.store import Golden, series

import zoo_keras as zk

GOLDEN = Golden("models")
every_model = pytest.mark.parametrize("name", GOLDEN.cases)


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def ready(name):
    """The model with the weights Keras started from, compiled, and its arrays."""
    arrays = GOLDEN.arrays(name)
    model = MODELS[name].build(zk)
    model.set_weights(series(arrays, "initial"))
    model.compile(**compile_arguments(zk, MODELS[name]))
    return model, arrays


def weight_paths(model):
    return [w.path for w in model.weights]


def assert_logs(logs, want):
    assert logs.keys() == want.keys()
    for key, value in want.items():
        assert logs[key] == pytest.approx(value, rel=STEP, abs=1e-6), key


def assert_outputs(predicted, want):
    assert_all_close(predicted, want, OUTPUT, range(len(want)))


@every_model
def test_configuration_is_keras(name):
    model, _ = ready(name)
    ours, theirs = json.loads(model.to_json()), deepcopy(GOLDEN.cases[name]["config"])
    for config in (ours, theirs):
        config["compile_config"].pop("jit_compile", None)  # about TensorFlow's compiler
    assert not differences(ours, theirs)


@every_model
def test_model_from_json_of_keras_predicts_the_same(name):
    arrays = GOLDEN.arrays(name)
    model = zk.models.model_from_json(json.dumps(GOLDEN.cases[name]["config"]))
    model.set_weights(series(arrays, "initial"))
    predicted = as_list(model.predict_on_batch(joined(series(arrays, "x"))))
    assert_outputs(predicted, series(arrays, "predicted"))


@every_model
def test_weights_have_the_paths_shapes_and_order_of_keras(name):
    model = MODELS[name].build(zk)
    rows = [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in model.weights]
    assert rows == GOLDEN.cases[name]["weights"]
    assert model.count_params() == GOLDEN.cases[name]["count_params"]


@every_model
def test_predictions(name):
    model, arrays = ready(name)
    x, want = joined(series(arrays, "x")), series(arrays, "predicted")
    assert_outputs(as_list(model.predict_on_batch(x)), want)
    assert_outputs(as_list(model.predict(x, verbose=0)), want)


@every_model
def test_two_training_steps_and_an_evaluation(name):
    model, arrays = ready(name)
    case = GOLDEN.cases[name]
    x, y = joined(series(arrays, "x")), joined(series(arrays, "y"))
    assert_logs(model.train_on_batch(x, y, return_dict=True), case["first"])
    paths = weight_paths(model)
    assert_all_close(model.get_weights(), series(arrays, "after_first"), STEP, paths)
    weight = arrays.get("sample_weight")
    logs = model.train_on_batch(x, y, sample_weight=weight, return_dict=True)
    assert_logs(logs, case["second"])
    assert_all_close(model.get_weights(), series(arrays, "after_second"), STEP, paths)
    model.reset_metrics()
    assert_logs(model.test_on_batch(x, y, return_dict=True), case["evaluated"])


@every_model
def test_train_on_batch_returns_a_list_led_by_the_loss(name):
    model, arrays = ready(name)
    x, y = joined(series(arrays, "x")), joined(series(arrays, "y"))
    values = model.train_on_batch(x, y)
    assert values[0] == pytest.approx(GOLDEN.cases[name]["first"]["loss"], rel=STEP)
    assert len(values) == len(GOLDEN.cases[name]["first"])


@every_model
def test_fit_of_one_batch_is_a_training_step(name):
    model, arrays = ready(name)
    x, y = joined(series(arrays, "x")), joined(series(arrays, "y"))
    history = model.fit(x, y, batch_size=len(series(arrays, "y")[0]), shuffle=False, verbose=0)
    assert_logs({k: v[0] for k, v in history.history.items()}, GOLDEN.cases[name]["first"])
    want = series(arrays, "after_first")
    assert_all_close(model.get_weights(), want, STEP, weight_paths(model))
