"""Golden data on disk: `data/<area>.json` (cases) and `data/<area>.npz` (their numbers).

Thousands of small arrays are kept as one flat vector per dtype; each case lists its arrays as
name -> [dtype, shape, start]. Writing is for make.py, reading for the tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"
LARGEST_FILE = 2_000_000


class Writer:
    """Collects cases of one area, then writes both files."""

    def __init__(self, area: str) -> None:
        self.area = area
        self.cases: dict[str, Any] = {}
        self.vectors: dict[str, list[np.ndarray]] = {}
        self.lengths: dict[str, int] = {}

    def add(self, name: str, info: dict[str, Any], arrays: dict[str, Any]) -> None:
        if name in self.cases:
            raise ValueError(f"two cases are called {name}")
        index = {key: self._keep(_stored(np.asarray(v))) for key, v in arrays.items()}
        self.cases[name] = info | {"arrays": index}

    def _keep(self, value: np.ndarray) -> list[Any]:
        dtype = str(value.dtype)
        start = self.lengths.get(dtype, 0)
        self.vectors.setdefault(dtype, []).append(value.ravel())
        self.lengths[dtype] = start + value.size
        return [dtype, list(value.shape), start]

    def write(self) -> None:
        DATA.mkdir(exist_ok=True)
        rows = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in self.cases.items()]
        text = "{\n" + ",\n".join(rows) + "\n}\n"
        (DATA / f"{self.area}.json").write_text(text)
        vectors = {dtype: np.concatenate(parts) for dtype, parts in self.vectors.items()}
        path = DATA / f"{self.area}.npz"
        np.savez_compressed(path, **vectors)
        size = path.stat().st_size
        if max(size, len(text)) > LARGEST_FILE:
            raise ValueError(f"{path} is larger than {LARGEST_FILE} bytes")
        print(f"{self.area}: {len(self.cases)} cases, {size + len(text)} bytes")


def _stored(value: np.ndarray) -> np.ndarray:
    if value.dtype == np.float64:
        return value.astype(np.float32)
    return value.astype(np.int32) if value.dtype == np.int64 else value


class Golden:
    """Cases of one area, read once; `arrays(name)` gives one case's arrays by their key."""

    def __init__(self, area: str) -> None:
        self.cases: dict[str, Any] = json.loads((DATA / f"{area}.json").read_text())
        with np.load(DATA / f"{area}.npz") as stored:
            self._vectors = {dtype: stored[dtype] for dtype in stored.files}

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return {key: self._array(*row) for key, row in self.cases[name]["arrays"].items()}

    def _array(self, dtype: str, shape: list[int], start: int) -> np.ndarray:
        size = int(np.prod(shape, dtype=np.int64))
        return self._vectors[dtype][start : start + size].reshape(shape).copy()


def series(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    """The arrays called `prefix0`, `prefix1`, ... in order."""
    found = []
    while f"{prefix}{len(found)}" in arrays:
        found.append(arrays[f"{prefix}{len(found)}"])
    return found
