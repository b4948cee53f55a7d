"""Layers that change images at random: what is drawn, and all that golden cases can't fix."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError

X = np.random.default_rng(0).uniform(0, 255, (6, 8, 10, 3)).astype("f4")
# Enough of each for a draw that changes images, whatever the seed.
ALL = {
    "RandomBrightness": {"factor": 0.5}, "RandomContrast": {"factor": 0.5},
    "RandomHue": {"factor": 0.9}, "RandomSaturation": {"factor": 0.9},
    "RandomSharpness": {"factor": 0.9}, "RandomColorDegeneration": {"factor": 0.9},
    "RandomPosterization": {"factor": 4}, "RandomInvert": {}, "RandomGrayscale": {"factor": 1.0},
    "RandomColorJitter": {"brightness_factor": 0.3, "hue_factor": 0.4},
    "Solarization": {"addition_factor": 0.5, "threshold_factor": 0.5}, "Equalization": {},
    "RandomGaussianBlur": {"factor": [1, 1], "sigma": [0.5, 1]}, "RandomFlip": {},
    "RandomRotation": {"factor": 0.5}, "RandomZoom": {"height_factor": 0.5},
    "RandomShear": {"x_factor": 0.5, "y_factor": 0.5},
    "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
    "RandomPerspective": {"factor": [1, 1]}, "RandomElasticTransform": {"factor": [1, 1]},
    "RandomErasing": {"factor": [1, 1]}, "MixUp": {"alpha": 1.0}, "CutMix": {},
    "RandAugment": {"factor": 0.9}, "AugMix": {"factor": 0.9},
}  # fmt: skip


def made(name, **more):
    kwargs = {"seed": 3, **ALL[name], **more}
    if name == "Equalization":
        del kwargs["seed"]
    return getattr(layers, name)(**kwargs)


@pytest.mark.parametrize("name", ALL)
def test_images_change_in_training_only(name):
    layer = made(name)
    np.testing.assert_array_equal(layer(X, training=False), X)
    changed = layer(X, training=True)
    assert changed.shape == X.shape and changed.dtype == np.float32
    assert np.isfinite(changed).all() and not np.allclose(changed, X)
    assert layer(X[0], training=True).shape == X[0].shape
    assert layer(X.astype("uint8"), training=True).dtype == np.float32


@pytest.mark.parametrize("name", ALL)
def test_a_seed_decides_and_each_call_draws_anew(name):
    first, second = made(name), made(name)
    once = first(X, training=True)
    np.testing.assert_array_equal(second(X, training=True), once)
    if name not in ("Equalization", "RandomGrayscale"):
        assert not np.array_equal(first(X, training=True), once)


@pytest.mark.parametrize("name", [n for n in ALL if n != "AugMix"])
def test_channels_first_is_the_same_turned(name):
    turned = made(name, data_format="channels_first")(np.moveaxis(X, -1, 1), training=True)
    np.testing.assert_allclose(np.moveaxis(turned, 1, -1), made(name)(X, training=True), 1e-4, 1e-2)


@pytest.mark.parametrize("name", ALL)
def test_models_train_behind_it_and_predict_without_it(name):
    model = zk.Sequential([zk.Input((8, 10, 3)), made(name), layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    bare = zk.Sequential([zk.Input((8, 10, 3)), *model.layers[1:]])
    np.testing.assert_allclose(model.predict(X, verbose=0), bare.predict(X, verbose=0), 1e-5, 1e-4)
    model.optimizer.learning_rate = 0.0
    y = np.zeros((6, 1), "f4")
    seen = {float(model.train_on_batch(X / 255, y)) for _ in range(3)}
    assert len(seen) > 1 or name in ("Equalization", "RandomGrayscale", "RandomPosterization")


def test_a_row_draws_the_same_in_any_batch():
    x = np.repeat(X[:1], 6, 0)
    for name in ("RandomRotation", "RandomBrightness", "RandomErasing"):
        whole = made(name)(x, training=True)
        np.testing.assert_allclose(made(name)(x[:2], training=True), whole[:2], 1e-4, 1e-2)
        assert not np.allclose(whole[0], whole[1])


def test_masks_move_along_and_labels_stay():
    data = {"images": X, "segmentation_masks": X[..., :1].round(), "labels": np.arange(6)}
    made_ = layers.RandomFlip(seed=1)(data, training=True)
    assert set(made_) == set(data)
    flipped = np.array([not np.array_equal(a, b) for a, b in zip(made_["images"], X)])
    assert flipped.any() and not flipped.all()
    wanted = np.where(flipped[:, None, None, None], X[:, ::-1, ::-1], X)
    np.testing.assert_array_equal(made_["images"], wanted)
    np.testing.assert_array_equal(made_["segmentation_masks"], wanted[..., :1].round())
    np.testing.assert_array_equal(made_["labels"], np.arange(6))
    coloured = layers.RandomInvert()(data, training=True)
    np.testing.assert_array_equal(coloured["segmentation_masks"], data["segmentation_masks"])


@pytest.mark.parametrize("layer", [layers.MixUp(1.0, seed=2), layers.CutMix(seed=2)])
def test_labels_are_mixed_by_the_shares_of_images(layer):
    x = np.stack([np.full((8, 10, 1), v, "f4") for v in range(6)])
    mixed = layer({"images": x, "labels": np.eye(6, dtype="f4")}, training=True)
    np.testing.assert_allclose(mixed["labels"].sum(1), 1, 1e-5)
    got, want = mixed["images"].mean((1, 2, 3)), mixed["labels"] @ np.arange(6)
    np.testing.assert_allclose(got, want, atol=1e-4 if isinstance(layer, layers.MixUp) else 1.0)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_numbers_of_beta_and_gamma_in_a_trace_have_their_moments(alpha):
    class Draws(layers.Layer):
        generator = zk.random.SeedGenerator(5)

        def call(self, x):
            shape = x.shape[:1]
            beta = zk.random.beta(shape, alpha, alpha, seed=self.generator)
            return ops.stack([beta, zk.random.gamma(shape, alpha, seed=self.generator)], 1)

    beta, gamma = Draws()(np.zeros((200_000, 1), "f4")).T
    np.testing.assert_allclose([beta.mean(), gamma.mean()], [0.5, alpha], rtol=0.02)
    np.testing.assert_allclose([beta.var(), gamma.var()], [1 / (8 * alpha + 4), alpha], rtol=0.04)
    assert beta.min() >= 0 and beta.max() <= 1


def test_a_crop_is_a_part_of_its_image_and_the_middle_at_inference():
    x = np.arange(6 * 8 * 10, dtype="f4").reshape(6, 8, 10, 1)
    layer = layers.RandomCrop(3, 4, seed=1)
    np.testing.assert_array_equal(layer(x, training=False), x[:, 2:5, 3:7])
    parts = layer(x, training=True)
    starts = parts[:, 0, 0, 0] - x[:, 0, 0, 0]
    assert len(set(starts)) > 1
    for part, image, start in zip(parts, x, starts, strict=True):
        top, left = divmod(int(start), 10)
        np.testing.assert_array_equal(part, image[top : top + 3, left : left + 4])


def test_a_perspective_is_that_of_the_corners_drawn():
    layer = layers.RandomPerspective([1, 1], scale=0.5)
    drawn = layer.get_random_transformation(X)
    got = layer.transform_images(X, drawn)
    want = ops.image.perspective_transform(X, drawn["start_points"], drawn["end_points"])
    np.testing.assert_allclose(got, want, 1e-5, 1e-3)
    corners = np.broadcast_to([[0, 0], [9, 0], [0, 7], [9, 7]], (6, 4, 2))
    np.testing.assert_array_equal(drawn["start_points"], corners)


def test_boxes_are_cut_filled_up_or_refused():
    boxes = {"boxes": np.ones((6, 2, 4), "f4"), "labels": np.ones((6, 2), "f4")}
    data = {"images": X, "bounding_boxes": boxes}
    filled = layers.MaxNumBoundingBoxes(3)(data)["bounding_boxes"]
    assert filled["boxes"].shape == (6, 3, 4) and (filled["labels"][:, 2] == -1).all()
    assert layers.MaxNumBoundingBoxes(1)(data)["bounding_boxes"]["labels"].shape == (6, 1)
    kept = layers.RandomInvert()(data, training=True)["bounding_boxes"]
    np.testing.assert_array_equal(kept["boxes"], boxes["boxes"])
    with pytest.raises(UnsupportedError, match="RandomElasticTransform"):
        layers.RandomElasticTransform(bounding_box_format="xyxy")(data, training=True)


@pytest.mark.parametrize(
    ("name", "kwargs", "match"),
    [
        ("RandomBrightness", {"factor": 2}, "factor must be"),
        ("RandomContrast", {"factor": "x"}, "factor must be"),
        ("RandomHue", {"factor": 0.1, "value_range": 3}, "value_range must be"),
        ("RandomRotation", {"factor": 0.1, "fill_mode": "mirror"}, "fill_mode must be"),
        ("RandomZoom", {"height_factor": 0.1, "interpolation": "cubic"}, "interpolation must be"),
        ("RandomFlip", {"mode": "diagonal"}, "mode must be"),
        ("RandomGaussianBlur", {"kernel_size": 4}, "kernel_size must be"),
        ("RandomCrop", {"height": 0, "width": 2}, "height must be"),
        ("RandAugment", {"num_ops": -1}, "num_ops must be"),
    ],
)
def test_wrong_arguments_are_refused(name, kwargs, match):
    with pytest.raises(ConfigError, match=match):
        getattr(layers, name)(**kwargs)


def test_images_have_three_axes():
    with pytest.raises(ShapeError, match="RandomFlip"):
        layers.RandomFlip()(X[0, 0], training=True)


@pytest.mark.parametrize("mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
@pytest.mark.parametrize("order", [0, 1])
def test_coordinates_outside_go_where_scipy_sends_them(mode, order):
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(1)
    x, at = rng.normal(size=(4, 5)).astype("f4"), rng.uniform(-11, 12, (2, 60)).astype("f4")
    grid = f"grid-{mode}" if mode in ("constant", "wrap") else mode
    want = ndimage.map_coordinates(x, at, order=order, mode=grid, cval=0.5)
    np.testing.assert_allclose(ops.image.map_coordinates(x, at, order, mode, 0.5), want, 1e-4, 1e-5)


def test_an_elastic_transform_moves_pixels_smoothly():
    flat = np.full((2, 16, 16, 3), 7.0, "f4")
    np.testing.assert_allclose(ops.image.elastic_transform(flat, seed=1), flat, 1e-5)
    ramp = np.broadcast_to(np.arange(64.0, dtype="f4")[None, :, None], (64, 64, 1))
    moved = ops.image.elastic_transform(ramp, alpha=10, sigma=4, seed=1)
    assert moved.shape == ramp.shape
    assert 0 < np.abs(moved - ramp)[8:-8, 8:-8].max() < 20
    np.testing.assert_array_equal(moved, ops.image.elastic_transform(ramp, 10, 4, seed=1))
