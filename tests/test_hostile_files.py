"""Damaged and hostile files end in typed errors: no crash, no foreign code, no huge memory, and
the model that weights were to be loaded into stays as it was."""

from __future__ import annotations

import io
import json
import os
import random
import re
import struct
import zipfile

import h5py
import numpy as np
import pytest
from golden.store import DATA
from hostile import archive, assert_small, claim, layer

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, FileError, ZooKerasError

FILES = ["files/mlp.h5", "files/two_towers.keras", "keras2/text.h5", "files/mlp.weights.h5"]
every_file = pytest.mark.parametrize("name", FILES)


class Loader:
    """Loads what is said to be the file `name` with other bytes in it."""

    def __init__(self, name, folder):
        self.original = (DATA / name).read_bytes()
        self.path = folder / name.replace("/", "_")
        whole = DATA / name.replace(".weights.h5", ".keras")
        self.model = zk.saving.load_model(whole) if name.endswith(".weights.h5") else None

    def load(self, data):
        self.path.write_bytes(data)
        if self.model is None:
            zk.saving.load_model(self.path)
        else:
            self.model.load_weights(self.path)


def weights_of(model):
    return [] if model is None else model.get_weights()


def assert_unchanged(model, before):
    for now, want in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(now, want)


# ---- damage ----------------------------------------------------------------------------------


