"""Nets of Caffe: prototxt and caffemodel become models that compute as OpenCV's reader does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from golden.cases.caffe_nets import NETS
from golden.compare import OUTPUT, assert_close
from golden.store import DATA, Golden
from hostile import assert_small

import zoo_keras as zk
from zoo_keras.errors import FileError, UnsupportedError, ZooKerasError
from zoo_keras.saving.caffe import text

GOLDEN = Golden("caffe")
FILES = DATA / "caffe"


def opened(name, **options):
    prototxt, caffemodel = (FILES / f"{name}.{end}" for end in ("prototxt", "caffemodel"))
    return zk.saving.from_caffe(prototxt, caffemodel, **options)


@pytest.mark.parametrize("name", NETS)
def test_a_net_computes_the_same(name):
    arrays = GOLDEN.arrays(name)
    got = np.asarray(opened(name).predict_on_batch(arrays["x"]))
    assert_close(got.reshape(len(got), -1), arrays["predicted"], OUTPUT, name)


def test_a_net_trains_on_and_is_saved(tmp_path):
    model, x = opened("resnet"), GOLDEN.arrays("resnet")["x"]
    y = np.zeros((len(x), 3), np.float32)
    model.compile(zk.optimizers.Adam(0.01), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=5, verbose=0)
    assert model.evaluate(x, y, verbose=0) < before
    model.save(tmp_path / "model.keras")
    again = zk.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


def test_a_batch_norm_and_its_scale_are_one_layer():
    model = opened("resnet", input_shape=(3, 24, 24))
    norms = [v for v in model.layers if isinstance(v, zk.layers.BatchNormalization)]
    assert len(norms) == 2 and len(model.trainable_weights) == 8
    assert model.name == "ResNet" and model.input_shape == (None, 3, 24, 24)


def written(tmp_path, told):
    path = tmp_path / "net.prototxt"
    path.write_text(told)
    return path


def small(layer):
    return f"""input: "x" input_shape {{ dim: 1 dim: 2 dim: 1 dim: 1 }}
        layer {{ name: "a" bottom: "x" top: "y" {layer} }}"""


def test_elu_has_a_name_in_capitals_only(tmp_path):
    path = written(tmp_path, small('type: "ELU" elu_param { alpha: 0.5 }'))
    x = np.float32([[-1, 2]]).reshape(1, 2, 1, 1)
    got = np.asarray(zk.saving.from_caffe(path, FILES / "lenet.caffemodel").predict_on_batch(x))
    np.testing.assert_allclose(got.ravel(), [0.5 * np.expm1(-1), 2], rtol=1e-6)


def test_an_inner_product_of_some_axes_is_refused(tmp_path):
    path = written(tmp_path, small('type: "InnerProduct" inner_product_param { axis: 2 }'))
    with pytest.raises(UnsupportedError, match=r"all axes but that of rows.*axis=2"):
        zk.saving.from_caffe(path, FILES / "lenet.caffemodel")


def test_all_unknown_layers_are_named_at_once(tmp_path):
    more = 'layer { type: "Python" } layer { type: "Spp" } layer { type: "Python" }'
    path = written(tmp_path, NETS["lenet"][0] + more)
    with pytest.raises(UnsupportedError, match=r"net\.prototxt.*Received: Python, Spp"):
        zk.saving.from_caffe(path, FILES / "lenet.caffemodel")


def test_weights_of_another_net_are_named():
    with pytest.raises(FileError, match=r'BatchNorm "bn1" needs 3 arrays\. Received: 0'):
        zk.saving.from_caffe(FILES / "resnet.prototxt", FILES / "old.caffemodel")


def test_a_net_without_shapes_asks_for_them(tmp_path):
    told = NETS["old"][0].replace("input_dim: 10 input_dim: 3 input_dim: 10 input_dim: 10", "")
    path = written(tmp_path, told)
    with pytest.raises(FileError, match=r"input_shape=\(channels, rows, columns\)"):
        zk.saving.from_caffe(path, FILES / "old.caffemodel")
    model = zk.saving.from_caffe(path, FILES / "old.caffemodel", input_shape=(3, 10, 10))
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize("within", ["WITHIN_CHANNEL", "1"])
def test_what_cannot_be_made_is_refused_by_layer(within, tmp_path):
    told = NETS["alexnet"][0].replace("lrn_param {", f"lrn_param {{ norm_region: {within}")
    with pytest.raises(UnsupportedError, match='LRN "norm1"'):
        zk.saving.from_caffe(written(tmp_path, told), FILES / "alexnet.caffemodel")


def test_local_response_adds_k_to_the_mean_of_squares(tmp_path):
    rows = [row for row in NETS["alexnet"][0].split("\n") if '"relu' not in row]
    conv = written(tmp_path, "\n".join(rows[:4]))
    x, weights = GOLDEN.arrays("alexnet")["x"], FILES / "alexnet.caffemodel"
    y = zk.saving.from_caffe(conv, weights).predict_on_batch(x)
    norm = written(tmp_path, "\n".join(rows[:5]).replace("lrn_param {", "lrn_param { k: 2"))
    got = zk.saving.from_caffe(norm, weights).predict_on_batch(x)
    wide = np.pad(y**2, [(0, 0), (1, 1), (0, 0), (0, 0)])
    total = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    assert_close(got, y / (2 + 0.05 / 3 * total) ** 0.75, OUTPUT)


def test_the_text_of_a_message_is_read():
    found = text.parse("a: 1 a: 2.5 b { c: \"x\" d: [1, 2] } # no\n e: TRUE; f: true, g < h: 'y' >")
    assert found == {"a": [1, 2.5], "b": [{"c": ["x"], "d": [1, 2]}], "e": ["TRUE"], "f": [True],
                     "g": [{"h": ["y"]}]}  # fmt: skip


@pytest.mark.parametrize("told", ["a {", "}", "a: ", "a: [1", "{" * 1000, '"x": 1', "a { " * 99])
def test_text_that_is_no_message_is_a_file_error(told):
    with pytest.raises(FileError, match="no prototxt"):
        text.parse(told)


@pytest.mark.parametrize("end", ["prototxt", "caffemodel"])
def test_damaged_files_are_typed_errors(end, tmp_path):
    draw, paths = random.Random(end), {}
    for other in ("prototxt", "caffemodel"):
        paths[other] = tmp_path / f"net.{other}"
        paths[other].write_bytes((FILES / f"resnet.{other}").read_bytes())
    whole = paths[end].read_bytes()
    for _ in range(60):
        data = bytearray(whole[: draw.choice([len(whole), draw.randrange(1, len(whole))])])
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        paths[end].write_bytes(bytes(data))
        error = assert_small(lambda: zk.saving.from_caffe(*paths.values()))
        assert error is None or isinstance(error, ZooKerasError), repr(error)
