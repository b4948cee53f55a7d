"""Stages as folders: Spark's metadata, and beside it an ordinary `model.keras`.

In: a stage and a path of any Hadoop file system. Out: the folder, or the stage that is in one.
Nothing is pickled, and loading runs no code: the model is read in safe mode, and its own classes
are found as `load_model` finds them (CustomObjectScope, register_keras_serializable).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)

from zoo_keras.errors import ClusterError, ConfigError, FileError
from zoo_keras.saving import load_model
from zoo_keras.spark.cluster import is_connect

MODEL = "model.keras"
_SKIPPED = ("model", "callbacks")  # Params that are no JSON


class Foldered(MLReadable, MLWritable):
    """A stage with a Keras model that can be saved and loaded."""

    def _more_metadata(self) -> dict[str, Any]:
        """What a stage knows beside its Params and its model, as JSON."""
        return {}

    def _take_metadata(self, metadata: dict[str, Any]) -> None:
        """Know again what `_more_metadata` has given."""

    def write(self) -> MLWriter:
        """What saves this stage: `write().overwrite().save(path)`."""
        return FolderWriter(self)

    @classmethod
    def read(cls) -> MLReader:
        """What loads a stage of this class."""
        return FolderReader(cls)


class FolderWriter(MLWriter):
    """Saves a stage. FileError when the folder is there already and overwrite() was not called."""

    def __init__(self, stage: Any) -> None:
        super().__init__()
        self.stage = stage

    def save(self, path: str) -> None:
        """The folder gets its name when it is whole; what was there before stays until then."""
        session, stage = _classic(self.sparkSession), self.stage
        self._refuse_callbacks()
        stage.getModel()
        system, whole = _located(session, path)
        if system.exists(whole) and not self.shouldOverwrite:
            raise FileError(
                f"{path}: there is a file or folder of this name. Received: save without "
                "overwrite. Use stage.write().overwrite().save(path)."
            )
        token = uuid.uuid4().hex[:8]
        draft, old = whole.suffix(f".{token}.part"), whole.suffix(f".{token}.old")
        try:
            self._write(session, str(draft.toString()))
            _swap(system, whole, draft, old)
        finally:
            for leftover in (draft, old):
                system.delete(leftover, True)

    def _refuse_callbacks(self) -> None:
        stage = self.stage
        if stage.hasParam("callbacks") and stage.isSet(stage.callbacks):
            raise ConfigError(
                f"Stage {stage.uid} cannot be saved with callbacks, which are code. Received: "
                f"{[type(c).__name__ for c in stage.getOrDefault(stage.callbacks)]}. Clear them "
                "(stage.clear(stage.callbacks)), and use the Params patience and checkpointPath."
            )

    def _write(self, session: Any, path: str) -> None:
        stage = self.stage
        stage.getModel().save(os.path.join(path, MODEL))
        params = {p.name: v for p, v in stage._paramMap.items() if p.name not in _SKIPPED}
        extra = {"history": getattr(stage, "history", {}), **stage._more_metadata()}
        DefaultParamsWriter.saveMetadata(stage, path, session.sparkContext, extra, params)


def _swap(system: Any, whole: Any, draft: Any, old: Any) -> None:
    kept = system.exists(whole) and system.rename(whole, old)
    if system.rename(draft, whole):
        return
    if kept:
        system.rename(old, whole)
    raise FileError(
        f"{whole.toString()}: the finished folder could not be given its name. Received: a refusal "
        "of the file system. Check that the folder above exists and may be written."
    )


class FolderReader(MLReader):
    """Loads a stage. FileError for a folder of another kind, or a damaged one."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str) -> Any:
        """The stage in a folder, with its uid, Params and model."""
        session = _classic(self.sparkSession)
        _, whole = _located(session, path)
        with _reading(path):
            metadata = DefaultParamsReader.loadMetadata(path, session.sparkContext)
            self._check_class(path, metadata["class"])
            stage = self.cls()
            stage._resetUid(metadata["uid"])
            DefaultParamsReader.getAndSetParams(stage, metadata)
            if hasattr(stage, "history"):
                stage.history = dict(metadata["history"])
            stage._take_metadata(metadata)
        stage.setModel(load_model(os.path.join(str(whole.toString()), MODEL)))
        return stage

    def _check_class(self, path: str, found: str) -> None:
        wanted = f"{self.cls.__module__}.{self.cls.__name__}"
        if found != wanted:
            raise FileError(
                f"{path}: the folder holds another kind of stage. Received: {found}. Load it with "
                f"{found.rpartition('.')[2]}.load, not {self.cls.__name__}.load."
            )


@contextmanager
def _reading(path: str) -> Iterator[None]:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import AnalysisException

    try:
        yield
    except (AnalysisException, Py4JJavaError) as error:  # the one from Spark 4 on
        raise FileError(
            f"{path}: no stage is saved here. Received: {str(error).splitlines()[0]}. Check the "
            "path; it is the folder that save was given."
        ) from None
    except FileError:
        raise
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{path}: the metadata of the stage are damaged, or of another version. Received: "
            f"{type(error).__name__}: {str(error)[:200]}. Save the stage again."
        ) from None


def _classic(session: Any) -> Any:
    if is_connect(session):
        raise ClusterError(
            "Stages are saved and loaded through Hadoop, in a classic Spark session. Received: a "
            "Spark Connect session. Save stage.getModel() as .keras, and make the stage anew."
        )
    return session


def _located(session: Any, path: str) -> tuple[Any, Any]:
    """Hadoop's FileSystem, and the Path with its scheme: without one, Spark and Python mean
    different file systems."""
    conf = session.sparkContext._jsc.hadoopConfiguration()
    folder = session._jvm.org.apache.hadoop.fs.Path(path)
    system = folder.getFileSystem(conf)
    return system, system.makeQualified(folder)
