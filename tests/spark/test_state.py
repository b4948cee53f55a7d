"""State beside the weights on a cluster: what layers assign, recurrent states, int8 weights, and
weights that another model shares."""

from __future__ import annotations

import numpy as np
import pytest
from global_batches import SPLITS, GlobalBatches, rdd_of, records_of

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import UnsupportedError
from zoo_keras.layers.quantized import Quantizable

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(3)
X = RNG.standard_normal((43, 6)).astype(np.float32)
Y = RNG.standard_normal((43, 1)).astype(np.float32)


@pytest.fixture
def records(local2):
    """Rows of very uneven partitions."""
    rows = list(zip(X, Y))
    parts = local2.parallelize([rows[:3], rows[3:]], 2)
    return parts.flatMap(lambda part: part).cache()


class Seen(layers.Layer):
    """The identity, which counts its calls and the rows that it saw."""

    def __init__(self, dtype="float32", always=False):
        super().__init__()
        kept = {"shape": (), "initializer": "zeros", "trainable": False, "dtype": dtype}
        self.calls = self.add_weight(**kept, name="calls")
        self.rows = self.add_weight(**kept, name="rows", aggregation="sum")
        self.always = always

    def call(self, x, training=None):
        if training or self.always:
            self.calls.assign_add(1)
            self.rows.assign_add(x.shape[0])
        return x


