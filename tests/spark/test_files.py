"""Models in Hadoop file systems, here that of file:// URLs: saved, loaded, replaced, refused."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import FileError
from zoo_keras.saving import files

pytestmark = pytest.mark.spark


@pytest.fixture
def folder(local2, tmp_path):
    assert local2 is not None
    (tmp_path / "models").mkdir()
    return (tmp_path / "models").as_uri()


def model():
    return zk.Sequential([layers.Input((4,)), layers.Dense(3)])


def listed(tmp_path):
    return sorted(p.name for p in (tmp_path / "models").iterdir() if not p.name.endswith(".crc"))


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_a_model_returns_from_a_hadoop_file_system(name, folder, tmp_path):
    for _ in range(2):  # the second one replaces the first
        one = model()
        (one.save_weights if "weights" in name else one.save)(f"{folder}/{name}")
    other = model()
    other.load_weights(f"{folder}/{name}")
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    if "weights" not in name:
        again = zk.saving.load_model(f"{folder}/{name}")
        np.testing.assert_array_equal(again.get_weights()[0], one.get_weights()[0])
    assert listed(tmp_path) == [name]


def test_what_is_missing_or_in_the_way_is_a_file_error(folder, tmp_path):
    path = f"{folder}/m.keras"
    with pytest.raises(FileError, match="File not found"):
        zk.saving.load_model(path)
    with pytest.raises(FileError, match="a directory or device"):
        zk.saving.load_model(folder)
    with pytest.raises(FileError, match="Hadoop could not"):
        zk.saving.load_model("nosuchscheme://host/m.keras")
    model().save(path)
    with pytest.raises(FileError, match="overwrite=False"):
        model().save(path, overwrite=False)
    (tmp_path / "models" / "m.keras").write_bytes(b"no model")
    with pytest.raises(FileError):
        zk.saving.load_model(path)


class Stubborn:
    """A file system that gives no finished file its name."""

    def __init__(self, system):
        self.system = system

    def __getattr__(self, name):
        return getattr(self.system, name)

    def rename(self, source, target):
        return not source.getName().endswith(".part") and self.system.rename(source, target)


def test_a_failing_save_leaves_the_old_file_and_no_draft(folder, tmp_path, monkeypatch):
    path = f"{folder}/m.keras"
    model().save(path)
    before = (tmp_path / "models" / "m.keras").read_bytes()
    real = files._hadoop

    def stubborn(path):
        system, remote = real(path)
        return Stubborn(system), remote

    monkeypatch.setattr(files, "_hadoop", stubborn)
    with pytest.raises(FileError, match="could not be given its name"):
        model().save(path)
    assert (tmp_path / "models" / "m.keras").read_bytes() == before
    assert listed(tmp_path) == ["m.keras"]


def test_folders_of_file_paths_are_local_while_a_session_runs(local2, tmp_path):
    model = zk.Sequential([zk.Input((2,)), layers.Dense(1)])
    for path in (f"file:{tmp_path}/a", f"file://{tmp_path}/b"):
        model.save(path, zipped=False)
        loaded = zk.models.load_model(path)
        for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
