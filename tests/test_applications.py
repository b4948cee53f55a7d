"""Image models against real Keras 3: layers, weights, outputs for the same weights, files.

Of the outputs one for each family; `make golden-applications` compares those of every net.
"""

from __future__ import annotations

import inspect
import json
import sys

import numpy as np
import pytest
from golden.cases.applications import (
    ARGUMENTS,
    CASES,
    FAMILIES,
    digest,
    facts,
    image,
    seeded_weights,
)
from golden.compare import OUTPUT, assert_close
from golden.store import DATA, Golden

import zoo_keras as zk
from zoo_keras import applications
from zoo_keras.errors import ConfigError, DataError, FileError, ShapeError, UnsupportedError
from zoo_keras.missing import keras_names
from zoo_keras.utils import files
from zoo_keras.variables import awaited_weights

GOLDEN = Golden("applications")
QUICK = (*FAMILIES, *ARGUMENTS)
COMPARED = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.every_net)
    for name, case in CASES.items()
    if case.compared
]
SMALL = {"weights": None, "input_shape": (32, 32, 3), "classes": 3, "alpha": 0.01}
TINY_FILE = DATA / "files" / "mobilenet_v2_tiny.h5"


def made(name):
    """The net with zeros for weights, which take no time to draw and no memory."""
    zk.utils.clear_session()
    case = CASES[name]
    with awaited_weights(sys.maxsize):
        return getattr(applications, case.application)(**case.kwargs)


@pytest.mark.parametrize("name", CASES)
def test_layers_weights_and_configuration_are_those_of_keras(name):
    model, want = made(name), GOLDEN.cases[name]
    found = {key: digest(value) for key, value in facts(model).items()}
    assert found == {key: want[key] for key in found}
    assert model.name == want["name"]


@pytest.mark.parametrize("name", COMPARED)
def test_outputs_are_those_of_keras(name):
    model = made(name)
    model.set_weights(seeded_weights(name, model.weights))
    x = image(name, tuple(CASES[name].kwargs["input_shape"]))
    assert_close(model.predict(x, verbose=0), GOLDEN.arrays(name)["output"], OUTPUT)


def test_every_net_of_keras_is_compared():
    nets = {name for name in keras_names()["3"]["applications"] if name[0].isupper()}
    assert nets == {case.application for case in CASES.values() if case.compared}


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
    monkeypatch.setattr("zoo_keras.switches._image_data_format", "channels_first")
    first = make(input_shape=(3, 32, 40), **arguments)
    first.set_weights(last.get_weights())
    x = image(application, shape)
    want = last.predict_on_batch(x)
    assert_close(first.predict_on_batch(x.transpose(0, 3, 1, 2)), want, OUTPUT)


def test_application_of_any_size_has_no_top():
    model = applications.VGG16(weights=None, include_top=False)
    assert model.output_shape == (None, None, None, 512)


BAD_ARGUMENTS = [
    ({"weights": "imagenet"}, ConfigError, "1000 classes"),
    (
        {"weights": "imagenet", "include_top": False, "input_shape": (96, 96, 3)},
        ConfigError,
        "no weights for these",
    ),
    ({"weights": "imagenet", "classes": 1000, "alpha": 1.0}, ShapeError, "224 x 224"),
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


def test_predictions_of_other_shapes_and_other_names_are_refused(tmp_path):
    decode = applications.imagenet_utils.decode_predictions
    with pytest.raises(ShapeError, match="1000"):
        decode(np.zeros((1, 10)), class_index="any")
    path = tmp_path / "short.json"
    path.write_text('{"0": ["a", "b"]}')
    with pytest.raises(DataError, match="class_index"):
        decode(np.zeros((1, 1000)), class_index=path)


@pytest.fixture
def web(monkeypatch, tmp_path):
    """What is fetched is copied from web[address]; there is nothing else."""
    pages: dict[str, bytes] = {}

    def download(origin, file, target):
        if origin not in pages:
            raise FileError(f"get_file: {target.name} could not be fetched from {origin}.")
        file.write(pages[origin])

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(files, "_download", download)
    return pages


def test_weights_of_imagenet_are_fetched_once(web, tmp_path):
    arguments = {"include_top": False, "alpha": 0.35, "input_shape": (96, 96, 3)}
    model = applications.MobileNetV2(weights=None, **arguments)
    model.save(tmp_path / "keras.h5")
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    page = f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/{name}"
    web[page] = (tmp_path / "keras.h5").read_bytes()
    for _ in range(2):
        again = applications.MobileNetV2(**arguments)
        for weight, want in zip(again.weights, model.weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), want.numpy())
        web.clear()
    assert (tmp_path / "keras" / "models" / name).exists()


