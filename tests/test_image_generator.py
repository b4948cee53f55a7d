"""ImageDataGenerator: what it draws, how it moves pictures, and where they come from."""

from __future__ import annotations

import numpy as np
import pytest
from golden.store import Golden

import zoo_keras as zk
from zoo_keras import utils
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.preprocessing.image import ImageDataGenerator

X = np.random.default_rng(0).uniform(0, 255, (10, 8, 6, 3)).astype("f4")
Y = np.arange(10)


def test_arrays_train_a_model_and_next_goes_on():
    made = ImageDataGenerator(rescale=1 / 255, horizontal_flip=True).flow(
        X, Y, batch_size=4, seed=1
    )
    assert len(made) == 3 and made.samples == made.n == 10
    seen = [next(made) for _ in range(4)]
    assert [len(x) for x, _ in seen] == [4, 4, 2, 4]
    assert sorted(np.concatenate([y for _, y in seen[:3]])) == Y.tolist()
    for x, y in seen:
        for picture, label in zip(x, y, strict=True):
            same = [np.allclose(picture, v / 255, 1e-4) for v in (X[label], X[label][:, ::-1])]
            assert any(same)
    model = zk.Sequential([zk.Input((8, 6, 3)), zk.layers.Flatten(), zk.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(made, epochs=1, verbose=0)


def test_parameters_are_drawn_within_their_ranges_and_repeat_with_a_seed():
    generator = ImageDataGenerator(
        rotation_range=30, width_shift_range=0.5, height_shift_range=[2, 3], shear_range=10,
        zoom_range=(0.5, 0.8), brightness_range=(0.2, 0.4), channel_shift_range=9,
    )  # fmt: skip
    drawn = [generator.get_random_transform((8, 6, 3), seed) for seed in range(50)]
    assert drawn[3] == generator.get_random_transform((8, 6, 3), 3)
    assert max(abs(d["theta"]) for d in drawn) <= 30 and max(abs(d["ty"]) for d in drawn) <= 3
    assert {abs(d["tx"]) for d in drawn} == {2, 3}
    assert all(0.5 <= d["zx"] <= 0.8 and 0.2 <= d["brightness"] <= 0.4 for d in drawn)
    assert generator.random_transform(X[0], 1).shape == X[0].shape


GOLDEN = Golden("image_generator")


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_a_transform_is_that_of_keras(name):
    case, arrays = GOLDEN.cases[name], GOLDEN.arrays(name)
    how = {"fill_mode": case["fill_mode"], "cval": 7.0}
    got = ImageDataGenerator(**how).apply_transform(arrays["picture"], case["transform"])
    np.testing.assert_allclose(got, arrays["output"], 1e-4, 1e-3)
    first = ImageDataGenerator(data_format="channels_first", **how)
    turned = first.apply_transform(np.moveaxis(arrays["picture"], -1, 0), case["transform"])
    np.testing.assert_allclose(np.moveaxis(turned, 0, -1), arrays["output"], 1e-4, 1e-3)


def test_statistics_are_learnt_and_used():
    generator = ImageDataGenerator(featurewise_std_normalization=True)
    with pytest.raises(DataError, match=r"fit\(images\) first"):
        generator.standardize(X[0])
    generator.fit(X)
    x = generator.flow(X, shuffle=False, batch_size=10)[0]
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-3)
    own = ImageDataGenerator(samplewise_std_normalization=True).standardize(X[0])
    np.testing.assert_allclose([own.mean(), own.std()], [0, 1], atol=1e-3)
    white = ImageDataGenerator(zca_whitening=True)
    small = X[:, :2, :2, :1]
    white.fit(small)
    flat = white.standardize(small).reshape(10, -1)
    np.testing.assert_allclose(flat.T @ flat / 10, np.eye(4), atol=1e-2)


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("PIL")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            utils.save_img(tmp_path / name / f"{i}.png", X[i], scale=False)
    return tmp_path


def test_a_folder_is_read_by_class_and_split(folder):
    generator = ImageDataGenerator(validation_split=0.25)
    parts = [generator.flow_from_directory(folder, (4, 4), subset=s, batch_size=3)
             for s in ("training", "validation")]  # fmt: skip
    assert [p.samples for p in parts] == [6, 2] and parts[0].class_indices == {"a": 0, "b": 1}
    assert parts[1].filenames == ["a/0.png", "b/0.png"] and parts[1].classes.tolist() == [0, 1]
    x, y = parts[0][0]
    assert x.shape == (3, 4, 4, 3) and y.shape == (3, 2)
    x, again = generator.flow_from_directory(folder, (4, 4), class_mode="input")[0]
    np.testing.assert_array_equal(x, again)
    assert generator.flow_from_directory(folder, class_mode=None)[0].shape == (8, 256, 256, 3)


def test_a_frame_names_files(folder):
    frame = {
        "filename": ["a/0.png", "b/1.png", "gone.png"],
        "class": ["x", "y", "x"],
        "w": [1, 2, 3],
    }

    class Frame(dict):
        def __len__(self):
            return 3

    generator = ImageDataGenerator()
    made = generator.flow_from_dataframe(
        Frame(frame), folder, target_size=(4, 4), class_mode="sparse", weight_col="w", shuffle=False
    )
    x, y, w = made[0]
    assert x.shape == (2, 4, 4, 3) and y.tolist() == [0, 1] and w.tolist() == [1, 2]
    raw = generator.flow_from_dataframe(Frame(frame), folder, y_col="w", class_mode="raw")
    assert sorted(raw[0][1].tolist()) == [1, 2]


def test_wrong_arguments_are_refused(folder):
    with pytest.raises(ConfigError, match="unknown class_mode"):
        ImageDataGenerator().flow_from_directory(folder, class_mode="ordinal")
    with pytest.raises(ConfigError, match="unknown subset"):
        ImageDataGenerator().flow(X, subset="test")
    with pytest.raises(ConfigError, match="not written"):
        ImageDataGenerator().flow(X, save_to_dir="x")
    with pytest.raises(ConfigError, match="validation_split"):
        ImageDataGenerator(validation_split=1.5)