@every_file
def test_a_file_cut_off_anywhere_is_a_file_error(name, tmp_path):
    loader = Loader(name, tmp_path)
    before = weights_of(loader.model)
    size = len(loader.original)
    for end in [0, 1, 2, 7, 8, 9, 100, *range(200, size, size // 40), size - 30, size - 1]:
        with pytest.raises(FileError, match=loader.path.name):
            loader.load(loader.original[:end])
        assert_unchanged(loader.model, before)


def damaged(data, rng):
    data = bytearray(data)
    if rng.random() < 0.5:
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        start, length = rng.randrange(len(data)), rng.choice([1, 4, 64])
        data[start : start + length] = bytes([rng.randrange(256)]) * length
    return bytes(data)


@every_file
@pytest.mark.filterwarnings("ignore:.*optimizer state:UserWarning")
def test_random_damage_is_a_typed_error_or_harmless(name, tmp_path):
    loader = Loader(name, tmp_path)
    for seed in range(60):
        before = weights_of(loader.model)
        try:
            loader.load(damaged(loader.original, random.Random(seed)))
        except ZooKerasError:
            assert_unchanged(loader.model, before)


WRONG = [
    None, [], {}, "", "x", -1, 0, 1.5, True, [1, 2, 3], 10**30, "a/b", ["conv", 0, 0],
    {"class_name": ["x"], "config": {}}, {"class_name": "Dense", "config": None},
    {"class_name": "__keras_tensor__", "config": {}}, [[["a", 0, 0]]], float("nan"),
]  # fmt: skip


def places(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield from places(item, (*path, key))


def distorted(config, rng):
    config = json.loads(json.dumps(config))
    *way, last = rng.choice(list(places(config)))
    target = config
    for key in way:
        target = target[key]
    if isinstance(target, dict) and rng.random() < 0.2:
        del target[last]
    else:
        target[last] = rng.choice(WRONG)
    return config


@pytest.mark.parametrize("name", ["two_towers", "residual"])
def test_wrong_values_in_a_configuration_are_typed_errors(name, tmp_path):
    with zipfile.ZipFile(DATA / "files" / f"{name}.keras") as given:
        config, weights = json.loads(given.read("config.json")), given.read("model.weights.h5")
    for seed in range(60):
        path = archive(tmp_path / "m.keras", distorted(config, random.Random(seed)), weights)
        try:
            zk.saving.load_model(path)
        except ZooKerasError as error:
            assert str(path) in str(error)


def test_wrong_values_in_an_old_configuration_are_typed_errors(tmp_path):
    path = tmp_path / "old.h5"
    for seed in range(60):
        rng = random.Random(seed)
        path.write_bytes((DATA / "keras2" / "nested.h5").read_bytes())
        with h5py.File(path, "a") as file:
            key = rng.choice(["model_config", "model_config", "training_config"])
            text = json.dumps(distorted(json.loads(file.attrs[key]), rng))
            del file.attrs[key]
            file.attrs[key] = text
        try:
            zk.saving.load_model(path)
        except ZooKerasError as error:
            assert str(path) in str(error)


# ---- no model at all -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".weights.h5"])
@pytest.mark.parametrize(
    "data", [b"", b"PK", b"some text\n" * 50, b"\x89HDF\r\n\x1a\n", b"\0" * 999]
)
def test_what_is_no_model_is_a_file_error(suffix, data, tmp_path):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    model = dense()
    for load in (zk.saving.load_model, model.load_weights):
        with pytest.raises(FileError, match="model"):
            load(path)


def test_directories_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "folder.keras").mkdir()
    for path in (tmp_path / "pipe.h5", tmp_path / "folder.keras", "/dev/zero", "/dev/stdin"):
        with pytest.raises(FileError, match="a directory or device"):
            zk.saving.load_model(path)


# ---- HDF5 ------------------------------------------------------------------------------------


def dense():
    return zk.Sequential([layers.Input((4,)), layers.Dense(3, name="d")], name="m")


@pytest.fixture
def elsewhere(tmp_path):
    """A file with arrays of the right shapes that no other file may lead to."""
    path = tmp_path / "elsewhere.h5"
    with h5py.File(path, "w") as file:
        file["kernel"], file["bias"] = np.ones((4, 3), "f4"), np.ones(3, "f4")
        file.create_group("vars")["0"] = np.ones((4, 3), "f4")
        file["vars/1"] = np.ones(3, "f4")
    return path


def external_link(group, elsewhere):
    group["0"] = h5py.ExternalLink(elsewhere, "/kernel")


def soft_link(group, elsewhere):
    group.file["hidden"] = np.ones((4, 3), "f4")
    group["0"] = h5py.SoftLink("/hidden")


def soft_link_to_external_link(group, elsewhere):
    group.file["way"] = h5py.ExternalLink(elsewhere, "/")
    group["0"] = h5py.SoftLink("/way/kernel")


def endless_link(group, elsewhere):
    group["0"] = h5py.SoftLink(f"{group.name}/0")


def virtual_dataset(group, elsewhere):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(elsewhere, "kernel", shape=(4, 3))
    group.create_virtual_dataset("0", layout)


def external_storage(group, elsewhere):
    group.create_dataset("0", (4, 3), "f4", external=[(str(elsewhere), 0, 48)])


def huge_dataset(group, elsewhere):
    group.create_dataset("0", (10**9, 10**6), "f4", chunks=(64, 64))


def huge_chunk(group, elsewhere):
    group.create_dataset(
        "0", (4, 3), "f4", chunks=(1 << 15, 1 << 14), maxshape=(None, None), compression="gzip"
    )


def texts(group, elsewhere):
    group["0"] = np.full((4, 3), b"text")


def compound(group, elsewhere):
    group["0"] = np.zeros((4, 3), [("a", "f4"), ("b", "f4")])


def a_group(group, elsewhere):
    group.create_group("0")


def nothing(group, elsewhere):
    group.create_dataset("0", dtype="f4", data=h5py.Empty("f4"))


HOSTILE = [
    external_link, soft_link, soft_link_to_external_link, endless_link, virtual_dataset,
    external_storage, huge_dataset, huge_chunk, texts, compound, a_group, nothing,
]  # fmt: skip


@pytest.mark.parametrize("spoil", HOSTILE)
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_a_hostile_array_is_refused_and_changes_nothing(spoil, suffix, elsewhere, tmp_path):
    model = dense()
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    spoil_kernel(path, spoil, elsewhere)
    before = model.get_weights()
    assert isinstance(assert_small(lambda: model.load_weights(path)), FileError)
    assert_unchanged(model, before)
    if suffix != ".weights.h5":
        assert isinstance(assert_small(lambda: zk.saving.load_model(path)), FileError)


def spoil_kernel(path, spoil, elsewhere):
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as given:
            config, data = given.read("config.json"), io.BytesIO(given.read("model.weights.h5"))
        with h5py.File(data, "a") as file:
            spoil_array(file["layers/dense/vars"], "0", spoil, elsewhere)
        archive(path, config.decode(), data.getvalue())
        return
    with h5py.File(path, "a") as file:
        if "model_weights" in file:
            spoil_array(file["model_weights/d/m/d"], "kernel", spoil, elsewhere)
        else:
            spoil_array(file["layers/dense/vars"], "0", spoil, elsewhere)


def spoil_array(group, name, spoil, elsewhere):
    del group[name]
    spoil(group, elsewhere)
    if name != "0":
        group.move("0", name)


@pytest.mark.parametrize("name", ["/elsewhere/kernel", "../x", "d", "", "m/d/kernel/more"])
def test_names_of_weights_lead_nowhere_else(name, elsewhere, tmp_path):
    model, path = dense(), tmp_path / "model.h5"
    model.save(path)
    with h5py.File(path, "a") as file:
        file["model_weights/d"].attrs["weight_names"] = [name, "m/d/bias"]
        file["model_weights/elsewhere"] = h5py.ExternalLink(elsewhere, "/")
    before = model.get_weights()
    with pytest.raises(FileError):
        model.load_weights(path)
    assert_unchanged(model, before)


def test_groups_of_another_file_are_refused(elsewhere, tmp_path):
    model, path = dense(), tmp_path / "model.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["layers/dense"]
        file["layers/dense"] = h5py.ExternalLink(elsewhere, "/")
    with pytest.raises(FileError, match="links to other places"):
        model.load_weights(path)


@pytest.mark.parametrize("attribute", ["model_config", "layer_names", "weight_names"])
def test_a_text_that_claims_gigabytes_is_refused_before_it_is_read(attribute, tmp_path):
    path = tmp_path / "model.h5"
    data = bytearray((DATA / "files" / "mlp.h5").read_bytes())
    with h5py.File(io.BytesIO(data)) as file:
        group = {"layer_names": file["model_weights"], "model_config": file}
        value = group.get(attribute, file["model_weights/classes"]).attrs[attribute]
    length = struct.pack("<I", len(value if isinstance(value, str) else value[0]))
    assert _make_long(data, length) > 0
    path.write_bytes(data)
    with pytest.raises(FileError, match="claim to be longer than the file"):
        zk.saving.load_model(path)


def _make_long(data, length):
    """Makes each text of this length claim 3.7 GB; returns how many there are."""
    heaps = [m.start() for m in re.finditer(b"GCOL", data)]
    found = [m.start() for h in heaps for m in re.finditer(
        re.escape(length + struct.pack("<Q", h)), data)]  # fmt: skip
    for place in found:
        data[place : place + 4] = b"\0\0\0\xdd"
    return len(found)


@pytest.mark.parametrize("size", [0, 2**64 - 16, 2**63])
def test_a_heap_of_texts_that_goes_in_circles_is_read_once(size, tmp_path):
    path = tmp_path / "model.h5"
    data = bytearray((DATA / "files" / "mlp.h5").read_bytes())
    for heap in re.finditer(b"GCOL", bytes(data)):
        data[heap.start() + 24 : heap.start() + 32] = struct.pack("<Q", size)  # of the first text
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"model\.h5"):
        zk.saving.load_model(path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("track_order", [False, True])
def test_files_with_object_headers_of_both_kinds_open(libver, track_order, tmp_path):
    model = dense()
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "new.h5", "w", libver=libver, track_order=track_order) as new:
        with h5py.File(tmp_path / "model.h5") as old:
            for key in old:
                old.copy(old[key], new, key)
            for key, value in old.attrs.items():
                new.attrs[key] = value
        new["model_weights"].attrs["layer_names"] = ["d"]
    assert_unchanged(zk.saving.load_model(tmp_path / "new.h5"), model.get_weights())


ATTRIBUTES = [
    ("model_config", 7, FileError), ("model_config", [b"a", b"b"], FileError),
    ("model_config", "", FileError), ("model_config", "[" * 100_000, FileError),
    ("model_config", b"\xff\xfe", FileError), ("model_config", "null", ConfigError),
    ("model_config", '{"class_name": "Sequential", "config": {"layers": 3}}', ConfigError),
    ("model_config", h5py.Empty("S10"), FileError), ("training_config", "{", FileError),
    ("training_config", "[3]", ConfigError),
    ("training_config", '{"loss": {"class_name": 3}}', ConfigError),
    ("training_config", 3.5, FileError), ("keras_version", 3, FileError),
    ("keras_version", h5py.Empty("f4"), FileError),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "error"), ATTRIBUTES, ids=range(len(ATTRIBUTES)))
