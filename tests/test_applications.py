"""Image models against real Keras 3: layers, weights, outputs for the same weights, files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden.cases.applications import CASES, image, seeded_weights
from golden.compare import OUTPUT, assert_close, differences
from golden.store import DATA, Golden

import zoo_keras as zk
from zoo_keras import applications
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError

GOLDEN = Golden("applications")
COMPARED = [n for n, case in CASES.items() if case.compared]
SMALL = {"weights": None, "input_shape": (32, 32, 3), "classes": 3, "alpha": 0.01}
TINY_FILE = DATA / "files" / "mobilenet_v2_tiny.h5"


def made(name):
    zk.utils.clear_session()
    case = CASES[name]
    return getattr(applications, case.application)(**case.kwargs)


@pytest.mark.parametrize("name", CASES)
def test_layers_and_weights_are_those_of_keras(name):
    model, want = made(name), GOLDEN.cases[name]
    assert [[type(layer).__name__, layer.name] for layer in model.layers] == want["layers"]
    assert [[w.path, list(w.shape)] for w in model.weights] == want["weights"]
    assert model.name == want["name"]


@pytest.mark.parametrize("name", [n for n in CASES if "config" in GOLDEN.cases[n]])
def test_configuration_is_that_of_keras(name):
    config = json.loads(made(name).to_json())["config"]
    assert not differences(config, GOLDEN.cases[name]["config"])


@pytest.mark.parametrize("name", COMPARED)
def test_outputs_are_those_of_keras(name):
    model = made(name)
    model.set_weights(seeded_weights(name, model.weights))
    x = image(name, tuple(CASES[name].kwargs["input_shape"]))
    assert_close(model.predict(x, verbose=0), GOLDEN.arrays(name)["output"], OUTPUT)


def tiny_output(model):
    return model.predict(image("tiny", (32, 32, 3)), verbose=0)


def test_file_of_keras_opens_into_the_application():
    """Whole, and as weights of a model made here."""
    opened = zk.saving.load_model(TINY_FILE)
    read = applications.MobileNetV2(**{**SMALL, "weights": TINY_FILE})
    wanted = seeded_weights("tiny", opened.weights)
    for weight, again, want in zip(opened.weights, read.weights, wanted, strict=True):
        np.testing.assert_array_equal(weight.numpy(), want)
        np.testing.assert_array_equal(again.numpy(), want)
    np.testing.assert_array_equal(tiny_output(opened), tiny_output(read))


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_weights_come_from_a_file_written_here(suffix, tmp_path):
    model = applications.MobileNetV2(**SMALL)
    path = tmp_path / f"tiny{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    again = applications.MobileNetV2(**{**SMALL, "weights": str(path)})
    for weight, want in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), want.numpy())


def test_application_starts_from_a_given_tensor():
    pixels = zk.Input((40, 40, 3), name="pixels")
    scaled = applications.mobilenet_v2.preprocess_input(pixels)
    arguments = {"weights": None, "alpha": 0.01, "include_top": False, "pooling": "avg"}
    model = applications.MobileNetV2(input_tensor=scaled, **arguments)
    plain = applications.MobileNetV2(input_shape=(40, 40, 3), **arguments)
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, (2, 40, 40, 3)).astype("float32")
    assert model.inputs[0] is pixels
    assert_close(model.predict_on_batch(x), plain.predict_on_batch(x / 127.5 - 1), OUTPUT)


@pytest.mark.parametrize("application", ["MobileNetV2", "ResNet50V2"])
def test_channels_first_computes_the_same(application, monkeypatch):
    shape, more = (32, 40, 3), {"alpha": 0.01} if application == "MobileNetV2" else {}
    arguments = {"weights": None, "include_top": False, "pooling": "avg", **more}
    make = getattr(applications, application)
    last = make(input_shape=shape, **arguments)
    last.set_weights(seeded_weights(application, last.weights))
    monkeypatch.setattr(zk.config, "_image_data_format", "channels_first")
    first = make(input_shape=(3, 32, 40), **arguments)
    first.set_weights(last.get_weights())
    x = image(application, shape)
    want = last.predict_on_batch(x)
    assert_close(first.predict_on_batch(x.transpose(0, 3, 1, 2)), want, OUTPUT)


def test_application_of_any_size_has_no_top():
    model = applications.VGG16(weights=None, include_top=False)
    assert model.output_shape == (None, None, None, 512)


BAD_ARGUMENTS = [
    ({"weights": "imagenet"}, UnsupportedError, "imagenet"),
    ({"weights": "nowhere.h5"}, ConfigError, "nowhere.h5"),
    ({"weights": 3}, ConfigError, "weights=3"),
    ({"pooling": "mean"}, ConfigError, "pooling='mean'"),
    ({"input_shape": (32, 31, 3)}, ShapeError, "31"),
    ({"input_shape": (None, 64, 3)}, ShapeError, "None"),
    ({"input_shape": (64, 64)}, ShapeError, "3 sizes"),
    ({"weights": TINY_FILE, "classifier_activation": "relu"}, ConfigError, "relu"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        applications.MobileNetV2(**{**SMALL, **arguments})


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_pixels_are_prepared_as_in_keras(mode):
    arrays = GOLDEN.arrays(f"preprocess_{mode}")
    prepare, pixels = applications.imagenet_utils.preprocess_input, arrays["pixels"]
    before = pixels.copy()
    assert_close(prepare(pixels, mode=mode), arrays["last"], 1e-6)
    first = prepare(pixels.transpose(0, 3, 1, 2), "channels_first", mode)
    assert_close(first, arrays["first"], 1e-6)
    assert_close(prepare(pixels[0], mode=mode), arrays["last"][0], 1e-6)
    np.testing.assert_array_equal(pixels, before)


def test_preprocessing_refuses_unknown_words():
    x = np.zeros((1, 2, 2, 3))
    with pytest.raises(ConfigError, match="mode='zoo'"):
        applications.imagenet_utils.preprocess_input(x, mode="zoo")
    with pytest.raises(ConfigError, match="data_format='NHWC'"):
        applications.resnet50.preprocess_input(x, data_format="NHWC")


def test_predictions_get_the_names_of_their_classes(tmp_path):
    path = tmp_path / "imagenet_class_index.json"
    path.write_text(json.dumps({str(i): [f"n{i}", f"class {i}"] for i in range(1000)}))
    scores = np.zeros((2, 1000), "float32")
    scores[0, [7, 3]], scores[1, 999] = [0.2, 0.7], 1
    found = applications.resnet50.decode_predictions(scores, top=2, class_index=path)
    assert [row[:2] for row in found[0]] == [("n3", "class 3"), ("n7", "class 7")]
    assert found[0][0][2] == pytest.approx(0.7)
    assert found[1][0][0] == "n999"


def test_predictions_are_not_decoded_without_the_names(tmp_path):
    decode = applications.imagenet_utils.decode_predictions
    with pytest.raises(ConfigError, match="class_index"):
        decode(np.zeros((1, 1000)))
    with pytest.raises(ShapeError, match="1000"):
        decode(np.zeros((1, 10)), class_index="any")
    path = tmp_path / "short.json"
    path.write_text('{"0": ["a", "b"]}')
    with pytest.raises(DataError, match="class_index"):
        decode(np.zeros((1, 1000)), class_index=path)


def test_missing_applications_say_so():
    with pytest.raises(UnsupportedError, match="NASNetLarge"):
        applications.NASNetLarge  # noqa: B018
