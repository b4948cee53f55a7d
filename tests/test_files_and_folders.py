"""get_file, pictures, data sets of folders and of Keras: what is fetched, checked and read."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import datasets, utils
from zoo_keras.datasets import arrays, texts
from zoo_keras.errors import ConfigError, DataError, FileError, UnsupportedError
from zoo_keras.preprocessing import image

DATA = b"some bytes" * 1000
HASH = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def origin(tmp_path):
    file = tmp_path / "there" / "data.bin"
    file.parent.mkdir()
    file.write_bytes(DATA)
    return file.as_uri()


def fetched(origin, tmp_path, **more):
    return utils.get_file(origin=origin, cache_dir=tmp_path / "cache", **more)


def test_a_file_is_fetched_once(origin, tmp_path):
    path = fetched(origin, tmp_path, file_hash=HASH)
    assert path == str(tmp_path / "cache" / "datasets" / "data.bin")
    (tmp_path / "there" / "data.bin").unlink()
    assert fetched(origin, tmp_path, file_hash=HASH) == path
    assert Path(path).read_bytes() == DATA


def test_a_file_in_the_cache_with_another_hash_is_fetched_anew(origin, tmp_path):
    old = tmp_path / "cache" / "datasets" / "data.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    fetched(origin, tmp_path, md5_hash=hashlib.md5(DATA).hexdigest())
    assert old.read_bytes() == DATA


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"file_hash": "0" * 64}, FileError, "Incomplete or corrupted file"),
        ({"origin": "file:///nowhere/x.bin"}, FileError, "place it at .*x.bin"),
        ({"origin": "data:,x", "fname": "x"}, ConfigError, "none of http"),
        ({"fname": "../x"}, ConfigError, "without folders"),
        ({"origin": None}, ConfigError, "no address"),
        ({"extract": True}, FileError, "no archive"),
    ],
)
def test_what_is_not_right_is_not_kept(more, error, match, origin, tmp_path):
    with pytest.raises(error, match=match):
        utils.get_file(**{"origin": origin, "cache_dir": tmp_path / "cache", **more})
    kept = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert kept in ([], ["data.bin_archive"])


def archive(kind, path, names):
    if kind == "tar":
        with tarfile.open(path, "w:gz") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(DATA)
                tar.addfile(member, io.BytesIO(DATA))
    else:
        with zipfile.ZipFile(path, "w") as packed:
            for name in names:
                packed.writestr(name, DATA)
    return path.as_uri()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_unpacked_and_may_not_leave_their_folder(kind, tmp_path):
    good = archive(kind, tmp_path / "good", ["a.bin", "b/c.bin"])
    folder = fetched(good, tmp_path, fname="set.tgz", extract=True)
    assert folder == str(tmp_path / "cache" / "datasets" / "set_extracted")
    assert Path(folder, "b", "c.bin").read_bytes() == DATA
    assert fetched(good, tmp_path, fname="set.tgz", extract=True) == folder
    for number, name in enumerate(["../out.bin", "/tmp/out.bin", "a/../../out.bin"]):
        bad = archive(kind, tmp_path / f"bad{number}", [name])
        with pytest.raises(FileError, match="only write below its folder"):
            fetched(bad, tmp_path, fname=f"bad{number}.x", extract=True)
    assert not list(tmp_path.rglob("out.bin"))


def test_links_in_archives_are_left_behind(tmp_path):
    with tarfile.open(tmp_path / "links", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
        member = tarfile.TarInfo("link/passwd")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    folder = fetched((tmp_path / "links").as_uri(), tmp_path, untar=True)
    assert (tmp_path / "cache" / "datasets" / "links" / "link" / "passwd").read_bytes() == b"x"
    assert folder.endswith("links")


# ---- pictures ------------------------------------------------------------------------------------


def test_pictures_go_to_arrays_and_back(tmp_path):
    pytest.importorskip("PIL")
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype("f4")
    x[0, 0], x[0, 1] = 0, 255
    utils.save_img(tmp_path / "x.png", x)
    picture = utils.load_img(tmp_path / "x.png")
    np.testing.assert_allclose(utils.img_to_array(picture), x, atol=1)
    assert utils.img_to_array(picture, "channels_first").shape == (3, 6, 8)
    small = utils.load_img(str(tmp_path / "x.png"), "grayscale", (3, 2), "bilinear", True)
    assert utils.img_to_array(small).shape == (3, 2, 1)
    assert image.smart_resize(x, (4, 4)).shape == (4, 4, 3)
    assert utils.array_to_img(np.moveaxis(x, -1, 0), "channels_first").size == (8, 6)
    utils.save_img(tmp_path / "x.jpg", np.concatenate([x, x[..., :1]], -1))
    assert utils.load_img(tmp_path / "x.jpg").mode == "RGB"
    with pytest.raises(ConfigError, match="unknown color_mode"):
        utils.load_img(tmp_path / "x.png", "cmyk")
    with pytest.raises(DataError, match="1, 3 or 4 channels"):
        utils.array_to_img(np.zeros((2, 2, 2)))


def test_missing_pillow_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnsupportedError, match=r"zoo_keras\[images\]"):
        utils.array_to_img(np.zeros((2, 2, 3)))


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("PIL")
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(5):
            pixels = np.full((4 + i, 6, 3), 100 * label + i, "f4")
            utils.save_img(tmp_path / name / f"{i}.png", pixels, scale=False)
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i}")
    return tmp_path


def test_a_folder_of_pictures_trains_a_model(folder):
    made = utils.image_dataset_from_directory(folder, image_size=(4, 4), batch_size=4, seed=1)
    assert made.class_names == ["cat", "dog"] and len(made) == 3
    seen = [(x, y) for x, y in made]
    assert [x.shape for x, _ in seen] == [(4, 4, 4, 3), (4, 4, 4, 3), (2, 4, 4, 3)]
    for x, y in seen:
        np.testing.assert_array_equal(x[:, 0, 0, 0] >= 100, y == 1)
    model = zk.Sequential([zk.Input((4, 4, 3)), zk.layers.Flatten(), zk.layers.Dense(2)])
    model.compile("sgd", zk.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(made.map(lambda x, y: (x / 255, y)).cache().prefetch(1), epochs=1, verbose=0)
    assert len(made.take(1)) == 1 and len(made.skip(1)) == 2


def test_folders_are_split_and_labelled(folder):
    both = utils.image_dataset_from_directory(
        folder, label_mode="categorical", validation_split=0.3, subset="both", seed=3,
        batch_size=None, image_size=(4, 4), color_mode="grayscale",
    )  # fmt: skip
    assert [part.count for part in both] == [7, 3]
    assert not set(both[0].file_paths) & set(both[1].file_paths)
    x, y = both[1][0]
    assert x.shape == (4, 4, 1) and y.shape == (2,)
    bare = utils.image_dataset_from_directory(folder, labels=None, shuffle=False, image_size=(2, 2))
    assert bare[0].shape == (10, 2, 2, 3)
    binary = utils.image_dataset_from_directory(
        folder, label_mode="binary", class_names=["dog", "cat"]
    )
    assert binary.class_names == ["dog", "cat"] and binary[0][1].shape == (10, 1)


def test_a_folder_of_texts(folder):
    made = utils.text_dataset_from_directory(folder, max_length=3, shuffle=False, batch_size=10)
    x, y = made[0]
    assert x.tolist() == ["cat"] * 5 + ["dog"] * 5 and y.tolist() == [0] * 5 + [1] * 5
    layer = zk.layers.TextVectorization()
    layer.adapt(made.map(lambda x, y: x))
    assert layer.get_vocabulary()[2:] == ["dog", "cat"]


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"label_mode": "ordinal"}, ConfigError, "`label_mode` argument must be one of"),
        ({"class_names": ["cow"]}, DataError, "did not match the folders"),
        ({"class_names": ["cat"]}, DataError, "did not match the folders"),
        ({"labels": [1, 2]}, DataError, "to match the number of files"),
        ({"labels": "other"}, ConfigError, "`labels` argument should be"),
        ({"labels": [1] * 10, "class_names": ["cat"]}, ConfigError, "only pass `class_names`"),
        ({"labels": [1] * 10, "label_mode": "binary"}, DataError, "exactly 2 classes"),
        ({"validation_split": 0.2}, ConfigError, "`subset` is, and inversely"),
        ({"validation_split": 2, "subset": "both"}, ConfigError, "between 0 and 1"),
        ({"validation_split": 0.2, "subset": "both"}, ConfigError, "must provide a `seed`"),
        ({"color_mode": "hsv"}, ConfigError, "`color_mode` must be one of"),
        ({"format": "torch"}, ConfigError, "`format` should be"),
    ],
)
def test_wrong_folders_are_refused(more, error, match, folder):
    with pytest.raises(error, match=match):
        utils.image_dataset_from_directory(folder, **more)


# ---- sounds --------------------------------------------------------------------------------------


def write_wav(path, samples, rate=8000, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype(f"<i{width}").tobytes())


@pytest.fixture
def sounds(tmp_path):
    """Two folders of three sounds, 2, 3 and 4 samples long, of two channels."""
    for label, name in enumerate(("high", "low")):
        (tmp_path / name).mkdir()
        for i in range(3):
            numbers = np.arange((2 + i) * 2).reshape(-1, 2) * 1000 - 3000 * label
            write_wav(tmp_path / name / f"{i}.wav", numbers)
    return tmp_path


def test_a_folder_of_sounds(sounds):
    made = utils.audio_dataset_from_directory(sounds, shuffle=False, batch_size=4)
    assert made.class_names == ["high", "low"]
    (x, y), (rest, _) = made
    assert x.dtype == np.float32 and x.shape == (4, 4, 2) and rest.shape == (2, 4, 2)
    np.testing.assert_array_equal(x[0], np.array([[0, 1000], [2000, 3000], [0, 0], [0, 0]]) / 32768)
    np.testing.assert_array_equal(x[3, 0], np.array([-3000, -2000]) / 32768)
    assert y.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("more", "shape"),
    [
        ({"output_sequence_length": 3}, (6, 3, 2)),
        ({"output_sequence_length": 9, "labels": None}, (6, 9, 2)),
        ({"sampling_rate": 8000}, (6, 4, 2)),
        ({"ragged": True}, (6,)),
        ({"validation_split": 0.5, "subset": "validation", "seed": 1}, (3, 4, 2)),
        ({"batch_size": None, "shuffle": False}, (2, 2)),
    ],
)
def test_sounds_have_the_shape_asked_for(more, shape, sounds):
    batch = utils.audio_dataset_from_directory(sounds, **{"shuffle": False, **more})[0]
    x = batch[0] if isinstance(batch, tuple) else batch
    assert x.shape == shape
    if "ragged" in more:
        assert [len(sound) for sound in x] == [2, 3, 4, 2, 3, 4]


def test_sounds_train_a_model(sounds):
    made = utils.audio_dataset_from_directory(sounds, batch_size=2, seed=1)
    model = zk.Sequential([zk.Input((None, 2)), zk.layers.LSTM(3), zk.layers.Dense(2)])
    model.compile("adam", zk.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(model.fit(made, epochs=2, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"sampling_rate": 0}, ConfigError, "whole number above 0"),
        ({"sampling_rate": 8000.0}, ConfigError, "whole number above 0"),
        ({"ragged": True, "output_sequence_length": 2}, ConfigError, "Give one of them"),
        ({"sampling_rate": 16000}, UnsupportedError, "0.wav has 8000"),
    ],
)
def test_sounds_as_they_cannot_be_are_refused(more, error, match, sounds):
    with pytest.raises(error, match=match):
        utils.audio_dataset_from_directory(sounds, shuffle=False, **more)[0]


def test_files_that_are_no_sounds_are_named(tmp_path):
    bad = tmp_path / "a.wav"
    bad.write_bytes(b"RIFF, they said")
    with pytest.raises(DataError, match=r"no WAV file.*a\.wav"):
        utils.audio_dataset_from_directory(tmp_path, labels=None)[0]
    write_wav(bad, np.zeros((2, 1)), width=4)
    with pytest.raises(DataError, match=r"a\.wav with 32 bits"):
        utils.audio_dataset_from_directory(tmp_path, labels=None)[0]
    write_wav(bad, np.zeros((2, 1)))
    write_wav(tmp_path / "b.wav", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"as many channels.*\[1, 3\]"):
        utils.audio_dataset_from_directory(tmp_path, labels=None)[0]


def test_windows_and_halves_of_arrays():
    data = np.arange(10)
    made = utils.timeseries_dataset_from_array(
        data, data * 10, 3, sequence_stride=2, sampling_rate=2, start_index=1, batch_size=2
    )
    x, y = made[0]
    np.testing.assert_array_equal(x, [[1, 3, 5], [3, 5, 7]])
    np.testing.assert_array_equal(y, [10, 30])
    assert len(made) == 2
    left, right = utils.split_dataset((data, data + 1), left_size=0.7)
    assert (len(left), len(right)) == (7, 3) and right[0] == (7, 8)
    left, right = utils.split_dataset(data, right_size=4, shuffle=True, seed=1)
    assert sorted([*left, *right]) == list(range(10))
    for wrong in ({}, {"left_size": 8, "right_size": 8}):
        with pytest.raises(ConfigError, match="split_dataset"):
            utils.split_dataset(data, **wrong)
    with pytest.raises(ConfigError, match="start_index"):
        utils.timeseries_dataset_from_array(data, None, 3, start_index=4, end_index=2)


# ---- the data sets of Keras ----------------------------------------------------------------------


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """get_file gives what `files` holds, by the end of the address."""
    files = {}

    def found(fname=None, origin=None, **kwargs):
        name = origin.rpartition("/")[2]
        path = tmp_path / name
        if callable(files[name]):
            files[name](path)
        else:
            path.write_bytes(files[name])
        return str(path)

    monkeypatch.setattr(arrays, "get_file", found)
    monkeypatch.setattr(texts, "get_file", found)
    return files


def npz(**values):
    file = io.BytesIO()
    np.savez(file, **values)
    return file.getvalue()


def lists(*rows):
    made = np.empty(len(rows), object)
    made[:] = rows
    return made


def test_arrays_of_digits_and_clothes(cached):
    x = np.arange(2 * 784, dtype="u1").reshape(2, 28, 28)
    cached["mnist.npz"] = npz(x_train=x, y_train=[1, 2], x_test=x[:1], y_test=[3])
    (x_train, _), (_, y_test) = datasets.mnist.load_data()
    np.testing.assert_array_equal(x_train, x)
    assert y_test.tolist() == [3]
    for part in ("train", "t10k"):
        cached[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(bytes(16) + x.tobytes())
        cached[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(bytes(8) + b"\1\2")
    (x_train, y_train), _ = datasets.fashion_mnist.load_data()
    np.testing.assert_array_equal(x_train, x)
    assert y_train.tolist() == [1, 2]


def test_houses_are_shuffled_and_split_as_in_keras(cached):
    cached["boston_housing.npz"] = npz(x=np.arange(20).reshape(10, 2), y=np.arange(10))
    cached["california_housing.npz"] = cached["boston_housing.npz"]
    order = np.arange(10)
    np.random.RandomState(113).shuffle(order)
    (_, y_train), (_, y_test) = datasets.boston_housing.load_data()
    assert [*y_train, *y_test] == order.tolist() and len(y_test) == 2
    assert len(datasets.california_housing.load_data("small", test_split=0.5)[0][0]) == 5
    with pytest.raises(ConfigError, match="unknown version"):
        datasets.california_housing.load_data("huge")


def test_reviews_are_cut_to_frequent_words(cached):
    rows = lists([1, 5, 2], [9, 1], [3])
    cached["imdb.npz"] = npz(x_train=rows, y_train=[0, 1, 0], x_test=rows[:1], y_test=[1])
    (x, y), (x_test, y_test) = datasets.imdb.load_data(num_words=8)
    found = {len(row): row for row in x}
    assert found == {4: [1, 4, 2, 5], 3: [1, 2, 4], 2: [1, 6]}  # 8 and 12 are too rare
    assert sorted(y.tolist()) == [0, 0, 1] and x_test[0] == [1, 4, 2, 5] and y_test.tolist() == [1]
    (x, _), _ = datasets.imdb.load_data(start_char=None, oov_char=None, index_from=0, maxlen=4)
    assert sorted(map(len, x)) == [1, 1, 3]  # the most rare word counts as unknown, as in Keras
    cached["reuters.npz"] = npz(x=rows, y=[4, 5, 6])
    assert len(datasets.reuters.load_data(test_split=0.4)[1][0]) == 2
    cached["imdb_word_index.json"] = json.dumps({"the": 1}).encode()
    assert datasets.imdb.get_word_index() == {"the": 1}
    assert (
        datasets.reuters.get_label_names()[3] == "earn"
        and len(datasets.reuters.get_label_names()) == 46
    )


def test_small_pictures_are_read_without_trust(cached):
    batch = {b"data": np.arange(2 * 3072, dtype="u1").reshape(2, 3072), b"labels": [3, 4],
             b"fine_labels": [5, 6]}  # fmt: skip

    def unpack(names, content):
        def write(path):
            folder = path / ("cifar-10-batches-py" if len(names) > 2 else "cifar-100-python")
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                (folder / name).write_bytes(pickle.dumps(content, protocol=2))

        return write

    ten = [*[f"data_batch_{i}" for i in range(1, 6)], "test_batch"]
    cached["cifar-10-python.tar.gz"] = unpack(ten, batch)
    (x, y), (x_test, _) = datasets.cifar10.load_data()
    assert x.shape == (10, 32, 32, 3) and x_test.shape == (2, 32, 32, 3)
    assert y.shape == (10, 1) and y[:2, 0].tolist() == [3, 4]
    assert x[0, 0, 1, 0] == 1 and x[0, 0, 0, 1] == 1024 % 256
    cached["cifar-100-python.tar.gz"] = unpack(["train", "test"], batch)
    assert datasets.cifar100.load_data()[1][1][:, 0].tolist() == [5, 6]
    cached["cifar-100-python.tar.gz"] = unpack(["train", "test"], print)
    with pytest.raises(FileError, match="plain arrays only"):
        datasets.cifar100.load_data()