def model_with(*extra, inputs=(6,)):
    model = keras.Sequential([keras.Input(inputs), *extra, layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_what_layers_count_in_training_is_that_of_one_process(records):
    counted = []
    for data in ((X, Y), (records,)):
        model = model_with(Seen())
        model.fit(*data, batch_size=16, epochs=2, verbose=0)
        counted.append([float(v.numpy()) for v in (model.layers[0].calls, model.layers[0].rows)])
    assert counted == [[6, 86], [6, 86]]


@pytest.mark.parametrize(
    "extra", [layers.SpectralNormalization(layers.Dense(4)), layers.RandomErasing(seed=3)], ids=str
)
def test_what_layers_divide_or_draw_in_training_is_that_of_one_process(extra, local2):
    made = []
    for where in ("local", "spark"):
        keras.utils.set_random_seed(5)
        fresh = keras.layers.deserialize(keras.layers.serialize(extra))
        shaped = layers.Reshape((2, 3, 1)) if "erasing" in extra.name else layers.Identity()
        model = model_with(shaped, fresh, layers.Flatten())
        if where == "local":
            data = GlobalBatches((X, Y), SPLITS[2], 16)
            model.fit(data, epochs=2, shuffle=False, verbose=0)
        else:
            rdd = rdd_of(local2, records_of((X, Y)), SPLITS[2])
            model.fit(rdd, batch_size=16, epochs=2, shuffle=False, verbose=0)
        made.append(model.get_weights())
    for one, other in zip(*made, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def stateful():
    model = keras.Sequential([keras.Input(batch_shape=(2, 3, 2)), layers.LSTM(2, stateful=True)])
    model.compile("sgd", "mse")
    return model


def int8():
    model = model_with()
    model.quantize("int8")
    model.compile("sgd", "mse")
    return model


def run(method, **options):
    def call(model, records):
        data = records.keys() if method == "predict" else records
        return getattr(model, method)(data, **options)

    return call


always, integers = (lambda: model_with(Seen(always=True))), (lambda: model_with(Seen("int32")))
REFUSED = {
    "stateful fit": (stateful, run("fit"), r"stateful=True in \['lstm"),
    "stateful evaluate": (stateful, run("evaluate"), r"stateful=True in \['lstm"),
    "stateful predict": (stateful, run("predict", batch_size=2), r"stateful=True in \['lstm"),
    "assigning evaluate": (always, run("evaluate"), "evaluate on Spark cannot keep .*/calls"),
    "assigning predict": (always, run("predict"), "predict on Spark cannot keep .*/calls"),
    "assigning validation": (always, run("fit", validation_split=0.2), "its validation, .*/calls"),
    "integers": (integers, run("fit"), "must be float32. Received: .*/calls.* of int32"),
    "int8 fit": (int8, run("fit"), "fit cannot train quantised layers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_state_that_tasks_cannot_share_is_refused_before_any_job(records, name):
    make, call, words = REFUSED[name]
    with pytest.raises(UnsupportedError, match=words):
        call(make(), records)


def test_an_int8_model_predicts_the_same_bits_everywhere(local2, sessions):
    words, numbers = keras.Input((4,), dtype="int32"), keras.Input((6,))
    text = layers.LSTM(64)(layers.Embedding(50, 64)(words))
    hidden = layers.Dense(32, activation="relu")(layers.Concatenate()([text, numbers]))
    model = keras.Model([words, numbers], layers.Dense(3, activation="softmax")(hidden))
    model.quantize("int8")
    ids = RNG.integers(0, 50, (len(X), 4)).astype(np.int32)
    expected = model.predict([ids, X], verbose=0)
    rdd = local2.parallelize([[a, b] for a, b in zip(ids, X)], 2)
    np.testing.assert_array_equal(model.predict(rdd, batch_size=16).collect(), expected)
    rows = [(a.tolist(), b.tolist()) for a, b in zip(ids, X)]
    frame = sessions.get("local[2]").createDataFrame(rows, "words array<int>, numbers array<float>")
    scored = model.predict(frame, feature_cols=["words", "numbers"], batch_size=16).collect()
    np.testing.assert_array_equal([row.prediction for row in scored], expected)


def convolutional():
    keras.utils.set_random_seed(4)
    images, more = keras.Input((8, 8, 3)), keras.Input((5,))
    x = layers.Conv2D(32, 3, activation="relu")(images)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    steps = layers.GRU(64)(layers.Reshape((3, 64))(images))
    x = layers.Concatenate()([layers.Flatten()(x), steps, more])
    return keras.Model([images, more], layers.Dense(32)(x))


def test_a_sample_on_spark_gives_the_ranges_of_the_same_arrays(local2, sessions):
    images = RNG.normal(size=(150, 8, 8, 3)).astype(np.float32)
    more = RNG.normal(size=(150, 5)).astype(np.float32)
    frame = sessions.get("local[2]").createDataFrame(
        [(a.tolist(), b.tolist()) for a, b in zip(images, more)],
        "image array<array<array<float>>>, more array<float>",
    )
    rdd = local2.parallelize([[a, b] for a, b in zip(images, more)], 3)
    found = []
    for sample in ([images, more], rdd, frame, None):
        model = convolutional()
        for layer in model._flatten_layers():
            if isinstance(layer, Quantizable):
                layer.why_float = lambda: None  # on any CPU
        model.quantize("int8", sample=sample)
        found.append(model.predict([images, more], verbose=0).tobytes())
    arrays, of_rdd, of_frame, without = found
    assert arrays == of_rdd == of_frame != without


class Encodes(keras.callbacks.Callback):
    """Predicts with a part of the model after each epoch."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.codes = encoder, []

    def on_epoch_end(self, epoch, logs=None):
        self.codes.append(self.encoder.predict(X, verbose=0))


def test_a_callback_may_use_a_part_of_the_model(records):
    weights = []
    for watched in (False, True):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6,))
        code = layers.Dense(2)(inputs)
        encoder, model = keras.Model(inputs, code), keras.Model(inputs, layers.Dense(1)(code))
        model.compile("adam", "mse")
        callback = Encodes(encoder)
        model.fit(records, batch_size=16, epochs=3, verbose=0, callbacks=[callback] * watched)
        weights.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights))
    np.testing.assert_array_equal(callback.codes[-1], encoder.predict(X, verbose=0))


class Staged(layers.Layer):
    """The identity, times a whole number that only callbacks set."""

    def __init__(self):
        super().__init__()
        kept = {"shape": (), "initializer": "ones", "trainable": False, "dtype": "int32"}
        self.stage = self.add_weight(**kept, name="stage")

    def call(self, x):
        return x * keras.ops.cast(self.stage, "float32")


class Sets(keras.callbacks.Callback):
    """Sets one thing in every hook of a kind."""

    def __init__(self, hook, what):
        super().__init__()
        self.what = what
        setattr(self, hook, self.change)

    def change(self, number, logs=None):
        optimizer = self.model.optimizer
        if self.what == "step count":
            optimizer.iterations.assign(2)
        elif self.what == "a whole number":
            self.model.layers[0].stage.assign_add(1)
        elif self.what == "scale":
            optimizer.dynamic_scale.assign(2.0)
        else:
            shape = self.model.trainable_variables[0].shape
            slots = [v for v in optimizer.variables if v.shape == shape]
            for variable in slots if self.what == "slots" else self.model.trainable_variables:
                variable.assign(variable.numpy() / 2)


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end"])
@pytest.mark.parametrize("what", ["weights", "slots", "step count", "a whole number", "scale"])
def test_what_hooks_set_counts_as_in_a_local_fit(local2, hook, what):
    """In whole batches, whose rows are those of a local fit that does not shuffle."""
    rows, found = list(zip(X[:40], Y[:40])), []
    for data in ((X[:40], Y[:40]), (local2.parallelize(rows, 1),)):
        keras.utils.set_random_seed(1)
        inner = [Staged(), layers.Dense(3), layers.Dense(1)]
        model = keras.Sequential([keras.Input((6,)), *inner])
        optimizer = keras.optimizers.Adam(0.05)
        if what == "scale":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model.compile(optimizer, "mse")
        model.fit(*data, batch_size=8, epochs=3, verbose=0, shuffle=False,
                  callbacks=[Sets(hook, what)])  # fmt: skip
        scale = getattr(optimizer, "dynamic_scale", 0.0)
        found.append([*model.get_weights(), int(optimizer.iterations), float(scale)])
    for local, spark in zip(*found):
        np.testing.assert_allclose(spark, local, 1e-4, 1e-5)
