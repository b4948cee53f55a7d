"""Models and what belongs to them are ordinary objects: pickled and copied at any time, they give
what the original gives, and neither has anything to do with the other afterwards."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from pyspark import cloudpickle

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.random import set_random_seed

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype("float32"), RNG.normal(size=(40, 2)).astype("float32")

WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "oldest pickle": lambda value: pickle.loads(pickle.dumps(value, 0)),
    "cloudpickle": lambda value: pickle.loads(cloudpickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def sequential() -> keras.Model:
    return keras.Sequential([
        keras.Input((6,)), layers.Dense(8, activation="relu"), layers.BatchNormalization(),
        layers.Dropout(0.2, seed=3), layers.Dense(2),
    ])  # fmt: skip


def deferred() -> keras.Model:
    model = keras.Sequential([layers.Dense(8, activation="tanh"), layers.Dense(2)])
    model.build((None, 6))
    return model


def functional() -> keras.Model:
    """A shared layer called twice, ops, a nested model and lambdas."""
    inputs = keras.Input((6,), name="features")
    shared = layers.Dense(6, activation=lambda x: ops.relu(x) * 0.5)
    x = shared(inputs) + 2.0 * shared(inputs * 3.0)
    nested = keras.Sequential([layers.Dense(3), layers.LayerNormalization()])
    x = ops.concatenate([x, nested(x)], -1)
    x = layers.Lambda(lambda v: ops.sin(v) + np.pi)(x)
    return keras.Model(inputs, layers.Dense(2, kernel_regularizer="l2")(x))


class Own(keras.Model):
    def __init__(self, units: int = 5) -> None:
        super().__init__()
        self.blocks = [layers.Dense(units), {"more": layers.Dense(units)}]
        self.last, self.scale = layers.Dense(2), self.add_weight((), "ones", name="scale")

    def call(self, x):
        return self.last(self.blocks[1]["more"](self.blocks[0](x)) * self.scale)


def subclass() -> keras.Model:
    model = Own()
    model(X[:1])
    return model


def recurrent() -> keras.Model:
    return keras.Sequential([
        keras.Input((6,)), layers.Reshape((3, 2)),
        layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        layers.LSTM(3), layers.Dense(2),
    ])  # fmt: skip


MODELS = [sequential, deferred, functional, subclass, recurrent]


def compiled(make, optimizer="adam"):
    set_random_seed(1)
    model = make()
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def trained(make, optimizer="adam"):
    model = compiled(make, optimizer)
    model.fit(X, Y, batch_size=10, epochs=2, verbose=0, shuffle=False)
    model.predict(X, verbose=0)
    return model


STATES = {"uncompiled": lambda make: make(), "compiled": compiled, "trained": trained}


def same(a: keras.Model, b: keras.Model) -> None:
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(a.predict(X, verbose=0), b.predict(X, verbose=0))


@ways
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("make", MODELS)
def test_a_copy_is_equal_and_apart(make, state, way):
    model = state(make)
    model.predict(X[:3], verbose=0)
    made = way(model)
    assert type(made) is type(model) and made.name == model.name
    assert [v.path for v in made.variables] == [v.path for v in model.variables]
    assert made.compiled == model.compiled
    same(model, made)
    before = model.get_weights()
    made.set_weights([w + 1 for w in before])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@ways
@pytest.mark.parametrize("make", MODELS)
def test_a_copy_trains_on_as_the_original_does(make, way):
    model = trained(make)
    made = way(model)
    kept = made.get_weights()
    histories = [
        m.fit(X, Y, batch_size=10, epochs=2, verbose=0, shuffle=False).history
        for m in (model, made)
    ]
    assert histories[0] == histories[1]
    same(model, made)
    assert any((a != b).any() for a, b in zip(kept, made.get_weights(), strict=True))
    assert int(made.optimizer.iterations) == 16
    assert made.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


@ways
def test_a_copied_functional_model_can_be_built_upon(way):
    model = functional()
    made = way(model)
    longer = keras.Model(made.input, layers.Dense(1)(made.output))
    assert longer.output_shape == (None, 1)
    calls = [
        [(layer["name"], layer["inbound_nodes"]) for layer in m.get_config()["layers"]]
        for m in (model, made)
    ]
    assert calls[0] == calls[1]
    assert "features" in made.input_names


@ways
def test_the_copy_of_a_loaded_model(way, tmp_path):
    trained(sequential).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    same(loaded, way(loaded))


def test_a_deep_model_can_be_pickled():
    x = inputs = keras.Input((4,))
    for _ in range(400):
        x = layers.Dense(4)(x) + x
    model = keras.Model(inputs, x)
    made = pickle.loads(pickle.dumps(model))
    assert len(made.layers) == len(model.layers)


OPTIMIZERS = [
    keras.optimizers.SGD(0.01, momentum=0.9), keras.optimizers.Adam(0.01),
    keras.optimizers.Nadam(0.01), keras.optimizers.RMSprop(0.01, centered=True),
    keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True), keras.optimizers.Ftrl(0.01),
    keras.optimizers.Adafactor(0.01), keras.optimizers.Lamb(0.01),
    keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
    keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)),
]  # fmt: skip


@ways
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_an_optimizer_keeps_its_state(optimizer, way):
    fresh = type(optimizer).from_config(optimizer.get_config())
    model = trained(sequential, fresh)
    made = way(model.optimizer)
    assert made.get_config() == model.optimizer.get_config()
    for a, b in zip(model.optimizer.variables, made.variables, strict=True):
        assert a is not b
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_copied_optimizer_goes_on_with_other_weights_of_the_same_shapes():
    model, other = trained(deferred), deferred()
    other.set_weights(model.get_weights())
    other.compile(pickle.loads(pickle.dumps(model.optimizer)), "mse", metrics=["mae"])
    for m in (model, other):
        m.fit(X, Y, batch_size=10, epochs=1, verbose=0, shuffle=False)
    same(model, other)


def test_weights_without_decay_stay_so_in_a_copy():
    model = deferred()
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[model.weights[1]])
    model.compile(optimizer, "mse")
    made = pickle.loads(pickle.dumps(model))
    assert [made.optimizer.decays(v) for v in made.weights] == [True, False, True, True]


THINGS = {
    "layer": lambda: built(layers.Dense(3, activation="gelu")),
    "layer that is not built": lambda: layers.LSTM(4, dropout=0.1),
    "wrapper": lambda: built(layers.Bidirectional(layers.LSTM(2)), (2, 3, 4)),
    "lambda": lambda: layers.Lambda(lambda x, k=2: x * k + np.float32(1)),
    "loss": lambda: keras.losses.Huber(0.3),
    "metric": lambda: measured(keras.metrics.AUC()),
    "metric of a function": lambda: measured(keras.metrics.MeanAbsoluteError()),
    "schedule": lambda: keras.optimizers.schedules.CosineDecay(0.1, 10),
    "initializer": lambda: keras.initializers.GlorotUniform(seed=3),
    "regularizer": lambda: keras.regularizers.L1L2(0.1, 0.2),
    "constraint": lambda: keras.constraints.MaxNorm(2),
    "seed generator": lambda: keras.random.SeedGenerator(7),
}


def built(layer, shape=(2, 5)):
    layer(np.ones(shape, "float32"))
    return layer


def measured(metric):
    metric.update_state(np.array([0, 1, 1, 0]), np.array([0.1, 0.7, 0.4, 0.6]))
    return metric


@ways
@pytest.mark.parametrize("make", THINGS.values(), ids=THINGS)
def test_the_parts_of_models(make, way):
    thing = make()
    made = way(thing)
    assert type(made) is type(thing)
    if not isinstance(thing, layers.Lambda):
        assert made.get_config() == thing.get_config()
    if isinstance(thing, keras.Metric):
        assert float(made.result()) == float(thing.result())
        made.reset_state()
        assert float(made.result()) != float(thing.result())
    if isinstance(thing, (layers.Lambda, layers.Dense)):
        x = np.ones((2, 5), "float32")
        np.testing.assert_array_equal(thing(x), made(x))


def test_a_model_compiled_with_lambdas_travels():
    model = deferred()
    model.compile("sgd", lambda t, p: ops.mean(ops.abs(t - p), -1), metrics=[lambda t, p: t - p])
    model.train_on_batch(X, Y)
    made = pickle.loads(pickle.dumps(model))
    assert made.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def test_a_wrapped_function_of_the_package_stays_the_same_function():
    layer = layers.Dense(3, activation="gelu")
    assert copy.deepcopy(layer).activation is layer.activation
    assert pickle.loads(pickle.dumps(layer)).activation is layer.activation


@pytest.mark.parametrize("way", [WAYS["pickle"], WAYS["cloudpickle"], WAYS["deepcopy"]])
def test_history_and_callbacks_travel_with_their_model(way):
    model = compiled(sequential)
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[stop])
    made, stopped, own = way((history, stop, model))
    assert made.history == history.history and made.epoch == history.epoch
    assert made.model is stopped.model is own
    same(own, model)


def test_what_two_models_share_they_share_in_a_common_pickle():
    inputs = keras.Input((6,))
    features = layers.Dense(4)
    one = keras.Model(inputs, features(inputs))
    other = keras.Model(inputs, layers.Dense(2)(features(inputs)))
    a, b = pickle.loads(pickle.dumps((one, other)))
    a.set_weights([w * 0 for w in a.get_weights()])
    same(one, one)
    assert not b.weights[0].numpy().any()
    other.set_weights([w * 0 if i < 2 else w for i, w in enumerate(other.get_weights())])
    np.testing.assert_array_equal(b.predict(X, verbose=0), other.predict(X, verbose=0))


def test_a_pickle_holds_each_weight_once_and_no_program():
    model = keras.Sequential([keras.Input((400,)), layers.Dense(500)])
    before = len(pickle.dumps(model))
    for rows in range(1, 9):
        model.predict(np.ones((rows, 400), "float32"), verbose=0)
    assert len(pickle.dumps(model)) <= before + 1000
    assert before < 4 * 500 * 401 + 20_000