def test_attributes_of_another_kind_are_typed_errors(key, value, error, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((DATA / "keras2" / "plain.h5").read_bytes())
    with h5py.File(path, "a") as file:
        del file.attrs[key]
        file.attrs[key] = value
    with pytest.raises(error, match=r"model\.h5"):
        zk.saving.load_model(path)


# ---- archives --------------------------------------------------------------------------------


@pytest.mark.parametrize("bomb", ["config.json", "model.weights.h5", "metadata.json"])
def test_a_zip_bomb_is_refused_before_it_unpacks(bomb, tmp_path):
    members = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""}
    members[bomb] = b"0" * (80 << 20)
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    del members
    error = assert_small(lambda: zk.saving.load_model(tmp_path / "m.keras"))
    assert isinstance(error, FileError) and "claims" in str(error)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "metadata.json"])
def test_packed_bytes_beyond_the_archive_are_refused_before_they_are_read(name, tmp_path):
    path = tmp_path / "m.keras"
    dense().save(path)
    claim(path, name, 1 << 30)
    error = assert_small(lambda: zk.saving.load_model(path))
    assert isinstance(error, FileError) and "claims" in str(error)


def test_members_are_never_unpacked_to_disk(tmp_path):
    model, path = dense(), tmp_path / "in" / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path, "a") as made:
        for name in ("../evil", "/tmp/../evil", "assets/../../evil", "config.json/../evil"):
            made.writestr(name, b"evil")
    assert len(zk.saving.load_model(path).weights) == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "model.keras"]


