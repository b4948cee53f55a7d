"""Arguments of Keras 2's layers mean what Keras 2 meant by them."""

from __future__ import annotations

import json
import shutil
import warnings

import h5py
import numpy as np
import pytest
from golden.store import DATA, Golden

import zoo_keras as zk
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.saving import keras2
from zoo_keras.saving.legacy import modern_config, modern_object

AREA = Golden("keras2_arguments")


@pytest.mark.parametrize("file", AREA.cases["rows"]["files"])
def test_layers_that_keras_3_tells_in_another_way_predict_as_in_keras_2(file):
    arrays = AREA.arrays("rows")
    model = zk.saving.load_model(DATA / "keras2_arguments" / file)
    np.testing.assert_allclose(model.predict_on_batch(arrays["x"]), arrays["predicted"], atol=2e-6)


def test_a_policy_of_keras_2_is_computed_in_float32():
    arrays = AREA.arrays("half")
    with pytest.warns(UserWarning, match="mixed_float16"):
        model = zk.saving.load_model(DATA / "keras2_arguments" / "half.h5")
    np.testing.assert_allclose(model.predict_on_batch(arrays["x"]), arrays["predicted"], atol=2e-3)


def edited(path, change):
    """The file `rows.h5` with its configuration changed."""
    shutil.copy(DATA / "keras2_arguments" / "rows.h5", path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["class_name"]: layer["config"] for layer in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_a_gru_of_keras_2_0_has_no_reset_after(tmp_path):
    path = edited(tmp_path / "m.h5", lambda layers: layers["GRU"].pop("reset_after"))
    arrays = AREA.arrays("rows")
    found = zk.saving.load_model(path).predict_on_batch(arrays["x"])
    np.testing.assert_allclose(found, arrays["predicted"], atol=2e-6)


def test_attention_that_looks_back_does_so_in_its_calls(tmp_path):
    path = edited(tmp_path / "m.h5", lambda layers: layers["Attention"].update(causal=True))
    model, x = zk.saving.load_model(path), AREA.arrays("rows")["x"]
    looks = zk.Model(model.input, model.get_layer("second").output)
    attention = zk.Model(model.input, model.get_layer("look").output)
    states = looks.predict_on_batch(x)
    expected = zk.layers.Attention()([states, states], use_causal_mask=True)
    np.testing.assert_allclose(attention.predict_on_batch(x), np.asarray(expected), atol=1e-6)


def test_causal_attention_outside_a_graph_is_refused_not_dropped():
    layer = {"class_name": "Attention", "config": {"name": "a", "causal": True}}
    with pytest.raises(UnsupportedError, match="causal"):
        modern_object(layer)


def layer(name, **config):
    return {"class_name": name, "config": {"name": "layer", "trainable": True, **config}}


# The layer's configuration in some Keras 2 -> arguments that ours has then.
MEANINGS = {
    "a slope in an array": (layer("LeakyReLU", alpha={"type": "ndarray", "value": 0.25}),
                            {"negative_slope": 0.25}),
    "a limit in an array": (layer("ReLU", max_value={"type": "ndarray", "value": 6.0}),
                            {"max_value": 6.0}),
    "a threshold": (layer("ThresholdedReLU", theta=0.5), {"threshold": 0.5}),
    "an older GRU": (layer("GRU", units=3, implementation=0), {"reset_after": False}),
    "a GRU that says so": (layer("GRU", units=3, reset_after=True), {"reset_after": True}),
    "a cell": (layer("GRUCell", units=3), {"reset_after": False}),
    "a unified GRU": (layer("UnifiedGRU", units=3, reset_after=True), {"reset_after": True}),
    "normalization of two axes": (layer("BatchNormalizationV2", axis=[3]), {"axis": 3}),
    "a dropout that was frozen": (layer("SpatialDropout2D", rate=0.5, trainable=False),
                                  {"rate": 0.5}),
    "initializers with a dtype": (
        layer("Dense", units=2, kernel_initializer={
            "class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}),
        {"units": 2},
    ),
    "a layer as activation": (
        layer("Dense", units=2, activation=layer("LeakyReLU", alpha=0.5)), {"units": 2}
    ),
    "counts of tokens": (layer("CategoryEncoding", max_tokens=7, output_mode="binary"),
                         {"num_tokens": 7, "output_mode": "multi_hot"}),
    "bins by their bounds": (layer("Discretization", bins=[0.0, 1.5]),
                             {"bin_boundaries": [0.0, 1.5]}),
    "ids and what is none": (
        layer("IntegerLookup", max_values=9, num_oov_indices=1, mask_value=0, oov_value=-1,
              invert=False, vocabulary_size=2, vocabulary=None),
        {"max_tokens": 9, "mask_token": 0, "oov_token": -1},
    ),
    "whether a word is there": (
        layer("StringLookup", output_mode="binary", max_tokens=5, encoding="utf-8"),
        {"output_mode": "multi_hot", "max_tokens": 5},
    ),
    "attention with its shapes": (
        layer("MultiHeadAttention", num_heads=2, key_dim=3, query_shape=[None, 5, 4],
              key_shape=[None, 5, 4], value_shape=[None, 5, 4]), {"num_heads": 2}
    ),
    "a policy": (layer("Dense", units=2, dtype={"class_name": "PolicyV1", "config": {
        "name": "float32", "loss_scale": None}}), {"dtype": "float32"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANINGS)
def test_arguments_of_old_versions(name):
    config, expected = MEANINGS[name]
    model = {"class_name": "Sequential", "config": [config]}
    modern = modern_config(model, 2)["config"]["layers"][0]
    made = zk.saving.deserialize_keras_object(modern)
    found = {key: getattr(made, key) for key in expected}
    assert found == expected


def test_states_and_constants_leave_the_inputs_of_a_call():
    config = layer("RNN", num_constants=1)
    tensors = ["x", "h", "c", "k"]
    made = keras2.layer_call(config, {"args": [tensors], "kwargs": {"training": False}})
    assert made["args"] == ["x"]
    expected = {"training": False, "initial_state": ["h", "c"], "constants": ["k"]}
    assert made["kwargs"] == expected


# ---- arguments and methods of scripts ------------------------------------------------------------


def test_lr_and_decay_are_rates_with_one_warning_each():
    with pytest.warns(UserWarning, match="Adam: lr is of Keras 1 or 2. Use learning_rate"):
        adam = zk.optimizers.Adam(lr=0.5)
    assert float(adam.learning_rate) == float(adam.lr) == 0.5
    adam.lr = 0.25
    assert float(adam.learning_rate) == 0.25
    with pytest.warns(UserWarning, match="SGD: decay is of Keras 1 or 2") as told:
        sgd = zk.optimizers.SGD(0.1, decay=0.5)
    assert len(told) == 1
    weight = zk.Variable(np.zeros(1, "f4"))
    rates = []
    for _ in range(3):
        before = float(weight.numpy()[0])
        sgd.apply([np.ones(1, "f4")], [weight])
        rates.append(before - float(weight.numpy()[0]))
    np.testing.assert_allclose(rates, [0.1, 0.1 / 1.5, 0.1 / 2], rtol=1e-5)  # lr / (1 + decay * n)


def regression():
    model = zk.Sequential([zk.Input((2,)), zk.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    return model


def batches():
    while True:
        yield np.ones((4, 2), "f4"), np.ones((4, 1), "f4")


def test_older_and_newer_words_do_not_contradict_each_other():
    schedule = zk.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    with pytest.warns(UserWarning), pytest.raises(ConfigError, match="rate that is a number"):
        zk.optimizers.SGD(schedule, decay=0.1)
    with pytest.warns(UserWarning), pytest.raises(ConfigError, match="epochs=3 and nb_epoch=2"):
        regression().fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, nb_epoch=2, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zk.optimizers.SGD(0.1, decay=0.0)
    inputs = zk.Input((2,))
    model = zk.Model(inputs, [zk.layers.Dense(3)(inputs), zk.layers.Dense(2)(inputs)])
    with pytest.warns(UserWarning), pytest.raises(ConfigError, match="Received: 2 outputs"):
        model.predict_classes(np.ones((2, 2)))


def test_generators_have_methods_of_their_own():
    model, same = regression(), regression()
    with pytest.warns(UserWarning) as told:
        history = model.fit_generator(batches(), 3, nb_epoch=2, verbose=0, workers=4)
    assert [str(w.message).split(" is of")[0] for w in told] == [
        "Model: fit_generator", "fit: nb_epoch"]  # fmt: skip
    want = same.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0)
    assert history.history == want.history
    with pytest.warns(UserWarning, match="evaluate, which takes generators"):
        assert model.evaluate_generator(batches(), 2) == same.evaluate(
            batches(), steps=2, verbose=0)  # fmt: skip
    inputs = (x for x, _ in batches())
    with pytest.warns(UserWarning, match="predict, which takes generators"):
        assert model.predict_generator(inputs, steps=2, max_queue_size=10).shape == (8, 1)
    with pytest.warns(UserWarning), pytest.raises(ConfigError, match="counts rows"):
        model.fit_generator(batches(), samples_per_epoch=40)
    with pytest.warns(UserWarning), pytest.raises(ConfigError, match="too many arguments"):
        model.evaluate_generator(batches(), 1, None, 10)


@pytest.mark.parametrize(("units", "want"), [(3, [2, 2]), (1, [[1], [1]])])
def test_classes_are_the_most_probable_ones(units, want):
    bias = zk.initializers.Constant([0.1, 0.2, 0.7][-units:])
    model = zk.Sequential([zk.Input((2,)), zk.layers.Dense(units, "linear", True, "zeros", bias)])
    x = np.ones((2, 2), "f4")
    with pytest.warns(UserWarning, match="predict_classes is of Keras 1 or 2"):
        assert model.predict_classes(x).tolist() == want
    with pytest.warns(UserWarning, match="predict_proba is of Keras 1 or 2"):
        np.testing.assert_array_equal(model.predict_proba(x), model.predict(x, verbose=0))
