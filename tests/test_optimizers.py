"""Optimizers: flat updates, clipping, decay, averages, rates, names and errors.

Values against Keras: test_golden_optimizers.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from traced import in_program

import zoo_keras as zk
from zoo_keras import ops, optimizers
from zoo_keras.constraints import NonNeg
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.optimizers import schedules
from zoo_keras.variables import Variable

RNG = np.random.default_rng(3)
KERNEL, BIAS = RNG.normal(size=(3, 4)).astype("f4"), RNG.normal(size=4).astype("f4")
GRADS = [RNG.normal(size=16).astype("f4") for _ in range(4)]

MADE = [
    optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9),
    optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    optimizers.Adam(0.05), optimizers.Adam(0.05, amsgrad=True, use_ema=True),
    optimizers.AdamW(0.05), optimizers.Adamax(0.05), optimizers.Nadam(0.05),
    optimizers.RMSprop(0.05),
    optimizers.RMSprop(0.05, momentum=0.5, centered=True), optimizers.Adagrad(0.1),
    optimizers.Adadelta(0.9), optimizers.Lion(0.05), optimizers.Ftrl(0.1, beta=0.1),
    optimizers.Adam(schedules.ExponentialDecay(0.1, 2, 0.5), clipvalue=0.3),
]  # fmt: skip


def parts(flat):
    return [flat[:12].reshape(3, 4), flat[12:]]


@pytest.mark.parametrize("made", MADE, ids=lambda o: o.name)
def test_one_flat_vector_is_updated_as_the_weights_in_it_are(made):
    config = made.get_config()
    by_weight, on_flat = (type(made).from_config(config) for _ in range(2))
    weights = [Variable(KERNEL, name="kernel"), Variable(BIAS, name="bias")]
    flat = Variable(np.concatenate([KERNEL.ravel(), BIAS]), name="flat")
    for gradient in GRADS:
        by_weight.apply(parts(gradient), weights)
        on_flat.apply([gradient], [flat])
    assert on_flat.elementwise
    for weight, want in zip(weights, parts(flat.numpy()), strict=True):
        np.testing.assert_array_equal(weight.numpy(), want)
    for name, slots in by_weight.slots().items():
        joined = np.concatenate([v.numpy().ravel() for v in slots])
        np.testing.assert_array_equal(joined, on_flat.slots()[name][0].numpy())


@pytest.mark.parametrize("made", MADE, ids=lambda o: o.name)
def test_a_program_updates_as_arrays_are_updated(made):
    config = made.get_config()
    on_arrays, traced = (type(made).from_config(config) for _ in range(2))
    a, b = Variable(KERNEL, name="a"), Variable(KERNEL, name="b")
    for optimizer, variable in ((on_arrays, a), (traced, b)):
        optimizer.build([variable])
    for gradient in GRADS:
        on_arrays.apply([parts(gradient)[0]], [a])
        in_program(lambda g: traced.apply([g], [b]), parts(gradient)[0])
    np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-5, atol=1e-6)
    assert int(traced.iterations) == 4


def test_clipping_limits_norms_and_entries():
    big = [np.float32([3, 4]), np.float32([0, 12])]
    norm = lambda gs: float(np.sqrt(sum(np.sum(g**2) for g in gs)))  # noqa: E731
    by_each = optimizers.SGD(clipnorm=1.0).clip_gradients(big)
    np.testing.assert_allclose(by_each[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(by_each[1], [0, 1], rtol=1e-6)
    assert norm(optimizers.SGD(global_clipnorm=2.6).clip_gradients(big)) == pytest.approx(2.6)
    small = optimizers.SGD(global_clipnorm=99.0).clip_gradients(big)
    np.testing.assert_array_equal(small[0], big[0])
    np.testing.assert_array_equal(optimizers.SGD(clipvalue=3.5).clip_gradients(big)[0], [3, 3.5])
    zero = optimizers.SGD(clipnorm=1.0).clip_gradients([np.zeros(2, "f4")])
    np.testing.assert_array_equal(zero[0], [0, 0])


def test_weight_decay_leaves_out_what_is_excluded():
    optimizer = optimizers.SGD(0.5, weight_decay=0.1)
    kernel, bias, gamma = (Variable(np.ones(2, "f4"), name=n) for n in ("kernel", "bias", "gamma"))
    optimizer.exclude_from_weight_decay(var_list=[gamma], var_names=["bi"])
    optimizer.apply([np.zeros(2, "f4")] * 3, [kernel, bias, gamma])
    assert [float(v.numpy()[0]) for v in (kernel, bias, gamma)] == pytest.approx([0.95, 1, 1])
    assert [optimizer.decays(v) for v in (kernel, bias, gamma)] == [True, False, False]


def test_averages_replace_the_weights_at_the_end():
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    weight = Variable(np.float32([0]), name="w")
    for gradient in (-2, -4):
        optimizer.apply([np.float32([gradient])], [weight])
    assert weight.numpy() == [6]
    optimizer.finalize_variable_values([weight])
    assert weight.numpy() == [0.5 * 2 + 0.5 * 6]


def test_a_constraint_is_applied_after_the_update():
    weight = Variable(np.float32([1, 1]), name="w", constraint=NonNeg())
    optimizers.SGD(1.0).apply([np.float32([3, 0])], [weight])
    np.testing.assert_array_equal(weight.numpy(), [0, 1])


def test_variables_have_the_names_and_order_of_keras():
    optimizer = optimizers.Adam(name="adam")
    optimizer.build([Variable(KERNEL, name="kernel"), Variable(BIAS, name="bias")])
    assert [v.path for v in optimizer.variables] == [
        "adam/iteration", "adam/learning_rate", "adam/kernel_momentum", "adam/kernel_velocity",
        "adam/bias_momentum", "adam/bias_velocity",
    ]  # fmt: skip
    assert {k: len(v) for k, v in optimizer.slots().items()} == {"momentum": 2, "velocity": 2}


def test_the_learning_rate_is_one_number_in_one_place():
    optimizer = optimizers.SGD(0.5)
    array = optimizer.rate_array()
    optimizer.learning_rate = 0.25
    assert array == 0.25 and float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate.assign(0.125)
    assert array == 0.125 and optimizer.get_config()["learning_rate"] == 0.125


def test_a_schedule_follows_the_iterations():
    optimizer = optimizers.SGD(schedules.PiecewiseConstantDecay([1, 2], [1.0, 0.5, 0.1]))
    weight = Variable(np.float32([0]), name="w")
    for _ in range(4):
        optimizer.apply([np.float32([-1])], [weight])
    np.testing.assert_allclose(weight.numpy(), [1 + 1 + 0.5 + 0.1], rtol=1e-6)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert [v.name for v in optimizer.variables] == ["iteration"]
    with pytest.raises(ConfigError, match="cannot be set"):
        optimizer.learning_rate = 0.1


SCHEDULES = [
    schedules.ExponentialDecay(0.5, 10, 0.9, staircase=True),
    schedules.PiecewiseConstantDecay([3, 7], [0.5, 0.2, 0.1]),
    schedules.PolynomialDecay(0.5, 10, 0.1, power=2.0, cycle=True),
    schedules.InverseTimeDecay(0.5, 10, 0.3),
    schedules.CosineDecay(0.1, 10, alpha=0.1, warmup_target=0.5, warmup_steps=5),
    schedules.CosineDecayRestarts(0.5, 5, t_mul=1.5, m_mul=0.9, alpha=0.1),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_schedules_are_the_same_in_a_program_and_after_a_round_trip(schedule):
    again = schedules.deserialize(schedules.serialize(schedule))
    for step in (0, 3, 4, 5, 12, 40):
        rate = schedule(step)
        assert rate.dtype == "float32" and rate.shape == ()
        assert float(again(step)) == float(rate)
        assert float(in_program(schedule, np.int32(step))) == pytest.approx(float(rate), rel=1e-5)


def test_saved_variables_are_read_back():
    first, second = (optimizers.SGD(0.5, momentum=0.9) for _ in range(2))
    weight = Variable(BIAS, name="w")
    first.apply([BIAS], [weight])
    store = {}
    first.save_own_variables(store)
    second.build([weight])
    second.load_own_variables(store)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    with pytest.warns(UserWarning, match="starts afresh"):
        optimizers.SGD().load_own_variables(store)


def test_a_custom_optimizer_is_written_as_in_keras():
    class Signed(optimizers.Optimizer):
        def __init__(self, learning_rate=0.1, name="signed", **kwargs):
            super().__init__(learning_rate=learning_rate, name=name, **kwargs)

        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.counts = [self.add_variable_from_reference(v, name="count") for v in variables]

        def update_step(self, gradient, variable, learning_rate):
            count = self.counts[self._get_variable_index(variable)]
            self.assign_add(count, ops.ones_like(count))
            self.assign_sub(variable, ops.sign(gradient) * learning_rate)

    optimizer = Signed()
    weight = Variable(np.float32([1, 1]), name="w")
    optimizer.apply_gradients([(np.float32([5, -5]), weight)])
    np.testing.assert_allclose(weight.numpy(), [0.9, 1.1])
    np.testing.assert_array_equal(optimizer.slots()["count"][0].numpy(), [1, 1])


def test_names_configs_and_objects():
    assert isinstance(optimizers.get("adam"), optimizers.Adam)
    assert isinstance(optimizers.get("RMSprop"), optimizers.RMSprop)
    made = optimizers.SGD(schedules.CosineDecay(0.1, 10), momentum=0.5)
    again = optimizers.get(optimizers.serialize(made))
    assert again.get_config() == made.get_config() and optimizers.get(made) is made
    assert optimizers.deserialize({"class_name": "adagrad", "config": {}}).epsilon == 1e-7


REFUSED = [
    (lambda: optimizers.get("adamm"), ConfigError, r"adamm.*adam"),
    (lambda: optimizers.SGD("fast"), ConfigError, "fast"),
    (lambda: optimizers.SGD(momentum=2.0), ConfigError, "momentum=2.0"),
    (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0), ConfigError, "only one"),
    (lambda: optimizers.SGD(use_ema=True, ema_momentum=2.0), ConfigError, "2.0"),
    (lambda: optimizers.SGD(gradient_accumulation_steps=1), ConfigError, "above 1 or None"),
    (
        lambda: optimizers.SGD(
            gradient_accumulation_steps=4, use_ema=True, ema_overwrite_frequency=2
        ),
        UnsupportedError,
        "ema_overwrite_frequency=2",
    ),
    (lambda: optimizers.AdamW(weight_decay=None), ConfigError, "None"),
    (lambda: optimizers.SGD().apply([BIAS], []), ShapeError, "1 gradients and 0"),
    (lambda: schedules.CosineDecay(0.1, 0), ConfigError, "decay_steps=0"),
    (lambda: schedules.PiecewiseConstantDecay([1], [1.0]), ConfigError, "1 boundaries"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_variables_that_the_optimizer_does_not_know_are_refused():
    optimizer = optimizers.SGD()
    one, other = Variable(BIAS, name="one"), Variable(BIAS, name="other")
    optimizer.build([one])
    optimizer.build([one])
    with pytest.raises(ConfigError, match="other"):
        optimizer.build([other])
    with pytest.raises(ConfigError, match="other"):
        optimizer.apply([BIAS], [other])
    with pytest.raises(ConfigError, match="no variable has a gradient"):
        optimizer.apply([None], [one])


def dense_model(optimizer):
    model = zk.Sequential([zk.Input((3,)), zk.layers.Dense(2, name="dense")])
    model.set_weights([np.arange(6).reshape(3, 2) * 0.1, np.zeros(2)])
    model.compile(optimizer, "mse")
    return model


def test_a_scaled_loss_changes_no_step_and_skips_infinite_ones():
    inner = optimizers.SGD(0.1, momentum=0.5)
    scaled = optimizers.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=2)
    model, plain = dense_model(scaled), dense_model(optimizers.SGD(0.1, momentum=0.5))
    x, y = RNG.normal(size=(4, 3)).astype("f4"), RNG.normal(size=(4, 2)).astype("f4")
    for _ in range(5):
        for each in (model, plain):
            each.train_on_batch(x, y)
    assert float(scaled.dynamic_scale) == 32 and int(scaled.iterations) == 5
    model.train_on_batch(x * np.float32(np.inf), y)
    assert float(scaled.dynamic_scale) == 16 and int(scaled.iterations) == 5
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(ConfigError, match="clipnorm"):
        optimizers.LossScaleOptimizer(inner, clipnorm=1.0)


class Normed(optimizers.Optimizer):
    """A step of the length of the learning rate for each weight."""

    elementwise = False

    def __init__(self, learning_rate=0.1, name="normed", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        length = ops.sqrt(ops.sum(ops.square(gradient)))
        self.assign_sub(variable, gradient * (learning_rate / length))


@pytest.mark.parametrize("made", [Normed(), optimizers.Lamb(0.1), optimizers.Muon(0.1)])
def test_updates_of_whole_weights_see_each_weight_by_itself(made):
    by_hand = type(made).from_config(made.get_config())
    model = dense_model(made)
    weights = [Variable(w, name=n) for w, n in zip(model.get_weights(), ("kernel", "bias"))]
    x, y = RNG.normal(size=(4, 3)).astype("f4"), RNG.normal(size=(4, 2)).astype("f4")
    for _ in range(3):
        off = x @ weights[0].numpy() + weights[1].numpy() - y
        by_hand.apply([x.T @ off / 4, off.mean(0)], weights)
        model.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=2e-5, atol=1e-6)


def test_a_loss_scale_optimizer_stores_what_is_its_own_and_the_inner_ones():
    """As in Keras 3.15: "0", "1", ... in the order of `variables`."""
    weight = Variable(np.ones(2, np.float32))
    made = [optimizers.LossScaleOptimizer(optimizers.Adam()) for _ in range(2)]
    store: dict = {}
    for each in made:
        each.build([weight])
    made[0].apply([np.float32([2.0**15, 0])])
    made[0].save_own_variables(store)
    names = [v.path.rpartition("/")[2] for v in made[0].variables]
    assert names[:6] == ["iteration", "learning_rate", "step_counter", "dynamic_scale"] + names[:2]
    assert [store[str(i)].shape for i in range(8)] == [()] * 6 + [(2,)] * 2 and len(store) == 8
    made[1].load_own_variables(store)
    for a, b in zip(*(m.variables for m in made), strict=True):
        np.testing.assert_array_equal(a, b)
    assert made[1].iterations == 1
    made[1].set_weights([v.numpy() for v in made[0].variables])
