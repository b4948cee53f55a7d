"""Data sets of numbers and pictures: ((x_train, y_train), (x_test, y_test)) as numpy arrays.

In: files by get_file, with their hashes. Out: arrays. Nothing is unpickled but plain arrays.
"""

from __future__ import annotations

import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras import config
from zoo_keras.errors import ConfigError, FileError
from zoo_keras.utils.files import get_file

STORE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
Pair = tuple[np.ndarray, np.ndarray]

_PLAIN = {
    ("_codecs", "encode"), ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
}  # fmt: skip


class _Plain(pickle.Unpickler):
    """Reads arrays, lists, dicts and numbers; a FileError for anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise FileError(
                "A data set holds plain arrays only. Received: a file that asks for "
                f"{module}.{name}. It is not the data set; fetch it again."
            )
        return super().find_class(module, name)


def unpickled(data: bytes) -> Any:
    """Plain data of a pickle."""
    return _Plain(io.BytesIO(data), encoding="bytes").load()


def mnist(path: str = "mnist.npz") -> tuple[Pair, Pair]:
    """Handwritten digits: uint8 (60000, 28, 28) and (10000, 28, 28), classes 0 to 9."""
    file = get_file(
        path, f"{STORE}mnist.npz",
        file_hash="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    )  # fmt: skip
    with np.load(file, allow_pickle=False) as f:
        return (f["x_train"], f["y_train"]), (f["x_test"], f["y_test"])


def fashion_mnist() -> tuple[Pair, Pair]:
    """Pictures of clothes: uint8 (60000, 28, 28) and (10000, 28, 28), classes 0 to 9."""
    return _idx("train"), _idx("t10k")


def _idx(part: str) -> Pair:
    found = []
    for name, header in ((f"{part}-images-idx3-ubyte.gz", 16), (f"{part}-labels-idx1-ubyte.gz", 8)):
        file = get_file(name, STORE + name, cache_subdir="datasets/fashion-mnist")
        with gzip.open(file) as packed:
            found.append(np.frombuffer(packed.read(), np.uint8, offset=header))
    return found[0].reshape(-1, 28, 28), found[1]


def _housing(
    name: str, path: str, hash: str, share: float, seed: int, rows: Any
) -> tuple[Pair, Pair]:
    if not 0 <= share < 1:
        raise ConfigError(
            f"{name}.load_data: test_split lies from 0 to below 1. Received: test_split={share}. "
            "Pass a share of the rows."
        )
    file = get_file(path, f"{STORE}{name}.npz", file_hash=hash)
    with np.load(file, allow_pickle=False) as f:
        x, y = f["x"][:rows], f["y"][:rows]
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    x, y, first = x[order], y[order], int(len(x) * (1 - share))
    return (x[:first], y[:first]), (x[first:], y[first:])


def boston_housing(
    path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[Pair, Pair]:
    """Prices of houses in Boston, by 13 features."""
    known = "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"
    return _housing("boston_housing", path, known, test_split, seed, None)


def california_housing(
    version: str = "large", path: str = "california_housing.npz", test_split: float = 0.2,
    seed: int = 113,
) -> tuple[Pair, Pair]:  # fmt: skip
    """Prices of houses in California, by 8 features; 600 of them in the "small" version."""
    if version not in ("large", "small"):
        raise ConfigError(
            f"california_housing.load_data: unknown version. Received: {version!r}. Use 'large' or "
            "'small'."
        )
    known = "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"
    rows = 600 if version == "small" else None
    return _housing("california_housing", path, known, test_split, seed, rows)


def _cifar(name: str, hash: str) -> Path:
    origin = f"https://www.cs.toronto.edu/~kriz/{name}-python.tar.gz"
    folder = "cifar-10-batches-py" if name == "cifar-10" else "cifar-100-python"
    return Path(get_file(f"{folder}-target", origin, extract=True, file_hash=hash)) / folder


def _pictures(files: list[Path], labels: bytes) -> Pair:
    read = [unpickled(file.read_bytes()) for file in files]
    x = np.concatenate([each[b"data"] for each in read]).reshape(-1, 3, 32, 32)
    y = np.concatenate([each[labels] for each in read]).astype(np.uint8)[:, None]
    return (x if config.image_data_format() == "channels_first" else np.moveaxis(x, 1, -1)), y


def cifar10() -> tuple[Pair, Pair]:
    """Small pictures of 10 classes: uint8 (50000, 32, 32, 3) and (10000, 32, 32, 3)."""
    known = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    folder = _cifar("cifar-10", known)
    train = [folder / f"data_batch_{i}" for i in range(1, 6)]
    return _pictures(train, b"labels"), _pictures([folder / "test_batch"], b"labels")


def cifar100(label_mode: str = "fine") -> tuple[Pair, Pair]:
    """Small pictures of 100 classes ("fine"), or of 20 ("coarse")."""
    if label_mode not in ("fine", "coarse"):
        raise ConfigError(
            f"cifar100.load_data: unknown label_mode. Received: {label_mode!r}. Use 'fine' or "
            "'coarse'."
        )
    known = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    folder, labels = _cifar("cifar-100", known), f"{label_mode}_labels".encode()
    return _pictures([folder / "train"], labels), _pictures([folder / "test"], labels)
