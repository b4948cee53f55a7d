"""Recurrent layers beyond the golden cases: states, masks, dropout, cells of one's own, errors."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import registry
from zoo_keras.saving.keras2 import hard_sigmoid as keras2_hard_sigmoid

RNG = np.random.default_rng(5)
STEPS = RNG.normal(size=(4, 6, 3)).astype("f4")
KINDS = [layers.SimpleRNN, layers.LSTM, layers.GRU]


class MinimalCell(layers.Layer):
    """The cell of Keras' own guide, with a weight and two plain functions."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.again = self.add_weight(shape=(self.units, self.units), name="again")

    def call(self, inputs, states):
        output = ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.again)
        return output, [output]


def same_weights(model, other):
    other.set_weights(model.get_weights())
    return other


def sequential(*given, batch=None):
    shape = {"batch_shape": (batch, *STEPS.shape[1:])} if batch else {"shape": STEPS.shape[1:]}
    return zk.Sequential([zk.Input(**shape), *given])


# ---- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_layer_goes_on_where_it_stopped(kind):
    plain = sequential(kind(5))
    model = same_weights(
        plain, zk.Sequential([zk.Input(batch_shape=(4, 3, 3)), kind(5, stateful=True)])
    )
    model.predict_on_batch(STEPS[:, :3])
    whole = model.predict_on_batch(STEPS[:, 3:])
    np.testing.assert_allclose(whole, plain.predict_on_batch(STEPS), 1e-5, 1e-6)


def test_reset_state_starts_again():
    model = sequential(layers.Bidirectional(layers.LSTM(5, stateful=True)), batch=4)
    first, second = model.predict_on_batch(STEPS), model.predict_on_batch(STEPS)
    assert np.abs(first - second).max() > 1e-4
    model.layers[0].reset_state()
    np.testing.assert_array_equal(model.predict_on_batch(STEPS), first)


def test_states_are_kept_through_training_and_are_no_weights():
    layer = layers.GRU(5, stateful=True)
    model = sequential(layer, layers.Dense(1), batch=4)
    model.compile("sgd", "mse")
    assert [w.name for w in layer.weights] == ["kernel", "recurrent_kernel", "bias"]
    model.train_on_batch(STEPS, np.ones((4, 1), "f4"))
    once = layer.states[0].numpy()
    model.train_on_batch(STEPS, np.ones((4, 1), "f4"))
    assert once.any() and np.abs(layer.states[0].numpy() - once).max() > 1e-5


def test_a_stateful_layer_needs_its_batch_size():
    with pytest.raises(ShapeError, match="fixed batch size"):
        sequential(layers.LSTM(5, stateful=True))
    layer = layers.LSTM(5, stateful=True)
    layer(STEPS)
    with pytest.raises(ShapeError, match="every sequence needs a state"):
        layer(STEPS[:2])


# ---- both ways of running ------------------------------------------------------------------------


