"""Files of layers in a `.keras` archive, such as vocabularies: `assets/<path of the layer>/<name>`.

In: a model and an archive being written, or the members of one that was read. Out: the members, or
the layers with what they kept in them. A layer sees a folder of its own and nothing of the archive.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from zoo_keras.errors import FileError
from zoo_keras.models.model import Model
from zoo_keras.saving.weights_tree import walk

PREFIX = "assets/"


def write(model: Model, archive: zipfile.ZipFile) -> None:
    """Add the files that layers write in `save_assets(folder)`."""
    for path, layer in _having(model, "save_assets"):
        with tempfile.TemporaryDirectory(prefix="zoo_keras-") as folder:
            layer.save_assets(folder)
            for file in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                archive.write(file, f"{_place(path)}{file.relative_to(folder).as_posix()}")


def restore(model: Model, members: dict[str, bytes]) -> None:
    """Give the layers their files back, by `load_assets(folder)`."""
    for path, layer in _having(model, "load_assets"):
        start = _place(path)
        found = {n[len(start) :]: data for n, data in members.items() if n.startswith(start)}
        with tempfile.TemporaryDirectory(prefix="zoo_keras-") as folder:
            for name, data in found.items():
                place = Path(folder, _inside(name))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            _load(layer, folder, start)


def _place(path: str) -> str:
    """The folder of a layer; the model's own files lie at the top."""
    return f"{PREFIX}{path}/" if path else PREFIX


def _load(layer: Any, folder: str, place: str) -> None:
    try:
        layer.load_assets(folder)
    except FileError:
        raise
    except ValueError as error:
        raise FileError(
            f"the archive's {place} does not fit the layer. Received: {error}. The file is damaged."
        ) from error


def _having(model: Model, method: str) -> Iterator[tuple[str, Any]]:
    return ((path, layer) for path, layer in walk(model) if hasattr(layer, method))


def _inside(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise FileError(
            f"the archive has an asset that lies outside of its folder. Received: {name!r}. "
            "The file is hostile."
        )
    return name