def test_weights_for_other_images_are_those_of_224(web):
    with (
        pytest.warns(UserWarning, match="Those for 224"),
        pytest.raises(FileError, match=r"mobilenet_2_5_224_tf_no_top\.h5"),
    ):
        applications.MobileNet(alpha=0.25, include_top=False)


def test_fetched_weights_are_checked(web):
    name = "nasnet_mobile_no_top.h5"
    web["https://storage.googleapis.com/tensorflow/keras-applications/nasnet/"
        "NASNet-mobile-no-top.h5"] = b"other weights"  # fmt: skip
    with pytest.raises(FileError, match="Incomplete or corrupted file"):
        applications.NASNetMobile(include_top=False)
    assert not (files.cache_folder() / "models" / name).exists()


@pytest.mark.parametrize("application", [n for n in applications.__all__ if n[0].isupper()])
def test_every_net_names_a_file_of_keras(application, web):
    """Weights of ImageNet are the default, and a net whose file can't be had says which it is."""
    make = getattr(applications, application)
    assert inspect.signature(make).parameters["weights"].default == "imagenet"
    assert make.__module__.startswith("zoo_keras.applications.")
    assert make.__doc__
    square = {"input_shape": (224, 224, 3)} if application.startswith("Mobile") else {}
    with pytest.raises(FileError, match=r"https://storage\.googleapis\.com/.*\.h5"):
        make(**square)


def test_names_of_classes_are_fetched(web):
    with pytest.raises(FileError, match=r"imagenet_class_index\.json"):
        applications.xception.decode_predictions(np.zeros((1, 1000)))


@pytest.mark.parametrize("application", ["DenseNet121", "NASNetMobile", "ConvNeXtTiny"])
def test_nets_that_have_their_channels_last_say_so(application, monkeypatch):
    monkeypatch.setattr("zoo_keras.switches._image_data_format", "channels_first")
    with pytest.raises(UnsupportedError, match="channels last"):
        getattr(applications, application)(weights=None)


def test_cells_of_nasnet_need_a_known_size():
    with pytest.raises(ShapeError, match="known size"):
        applications.NASNetLarge(weights=None, include_top=False)


def test_own_layers_of_nets_come_back_from_files(tmp_path):
    """LayerScale and CustomScaleLayer are known, whichever module has been imported."""
    x = zk.Input((4,))
    scaled = applications.convnext.LayerScale(0.5, 4)(x)
    added = applications.inception_resnet_v2.CustomScaleLayer(0.1)([x, scaled])
    model = zk.Model(x, added)
    for name in ("own.keras", "own.h5"):
        model.save(tmp_path / name)
        again = zk.saving.load_model(tmp_path / name)
        np.testing.assert_allclose(again(np.ones((1, 4))), 1.05 * np.ones((1, 4)), rtol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_net_takes_a_training_step(name):
    """Compiled whole: no instruction is left to numpy."""
    model = made(name)
    model.set_weights(seeded_weights(name, model.weights))
    model.compile("sgd", "mse")
    before = model.trainable_variables[0].numpy().copy()
    x = image(name, tuple(CASES[name].kwargs["input_shape"]))
    x = np.concatenate([x, x[:, ::-1, ::-1] ** 2])  # equal rows would have no variance
    loss = model.train_on_batch(x, np.zeros((2, *model.output_shape[1:]), "float32"))
    assert np.isfinite(loss)
    assert np.abs(model.trainable_variables[0].numpy() - before).max() > 0