def scans_in(layer, *inputs):
    with tracing():
        x = input_tensor("x", STEPS.shape)
        made = layer(x, *inputs)
        graph = optimise(Graph([x], [made]))
    return [n.op.name for n in graph.nodes()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_standard_layer_is_one_instruction_and_others_one_scan(kind):
    names = scans_in(kind(5))
    assert "scan" not in names and {"lstm", "gru", "simple_rnn"} & set(names)
    names = scans_in(kind(5, activation="gelu"))
    assert names.count("scan") == 1 and not {"lstm", "gru", "simple_rnn"} & set(names)


class OwnLSTMCell(layers.LSTMCell):
    """Not the class that the engine knows, so it runs step by step."""


BOTH_WAYS = [
    (layers.LSTMCell, OwnLSTMCell),
    (layers.GRUCell, type("OwnGRU", (layers.GRUCell,), {})),
    (layers.SimpleRNNCell, type("OwnSimple", (layers.SimpleRNNCell,), {})),
]


def trained_both_ways(kinds, of_cell, of_layer, x=STEPS):
    """The weights after three steps, once by the kernel and once step by step."""
    shape = (4, 6, 5) if of_layer.get("return_sequences") else (4, 5)
    target = np.random.default_rng(7).normal(size=shape).astype("f4")
    for kind in kinds:
        zk.utils.set_random_seed(3)
        model = zk.Sequential([zk.Input(x.shape[1:]), layers.RNN(kind(5, **of_cell), **of_layer)])
        model.compile("sgd", "mse")
        for _ in range(3):
            model.train_on_batch(x, target)
        yield model.get_weights()


@pytest.mark.parametrize("kinds", BOTH_WAYS)
@pytest.mark.parametrize("options", [{}, {"go_backwards": True, "return_sequences": True}])
def test_training_is_the_same_both_ways(kinds, options):
    for one, other in zip(*trained_both_ways(kinds, {}, options), strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


KERNEL_ACTIVATIONS = [
    "linear", "tanh", "sigmoid", "relu", "relu6", "leaky_relu", "hard_sigmoid", "sparse_sigmoid",
    "hard_tanh", "elu", "celu", "selu", "softplus", "log_sigmoid", "softsign", "sparse_plus",
    "exponential", keras2_hard_sigmoid,
]  # fmt: skip


GATES = ["tanh", "hard_sigmoid", "sparse_sigmoid", "hard_tanh", "softsign", keras2_hard_sigmoid]


@pytest.mark.parametrize("activation", KERNEL_ACTIVATIONS)
@pytest.mark.parametrize("kinds", [*BOTH_WAYS, "GRU reset first"])
def test_any_activation_with_a_kernel_trains_as_step_by_step(kinds, activation):
    of_cell = {"activation": activation}
    if kinds == "GRU reset first":
        kinds, of_cell = BOTH_WAYS[1], {**of_cell, "reset_after": False}
    of_cell["recurrent_initializer"] = zk.initializers.RandomNormal(stddev=0.1, seed=1)
    if kinds is not BOTH_WAYS[2]:
        of_cell["recurrent_activation"] = activation if activation in GATES else "sigmoid"
    assert "scan" not in scans_in(layers.RNN(kinds[0](5, **of_cell)))
    x = 0.3 * STEPS[:, :2] if activation == "exponential" else STEPS  # which soon is infinite
    for one, other in zip(*trained_both_ways(kinds, of_cell, {}, x), strict=True):
        assert np.isfinite(other).all()
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_inference_saves_nothing_for_a_backward_pass():
    with tracing():
        x = input_tensor("x", STEPS.shape)
        made = layers.LSTM(5)(x)
        light = optimise(Graph([x], [made]))
        full = optimise(Graph([x], gradients(ops.sum(made), [x])))
    kept = [[n.attrs["kept"] for n in g.nodes() if n.op is registry["lstm"]] for g in (light, full)]
    assert kept == [[(False,) * 4 + (True, False)], [(True,) * 2 + (False,) * 4]]


def test_a_cell_of_ones_own_trains():
    model = sequential(
        layers.RNN(MinimalCell(4), return_sequences=True), layers.RNN(MinimalCell(2))
    )
    model.compile(zk.optimizers.Adam(0.02), "mse")
    target = STEPS.sum(1)[:, :2]
    losses = model.fit(STEPS, target, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_a_list_of_cells_is_stacked():
    layer = layers.RNN([layers.LSTMCell(4), MinimalCell(3)], return_state=True)
    output, (h, c), last = layer(STEPS)
    assert output.shape == last.shape == (4, 3) and h.shape == c.shape == (4, 4)
    np.testing.assert_array_equal(output, last)


# ---- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_masked_steps_do_not_count(kind):
    model = sequential(layers.Masking(), kind(5))
    padded = np.concatenate([STEPS, np.zeros_like(STEPS)], axis=1)
    longer = same_weights(model, zk.Sequential([zk.Input((12, 3)), layers.Masking(), kind(5)]))
    np.testing.assert_allclose(
        longer.predict_on_batch(padded), model.predict_on_batch(STEPS), 1e-5, 1e-6
    )


def test_a_mask_goes_through_layers_that_return_sequences():
    ids = np.array([[1, 2, 0, 0], [3, 1, 2, 0]])
    inner = [layers.Bidirectional(layers.GRU(3, return_sequences=True)),
             layers.TimeDistributed(layers.Dense(4)), layers.LSTM(2)]  # fmt: skip
    model = zk.Sequential([zk.Input((4,)), layers.Embedding(5, 3, mask_zero=True), *inner])
    longer = zk.Sequential(
        [zk.Input((6,)), layers.Embedding(5, 3, mask_zero=True),
         layers.Bidirectional(layers.GRU(3, return_sequences=True)),
         layers.TimeDistributed(layers.Dense(4)), layers.LSTM(2)]
    )  # fmt: skip
    same_weights(model, longer)
    padded = np.pad(ids, ((0, 0), (0, 2)))
    np.testing.assert_allclose(
        longer.predict_on_batch(padded), model.predict_on_batch(ids), 1e-5, 1e-6
    )


# ---- dropout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}])
def test_dropout_acts_in_training_only_and_follows_the_seed(kind, options):
    zk.utils.set_random_seed(1)
    one = kind(6, seed=11, **options)
    one(STEPS)
    plain = kind(6)
    plain.build(STEPS.shape)
    plain.set_weights(one.get_weights())
    np.testing.assert_allclose(one(STEPS), plain(STEPS), 1e-5, 1e-6)
    assert np.abs(one(STEPS, training=True) - plain(STEPS)).max() > 1e-3


def test_dropout_is_the_same_at_every_step():
    layer = layers.SimpleRNN(
        50, dropout=0.5, return_sequences=True, kernel_initializer="identity", activation=None,
        recurrent_initializer="zeros", seed=2,
    )  # fmt: skip
    found = layer(np.ones((2, 6, 50), "f4"), training=True)
    assert set(np.unique(found)) == {0.0, 2.0}
    assert (found == found[:, :1]).all()


# ---- wrappers ------------------------------------------------------------------------------------


def test_time_distributed_updates_moving_averages_step_by_step():
    norm = layers.BatchNormalization(momentum=0.5)
    layers.TimeDistributed(norm)(STEPS, training=True)
    mean = np.zeros(3)
    for t in range(6):
        mean = 0.5 * mean + 0.5 * STEPS[:, t].mean(0)
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, 1e-4, 1e-6)


def test_time_distributed_dropout_differs_from_step_to_step():
    found = layers.TimeDistributed(layers.Dropout(0.5, seed=1))(np.ones((4, 6, 30)), training=True)
    assert np.abs(found - found[:, :1]).max() > 0


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: layers.LSTM(0), ConfigError, "units must be a positive integer"),
        (lambda: layers.LSTM(3, use_cudnn="no"), ConfigError, "use_cudnn"),
        (lambda: layers.LSTM(3, time_major=True), UnsupportedError, "time_major"),
        (lambda: layers.RNN(layers.Dense(3)), ConfigError, "state_size"),
        (lambda: layers.StackedRNNCells([layers.Dense(3)]), ConfigError, "state_size"),
        (lambda: layers.Bidirectional(layers.LSTM(3), merge_mode="max"), ConfigError, "merge_mode"),
        (lambda: layers.Bidirectional(3), ConfigError, "layer must be a layer"),
        (
            lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3)),
            ConfigError,
            "one layer must go forwards",
        ),
        (lambda: layers.TimeDistributed(len), ConfigError, "layer must be a layer"),
        (lambda: layers.TimeDistributed(layers.Dense(3))(np.ones((2, 3))), ShapeError, "steps"),
        (lambda: layers.GRU(3)(np.ones((2, 3))), ShapeError, "incompatible"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()
