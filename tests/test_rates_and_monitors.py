"""Callbacks and optimizers that meet: rates of several optimizers, what is better, what is said."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from zoo_keras import backend, callbacks, layers, models, ops, optimizers
from zoo_keras.errors import ArgumentTypeError, ConfigError
from zoo_keras.utils import disable_interactive_logging, enable_interactive_logging
from zoo_keras.variables import Variable

X, Y = np.ones((4, 2), "f4"), np.zeros((4, 1), "f4")


def net(optimizer):
    model = models.Sequential([
        layers.Input((2,)), layers.Dense(2, name="first"), layers.Dense(1, name="second"),
    ])  # fmt: skip
    model.compile(optimizer, "mse")
    return model


def two(**options):
    first = optimizers.SGD(0.1, name="a", **options)
    second = optimizers.SGD(0.01, name="b")
    return (
        first,
        second,
        optimizers.MultiOptimizer(optimizers.OptimizerMap(second, {".*first/.*": first})),
    )


def test_a_schedule_of_epochs_sets_the_rate_of_each_optimizer():
    first, second, both = two()
    model = net(both)
    scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    logs = model.fit(X, Y, verbose=0, callbacks=[scheduler]).history
    assert np.allclose([first.learning_rate, second.learning_rate], [0.05, 0.005])
    assert np.allclose([logs["learning_rate_a"], logs["learning_rate_b"]], [[0.05], [0.005]])


def test_a_plateau_lowers_the_rate_of_each_optimizer_once():
    first, second, both = two()
    reduce = callbacks.ReduceLROnPlateau(factor=0.5, patience=1)
    reduce.set_model(net(both))
    for epoch in (0, 1):
        reduce.on_epoch_end(epoch, {"val_loss": 1.0})
    assert np.allclose([first.learning_rate, second.learning_rate], [0.05, 0.005])


def test_averages_of_several_optimizers_are_swapped_in():
    first, _, both = two(use_ema=True, ema_momentum=0.5)
    model = net(both)
    model.train_on_batch(X, Y)
    (weight, average), *_ = first.averages()
    swap = callbacks.SwapEMAWeights()
    swap.set_model(model)
    before, wanted = weight.numpy().copy(), average.numpy() + 1
    average.assign(wanted)
    swap.on_test_begin()
    assert np.allclose(weight, wanted)
    swap.on_test_end()
    assert np.allclose(weight, before)


def test_there_is_one_loss_scale_for_several_optimizers():
    first, second, both = two(loss_scale_factor=3.0)
    assert first.loss_scale_factor is None
    both.loss_scale_factor = 4.0
    assert first.loss_scale_factor == second.loss_scale_factor == 4.0
    optimizers.LossScaleOptimizer(both)
    assert first.loss_scale_factor is None


def test_a_loss_scale_is_dynamic():
    optimizers.LossScaleOptimizer(optimizers.SGD(), dynamic=True)
    with pytest.raises(ConfigError, match="loss_scale_factor"):
        optimizers.LossScaleOptimizer(optimizers.SGD(), dynamic=False)


def test_a_rate_that_a_schedule_computes_cannot_be_set():
    rate = optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model = net(optimizers.SGD(rate))
    with pytest.raises(ArgumentTypeError, match="LearningRateSchedule"):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda e: 0.1)])


@pytest.mark.parametrize(
    ("monitor", "mode", "better"),
    [
        ("val_loss", "auto", ops.less), ("second_accuracy", "auto", ops.greater),
        ("mean_error", "auto", ops.less), ("other", "max", ops.greater),
    ],
)  # fmt: skip
def test_what_is_better_is_known_by_name_or_mode(monitor, mode, better):
    assert callbacks.EarlyStopping(monitor, mode=mode).monitor_op is better


def test_what_nobody_knows_to_be_better_is_refused():
    stop = callbacks.EarlyStopping("unknown")
    with pytest.raises(ConfigError, match="mode='max'"):
        net("sgd").fit(X, Y, verbose=0, callbacks=[stop])


def test_callbacks_log_where_interactive_logging_is_off(caplog, capsys):
    disable_interactive_logging()
    try:
        with caplog.at_level(logging.INFO):
            scheduler = callbacks.LearningRateScheduler(lambda epoch: 0.5, verbose=1)
            net("sgd").fit(X, Y, verbose=0, callbacks=[scheduler])
    finally:
        enable_interactive_logging()
    assert "setting learning rate to 0.5" in caplog.text and not capsys.readouterr().out


def test_a_variable_has_the_name_scope_in_its_path():
    with backend.name_scope("encoder"):
        assert Variable(np.ones(2), name="kernel").path == "encoder/kernel"


def test_a_weight_that_is_its_own_gradient_is_refused():
    with pytest.raises(NotImplementedError, match="overwrite_with_gradient"):
        layers.Layer().add_weight((2,), overwrite_with_gradient=True)
