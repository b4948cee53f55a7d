"""ops.nn, ops.numpy, ops.linalg and ops.image: Keras' second names of the ops."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.ops.namespaces import NAMES

X = np.random.default_rng(0).random((2, 5, 7, 3)).astype("f4")


# How many of Keras 3.15.1's names `ops` had when these were counted.
COUNTED = {"nn": 50, "numpy": 219, "linalg": 13}


@pytest.mark.parametrize("name", NAMES)
def test_a_namespace_holds_the_very_functions_of_ops(name):
    module = getattr(ops, name)
    assert len(NAMES[name]) == len(set(NAMES[name])) >= COUNTED[name]
    for each in NAMES[name]:
        assert getattr(module, each) is getattr(ops, each)


@pytest.mark.parametrize("name", [*NAMES, "image"])
def test_what_a_namespace_lacks_is_refused_by_name(name):
    assert not hasattr(getattr(ops, name), "no_such_op")
    with pytest.raises(UnsupportedError, match=f"ops.{name}.no_such_op"):
        _ = getattr(ops, name).no_such_op


def test_namespaces_are_importable():
    from zoo_keras.ops.image import resize
    from zoo_keras.ops.numpy import add

    assert add is ops.add
    assert resize is ops.image.resize


@pytest.mark.parametrize("kind", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_resizing_to_twice_the_size_is_upsampling(kind):
    layer = keras.layers.UpSampling2D(2, interpolation=kind)
    np.testing.assert_allclose(ops.image.resize(X, (10, 14), kind), layer(X), atol=1e-6)


def test_sizes_in_between_are_those_of_keras():  # values of keras 3.15.1
    ramp = np.arange(12, dtype="f4").reshape(3, 4, 1)
    found = ops.image.resize(ramp, (2, 3))[..., 0]
    np.testing.assert_allclose(found, [[1.166667, 2.5, 3.833333], [7.166667, 8.5, 9.833333]], 1e-5)
    nearest = ops.image.resize(ramp, (2, 3), "nearest")[..., 0]
    assert nearest.tolist() == [[0, 2, 3], [8, 10, 11]]


def test_channels_first_and_integers_keep_layout_and_dtype():
    first = ops.image.resize(np.moveaxis(X, -1, 1), (3, 4), data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), ops.image.resize(X, (3, 4)), atol=1e-6)
    pixels = ops.image.resize((X * 255).astype("uint8"), (9, 9), "bicubic")
    assert pixels.dtype == "uint8"
    layer = keras.layers.Resizing(2, 3, antialias=True)
    np.testing.assert_array_equal(ops.image.resize(X, (2, 3), antialias=True), layer(X))
    assert ops.image.rgb_to_grayscale(X[0]).shape == (5, 7, 1)


@pytest.mark.parametrize("batch", [0, slice(None)])
def test_borders_are_cut_and_added(batch):
    x = X[batch]
    cut = ops.image.crop_images(x, 1, target_height=3, left_cropping=2, right_cropping=1)
    np.testing.assert_array_equal(cut, x[..., 1:4, 2:6, :])
    padded = ops.image.pad_images(cut, 1, 2, target_height=5, right_padding=1)
    np.testing.assert_array_equal(padded[..., 1:4, 2:6, :], cut)
    assert padded.shape == x.shape
    assert padded.sum() == pytest.approx(cut.sum(), rel=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ConfigError, match="pad_to_aspect_ratio=True"):
        ops.image.resize(X, (2, 2), pad_to_aspect_ratio=True, crop_to_aspect_ratio=True)
    with pytest.raises(ConfigError, match="interpolation"):
        ops.image.resize(X, (2, 2), "linear")
    with pytest.raises(ShapeError, match="expected rank 3"):
        ops.image.resize(X[0, 0], (2, 2))
    with pytest.raises(ConfigError, match="two of"):
        ops.image.crop_images(X, 1, 1)
    with pytest.raises(ShapeError, match="do not fit"):
        ops.image.crop_images(X, 4, 1, 4, 1)


def test_a_functional_model_of_namespaced_ops_is_saved_and_loaded(tmp_path):
    x = keras.Input((5, 7, 3))
    y = ops.nn.relu(ops.image.resize(x, (4, 4)) - ops.numpy.mean(x))
    model = keras.Model(x, ops.image.rgb_to_grayscale(y))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
