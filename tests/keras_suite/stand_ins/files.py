"""Names of `keras.src.utils.file_utils`: those that its tests of get_file need around it."""

from __future__ import annotations

import hashlib
import os
import shutil
from os import listdir, makedirs
from os.path import exists, isdir, join
from typing import Any

from zoo_keras.utils import get_file

File = open
copy, remove, rmtree = shutil.copy, os.remove, shutil.rmtree


def hash_file(fpath: Any, algorithm: str = "sha256", chunk_size: int = 65535) -> str:
    """The hash of a file in hexadecimal digits."""
    del chunk_size
    with open(fpath, "rb") as file:
        return hashlib.file_digest(file, "md5" if algorithm == "md5" else "sha256").hexdigest()


def validate_file(fpath: Any, file_hash: str, algorithm: str = "auto") -> bool:
    """Whether a file has the hash."""
    kind = "md5" if algorithm == "md5" or len(file_hash) == 32 else "sha256"
    return hash_file(fpath, kind) == file_hash


__all__ = [
    "File", "copy", "exists", "get_file", "hash_file", "isdir", "join", "listdir", "makedirs",
    "remove", "rmtree", "validate_file",
]  # fmt: skip
