"""Arguments of fit, evaluate and predict, and the state behind the weights: plain objects."""

import inspect

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras.errors import ConfigError
from zoo_keras.spark.fit.options import FitOptions, for_cluster, make_options
from zoo_keras.spark.fit.tail import Tail
from zoo_keras.training.arguments import EvaluateArguments, FitArguments, PredictArguments


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (keras.Model.fit, FitArguments),
        (keras.Model.evaluate, EvaluateArguments),
        (keras.Model.predict, PredictArguments),
    ],
)
def test_an_object_has_the_names_and_defaults_of_its_method(method, kind):
    given = inspect.signature(method).parameters.values()
    plain = {p.name: p.default for p in given if p.kind is p.POSITIONAL_OR_KEYWORD}
    for name in ("self", "x", "return_dict"):  # the object is asked, the data, the form of results
        plain.pop(name, None)
    assert vars(kind()) == plain


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": -1}, "epochs must be a whole number of at least 0"),
        ({"epochs": 1.5}, "epochs must be"),
        ({"epochs": True}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be"),
        ({"validation_split": 1.0}, r"validation_split must lie in \[0, 1\)"),
        ({"validation_freq": 0}, "validation_freq must be"),
        ({"class_weight": [1.0]}, "class_weight must be a dict"),
    ],
)
def test_what_fit_cannot_do_is_refused_before_anything_has_started(given, message):
    with pytest.raises(ConfigError, match=message):
        FitArguments(**given)


@pytest.mark.parametrize(
    ("freq", "epochs"),
    [(1, [0, 1, 2, 3]), (2, [1, 3]), (3, [2]), ([1, 4], [0, 3]), (range(2, 4), [1, 2])],
)
def test_validation_follows_the_epochs_that_validation_freq_names(freq, epochs):
    arguments = FitArguments(validation_freq=freq)
    assert [epoch for epoch in range(4) if arguments.validates(epoch)] == epochs


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": np.zeros(2)}, "y comes with the records"),
        ({"sample_weight": np.zeros(2)}, "sample_weight comes with the records"),
        ({"validation_steps": 3}, "validation uses all rows"),
        ({"shuffle": "batch"}, "shuffle must be a bool"),
        ({"class_weight": {-1: 2.0}}, "class_weight maps class numbers"),
        ({"validation_split": 0.2, "validation_data": 1}, "exclude each other"),
    ],
)
def test_what_holds_for_arrays_alone_is_refused_on_a_cluster(given, message):
    arguments = FitArguments(**given)
    with pytest.raises(ConfigError, match=message):
        for_cluster(arguments)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({}, (32, 32)),
        ({"batch_size": 8}, (8, 8)),
        ({"batch_size": 8, "validation_batch_size": 5}, (8, 5)),
    ],
)
def test_a_cluster_is_told_all_sizes(given, sizes):
    found = for_cluster(FitArguments(**given))
    assert (found.batch_size, found.validation_batch_size) == sizes


def test_an_option_that_does_not_exist_is_named():
    assert make_options({"num_ranks": 2}) == FitOptions(num_ranks=2)
    with pytest.raises(ConfigError, match=r"unknown arguments. Received: \['ranks'\]"):
        make_options({"ranks": 2})
    with pytest.raises(ConfigError, match=r"seed must be a whole number.*Received: seed=-1"):
        make_options({"seed": -1})


# --- the state behind the weights

TAIL = Tail(begin=3, spans=((1, 3), (4, 5)), added=(False, True))


def test_a_tail_lies_behind_the_weights():
    assert TAIL.end == 6
    assert TAIL.divide(0, 2) == ((0, 2), (3, 3))
    assert TAIL.divide(2, 5) == ((2, 3), (3, 5))
    assert TAIL.divide(5, 6) == ((3, 3), (5, 6))


def test_a_tail_comes_back_as_it_went():
    state, vector = np.arange(6, dtype=np.float32), np.zeros(6, np.float32)
    TAIL.put(state, vector)
    np.testing.assert_array_equal(vector, [0, 0, 0, 1, 2, 4])
    found = np.zeros(6, np.float32)
    TAIL.take(vector, found)
    np.testing.assert_array_equal(found, [0, 1, 2, 0, 4, 0])


def test_averaged_state_moves_by_the_share_and_added_state_as_a_whole():
    state, before = np.full(6, 5, np.float32), np.full(6, 1, np.float32)
    gradient = np.zeros(6, np.float32)
    TAIL.put_moves(state, before, np.float32(0.25), gradient)
    np.testing.assert_array_equal(gradient, [0, 0, 0, 1, 1, 4])
