"""HDF5 files opened with care: what a hostile or truncated file could do ends in a FileError.

In: paths and groups. Out: arrays of the expected shape, lists of names. Knows no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_keras.errors import FileError

ATTRIBUTE_LIMIT = 64512  # bytes that one HDF5 attribute may have


@contextmanager
def open_for_reading(path: Any, name: str = "") -> Iterator[Any]:
    """An h5py.File; anything that is no HDF5 file, or cut off, is a FileError."""
    import h5py

    label = name or str(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(
            f"{label}: not a readable HDF5 file. Received: {_short(error)}. The file is cut off, "
            "damaged, or of another kind."
        ) from None
    try:
        with file:
            yield file
    except (OSError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{label}: damaged HDF5 file. Received: {_short(error)}.") from None


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


def child(group: Any, name: str, kind: str) -> Any:
    """A group or dataset inside the file itself; links that lead out of the file are refused."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise FileError(f"{group.file.filename}: {group.name} holds no {kind} named {name!r}.")
    for part in _prefixes(name):
        if isinstance(group.get(part, getlink=True), h5py.ExternalLink):
            raise FileError(
                f"{group.file.filename}: {name!r} is a link to another file, which is refused. "
                "Copy the data into one file."
            )
    found = group[name]
    if not isinstance(found, h5py.Group if kind == "group" else h5py.Dataset):
        raise FileError(f"{group.file.filename}: {name!r} is not a {kind}. The file is damaged.")
    return found


def _prefixes(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def read_array(group: Any, name: str, shape: Sequence[int] | None = None) -> np.ndarray:
    """A dataset's values. Its size is checked before memory is taken.

    Args:
        shape: what it must be; None accepts any shape that the file really holds.
    """
    dataset = child(group, name, "dataset")
    if dataset.external:
        raise FileError(f"{group.file.filename}: {name!r} keeps its data in other files; refused.")
    if shape is not None and tuple(dataset.shape) != tuple(shape):
        raise FileError(
            f"{group.file.filename}: {dataset.name} has shape {tuple(dataset.shape)}, expected "
            f"{tuple(shape)}. The file belongs to another model."
        )
    if shape is None and dataset.nbytes > max(dataset.id.get_storage_size() * 1100, 1 << 20):
        raise FileError(
            f"{group.file.filename}: {dataset.name} claims {dataset.nbytes} bytes but stores "
            f"{dataset.id.get_storage_size()}. The file is damaged or hostile."
        )
    if dataset.dtype.kind not in "fiub":
        raise FileError(f"{group.file.filename}: {dataset.name} holds {dataset.dtype}, no numbers.")
    return np.asarray(dataset[()])


def text(value: Any) -> str:
    """An attribute as str; files hold str, bytes or numpy strings."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def read_names(group: Any, name: str) -> list[str]:
    """A list of names kept as an attribute, perhaps cut in numbered pieces."""
    if name in group.attrs:
        return [text(n) for n in group.attrs[name]]
    found: list[str] = []
    for piece in itertools.count():
        if f"{name}{piece}" not in group.attrs:
            return found
        found += [text(n) for n in group.attrs[f"{name}{piece}"]]
    return found


def write_names(group: Any, name: str, names: Sequence[str]) -> None:
    """Write names as an attribute, in numbered pieces when they are too long for one."""
    data = np.asarray([n.encode() for n in names]) if names else np.asarray([])
    pieces = 1
    while any(p.nbytes > ATTRIBUTE_LIMIT for p in np.array_split(data, pieces)):
        pieces += 1
    if pieces == 1:
        group.attrs[name] = data
        return
    for i, part in enumerate(np.array_split(data, pieces)):
        group.attrs[f"{name}{i}"] = part
