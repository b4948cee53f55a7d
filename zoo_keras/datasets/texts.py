"""Data sets of texts as lists of word numbers: reviews of films, and news.

In: files by get_file, with their hashes. Out: arrays of lists, and classes.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras.datasets.arrays import STORE, Pair, unpickled
from zoo_keras.errors import DataError
from zoo_keras.utils.files import get_file

_TOPICS = (
    "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves "
    "ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin "
    "strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem "
    "dlr gas silver wpi hog lead"
)


def _arrays(file: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz; those of lists are read as plain data."""
    found = {}
    with zipfile.ZipFile(file) as packed:
        for name in packed.namelist():
            with packed.open(name) as member:
                found[name.removesuffix(".npy")] = _array(member)
    return found


def _array(member: Any) -> np.ndarray:
    version = np.lib.format.read_magic(member)
    read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
            else np.lib.format.read_array_header_2_0)  # fmt: skip
    shape, _, dtype = read(member)
    if dtype.hasobject:
        made = np.empty(shape, object)
        made[...] = unpickled(member.read())
        return made
    return np.frombuffer(member.read(), dtype).reshape(shape).copy()


def _shuffled(x: np.ndarray, y: np.ndarray, seed: int) -> Pair:
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    return x[order], y[order]


def _prepared(
    x: Any, y: np.ndarray, maxlen: Any, start_char: Any, index_from: int
) -> tuple[list[list[int]], np.ndarray]:
    """Word numbers moved up, behind a first one; texts of maxlen words or more are left out."""
    first = [] if start_char is None else [start_char]
    lists = [first + [word + (index_from or 0) for word in text] for text in x]
    kept = [i for i, text in enumerate(lists) if not maxlen or len(text) < maxlen]
    if lists and not kept:
        raise DataError(
            f"load_data: every text has maxlen words or more. Received: maxlen={maxlen}. Use a "
            "larger one."
        )
    return [lists[i] for i in kept], y[kept]


def _limited(lists: list[list[int]], num_words: Any, skip_top: int, oov_char: Any) -> np.ndarray:
    limit = num_words or max(max(text, default=0) for text in lists)  # its word counts as rare, too
    made = np.empty(len(lists), object)
    for i, text in enumerate(lists):
        known = [skip_top <= word < limit for word in text]
        if oov_char is None:
            made[i] = [word for word, good in zip(text, known, strict=True) if good]
        else:
            made[i] = [word if good else oov_char for word, good in zip(text, known, strict=True)]
    return made


def imdb(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[Pair, Pair]:
    """Reviews of films as lists of words by frequency, and whether they are good."""
    file = get_file(
        path, f"{STORE}imdb.npz",
        file_hash="69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    )  # fmt: skip
    f = _arrays(file)
    parts = []
    for part in ("train", "test"):
        x, y = _shuffled(f[f"x_{part}"], f[f"y_{part}"], seed)
        parts.append(_prepared(x, y, maxlen, start_char, index_from))
    (train, y_train), (test, y_test) = parts
    xs = _limited([*train, *test], num_words, skip_top, oov_char)
    return (xs[: len(train)], y_train), (xs[len(train) :], y_test)


def reuters(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[Pair, Pair]:
    """News as lists of words by frequency, and their topics, 0 to 45."""
    file = get_file(
        path, f"{STORE}reuters.npz",
        file_hash="d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
    )  # fmt: skip
    f = _arrays(file)
    x, y = _shuffled(f["x"], f["y"], seed)
    lists, y = _prepared(x, y, maxlen, start_char, index_from)
    xs, first = _limited(lists, num_words, skip_top, oov_char), int(len(lists) * (1 - test_split))
    return (xs[:first], y[:first]), (xs[first:], y[first:])


def _words(name: str, path: str, known: str) -> dict[str, int]:
    file = get_file(path, f"{STORE}{name}_word_index.json", file_hash=known)
    found: dict[str, int] = json.loads(Path(file).read_text(encoding="utf-8"))
    return found


def imdb_words(path: str = "imdb_word_index.json") -> dict[str, int]:
    """Word -> number in imdb, before index_from is added."""
    return _words("imdb", path, "bfafd718b763782e994055a2d397834f")


def reuters_words(path: str = "reuters_word_index.json") -> dict[str, int]:
    """Word -> number in reuters, before index_from is added."""
    return _words("reuters", path, "4d44cc38712099c9e383dc6e5f11a921")


def reuters_labels() -> tuple[str, ...]:
    """The names of reuters' topics."""
    return tuple(_TOPICS.split())
