"""Bad input gets a typed error that says what was expected, what was received, what to do."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import errors
from zoo_keras.layers import Dense, Embedding

RNG = np.random.default_rng(0)


def classifier(width=4, classes=3, loss="sparse_categorical_crossentropy"):
    model = keras.Sequential([keras.Input((width,)), Dense(classes, activation="softmax")])
    model.compile("sgd", loss)
    return model


def rows(count=8, width=4):
    return RNG.random((count, width), np.float32), RNG.integers(0, 3, count).astype(np.int32)


def three_parts(error, *words):
    text = str(error.value)
    assert "Received" in text, text
    for word in words:
        assert word in text, text


def test_wrong_input_width_names_the_layer_and_both_widths():
    x, y = rows(width=5)
    with pytest.raises(errors.ShapeError) as error:
        classifier().fit(x, y, verbose=0)
    three_parts(error, "4", "5")


@pytest.mark.parametrize("value", ["a string", None, object()])
def test_values_that_are_no_numbers_are_refused(value):
    _, y = rows()
    x = np.array([[value] * 4] * 8, dtype=object)
    with pytest.raises(errors.DataError) as error:
        classifier().fit(x, y, verbose=0)
    three_parts(error, "x[0]", "numbers")


def test_ragged_rows_are_refused():
    with pytest.raises(errors.DataError) as error:
        classifier().fit([[1.0, 2.0], [3.0]], [0, 1], verbose=0)
    three_parts(error, "x[0]")


def test_integers_beyond_32_bits_are_refused():
    with pytest.raises(errors.DataError) as error:
        classifier().predict(np.full((2, 4), 2**40), verbose=0)
    three_parts(error, "32 bits")


def test_different_numbers_of_rows_are_refused():
    x, y = rows()
    with pytest.raises(errors.DataError) as error:
        classifier().fit(x, y[:-1], verbose=0)
    three_parts(error, "8", "7")


@pytest.mark.parametrize("bad", [3, -1])
def test_label_out_of_range_names_the_row(bad):
    x, y = rows()
    y[5] = bad
    with pytest.raises(errors.DataError) as error:
        classifier().fit(x, y, verbose=0)
    three_parts(error, "row 5", "0..2", str(bad))


def test_embedding_id_out_of_range_names_the_layer():
    model = keras.Sequential([keras.Input((2,), dtype="int32"), Embedding(10, 4, name="words")])
    with pytest.raises(errors.DataError) as error:
        model.predict(np.array([[1, 10]]), verbose=0)
    assert "words" in str(error.value) and "10" in str(error.value)


def test_nan_loss_stops_the_fit():
    x, y = rows()
    x[0, 0] = np.nan
    with pytest.raises(errors.NonFiniteLossError) as error:
        classifier().fit(x, y, verbose=0)
    three_parts(error, "epoch 1", "step 1")


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_methods_need_compile(method):
    model = keras.Sequential([keras.Input((4,)), Dense(3)])
    with pytest.raises(errors.NotCompiledError) as error:
        getattr(model, method)(*rows())
    three_parts(error, "compile")


def test_unknown_loss_is_found_when_compiling():
    with pytest.raises(errors.ConfigError) as error:
        classifier(loss="mean_sqared_error")
    three_parts(error, "mean_sqared_error")


def test_unknown_metric_is_found_when_compiling():
    model = keras.Sequential([keras.Input((4,)), Dense(3)])
    with pytest.raises(errors.ConfigError) as error:
        model.compile("sgd", "mse", metrics=["acuracy"])
    three_parts(error, "acuracy")


def test_unknown_optimizer_is_found_when_compiling():
    model = keras.Sequential([keras.Input((4,)), Dense(3)])
    with pytest.raises(errors.ConfigError) as error:
        model.compile("adamm", "mse")
    three_parts(error, "adamm")


def test_missing_layers_are_named_with_what_is_there():
    with pytest.raises(errors.UnsupportedError, match="TFSMLayer"):
        keras.layers.TFSMLayer("path")


def test_unknown_layer_argument_is_named():
    with pytest.raises(errors.ConfigError, match=r"^Dense: .*Received: \['unitss'\]"):
        Dense(3, unitss=4)


@pytest.mark.parametrize("size", [0, -1, 2.5, "8"])
def test_batch_size_must_be_a_positive_whole_number(size):
    with pytest.raises(errors.ConfigError) as error:
        classifier().fit(*rows(), batch_size=size, verbose=0)
    three_parts(error, "batch_size")


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5])
def test_validation_split_must_lie_between_0_and_1(fraction):
    with pytest.raises(errors.ConfigError) as error:
        classifier().fit(*rows(), validation_split=fraction, verbose=0)
    three_parts(error, "validation_split")


def test_arguments_for_spark_are_refused_for_arrays():
    with pytest.raises(errors.ConfigError) as error:
        classifier().fit(*rows(), num_ranks=2, verbose=0)
    three_parts(error, "num_ranks")


def test_missing_input_of_a_dict_is_named():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], keras.layers.Add()([a, b]))
    with pytest.raises(errors.ConfigError) as error:
        model.predict({"a": np.zeros((1, 2))}, verbose=0)
    three_parts(error, "'b'")


def test_wrong_number_of_targets_is_refused():
    x = keras.Input((2,))
    model = keras.Model(x, [Dense(1, name="p")(x), Dense(1, name="q")(x)])
    model.compile("sgd", "mse")
    data = np.zeros((4, 2), np.float32)
    with pytest.raises(errors.DataError) as error:
        model.fit(data, np.zeros((4, 1)), verbose=0)
    three_parts(error, "2 outputs")


def test_loss_for_an_output_that_is_not_there_is_refused():
    x = keras.Input((2,))
    model = keras.Model(x, {"p": Dense(1)(x)})
    with pytest.raises(errors.ConfigError) as error:
        model.compile("sgd", {"q": "mse"})
    three_parts(error, "q")


def test_an_empty_generator_is_refused():
    with pytest.raises(errors.ConfigError, match="no batch"):
        classifier().fit(iter([]), verbose=0)


def segmenter():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(
        2, 1, activation="softmax", kernel_initializer="zeros")])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("form", ["column", "one-hot"])
def test_class_weights_of_images_weigh_each_pixel(form):
    mask = np.arange(96).reshape(6, 4, 4) % 8 == 0
    model, y = segmenter(), mask[..., None].astype("f4")
    if form == "one-hot":
        model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
        y = np.eye(2)[mask.astype(int)]
    found = model.fit(np.ones((6, 4, 4, 1)), y, class_weight={0: 1.0, 1: 9.0}, verbose=0)
    want = np.log(2) * np.where(mask, 9, 1).mean()
    assert found.history["loss"][0] == pytest.approx(want, rel=1e-5)


def test_class_weights_of_images_without_a_last_axis_are_refused():
    with pytest.raises(errors.ConfigError) as error:
        segmenter().fit(np.ones((2, 4, 4, 1)), np.ones((2, 4, 4)), class_weight={0: 2}, verbose=0)
    three_parts(error, "class_weight", "(2, 4, 4)")


@pytest.mark.parametrize("weights", [{"0": 1.0}, {0: "1"}, [1.0, 2.0], {0.5: 1.0}], ids=repr)
def test_class_weights_must_be_numbers_by_class_number(weights):
    x, y = rows()
    with pytest.raises(errors.ConfigError) as error:
        classifier().fit(x, y, class_weight=weights, verbose=0)
    three_parts(error, "class_weight")


def test_a_bad_id_names_the_embedding_and_not_the_layer_behind_it():
    model = keras.Sequential([keras.Input((82,)), Embedding(10, 8, name="words"),
                              keras.layers.LSTM(6, name="reader")])  # fmt: skip
    ids = np.ones((32, 82))
    ids[3, 2] = 10
    with pytest.raises(errors.DataError) as error:
        model.predict(ids, verbose=0)
    three_parts(error, "words", "10")
    assert "reader" not in str(error.value)
