"""KerasFileEditor: files of weights compared with models, renamed, changed and written anew."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, FileError
from zoo_keras.saving import KerasFileEditor


def model(*widths):
    return zk.Sequential([zk.Input((2,)), *[layers.Dense(width) for width in widths]])


@pytest.fixture
def path(tmp_path):
    model(3, 4).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_a_file_is_compared_object_by_object(path):
    editor = KerasFileEditor(path)
    assert editor.compare(model(3, 4)) == {"status": "success", "error_count": 0, "match_count": 4}
    assert editor.compare(model(3, 5))["error_count"] == 2
    assert editor.compare(model(3, 4, 1))["error_count"] == 1


def test_what_is_renamed_and_added_is_written(path, tmp_path):
    editor = KerasFileEditor(path)
    editor.rename_object("layers/dense_1", "dense_2")
    editor.add_object("layers/dense_1", {"0": np.ones((3, 3)), "1": np.ones(3)})
    editor.delete_weight("dense_2", "1")
    editor.add_weights("dense_2", {"1": np.full(4, 7.0)})
    editor.save(tmp_path / "new.weights.h5")
    again = model(3, 3, 4)
    again.load_weights(tmp_path / "new.weights.h5")
    assert again.layers[1].bias.numpy().tolist() == [1, 1, 1]
    assert again.layers[2].bias.numpy().tolist() == [7, 7, 7, 7]


def test_what_is_not_there_is_named(path):
    editor = KerasFileEditor(path)
    with pytest.raises(ConfigError, match="0 objects have this name"):
        editor.delete_object("other")
    with pytest.raises(ConfigError, match="no such weight"):
        editor.delete_weight("dense", "7")
    editor.delete_object("layers/dense_1")
    assert sorted(editor.weights_dict["layers"]["dense"]) == ["0", "1"]
    assert "dense_1" not in editor.weights_dict["layers"]


def test_an_object_is_not_renamed_onto_another(path):
    editor = KerasFileEditor(path)
    with pytest.raises(ConfigError, match="rename_object: there is one"):
        editor.rename_object("layers/dense", "dense_1")
    editor.rename_object("layers/dense", "dense")
    assert editor.compare(model(3, 4))["error_count"] == 0


@pytest.mark.parametrize("text", ["dense", np.bytes_("dense")])
def test_the_names_of_layers_are_kept(tmp_path, text):
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/a/vars/0"] = np.ones(1)
        file["layers/a/vars"].attrs["name"] = text
    KerasFileEditor(tmp_path / "m.weights.h5").save(tmp_path / "n.weights.h5")
    with h5py.File(tmp_path / "n.weights.h5") as file:
        assert file["layers/a/vars"].attrs["name"] == "dense"


def linked(file):
    file["layers"] = h5py.ExternalLink("other.h5", "/layers")


def twice(file):
    file["layers/a/vars/0"] = np.ones(1)
    file["layers/b"] = file["layers/a"]


def arrays_twice(file):
    file["layers/a/vars/0"] = np.ones(1)
    for name in "bc":
        file[f"layers/{name}/vars/0"] = file["layers/a/vars/0"]


def long_name(file):
    file["layers/a/vars/0"] = np.ones(1)
    file["layers/a/vars"].attrs["name"] = np.ones(3)


def circle(file):
    file["layers/a/vars/0"] = np.ones(1)
    file["layers/a/more"] = file["layers"]


@pytest.mark.parametrize(("make", "said"), [(linked, "ExternalLink"), (twice, "twice"),
                                            (circle, "twice"), (arrays_twice, "twice"),
                                            (long_name, "A text")])  # fmt: skip
def test_a_hostile_file_is_refused(tmp_path, make, said):
    path = tmp_path / "bad.weights.h5"
    with h5py.File(path, "w") as file:
        make(file)
    with pytest.raises(FileError, match=said):
        KerasFileEditor(path)