def test_archives_that_lack_or_spoil_a_member_are_file_errors(tmp_path):
    path = tmp_path / "m.keras"
    dense().save(path)
    with zipfile.ZipFile(path) as given:
        members = {name: given.read(name) for name in given.namelist()}
    for name in ("config.json", "model.weights.h5"):
        for spoiled in (None, b"", b"\xff" * 9, members[name][:-9]):
            with zipfile.ZipFile(path, "w") as made:
                for other, data in (members | {name: spoiled}).items():
                    if data is not None:
                        made.writestr(other, data)
            with pytest.raises(FileError, match=r"m\.keras"):
                zk.saving.load_model(path)


HUGE = b"\xff\xff\xff\x7f"
FALSE = [{10: b"\x63\x00"}, {8: b"\x01\x00"}, {24: HUGE}, {20: HUGE, 24: HUGE}, {42: HUGE}]


@pytest.mark.parametrize("change", FALSE, ids=range(len(FALSE)))
def test_a_false_directory_of_the_archive_is_a_file_error(change, tmp_path):
    """Unknown compression, encryption, false sizes (unpacked, both), a false place."""
    path = tmp_path / "m.keras"
    dense().save(path)
    data = bytearray(path.read_bytes())
    for place in _directory(data):
        for offset, value in change.items():
            data[place + offset : place + offset + len(value)] = value
    path.write_bytes(data)
    assert isinstance(assert_small(lambda: zk.saving.load_model(path)), FileError)


def _directory(data):
    """Where the entries of the archive's directory begin."""
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        yield place
        place = data.find(b"PK\x01\x02", place + 1)


# ---- what a configuration may name -------------------------------------------------------------


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


CODE = [
    layer("os", "system", {"command": "touch evil"}), layer("subprocess", "Popen"),
    layer("builtins", "eval"), layer("keras.utils", "get_file", {"origin": "http://localhost"}),
    layer("keras.saving", "load_model", {"filepath": "x"}), layer("zoo_keras.native", "aligned"),
    layer("keras.layers", "importlib"), layer("keras.models", "load_model"),
    layer("keras.layers", "Dense", {"units": 1, "activation": function("os", "system")}),
    layer("keras.layers", "Activation", {"activation": function("keras.models", "load_model")}),
    layer("keras.layers", "Lambda", {"function": function("os", "system")}),
    layer("keras.layers", "Lambda", {"function": {"class_name": "__lambda__", "config": {
        "code": "", "defaults": None, "closure": None}}}),
    layer("keras.layers", "Dense", {"units": 1, "kernel_initializer": layer("os", "PathLike")}),
    layer("keras.layers", "Activation", {"activation": {"class_name": "__numpy__", "config": {
        "value": ["x"], "dtype": "S2000000000"}}}),
]  # fmt: skip


@pytest.mark.parametrize("safe_mode", [True, False])
@pytest.mark.parametrize("entry", CODE, ids=range(len(CODE)))
def test_a_configuration_reaches_no_code(entry, safe_mode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = layer("keras.layers", "InputLayer", {"batch_shape": [None, 2]})
    config = layer("keras", "Sequential", {"name": "s", "layers": [start, entry]})
    path = archive(tmp_path / "m.keras", config)
    load = zk.saving.load_model
    assert isinstance(assert_small(lambda: load(path, safe_mode=safe_mode)), ConfigError)
    assert os.listdir(tmp_path) == ["m.keras"]


def test_a_model_nested_too_deeply_is_a_config_error(tmp_path):
    config = layer("keras.layers", "Dense", {"units": 1})
    for _ in range(200):
        config = layer("keras", "Sequential", {"name": "s", "layers": [config]})
    with pytest.raises(ConfigError, match="nested too deeply"):
        zk.saving.load_model(archive(tmp_path / "m.keras", config))


@pytest.mark.parametrize("units", [10**15, 2**62, 10**30])
def test_more_weights_than_memory_is_a_file_error(units, tmp_path):
    start = layer("keras.layers", "InputLayer", {"batch_shape": [None, 1000]})
    dense = layer("keras.layers", "Dense", {"units": units})
    config = layer("keras", "Sequential", {"name": "s", "layers": [start, dense]})
    with pytest.raises(FileError):
        zk.saving.load_model(archive(tmp_path / "m.keras", config))
