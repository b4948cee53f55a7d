"""A `.keras` archive as a folder: the same members, as files of their own.

In: the members as an archive has them, or a folder. Out: the folder, written under another name
first, or what reads like a ZipFile. Links are no members.
"""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo_keras.errors import ConfigError, FileError
from zoo_keras.saving import files

ENDINGS = (".keras", ".h5", ".hdf5")
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5", "assets"}


class Folder:
    """A folder with the methods of ZipFile that reading a model needs."""

    def __init__(self, path: str) -> None:
        self.filename = path
        top = Path(path)
        self._sizes = {
            found.relative_to(top).as_posix(): found.stat().st_size
            for found in sorted(top.rglob("*"))
            if found.is_file() and not found.is_symlink()
        }

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: Any) -> None:
        """Nothing is open."""

    def namelist(self) -> list[str]:
        """The files in it when it was opened, by their paths below it."""
        return list(self._sizes)

    def getinfo(self, name: str) -> zipfile.ZipInfo:
        """The size of a file, which is packed in no way. KeyError for what is no member."""
        info = zipfile.ZipInfo(name)
        info.file_size = info.compress_size = self._sizes[name]
        return info

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """The bytes of a file."""
        return Path(self.filename, info.filename).read_bytes()


@contextmanager
def writable(path: str, overwrite: bool) -> Iterator[str]:
    """A new folder to write to, which becomes `path` when the block ends well."""
    if path.endswith(ENDINGS):
        raise ConfigError(
            "save_model: the path of a folder (zipped=False) should not end in "
            f"{' or '.join(ENDINGS)}. Received: {path!r}. Choose another name."
        )
    if files.is_remote(path):
        raise ConfigError(
            f"save_model: folders (zipped=False) are local ones. Received: {path!r}. Save a .keras "
            "file there."
        )
    target = Path(os.path.realpath(path))
    if target.exists() and not (overwrite and _is_model(target)):
        raise FileError(
            f"{path}: this name is taken. Received: overwrite={overwrite}, where only a model's "
            "folder is overwritten. Choose another name."
        )
    draft, old = (target.with_name(f".zoo_keras-{uuid.uuid4().hex}") for _ in range(2))
    draft.mkdir(parents=True)
    try:
        yield str(draft)
        if target.exists():
            target.rename(old)
        draft.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)


def _is_model(folder: Path) -> bool:
    """Whether a folder holds the members of an archive, and nothing that would be lost with it."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return "config.json" in names and names <= _MEMBERS
