"""What happens to a model after its programs were compiled: layers that come, go and are replaced,
`trainable` set late, other models that share its layers. And what no program can take in."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import (
    Input,
    Model,
    Sequential,
    callbacks,
    initializers,
    layers,
    metrics,
    optimizers,
)
from zoo_keras.errors import ConfigError, UnsupportedError

X, Y = np.ones((8, 4), np.float32), np.ones((8, 2), np.float32)


def dense(value, units=2):
    return layers.Dense(units, kernel_initializer=initializers.Constant(value))


class Several(Model):
    """A layer as attribute, in a list, in a dict and in a Sequential."""

    def __init__(self):
        super().__init__()
        self.first = dense(1.0)
        self.listed = [layers.ReLU(), layers.Activation("linear")]
        self.named = {"last": layers.ReLU()}
        self.stack = Sequential([Input((2,)), layers.ReLU()])
        self.calls = 0

    def call(self, inputs):
        object.__setattr__(self, "calls", self.calls + 1)
        x = self.first(inputs)
        for layer in self.listed:
            x = layer(x)
        return self.stack(self.named["last"](x))


def replace_attribute(model):
    model.first = dense(3.0)


def replace_known(model):
    model.first = model.other


def replace_item(model):
    model.listed[0] = layers.Rescaling(3.0)


def replace_value(model):
    model.named["last"] = layers.Rescaling(3.0)


def append_item(model):
    model.listed.append(layers.Rescaling(3.0))


def remove_item(model):
    model.listed.pop(1)


def add_to_stack(model):
    model.stack.add(layers.Rescaling(3.0))


CHANGES = [replace_attribute, replace_known, replace_item, replace_value, append_item, remove_item,
           add_to_stack]  # fmt: skip


def changing_model():
    model = Several()
    model.other = dense(3.0)
    model.listed[1] = layers.Rescaling(1 / 3)
    return model


def runs(model):
    """The first number that every way of predicting gives, compiled before or not."""
    loss = model.evaluate(X, 0 * Y, verbose=0)
    found = [np.sqrt(loss), model.predict(X, verbose=0)[0, 0], model.predict_on_batch(X)[0, 0]]
    return np.round(found, 4).tolist()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_layers_is_seen_by_every_later_call(change):
    model = changing_model()
    model.compile("sgd", "mse")
    before = [runs(model) for _ in range(3)][-1]
    change(model)
    after = [runs(model) for _ in range(2)]
    assert before == [pytest.approx(4 / 3, abs=1e-4)] * 3
    assert after == [[pytest.approx(4.0, abs=1e-4)] * 3] * 2


def test_a_change_of_layers_is_seen_by_training():
    model = changing_model()
    model.compile(optimizers.SGD(0.0), "mse")
    before = [model.train_on_batch(X, 0 * Y) for _ in range(2)][-1]
    model.listed[0] = layers.Rescaling(3.0)
    after = [model.train_on_batch(X, 0 * Y) for _ in range(2)]
    np.testing.assert_allclose([before, *after], [16 / 9, 16, 16], rtol=1e-5)


def test_new_weights_need_a_new_optimizer():
    model = changing_model()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.first = dense(3.0)
    with pytest.raises(ConfigError, match="Compile the model with a new optimizer"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)


def test_layers_taken_from_a_list_are_the_models_no_more():
    model = changing_model()
    taken, kept = model.listed
    assert model.listed.pop(0) is taken
    assert taken not in model.layers
    assert kept in model.layers
    model.listed.clear()
    assert kept not in model.layers


def test_what_happens_to_other_models_makes_no_model_trace_again():
    model = Several()
    model.predict(X, verbose=0)
    model.predict_on_batch(X)
    calls = model.calls
    other = Several()
    other.predict(X, verbose=0)
    other.first = dense(3.0)
    model.predict(X, verbose=0)
    model.predict_on_batch(X)
    assert model.calls == calls


def test_a_sequential_grows_and_shrinks_after_it_predicted():
    model = Sequential([Input((4,)), dense(1.0)])
    shapes = [model.predict_on_batch(X).shape for _ in range(2)]
    model.add(layers.Dense(5))
    shapes += [model.predict_on_batch(X).shape, model.predict(X, verbose=0).shape]
    model.pop()
    shapes += [model.predict_on_batch(X).shape, model.predict(X, verbose=0).shape]
    assert [shape[1] for shape in shapes] == [2, 2, 5, 5, 2, 2]


@pytest.mark.parametrize("name", ["train_step", "test_step", "predict_step"])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "predict_on_batch"])
def test_steps_of_a_subclass_are_refused(name, method):
    model = type("Own", (Several,), {name: lambda self, *args: None})()
    model.compile("sgd", "mse")
    with pytest.raises(UnsupportedError, match=rf"Own defines \['{name}'\]"):
        getattr(model, method)(*([X, Y] if method in ("fit", "evaluate") else [X]))


# ---- trainable -----------------------------------------------------------------------------------


def moved(model, layer):
    """Whether one fit moves the layer's kernel."""
    before = layer.kernel.numpy()
    model.fit(X, Y, verbose=0)
    return bool(np.any(layer.kernel.numpy() != before))


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("average", [False, True])
def test_trainable_counts_at_the_next_compile(start, average):
    def compiled():
        model.compile(optimizers.SGD(0.1, use_ema=average, ema_overwrite_frequency=1), "mse")

    model = Sequential([Input((4,)), dense(1.0), dense(1.0)])
    layer = model.layers[0]
    layer.trainable = start
    compiled()
    found = [moved(model, layer)]
    layer.trainable = not start
    found.append(moved(model, layer))
    compiled()
    found.append(moved(model, layer))
    assert found == [start, start, not start]


