"""get_file: a file of the web, fetched once, checked, and unpacked without trust.

In: an address. Out: a path in the cache, which is Keras' own (~/.keras, or KERAS_HOME). Files are
written under a temporary name and renamed when they are whole and their hash is right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from zoo_keras.errors import ConfigError, FileError

_TIMEOUT = 60  # seconds without a byte


def cache_folder() -> Path:
    """Where Keras keeps what it fetched: KERAS_HOME, or ~/.keras."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def get_file(
    fname: Any = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: Any = None,
    force_download: bool = False,
) -> str:
    """The path of a file, fetched from `origin` unless it is in the cache with the right hash.

    Args:
        fname: its name there; None takes that of the address.
        file_hash: sha256, or md5 by its length; checked after fetching, and of what is there.
        extract, untar: unpack the archive, and return the folder.

    Raises FileError when it can't be fetched (the message says where to place it), has another
    hash, or an archive wants to write elsewhere. Source: keras.utils.get_file.
    """
    if origin is None:
        raise ConfigError("get_file: no address. Received: origin=None. Pass the file's URL.")
    given = None if fname is None else str(fname)
    name = given or Path(urllib.parse.urlsplit(origin).path).name
    if not name or os.sep in name:
        raise ConfigError(
            f"get_file: fname is a name without folders. Received: {name!r}. Use cache_dir and "
            "cache_subdir for the folder."
        )
    folder = Path(cache_dir or cache_folder()).expanduser() / cache_subdir
    target, unpacked = _places(folder, name, given, extract or untar)
    wanted = md5_hash if file_hash is None and md5_hash else file_hash
    algorithm = "md5" if file_hash is None and md5_hash else hash_algorithm
    if force_download or not target.exists() or not _is(target, wanted, algorithm):
        _fetch(origin, target, wanted, algorithm)
    if unpacked is None:
        return str(target)
    _unpack(target, unpacked, ["tar"] if untar else archive_format)
    return str(unpacked)


def _places(folder: Path, name: str, given: Any, archive: bool) -> tuple[Path, Path | None]:
    """Of the file, and of the folder for what is in it."""
    if not archive:
        return folder / name, None
    if given and "." in name:
        return folder / name, folder / f"{name.partition('.')[0]}_extracted"
    return folder / f"{name}_archive", folder / name


def _is(path: Path, wanted: str | None, algorithm: str) -> bool:
    if wanted is None:
        return True
    kind = algorithm if algorithm != "auto" else ("sha256" if len(wanted) == 64 else "md5")
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() == wanted


def _fetch(origin: str, target: Path, wanted: str | None, algorithm: str) -> None:
    if urllib.parse.urlsplit(origin).scheme not in ("http", "https", "ftp", "file"):
        raise ConfigError(
            f"get_file: the address is none of http, https, ftp or file. Received: {origin!r}. "
            "Pass such a URL."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _download(origin, file, target)
        if not _is(Path(temporary), wanted, algorithm):
            raise FileError(
                f"get_file: Incomplete or corrupted file. Received: {origin}, whose hash is not "
                f"{wanted}. It was not kept; check the address."
            )
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _download(origin: str, file: Any, target: Path) -> None:
    sys.stderr.write(f"Downloading {origin}\n")
    try:
        with urllib.request.urlopen(origin, timeout=_TIMEOUT) as answer:
            shutil.copyfileobj(answer, file, 1 << 20)
    except OSError as error:
        raise FileError(
            f"get_file: {target.name} could not be fetched ({error}). Received: {origin}. Fetch it "
            f"elsewhere and place it at {target}."
        ) from error


def _unpack(archive: Path, folder: Path, formats: Any) -> None:
    """What is in an archive, renamed into place when it is whole."""
    if folder.exists():
        return
    wanted = (
        ("tar", "zip")
        if formats == "auto"
        else ([formats] if isinstance(formats, str) else formats)
    )
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    try:
        if "tar" in wanted and tarfile.is_tarfile(archive):
            _untar(archive, temporary)
        elif "zip" in wanted and zipfile.is_zipfile(archive):
            _unzip(archive, temporary)
        else:
            raise FileError(
                f"get_file: the file is no archive of {', '.join(wanted or ())}. Received: "
                f"{archive}. Leave out extract."
            )
        os.chmod(temporary, 0o755)
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _inside(name: str, archive: Path) -> None:
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\\" in name:
        raise FileError(
            f"get_file: an archive may only write below its folder. Received: {archive} with an "
            f"entry {name!r}. Don't use it."
        )


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.isfile() or m.isdir()]
        for member in members:
            _inside(member.name, archive)
        for member in members:
            _write(folder / member.name, tar.extractfile(member) if member.isfile() else None)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            _inside(entry.filename, archive)
        for entry in packed.infolist():
            if entry.is_dir():
                _write(folder / entry.filename, None)
            elif not stat.S_ISLNK(entry.external_attr >> 16):
                with packed.open(entry) as source:
                    _write(folder / entry.filename, source)


def _write(path: Path, source: Any) -> None:
    """A plain file or folder: links, owners and modes of the archive are left behind."""
    if source is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
