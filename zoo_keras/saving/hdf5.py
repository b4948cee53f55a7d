"""HDF5 files opened with care: what a hostile or truncated file could do ends in a FileError.

In: paths and groups. Out: arrays and texts no larger than the file can hold, lists of names.
Nothing outside the file is ever read. Knows no model.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_keras.bfloat16 import BFLOAT16, bits_of, float_of
from zoo_keras.errors import FileError, ZooKerasError
from zoo_keras.saving.hdf5_header import read_texts

ATTRIBUTE_LIMIT = 64512  # bytes that one HDF5 attribute may have
_REFERENCE = 16  # bytes of the attribute that a text of variable length takes
LARGEST_RATIO = 20  # of unpacked to packed bytes; honest weights do not shrink so far
_FREE_BYTES = 1 << 20  # that anything may unpack to
_LARGEST_CHUNK = 1 << 28  # bytes that one chunk of a dataset may unpack to


@contextmanager
def open_for_reading(source: Any, label: str) -> Iterator[Any]:
    """An h5py.File; whatever is wrong with the file is a FileError that calls it `label`.

    Only reading belongs into the block: any other exception there means a damaged file.
    """
    import h5py

    try:
        with h5py.File(source, "r") as file:
            yield file
    except ZooKerasError as error:
        raise type(error)(f"{label}: {error}") from None
    except Warning:
        raise
    except Exception as error:
        raise FileError(
            f"{label}: not a readable HDF5 file. Received: {_short(error)}. The file is cut off, "
            "damaged, or of another kind; get a fresh copy."
        ) from None


@contextmanager
def open_for_writing(path: str) -> Iterator[Any]:
    """A new h5py.File. What HDF5 cannot write, also when it closes the file, is an OSError."""
    import h5py

    try:
        with h5py.File(path, "w") as file:
            yield file
    except RuntimeError as error:  # of closing: "Can't decrement id ref count (..., errno = 28"
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:200]


class Joined:
    """Groups of one name in several files, read as if they were one."""

    def __init__(self, groups: Sequence[Any]) -> None:
        self.groups, self.name = list(groups), groups[0].name if groups else "/"

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.groups)

    def find(self, name: str) -> Any:
        """What `find` finds in one of the files, or the groups of several."""
        import h5py

        found = [item for group in self.groups if (item := find(group, name)) is not None]
        if len(found) > 1 and all(isinstance(item, h5py.Group) for item in found):
            return Joined(found)
        return found[0] if found else None


def find(group: Any, name: str) -> Any:
    """The group or dataset of a path, or None; it must lie inside the file itself.

    Links that lead elsewhere, to other files above all, are a FileError.
    """
    import h5py

    if isinstance(group, Joined):
        return group.find(name)
    found = group
    for part in filter(None, name.split("/")):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise FileError(
                f"{name!r}: links to other places or files are refused. Received: "
                f"{type(link).__name__}. Copy the data into one file."
            )
        found = found[part]
    return found


def place_of(item: Any) -> Any:
    """Where in the file a group or dataset lies: equal for two names of one."""
    import h5py

    return h5py.h5o.get_info(item.id).addr


def child(group: Any, name: str, kind: str) -> Any:
    """What `find` finds. FileError when there is none, or it is not of the kind."""
    import h5py

    found = find(group, name)
    if found is None:
        raise FileError(
            f"{group.name} holds no {kind} {name!r}. Received: {list(group)[:8]}. The file is of "
            "another kind."
        )
    if not isinstance(found, (h5py.Group, Joined) if kind == "group" else h5py.Dataset):
        raise FileError(
            f"{name!r} must be a {kind}. Received: {type(found).__name__}. The file is damaged."
        )
    return found


def read_array(group: Any, name: str, shape: Sequence[int]) -> np.ndarray:
    """A dataset's values; what it claims is checked before memory is taken.

    Args:
        shape: what it must be; FileError otherwise.
    """
    dataset = child(group, name, "dataset")
    if dataset.shape is None or tuple(dataset.shape) != tuple(shape):
        raise FileError(
            f"{dataset.name} must have shape {tuple(shape)}. Received: {dataset.shape}. The file "
            "belongs to another model."
        )
    _check_storage(dataset)
    values = np.asarray(dataset[()])
    return _bfloat16(values) if values.dtype.kind == "V" else values


def write_array(group: Any, name: str, array: np.ndarray) -> None:
    """Keep an array under a name. bfloat16 is two bytes without a type; an attribute says it."""
    if array.dtype.name != BFLOAT16:
        group[name] = array
        return
    made = group.create_dataset(name, data=bits_of(array).view("V2"))
    made.attrs["dtype"] = str(BFLOAT16)


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """Two bytes without a type are bfloat16, the upper half of a float32."""
    return float_of(values.view("<u2"))


def _check_storage(dataset: Any) -> None:
    if dataset.external or dataset.is_virtual:
        raise FileError(
            f"{dataset.name} must lie in this file. Received: external or virtual storage, which "
            "is "
            "refused. Copy the data into one file."
        )
    is_bfloat16 = dataset.dtype == np.dtype("V2")
    if not is_bfloat16 and (dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 16):
        raise FileError(
            f"{dataset.name} must hold numbers. Received: {dataset.dtype}. The file is damaged."
        )
    if dataset.nbytes > _claim(dataset.id.get_storage_size()):
        raise FileError(
            f"{dataset.name} claims more than the file holds. Received: {dataset.nbytes} bytes, "
            f"stored in {dataset.id.get_storage_size()}. The file is damaged or hostile."
        )
    chunk = int(np.prod(dataset.chunks or (), dtype=np.float64)) * dataset.dtype.itemsize
    if chunk > max(_LARGEST_CHUNK, 2 * dataset.nbytes):
        raise FileError(
            f"{dataset.name} has chunks larger than itself. Received: {chunk} bytes. The file is "
            "hostile."
        )


def _claim(stored: int) -> int:
    """The most bytes that so many stored ones may unpack to."""
    return LARGEST_RATIO * stored + _FREE_BYTES


def count_numbers(group: Any) -> int:
    """How many numbers all arrays of a file hold, by their headers."""
    import h5py

    found = 0

    def add(name: bytes) -> None:
        nonlocal found
        item = h5py.h5o.open(group.id, name)
        if isinstance(item, h5py.h5d.DatasetID):
            size, width = math.prod(item.shape or (0,)), max(item.dtype.itemsize, 1)
            found += min(size, _claim(item.get_storage_size()) // width)

    h5py.h5o.visit(group.id, add)
    return found


def _attribute(group: Any, name: str) -> Any:
    """An attribute's value, which cannot be larger than the file is."""
    claim = group.attrs.get_id(name)
    count = 0 if claim.shape is None else math.prod(claim.shape)
    size = count * claim.dtype.itemsize
    if size > group.file.id.get_filesize():
        raise FileError(
            f"the attribute {name!r} claims more than the file holds. Received: {size} bytes. The "
            "file is damaged."
        )
    if claim.dtype.kind == "O" and count:
        texts = _texts(group, name, claim, count)
        return texts if claim.shape else texts[0]
    return group.attrs[name]


