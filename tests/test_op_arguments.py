"""Arguments of public ops at their edges: what is refused and how, and what Keras takes too."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import ops
from zoo_keras.ops import image

X = np.arange(12, dtype="f4").reshape(3, 4)
PAIR = (X, X)
SQUARE = np.eye(3, dtype="f4")

REFUSED = {
    "two axes of which each is unknown": (lambda: ops.cholesky(X), "square matrices"),
    "no definite matrix": (lambda: ops.cholesky(-SQUARE), "not positive definite"),
    "qr": (lambda: ops.qr(X, "raw"), "Expected one of"),
    "rank": (lambda: ops.pinv(X[0]), "rank >= 2"),
    "no pair": (lambda: ops.fft(X), "tuple of two tensors"),
    "parts": (lambda: ops.fft2((X, X[:2])), "the same shape"),
    "stride": (lambda: ops.stft(X, 2, 0, 4), "`sequence_stride` must be a positive integer"),
    "window": (lambda: ops.stft(X, 2, 1, 4, window="bell"), "If a string is passed"),
    "istft": (lambda: ops.istft(PAIR, 4, 1, 2), "`fft_length` must equal"),
    "ids": (lambda: ops.segment_sum(X, [[0], [1]]), "an 1-D vector"),
    "rows": (lambda: ops.segment_max(X, [0, 1]), "same leading dimension"),
    "blocks": (lambda: ops.depth_to_space(X[None, :, :, None], 1), "at least 2"),
    "order": (lambda: ops.normalize(X, order=2.5), "must be an int >= 1"),
    "axis": (lambda: ops.softmax(X, axis=7), "axis 7 is out of bounds"),
    "no axis": (lambda: ops.concatenate([X, X], axis=None), "whole number"),
    "fill": (lambda: ops.pad(X, 1, "reflect", 0), "`constant_values` can only be provided"),
    "turn": (lambda: ops.rot90(X, axes=(0, 0)), "two different ones"),
    "grid": (lambda: ops.meshgrid(X[0], X[0], indexing="kk"), "'xy' or 'ij'"),
    "half a choice": (lambda: ops.where(X > 2, X, None), "`x1` and `x2` either both"),
    "size": (lambda: ops.reshape(X, (-2, 6)), "non-negative integer"),
    "order of axes": (lambda: ops.transpose(X, (0, 0)), "valid permutation"),
    "window of a tensor": (lambda: ops.slice(X, (0,), (1, 1)), "dimensions in `start_indices`"),
    "bins": (lambda: ops.histogram(X, bins=-1), "`bins` should be a non-negative integer"),
    "diagonal": (lambda: ops.eye(3.0), "whole numbers"),
    "no slope": (lambda: ops.celu(X, alpha=0), "alpha must not be 0"),
    "scalars": (lambda: ops.matmul(X, 2.0), r"Received: shapes \(3, 4\) and \(\)"),
    "no bins": (lambda: ops.histogram(X, bins=0), "1 or more"),
    "turned range": (lambda: ops.histogram(X, range=(6, 0)), "must be greater than the first"),
    "no whole number": (lambda: ops.threshold(np.arange(3), 1, -0.7), "must be a whole number"),
    "place": (lambda: ops.argpartition(X, (1, 2)), "whole number"),
    "scale": (
        lambda: ops.batch_normalization(X, X[0], X[0], -1, scale=X[0, :2]),
        "`scale` must be a vector of length 4",
    ),
    "crop": (
        lambda: image.crop_images(X[..., None], top_cropping=-1, left_cropping=0, target_height=1,
                                  target_width=1),
        "top_cropping must be >= 0",
    ),
    "pad": (lambda: image.pad_images(X[..., None], 0, 0, 0, target_height=9), "exactly two of"),
    "image": (lambda: image.rgb_to_hsv(X), "Invalid images rank"),
    "transform": (
        lambda: image.affine_transform(X[..., None], X[0]), "Invalid transform rank"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_name(name):
    call, match = REFUSED[name]
    with pytest.raises(ValueError, match=match):
        call()


def test_extremes_of_nothing_are_the_initial_value():
    empty = np.zeros((2, 0), "f4")
    assert ops.max(empty, initial=3).item() == 3
    np.testing.assert_array_equal(ops.min(empty, axis=1, initial=2), [2, 2])
    np.testing.assert_array_equal(ops.max(X, axis=0, initial=9), [9, 9, 10, 11])


@pytest.mark.parametrize(("kind", "ufunc"), [("max", "maximum"), ("min", "minimum"),
                                             ("mul", "multiply")])  # fmt: skip
def test_updates_meet_what_is_there(kind, ufunc):
    want = X.copy()
    getattr(np, ufunc).at(want, np.array([1, 1]), np.full((2, 4), 5.0))
    found = ops.scatter_update(X, [[1], [1]], np.full((2, 4), 5.0), reduction=kind)
    np.testing.assert_array_equal(found, want)


def test_float16_is_summed_in_float32():
    large = np.full(10, 6e4, "f2")
    assert ops.mean(large) == large[0] and ops.mean(large).dtype == np.float16
    mean, variance = ops.moments(np.array([-6e4, 6e4], "f2"), axes=[0])
    assert mean == 0 and variance == np.finfo("f2").max


def test_classes_may_lie_on_any_axis():
    chances = np.full((2, 4, 3), 0.25, "f4")
    ids = np.zeros((2, 3), "int32")
    found = ops.sparse_categorical_crossentropy(ids, chances, axis=1)
    np.testing.assert_allclose(found, np.full((2, 3), np.log(4)), rtol=1e-5)


def test_least_squares_cut_small_singular_values_off():
    a = np.diag([1.0, 1e-5]).astype("f4")
    np.testing.assert_allclose(ops.lstsq(a, np.ones(2, "f4"), rcond=1e-3), [1, 0])


def test_segments_without_rows_are_infinite():
    found = ops.segment_max(X, [0, 0, 2], num_segments=3)
    assert np.isneginf(found[1]).all() and ops.segment_min(X, [0, 0, 2], 3)[1, 0] == np.inf


def test_rms_scaling_of_older_scripts_warns():
    with pytest.warns(UserWarning, match="deprecated"):
        found = ops.layer_normalization(X, rms_scaling=True, epsilon=0.0)
    np.testing.assert_allclose(found, X / X.std(-1, keepdims=True), rtol=1e-5)


def test_complex_numbers_may_be_real():
    assert ops.isreal(np.array([1 + 0j, 1j])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda a, b: ops.add(a, b), (2, 3)),
        (lambda a, b: ops.maximum(b, a), (2, 3)),
        (lambda a, b: ops.where(b, a, b), (2, 3)),
    ],
)
def test_unknown_axes_are_what_they_meet(call, shape):
    a, b = zk.KerasTensor((None, 3)), zk.KerasTensor((2, None))
    assert call(a, b).shape == shape


def test_functions_begin_at_any_tensor():
    a, b = zk.KerasTensor((2, 3)), zk.KerasTensor((2, 3))
    both = zk.Function([a, b], [ops.add(a, b) * 3, a**2])
    found = both([np.ones((2, 3)), np.ones((2, 3))])
    assert found[0].tolist() == [[6] * 3] * 2 and found[1].tolist() == [[1] * 3] * 2
    with pytest.raises(ValueError, match="`inputs` argument cannot be empty"):
        zk.Function([], a)


def test_images_lie_as_the_setting_says():
    images, kernel = np.random.rand(1, 3, 6, 6).astype("f4"), np.ones((2, 2, 3, 5), "f4")
    last = np.moveaxis(images, 1, -1)
    for _ in range(2):  # the second calls are remembered
        want = [ops.conv(last, kernel), ops.max_pool(last, 2), image.rgb_to_hsv(last),
                image.extract_patches(last, 3)]  # fmt: skip
        zk.config.set_image_data_format("channels_first")
        try:
            found = [ops.conv(images, kernel), ops.max_pool(images, 2), image.rgb_to_hsv(images),
                     image.extract_patches(images, 3)]  # fmt: skip
        finally:
            zk.config.set_image_data_format("channels_last")
        for one, other in zip(found, want, strict=True):
            np.testing.assert_allclose(np.moveaxis(one, 1, -1), other, rtol=1e-5)


class Scaled(zk.Operation):
    def __init__(self, alpha, *, beta=1.0, name=None):
        super().__init__(name=name)
        self.alpha, self.beta = alpha, beta

    def call(self, x):
        return x * self.alpha + self.beta


def test_an_operation_is_made_anew_of_its_arguments():
    config = Scaled(0.5, name="half").get_config()
    assert config == {"alpha": 0.5, "beta": 1.0, "name": "half"}
    again = Scaled.from_config(config)
    assert again(np.ones(2, "f4")).tolist() == [1.5, 1.5] and again.get_config() == config
