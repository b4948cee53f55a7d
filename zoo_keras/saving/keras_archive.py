"""`.keras` files: a zip of metadata.json, config.json and model.weights.h5.

In: a model, or a file. Out: the file, or the model. Members are read by these three names into
memory, never unpacked to disk; those of `assets/` go to the layers that have some.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo_keras.configs.serialization import object_sharing, serialize_keras_object
from zoo_keras.errors import FileError, ZooKerasError
from zoo_keras.models.model import Model
from zoo_keras.saving import assets, config_json, hdf5, int8_layers, weights_tree
from zoo_keras.saving.folder import Folder
from zoo_keras.saving.keras2 import without_modules
from zoo_keras.saving.layer_groups import KERAS_VERSION, Plan, assign
from zoo_keras.saving.legacy import modern_config
from zoo_keras.saving.legacy_training import modern_training_config
from zoo_keras.saving.precision import in_own_precision

Archive = zipfile.ZipFile | Folder
WEIGHTS = "model.weights.h5"
# Bytes that a member may unpack to whatever its packed size, and for each packed one.
FREE_BYTES = 1 << 20
FREE_VALUES = 50_000  # that a JSON may have whatever its packed size


def save_folder(model: Model, folder: str) -> None:
    """Write the members of an archive as files into a folder."""
    packed = io.BytesIO()
    save(model, packed)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)


def save(model: Model, path: Any) -> None:
    """Write the archive to a path or an open file."""
    import h5py

    saved = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    metadata = {"keras_version": KERAS_VERSION, "date_saved": saved}
    with object_sharing():
        config = json.dumps(serialize_keras_object(model))
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        weights_tree.write(model, file)
        int8_layers.write(model, file)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", config)
        archive.writestr(WEIGHTS, weights.getbuffer())
        assets.write(model, archive)


def load(path: str, label: str, custom_objects: Any, compile: bool, safe_mode: bool) -> Any:
    """The model of an archive. Code in the file runs only with safe_mode=False."""
    with _reading(path, label) as archive:
        config = _json(archive, label, "config.json")
        metadata = _metadata(archive, label)
        weights = _member(archive, WEIGHTS)
        names = [n for n in archive.namelist() if n.startswith(assets.PREFIX) and n[-1] != "/"]
        files = {name: _member(archive, name) for name in names}
    with config_json.custom_names(custom_objects, safe_mode), config_json.reading(label):
        config = _modern(in_own_precision(config, label), metadata)
        if not compile and isinstance(config, dict):
            config = {k: v for k, v in config.items() if k != "compile_config"}
        config_json.check_names(config)
        model = config_json.make_model(config, _numbers(weights, label))
    with hdf5.open_for_reading(io.BytesIO(weights), label) as file:
        int8_layers.restore(model, file, label)
    assign(_plan(weights, label, model, state=compile))
    with config_json.reading(label):
        assets.restore(model, files)
    return model


def weights_plan(path: str, label: str, model: Model, skip_mismatch: bool) -> Plan:
    """The stored array for each variable of a model that exists already."""
    with _reading(path, label) as archive:
        weights = _member(archive, WEIGHTS)
    return _plan(weights, label, model, skip_mismatch)


def weights_of(path: str, label: str) -> bytes:
    """The HDF5 file of weights in an archive."""
    with _reading(path, label) as archive:
        return _member(archive, WEIGHTS)


def _numbers(weights: bytes, label: str) -> int:
    """How many numbers there are for weights; none where the file is damaged, as reading tells."""
    try:
        with hdf5.open_for_reading(io.BytesIO(weights), label) as file:
            return hdf5.count_numbers(file)
    except FileError:
        return 0


def _plan(weights: bytes, label: str, model: Model, skip: bool = False, state: bool = True) -> Plan:
    with hdf5.open_for_reading(io.BytesIO(weights), label) as file:
        return weights_tree.plan(file, model, skip, state)


def _modern(config: Any, metadata: Any) -> Any:
    """Keras 2.12 and later wrote archives too, with configurations of their own."""
    version = str(metadata.get("keras_version", "3")) if isinstance(metadata, dict) else "3"
    if not version.startswith("2."):
        return config
    modern = modern_config(without_modules(config, ("keras.", "tf_keras.")), 2)
    if compiled := modern.get("compile_config"):
        training = {**compiled, "optimizer_config": compiled.get("optimizer")}
        modern["compile_config"] = modern_training_config(training)
    return modern


# ---- the archive ---------------------------------------------------------------------------------


@contextmanager
def _reading(path: str, label: str) -> Iterator[Archive]:
    """The archive, opened; whatever is wrong with it is a FileError."""
    try:
        with Folder(path) if os.path.isdir(path) else zipfile.ZipFile(path) as archive:
            yield archive
    except ZooKerasError as error:
        raise type(error)(f"{label}: {error}" if label not in str(error) else str(error)) from None
    except Exception as error:  # zipfile lets errors of its decompressors and of struct through
        raise FileError(
            f"{label}: not a readable .keras archive. Received: {error!r}. The file is cut off, "
            "damaged, or of another kind; get a fresh copy."
        ) from None


def _member(archive: Archive, name: str) -> bytes:
    """A member's bytes; claims about its size are checked before memory is taken."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        names = archive.namelist()[:8]
        raise FileError(
            f"the archive holds no {name}. Received: {names}. It is no model."
        ) from None
    packed, zipped = info.compress_size, isinstance(archive, zipfile.ZipFile)
    whole = os.path.getsize(str(archive.filename)) if zipped else packed
    if packed > whole or info.file_size > hdf5.LARGEST_RATIO * packed + FREE_BYTES:
        raise FileError(
            f"{name} claims more than the archive can hold. Received: {info.file_size} bytes out "
            f"of {packed}, in {whole} bytes. The archive is damaged or hostile."
        )
    return archive.read(info)


def _json(archive: Archive, label: str, name: str) -> Any:
    """A member's JSON, whose values are counted before they become objects."""
    text = _member(archive, name)
    values, packed = text.count(b",") + 1, archive.getinfo(name).compress_size
    if values > FREE_VALUES + packed:
        raise FileError(
            f"{name} claims more than the archive can hold. Received: {values} values out of "
            f"{packed} bytes. The archive is damaged or hostile."
        )
    return config_json.parse(text, label, name)


def _metadata(archive: Archive, label: str) -> Any:
    present = "metadata.json" in archive.namelist()
    return _json(archive, label, "metadata.json") if present else {}