# ---- models that share layers --------------------------------------------------------------------


def adversaries(optimizer):
    """A discriminator, and the model that trains a generator through it."""
    judge = Sequential([Input((4,)), dense(0.3, 3), dense(0.2, 1)])
    maker = Sequential([Input((2,)), dense(0.1, 4)])
    noise = Input((2,))
    whole = Model(noise, judge(maker(noise)))
    judge.compile(optimizer(), "mse")
    return judge, maker, whole


@pytest.mark.parametrize("optimizer", [lambda: optimizers.SGD(0.1), lambda: optimizers.Adam(0.1)])
def test_models_that_share_layers_train_in_turn(optimizer):
    judge, maker, whole = adversaries(optimizer)
    noise, one = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    judge.train_on_batch(X, one)
    judge.trainable = False
    whole.compile(optimizer(), "mse")
    whole.train_on_batch(noise, one)
    for _ in range(3):
        turns = ((judge, judge, maker, X), (whole, maker, judge, noise))
        for model, trained, still, batch in turns:
            before = trained.get_weights(), still.get_weights()
            judge.trainable = model is judge
            model.train_on_batch(batch, one)
            assert all(np.any(a != b) for a, b in zip(before[0], trained.get_weights()))
            assert all(np.all(a == b) for a, b in zip(before[1], still.get_weights()))
        expected = np.asarray(judge(maker(noise)))
        np.testing.assert_allclose(whole.predict(noise, verbose=0), expected, rtol=1e-6)
        np.testing.assert_allclose(whole.predict_on_batch(noise), expected, rtol=1e-6)
        np.testing.assert_allclose(judge.predict(maker(noise), verbose=0), expected, rtol=1e-6)


class EncodesAtEpochEnd(callbacks.Callback):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def on_epoch_end(self, epoch, logs=None):
        self.encoder.predict(X, verbose=0)


def autoencoder(with_table):
    inputs = Input((4,), dtype="int32" if with_table else "float32")
    first = layers.Embedding(500, 2) if with_table else dense(0.3)
    code = layers.Flatten()(first(inputs))
    encoder = Model(inputs, code)
    return encoder, Model(inputs, dense(0.2, 4)(code))


@pytest.mark.parametrize("with_table", [False, True])
def test_a_part_of_a_model_may_predict_between_steps(with_table):
    x = (np.arange(32).reshape(8, 4) * 7) % 500 if with_table else X
    y, weights = np.ones((8, 4), np.float32), []
    for watched in (False, True):
        encoder, model = autoencoder(with_table)
        model.set_weights([np.full(v.shape, 0.1, np.float32) for v in model.weights])
        model.compile(optimizers.Adam(0.05), "mse")
        for _ in range(4):
            model.train_on_batch(x, y)
            if watched:
                code = encoder.predict_on_batch(x)
                np.testing.assert_allclose(code, np.asarray(encoder(x)), rtol=1e-6)
        weights.append(model.get_weights())
    for alone, watched in zip(*weights):
        np.testing.assert_array_equal(alone, watched)


def test_a_callback_may_use_a_part_of_the_model():
    weights = []
    for watched in (False, True):
        encoder, model = autoencoder(False)
        model.compile(optimizers.Adam(0.05), "mse")
        model.fit(X, X, epochs=3, verbose=0,
                  callbacks=[EncodesAtEpochEnd(encoder)] if watched else None)  # fmt: skip
        weights.append(model.get_weights())
    for alone, watched in zip(*weights):
        np.testing.assert_array_equal(alone, watched)


class Watching(layers.Layer):
    """Measures its inputs with a metric, once it has one."""

    watch = None

    def call(self, inputs):
        if self.watch is not None:
            self.watch.update_state(inputs)
        return inputs


def test_a_metric_given_to_a_layer_between_two_steps_is_measured():
    model = Sequential([Input((4,)), Watching(), layers.Dense(2)])
    model.compile("sgd", "mse")
    late = metrics.Mean(name="late")
    model.train_on_batch(X, Y)
    model.layers[0].watch = late
    assert model.train_on_batch(X, Y, return_dict=True)["late"] == 1.0
