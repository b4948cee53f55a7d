"""Preprocessing layers: attributes, shapes before `adapt`, configs, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import layers
from zoo_keras.errors import ArgumentTypeError, ConfigError, DataError, ShapeError

X = np.arange(24, dtype="f4").reshape(2, 3, 4)


def test_mean_and_variance_of_normalization_broadcast_over_inputs():
    layer = layers.Normalization()
    assert layer.mean is None and layer.variance is None
    layer.adapt(X)
    assert layer.mean.shape == layer.variance.shape == (1, 1, 4)
    np.testing.assert_allclose(layer.mean[0, 0], X.mean((0, 1)), 1e-6)
    assert layers.Normalization(mean=2.0, variance=1.0).mean is None


def test_normalization_takes_inputs_of_more_axes_than_it_was_adapted_to():
    layer = layers.Normalization()
    layer.adapt([X[0], X[1]])
    np.testing.assert_array_equal(layer(X[None])[0], layer(X))


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (iter([]), ConfigError, "empty iterable"),
        (iter([42]), ArgumentTypeError, "`.shape`"),
        (iter([X, X[..., :2]]), ShapeError, "incompatible shape"),
    ],
)
def test_normalization_refuses_data_that_are_no_batches_of_one_kind(data, error, match):
    with pytest.raises(error, match=match):
        layers.Normalization().adapt(data)


@pytest.mark.parametrize(
    ("mode", "shape", "expected"),
    [
        ("int", (None, 3), (None, 3)),
        ("one_hot", (None, 3), (None, 3, 5)),
        ("one_hot", (None, 1), (None, 5)),
        ("multi_hot", (None, 3), (None, 5)),
        ("count", (None, 3, 2), (None, 2, 5)),
    ],
)
def test_discretization_knows_its_shape_before_it_is_adapted(mode, shape, expected):
    layer = layers.Discretization(num_bins=5, output_mode=mode)
    assert layer.compute_output_shape(shape) == expected
    assert layer.output_dtype == ("int32" if mode == "int" else "float32")


def test_hashing_gives_the_dtype_that_was_asked_for():
    for dtype in ("int32", "int64"):
        assert layers.Hashing(3, dtype=dtype)(np.array([1, 2])).dtype == dtype


def test_a_layer_takes_what_numpy_takes_for_an_array():
    class Rows:
        def __array__(self, dtype=None, copy=None):
            return np.array([0, 1, 2], dtype)

    np.testing.assert_array_equal(layers.Hashing(3)(Rows()), layers.Hashing(3)(np.arange(3)))


def test_hashed_crossing_refuses_floats():
    with pytest.raises(DataError, match="integer or string"):
        layers.HashedCrossing(5)([np.ones(2), np.ones(2)])


def test_max_num_bounding_boxes_comes_back_from_its_config_and_takes_one_image():
    layer = layers.MaxNumBoundingBoxes(3, fill_value=-2, bounding_box_format="xyxy")
    again = layers.MaxNumBoundingBoxes.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    boxes = {"boxes": np.ones((2, 4)), "labels": np.ones(2)}
    filled = again({"images": np.ones((4, 4, 3)), "bounding_boxes": boxes})["bounding_boxes"]
    assert filled["boxes"].shape == (3, 4)
    np.testing.assert_array_equal(filled["labels"], [1, 1, -2])


def test_boxes_are_cropped_by_whole_pixels_of_the_new_size():
    boxes = {"boxes": np.array([[2, 1, 4, 3]]), "labels": np.array([1])}
    data = {"images": np.ones((10, 8, 3)), "bounding_boxes": boxes}
    layer = layers.Resizing(20, 20, crop_to_aspect_ratio=True, bounding_box_format="xyxy")
    np.testing.assert_allclose(layer(data)["bounding_boxes"]["boxes"], [[5, 0.5, 10, 5.5]])


@pytest.mark.parametrize("factor", [(-1.1, 0.0), (0.0, 1.1)])
def test_each_of_two_factors_of_a_shift_lies_within_the_bounds(factor):
    with pytest.raises(ConfigError, match="height_factor"):
        layers.RandomTranslation(factor, 0.1)


def test_rand_augment_may_do_nothing():
    x = np.ones((2, 4, 4, 3), "f4")
    np.testing.assert_array_equal(layers.RandAugment(num_ops=0)(x, training=True), x)


@pytest.mark.parametrize("options", [{"scaling": "l2"}, {"window": "unknowable"}])
def test_spectrograms_refuse_unknown_words_at_once(options):
    with pytest.raises(ConfigError):
        layers.STFTSpectrogram(**options)


def test_a_spectrogram_of_whole_numbers_is_refused():
    with pytest.raises(ArgumentTypeError, match="float"):
        layers.STFTSpectrogram()(np.ones((2, 512, 1), "int64"))


def test_a_pipeline_needs_its_layers_in_the_config():
    with pytest.raises(ConfigError, match="layers"):
        layers.Pipeline.from_config({"name": "p"})
