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

ENDINGS = (".keras", ".h5", ".hdf5")


class Folder:
    """A folder with the methods of ZipFile that reading a model needs."""

    def __init__(self, path: str) -> None:
        self.filename = path

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: Any) -> None:
        """Nothing is open."""

    def namelist(self) -> list[str]:
        """The files in it, by their paths below it."""
        top = Path(self.filename)
        return [
            path.relative_to(top).as_posix()
            for path in sorted(top.rglob("*"))
            if path.is_file() and not path.is_symlink()
        ]

    def getinfo(self, name: str) -> zipfile.ZipInfo:
        """The size of a file, which is packed in no way."""
        info = zipfile.ZipInfo(name)
        info.file_size = info.compress_size = os.path.getsize(Path(self.filename, name))
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
    target = Path(os.path.realpath(path))
    if target.exists() and not (overwrite and target.joinpath("config.json").is_file()):
        raise FileError(
            f"{path}: something else has this name, or overwrite=False. Choose another name."
        )
    draft = target.with_name(f".zoo_keras-{uuid.uuid4().hex}")
    draft.mkdir(parents=True)
    try:
        yield str(draft)
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
