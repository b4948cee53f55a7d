"""Paths of models: local ones, and any Hadoop file system (hdfs://, s3a://, ...) through Spark.

In: a path. Out: a local path to read, or to write and publish when it is complete. Nothing is ever
half-written: a file gets its name when all of it is there.
"""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo_keras.errors import ClusterError, FileError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


def is_remote(path: str) -> bool:
    """Whether a path names a Hadoop file system."""
    return bool(_SCHEME.match(path)) or path.startswith("file:/")


@contextmanager
def readable(filepath: Any) -> Iterator[str]:
    """A local path with the contents of the file. FileError when there is none."""
    path = os.fspath(filepath)
    if not is_remote(path):
        if not os.path.exists(path):
            raise FileError(f"{path}: there is no such file. Check the path.")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="zoo_keras-") as folder:
        local = os.path.join(folder, os.path.basename(path))
        system, remote = _hadoop(path)
        if not system.exists(remote):
            raise FileError(f"{path}: there is no such file. Check the path.")
        system.copyToLocalFile(False, remote, _hadoop_path(local), True)
        yield local


@contextmanager
def writable(filepath: Any, overwrite: bool = True) -> Iterator[str]:
    """A local path to write to; when the block ends well it becomes `filepath` in one step."""
    path = os.fspath(filepath)
    if is_remote(path):
        with _remote_target(path, overwrite) as local:
            yield local
        return
    if os.path.exists(path) and not overwrite:
        raise FileError(f"{path}: the file exists and overwrite=False. Choose another name.")
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    draft = os.path.join(folder, f".{uuid.uuid4().hex[:8]}.{name}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        if os.path.exists(draft):
            os.unlink(draft)


@contextmanager
def _remote_target(path: str, overwrite: bool) -> Iterator[str]:
    system, remote = _hadoop(path)
    if system.exists(remote) and not overwrite:
        raise FileError(f"{path}: the file exists and overwrite=False. Choose another name.")
    with tempfile.TemporaryDirectory(prefix="zoo_keras-") as folder:
        local = os.path.join(folder, os.path.basename(path))
        yield local
        draft = _hadoop_path(f"{path}.{uuid.uuid4().hex[:8]}.part")
        system.copyFromLocalFile(False, True, _hadoop_path(local), draft)
        if system.exists(remote):
            system.delete(remote, False)
        if not system.rename(draft, remote):
            system.delete(draft, False)
            raise FileError(f"{path}: the finished file could not be renamed into place.")


def _jvm() -> Any:
    from pyspark import SparkContext

    sc = SparkContext._active_spark_context
    if sc is None:
        raise ClusterError(
            "Paths of a Hadoop file system need a running Spark session. Received: none. Start one "
            "with SparkSession.builder, or use a local path."
        )
    return sc


def _hadoop(path: str) -> tuple[Any, Any]:
    """(FileSystem, Path) of Hadoop for a path."""
    sc = _jvm()
    remote = sc._jvm.org.apache.hadoop.fs.Path(path)
    return remote.getFileSystem(sc._jsc.hadoopConfiguration()), remote


def _hadoop_path(path: str) -> Any:
    return _jvm()._jvm.org.apache.hadoop.fs.Path(path if is_remote(path) else f"file://{path}")
