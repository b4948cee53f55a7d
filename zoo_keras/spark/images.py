"""Folders of image files as a DataFrame in Spark's image schema, resized by the workers.

In: a path of any Hadoop file system. Out: a lazy DataFrame with a column `image`, uint8 in stored
order (blue, green, red), as Spark's own image source gives it. Pillow is needed where it runs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ClusterError, ConfigError, DataError
from zoo_keras.primitives.images import FORMATS, LARGEST, MODES, pillow, pixels_of
from zoo_keras.spark.scoring.columns import map_in_arrow
from zoo_keras.spark.transport import failures

_AT_ONCE = 64  # images of one Arrow batch on its way back
_CODES = {1: 0, 3: 16, 4: 24}  # OpenCV's types for bytes of so many channels
_FIELDS = (
    ("origin", "string"), ("height", "int"), ("width", "int"), ("nChannels", "int"),
    ("mode", "int"), ("data", "binary"),
)  # fmt: skip
ON_ERROR = ("raise", "skip", "column")


def read_images(
    path: str | Sequence[str], *, size: tuple[int, int] | None = None, channels: int | None = 3,
    on_error: str = "raise", skipped: Any = None, partitions: int | None = None,
    glob: str | None = None, session: Any = None,
) -> Any:  # fmt: skip
    """A DataFrame with a column `image` (origin, height, width, nChannels, mode, data).

    Small files are read many in one task. `image.origin` is the file's URI, from whose folder a
    label can be made. Models take the column as it is: (height, width, channels) of uint8.

    Args:
        path: a folder with all below it, a file, or several of these.
        size: (height, width) of the result; None leaves images as large as they are.
        channels: 1 (grey), 3 (colours), 4 (with transparency), or None: as the file has them.
        on_error: what a file that is no image does: "raise" ends the job and names it, "skip" drops
            it, "column" keeps it with a null image and the reason in a second column, `error`.
        skipped: an accumulator (`sc.accumulator(0)`) to which files that were dropped are added,
            each time that they are read.
        partitions: of the result; None: as Spark packs the files.
        glob: which names of files are read, e.g. "*.jpg".

    Raises ConfigError for arguments that don't fit, DataError (in the job) for a file that is no
    image. Source: NNImageReader of Analytics Zoo, Spark's image data source.

    >>> frame = read_images("hdfs:///photos", size=(224, 224))
    >>> frame = frame.selectExpr("*", "CAST(image.origin LIKE '%/cats/%' AS INT) AS label")
    """
    reading = _Reading(_checked_size(size), _one_of("channels", channels, (*MODES, None)),
                       _one_of("on_error", on_error, ON_ERROR), skipped)  # fmt: skip
    if skipped is not None and on_error != "skip":
        raise ConfigError(
            f'read_images: skipped counts what on_error="skip" drops. Received: on_error='
            f"{on_error!r}. Leave skipped out, or drop such files."
        )
    reader = _session(session).read.format("binaryFile").option("recursiveFileLookup", "true")
    if glob is not None:
        reader = reader.option("pathGlobFilter", glob)
    files = reader.load([path] if isinstance(path, str) else list(path)).select("path", "content")
    if partitions is not None:
        files = files.repartition(partitions)  # while they are still small

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        return failures.alone(reading.batches(batches))

    return map_in_arrow(files, run, reading.schema())


class _Reading(NamedTuple):
    """What is done with each file; plain data, which travels."""

    size: tuple[int, int] | None
    channels: int | None
    on_error: str
    skipped: Any = None

    def schema(self) -> Any:
        """The Spark type of the result."""
        from pyspark.sql.types import StructType

        image = StructType()
        for name, kind in _FIELDS:
            image = image.add(name, {"int": "integer"}.get(kind, kind))
        made = StructType().add("image", image)
        return made.add("error", "string") if self.on_error == "column" else made

    def batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Arrow batches of images for those of (path, content)."""
        for batch in batches:
            for first in range(0, batch.num_rows, _AT_ONCE):
                yield self._batch(batch.slice(first, _AT_ONCE))

    def _batch(self, batch: Any) -> Any:
        import pyarrow as pa

        found = [self._row(*row) for row in zip(*map(list, batch.columns), strict=True)]
        rows = [row for row in found if row[0] is not None or self.on_error == "column"]
        if self.skipped is not None and len(rows) < len(found):
            self.skipped.add(len(found) - len(rows))
        kinds = {"string": pa.string(), "int": pa.int32(), "binary": pa.binary()}
        image = pa.struct([(name, kinds[kind]) for name, kind in _FIELDS])
        columns = [pa.array([row[0] for row in rows], image)]
        if self.on_error == "column":
            columns.append(pa.array([row[1] for row in rows], pa.string()))
        return pa.RecordBatch.from_arrays(columns, ["image", "error"][: len(columns)])

    def _row(self, path: Any, content: Any) -> tuple[dict[str, Any] | None, str | None]:
        """The image of a file, and what was wrong with it."""
        origin = path.as_py()
        try:
            pixels = self._pixels(content.as_py())
        except DataError as error:
            if self.on_error == "raise":
                raise DataError(f"{origin}: {error}") from None
            return None, str(error)
        height, width, channels = pixels.shape
        values = (origin, height, width, channels, _CODES[channels], pixels.tobytes())
        return dict(zip((name for name, _ in _FIELDS), values, strict=True)), None

    def _pixels(self, content: bytes) -> np.ndarray:
        image_module = pillow()
        try:
            with image_module.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > LARGEST:
                    raise DataError(
                        f"images may have {LARGEST} pixels. Received: one of {image.width} x "
                        f"{image.height}. Drop it."
                    )
                return self._decoded(image)
        except DataError:
            raise
        except Exception as error:  # Pillow lets errors of all its readers through
            raise DataError(
                f"not a readable {', '.join(FORMATS)} file. Received: {len(content)} bytes "
                f"({type(error).__name__}: {str(error)[:80]}). Drop or mend it, or pass "
                'on_error="skip" or "column".'
            ) from None

    def _decoded(self, image: Any) -> np.ndarray:
        channels = _own_channels(image) if self.channels is None else self.channels
        if self.size is not None:
            # a JPEG is decoded at an eighth, a quarter, a half
            image.draft(MODES[channels], self.size[::-1])
        pixels = self._sized(pixels_of(image, channels))
        if channels == 1:
            return pixels
        return np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)

    def _sized(self, pixels: np.ndarray) -> np.ndarray:
        if self.size is None or pixels.shape[:2] == self.size:
            return pixels
        module = pillow()
        channels = pixels.shape[2]
        image = module.fromarray(pixels if channels > 1 else pixels[..., 0])
        made = np.asarray(image.resize(self.size[::-1], module.Resampling.BILINEAR))
        return made.reshape(*self.size, channels)


def _own_channels(image: Any) -> int:
    """1, 3 or 4, as the file's pixels need."""
    if image.has_transparency_data:
        return 4
    return 1 if image.mode in ("1", "L") or image.mode.startswith("I") else 3


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    found = tuple(size) if isinstance(size, (list, tuple)) else ()
    if len(found) != 2 or not all(isinstance(side, int) and side > 0 for side in found):
        raise ConfigError(
            f"read_images: size must be (height, width). Received: {size!r}. Pass e.g. (224, 224)."
        )
    return found


def _one_of(name: str, value: Any, known: Sequence[Any]) -> Any:
    if value not in known:
        raise ConfigError(
            f"read_images: {name} must be one of {known}. Received: {value!r}. Choose one."
        )
    return value


def _session(given: Any) -> Any:
    from pyspark.sql import SparkSession

    session = given or SparkSession.getActiveSession()
    if session is None:
        raise ClusterError(
            "read_images needs a Spark session. Received: none is active. Start one "
            "(zoo_keras.spark.cluster.init_session), or pass session=..."
        )
    return session
