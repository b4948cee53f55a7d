"""`.keras` files: a zip of metadata.json, config.json and model.weights.h5."""

from __future__ import annotations

import datetime
import io
import json
import zipfile
from typing import Any

from zoo_keras.errors import FileError
from zoo_keras.saving import hdf5, weights_tree
from zoo_keras.saving.h5 import KERAS_VERSION
from zoo_keras.saving.serialization import (
    deserialize_keras_object,
    safe_mode_scope,
    serialize_keras_object,
)

MAX_JSON = 256 << 20  # bytes of config.json
MAX_RATIO = 200  # unpacked to packed size of a member; deflate cannot be honest far beyond


def save(model: Any, path: str) -> None:
    """Write the archive."""
    import h5py

    saved = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    metadata = {"keras_version": KERAS_VERSION, "date_saved": saved}
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        weights_tree.write(model, file)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(serialize_keras_object(model)))
        archive.writestr("model.weights.h5", weights.getvalue())


def load(path: str, name: str, custom_objects: Any, compile: bool, safe_mode: bool) -> Any:
    """The model of an archive. Code in the file runs only with safe_mode=False."""
    with open_archive(path, name) as archive:
        config = _json(archive, "config.json", name)
        if not isinstance(config, dict):
            raise FileError(f"{name}: config.json does not describe a model. Received: {config!r}.")
        if not compile:
            config = {k: v for k, v in config.items() if k != "compile_config"}
        with safe_mode_scope(safe_mode):
            model = deserialize_keras_object(config, custom_objects, safe_mode=safe_mode)
        read_weights(archive, name, model, weights_only=not compile)
    return model


def read_weights(
    archive: Any, name: str, model: Any, skip_mismatch: bool = False, weights_only: bool = True
) -> None:
    """Set the variables from the archive's weights."""
    data = io.BytesIO(_member(archive, "model.weights.h5", name))
    with hdf5.open_for_reading(data, name) as file:
        weights_tree.read(model, file, skip_mismatch, weights_only)


def open_archive(path: str, name: str) -> zipfile.ZipFile:
    """The archive, opened; FileError when it is none."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise FileError(
            f"{name}: not a .keras archive. Received: {error}. The file is cut off or of another "
            "kind."
        ) from None


def _json(archive: Any, member: str, name: str) -> Any:
    try:
        return json.loads(_member(archive, member, name, MAX_JSON))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{name}: {member} is no JSON ({error}). The file is damaged.") from None


def _member(archive: Any, member: str, name: str, limit: int | None = None) -> bytes:
    """A member's bytes; claims about its size are checked before memory is taken."""
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise FileError(
            f"{name}: the archive holds no {member}. Received: {archive.namelist()[:8]}. "
            "It is no Keras model."
        ) from None
    too_dense = info.file_size > MAX_RATIO * max(info.compress_size, 1) + (1 << 20)
    if too_dense or (limit and info.file_size > limit):
        raise FileError(
            f"{name}: {member} claims {info.file_size} bytes out of {info.compress_size}. The "
            "archive is damaged or hostile."
        )
    try:
        return bytes(archive.read(info))
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise FileError(f"{name}: {member} cannot be read ({error}). The file is damaged.") from None
