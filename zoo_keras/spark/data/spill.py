"""Records that lie on disk: a file without a name, in the folders that Spark has for such things.

In: arrays, one after the other. Out: all of them as one array, mapped from the file. Nothing is
left behind, even after `kill -9`. Knows no records.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, NoReturn

import numpy as np

from zoo_keras.errors import ClusterError


class SpillFile:
    """A file to which arrays are added, and which is then mapped.

    Raises ClusterError when no folder can be written to, or the disk is full.
    """

    def __init__(self) -> None:
        self.file, self.folder = _open()

    def write(self, array: np.ndarray) -> None:
        """Add the array's bytes."""
        try:
            self.file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            self._fail(error)

    def mapped(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """All that was written; nothing can be added any more."""
        try:
            self.file.flush()
            return np.memmap(self.file, dtype, "r", shape=shape)
        except OSError as error:
            self._fail(error)
        finally:
            self.file.close()

    def _fail(self, error: OSError) -> NoReturn:
        raise ClusterError(
            f"Records that do not fit into memory could not be written to {self.folder}. Received: "
            f"{error}. Give spark.local.dir more room, use more ranks, or raise data_budget so "
            "that they stay in memory."
        ) from None


def unencrypted(partition: int, budget: int) -> ClusterError:
    """What to raise when records may not lie on disk as they are."""
    return ClusterError(
        f"Partition {partition}: its records take more memory than data_budget, and on disk they "
        f"would not be encrypted. Received: data_budget={budget} and "
        "spark.io.encryption.enabled=true. Raise data_budget so that they stay in memory, use more "
        "ranks, or turn that setting off."
    )


def _open() -> tuple[Any, str]:
    """A file in the folder of Spark's that has most room, or where Spark has none to write to."""
    reasons = []
    for folder in _folders():
        try:
            return tempfile.TemporaryFile(prefix="zoo_keras-", dir=folder), folder
        except OSError as error:
            reasons.append(str(error))
    raise ClusterError(
        "Records that do not fit into memory have no place on disk. Received: "
        f"{'; '.join(reasons)}. Set spark.local.dir to folders that executors may write to, or "
        "raise data_budget so that the records stay in memory."
    )


def _folders() -> list[str]:
    """Spark's local folders, those with most room first; last the system's for such files."""
    local = [folder for folder in os.environ.get("SPARK_LOCAL_DIRS", "").split(",") if folder]
    return [*sorted(local, key=_room, reverse=True), tempfile.gettempdir()]


def _room(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return -1