def _texts(group: Any, name: str, claim: Any, count: int) -> list[bytes]:
    """The texts of variable length in an attribute; any other such values are refused."""
    import h5py

    texts = None
    if h5py.check_string_dtype(claim.dtype) is not None:
        base, address = group.file.userblock_size, h5py.h5o.get_info(group.id).addr
        with open(group.file.filename, "rb") as data:
            texts = read_texts(data, base, address, name.encode(), count)
    if texts is None:
        raise FileError(
            f"the attribute {name!r} is kept in a form that is not read. Received: "
            f"{claim.dtype}. Open the file in Keras and save it again."
        )
    return [text.rstrip(b"\0") for text in texts]


def has_attribute(group: Any, name: str) -> bool:
    """Whether the attribute is there, whole or cut in numbered pieces."""
    return name in group.attrs or f"{name}0" in group.attrs


def read_text(group: Any, name: str) -> str:
    """An attribute as str; files hold str, bytes or numpy strings."""
    return _text(_attribute(group, name))


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, (bytes, str)):
        raise FileError(f"A text was expected. Received: {type(value)}. The file is damaged.")
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def read_names(group: Any, name: str) -> list[str]:
    """A list of names kept as an attribute, perhaps cut in numbered pieces; [] if absent."""
    if name in group.attrs:
        return _listed(_attribute(group, name))
    found: list[str] = []
    for piece in itertools.count():
        if f"{name}{piece}" not in group.attrs:
            return found
        found += _listed(_attribute(group, f"{name}{piece}"))
    return found


def _listed(values: Any) -> list[str]:
    return [_text(v) for v in (values if isinstance(values, list) else np.ravel(values))]


def write_names(group: Any, name: str, names: Sequence[str]) -> None:
    """Write names as an attribute, in numbered pieces when they are too long for one."""
    texts = [n.encode() for n in names]
    size = max([_REFERENCE, *map(len, texts)])
    count = -(-size * len(texts) // ATTRIBUTE_LIMIT)
    if count <= 1:
        group.attrs[name] = texts
        return
    for i, part in enumerate(np.array_split(np.asarray(texts), count)):
        group.attrs[f"{name}{i}"] = part
