"""Weights in several files of limited size: `<name>_00000.weights.h5`, ..., and a JSON,
`<name>.weights.json`, that says where each layer's arrays are.

In: a model and the path of the JSON. Out: the files, or a plan for the model's variables. The
layout inside each file is that of `weights_tree`. Source: keras.Model.save_weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ConfigError, FileError
from zoo_keras.models.model import Model
from zoo_keras.saving import config_json, files, hdf5, weights_tree

ENDING = ".weights.json"
LARGEST_MAP = 1 << 28  # bytes of a JSON, of any number of layers


class _Piece(NamedTuple):
    """An array, the group in which it lies and its name there."""

    group: str
    label: str | None
    key: str
    array: np.ndarray


def write(model: Model, path: str, gigabytes: float, overwrite: bool) -> None:
    """Write the files, the JSON last. ConfigError for an array that fits into no file."""
    limit = float(gigabytes) * (1 << 30)
    folder, base = os.path.split(path)
    shards = list(_shards(list(_pieces(model)), limit))
    names = [f"{base.removesuffix(ENDING)}_{i:05}.weights.h5" for i in range(len(shards))]
    with ExitStack() as drafts:  # all become files when all are written, the first entered last
        whole = drafts.enter_context(files.writable(path, overwrite))
        for name, pieces in zip(names, shards, strict=True):
            place = os.path.join(folder, name)
            local = drafts.enter_context(files.writable(place, overwrite))
            with hdf5.open_for_writing(local) as file:
                _fill(file, pieces)
        with open(whole, "w") as out:
            out.write(_map(names, shards))


def _map(names: list[str], shards: list[list[_Piece]]) -> str:
    """The JSON that says in which files each group lies."""
    where: dict[str, list[str]] = {}
    for name, pieces in zip(names, shards, strict=True):
        for piece in pieces:
            held = where.setdefault(f"/{piece.group}", [])
            held.extend([name] if name not in held else [])
    total = sum(piece.array.nbytes for pieces in shards for piece in pieces)
    found = {group: held[0] if len(held) == 1 else held for group, held in where.items()}
    return json.dumps({"metadata": {"total_size": total}, "weight_map": found}, indent=4)


def _pieces(model: Model) -> Iterator[_Piece]:
    for path, node in weights_tree.walk(model):
        group = f"{path}/vars" if path else "vars"
        label = getattr(node, "name", None) if hasattr(node, "variables") else None
        for key, array in weights_tree.stored(node).items():
            yield _Piece(group, label, key, array)


def _shards(pieces: list[_Piece], limit: float) -> Iterator[list[_Piece]]:
    """The arrays in their order, cut where the next one would not fit."""
    held: list[_Piece] = []
    size = 0
    for piece in pieces:
        if piece.array.nbytes > limit:
            raise ConfigError(
                f"save_weights: an array is larger than a file may be. Received: {piece.group}/"
                f"{piece.key} of {piece.array.nbytes} bytes, exceeds the maximum shard size of "
                f"{limit:.0f}. Pass a larger max_shard_size, in GB."
            )
        if held and size + piece.array.nbytes > limit:
            yield held
            held, size = [], 0
        held.append(piece)
        size += piece.array.nbytes
    yield held


def _fill(file: Any, pieces: list[_Piece]) -> None:
    for piece in pieces:
        group = file.require_group(piece.group)
        if piece.label is not None:
            group.attrs["name"] = piece.label
        hdf5.write_array(group, piece.key, piece.array)


@contextmanager
def reading(path: str, label: str) -> Iterator[Any]:
    """All files that a JSON names, as one. FileError when they are not what it says."""
    names = _names(path, label)
    folder = os.path.dirname(label)
    with ExitStack() as stack:
        opened = []
        for name in names:
            place = os.path.join(folder, name)
            local = stack.enter_context(files.readable(place))
            opened.append(stack.enter_context(hdf5.open_for_reading(local, place)))
        yield hdf5.Joined(opened)


def _names(path: str, label: str) -> list[str]:
    """The files beside the JSON, each once."""
    if os.path.getsize(path) > LARGEST_MAP:
        raise FileError(
            f"{label}: a map of weights is short. Received: {os.path.getsize(path)} bytes. Pass "
            "the "
            ".weights.json that save_weights(max_shard_size=) has written."
        )
    with open(path, "rb") as file:
        found = config_json.parse(file.read(), label, "the map of weights")
    where = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(where, dict):
        raise FileError(
            f"{label}: holds no weight_map. Received: {str(found)[:80]}. Pass the .weights.json "
            "that save_weights(max_shard_size=) has written."
        )
    held = [n for value in where.values() for n in (value if isinstance(value, list) else [value])]
    for name in held:
        if not isinstance(name, str) or os.path.basename(name) != name or "\\" in name or not name:
            raise FileError(
                f"{label}: names a file outside of its folder. Received: {name!r}. The file is "
                "damaged or hostile."
            )
    return list(dict.fromkeys(held))
