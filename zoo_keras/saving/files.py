"""Paths of models: local ones, and any Hadoop file system (hdfs://, s3a://, ...) through Spark.

In: a path. Out: a local path to read, or to write and publish when it is complete. Nothing is ever
half-written: a file gets its name when all of it is there. Knows no format.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo_keras.errors import ClusterError, FileError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/")


def path_text(filepath: Any) -> str:
    """A path as str; file:// needs no Spark. FileError for what is no path."""
    try:
        path = os.fspath(filepath)
    except TypeError:
        path = b""
    if not isinstance(path, str) or not path or "\0" in path:
        raise FileError(
            f"A model's path must be a str or os.PathLike. Received: {filepath!r}. "
            "Pass something like 'model.keras'."
        )
    return path if _has_session() else _without_scheme(path)


def folder_text(filepath: Any) -> str:
    """The same of a folder: those of file:/ are read and written here, whatever Spark does."""
    return _without_scheme(path_text(filepath))


def _without_scheme(path: str) -> str:
    return re.sub("^file:/+", "/", path)


def _has_session() -> bool:
    pyspark = sys.modules.get("pyspark")  # a session cannot exist before pyspark is imported
    return pyspark is not None and pyspark.SparkContext._active_spark_context is not None


def is_remote(path: str) -> bool:
    """Whether a path names a Hadoop file system."""
    return bool(_SCHEME.match(path))


def exists(path: str) -> bool:
    """Whether there is a file or folder of this name."""
    if not is_remote(path):
        return os.path.exists(path)
    with _hadoop_errors(path):
        return _state(path)[0]


def remove_folder(path: str) -> None:
    """Removes a folder and all that is in it; none is no error."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with _hadoop_errors(path):
        system, remote = _hadoop(path)
        system.delete(remote, True)


@contextmanager
def readable(path: str) -> Iterator[str]:
    """A local path with the contents of the file. FileError when there is none."""
    if not is_remote(path):
        _check_is_file(path, os.path.exists(path), os.path.isfile(path))
        yield path
        return
    with _draft_folder() as folder:
        yield _downloaded(path, folder)


def _check_is_file(path: str, exists: bool, is_file: bool) -> None:
    if not exists:
        known = path.endswith((".keras", ".h5", ".hdf5"))
        hint = "" if known else " File format not supported: files of models are .keras and .h5."
        raise FileError(
            f"{path}: File not found.{hint} Received: a path where no file is. Please ensure the "
            "file is an accessible one, and check the path."
        )
    if not is_file:
        raise FileError(
            f"{path}: a model is kept in one file. Received: a directory or device. Save the model "
            "as .keras or .h5, and pass the path of that file."
        )


@contextmanager
def writable(path: str, overwrite: bool = True) -> Iterator[str]:
    """A local path to write to; when the block ends well it becomes `path` in one step.

    When the block fails, what was there before stays untouched and no draft is left behind.
    """
    if is_remote(path):
        with _draft_folder() as folder:
            local = os.path.join(folder, os.path.basename(path))
            with _hadoop_errors(path):
                _check_may_write(path, *_state(path), overwrite)
            yield local
            with _hadoop_errors(path):
                _publish(local, path)
        return
    _check_may_write(path, os.path.exists(path), os.path.isfile(path), overwrite)
    with _os_errors(path), _local_draft(os.path.realpath(path)) as draft:
        yield draft


@contextmanager
def _local_draft(target: str) -> Iterator[str]:
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    draft = os.path.join(folder, f".zoo_keras-{uuid.uuid4().hex}")
    try:
        yield draft
        with open(draft, "rb") as written:
            os.fsync(written.fileno())
        os.replace(draft, target)
    finally:
        if os.path.exists(draft):
            os.unlink(draft)


def _check_may_write(path: str, exists: bool, is_file: bool, overwrite: bool) -> None:
    if exists and not is_file:
        raise FileError(
            f"{path}: files are written. Received: the name of a directory or device. Choose "
            "another name."
        )
    if exists and not overwrite:
        raise FileError(f"{path}: the file exists. Received: overwrite=False. Choose another name.")


@contextmanager
def _os_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise FileError(
            f"{path}: the file could not be written. Received: {reason}. What was there before is "
            "untouched. Check the folder's permissions and free space."
        ) from error


def _draft_folder() -> Any:
    return tempfile.TemporaryDirectory(prefix="zoo_keras-")


# ---- Hadoop ------------------------------------------------------------------------------------


def _downloaded(path: str, folder: str) -> str:
    local = os.path.join(folder, os.path.basename(path))
    with _hadoop_errors(path):
        _check_is_file(path, *_state(path))
        system, remote = _hadoop(path)
        system.copyToLocalFile(False, remote, _local(local), True)
    return local


def _publish(local: str, path: str) -> None:
    """Upload under another name, then swap names; the old file comes back if that fails."""
    system, remote = _hadoop(path)
    token = uuid.uuid4().hex[:8]
    draft, old = _hadoop_path(f"{path}.{token}.part"), _hadoop_path(f"{path}.{token}.old")
    kept = False
    try:
        system.copyFromLocalFile(False, True, _local(local), draft)
        kept = system.exists(remote) and system.rename(remote, old)
        if not system.rename(draft, remote):
            raise FileError(
                f"{path}: the finished file could not be given its name. Received: a refusal of "
                "the file system. Check that the folder exists and may be written."
            )
    except BaseException:
        if kept and not system.exists(remote):
            system.rename(old, remote)
        raise
    finally:
        for leftover in (draft, old):
            if system.exists(leftover):
                system.delete(leftover, False)


def _state(path: str) -> tuple[bool, bool]:
    """(exists, is a file) of a Hadoop path."""
    system, remote = _hadoop(path)
    return system.exists(remote), system.isFile(remote)


@contextmanager
def _hadoop_errors(path: str) -> Iterator[None]:
    _jvm()
    from py4j.protocol import Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        raise FileError(
            f"{path}: Hadoop could not reach the file. Received: {error.java_exception}. Check the "
            "path, the permissions, and that Spark has the file system's jar and settings."
        ) from None


def _jvm() -> Any:
    if not _has_session():
        raise ClusterError(
            "Paths of a Hadoop file system need a running Spark session. Received: none. Start one "
            "with SparkSession.builder, or use a local path."
        )
    return sys.modules["pyspark"].SparkContext._active_spark_context


def _hadoop(path: str) -> tuple[Any, Any]:
    """(FileSystem, Path) of Hadoop for a path."""
    remote = _hadoop_path(path)
    return remote.getFileSystem(_jvm()._jsc.hadoopConfiguration()), remote


def _hadoop_path(path: str) -> Any:
    return _jvm()._jvm.org.apache.hadoop.fs.Path(path)


def _local(path: str) -> Any:
    return _hadoop_path(f"file://{path}")
