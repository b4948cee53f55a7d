"""init_nncontext and NNImageReader, over init_session and read_images.

In: a name or a SparkConf; a path. Out: a SparkContext; a DataFrame of images.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.spark.cluster import init_session
from zoo_keras.spark.images import read_images


def init_nncontext(conf: Any = None, cluster_mode: str | None = None, **settings: Any) -> Any:
    """A SparkContext whose settings suit training: that of the running session, or of a new one.

    Args:
        conf: a SparkConf, or the application's name.
        cluster_mode: "local" or None; other clusters are chosen by spark-submit or the SparkConf.
        settings: arguments of init_session: executors, cores, memory, task_cpus.

    >>> sc = init_nncontext("cats and dogs")
    """
    if cluster_mode not in (None, "local", "spark-submit"):
        raise ConfigError(
            "init_nncontext: the cluster is chosen by spark-submit or the SparkConf. Received: "
            f"cluster_mode={cluster_mode!r}. Leave it out."
        )
    given = dict(conf.getAll()) if hasattr(conf, "getAll") else {}
    name = conf if isinstance(conf, str) else given.get("spark.app.name", "zoo_keras")
    master = given.pop("spark.master", "local[*]" if cluster_mode == "local" else None)
    given.pop("spark.app.name", None)
    session = init_session(_running_master() or master, name, conf=given, **settings)
    return session.sparkContext


def _running_master() -> str | None:
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    return None if session is None else str(session.sparkContext.master)


class NNImageReader:
    """Reads folders of images."""

    @staticmethod
    def readImages(
        path: str, sc: Any = None, minPartitions: int = 1, resizeH: int = -1, resizeW: int = -1,
        image_codec: int = -1,
    ) -> Any:  # fmt: skip
        """A DataFrame with one column, `image` (origin, height, width, nChannels, mode, data).

        Args:
            path: folders with all below them, or files; several are set apart by commas, and may
                hold wildcards.
            sc: the SparkContext; None: that of the running session.
            minPartitions: the least number of partitions.
            resizeH, resizeW: the size of the images; -1 leaves them as large as they are.
            image_codec: as OpenCV's imread: above 0 three channels, 0 grey, below 0 as they are.

        >>> NNImageReader.readImages("hdfs:///photos", sc, resizeH=256, resizeW=256, image_codec=1)
        """
        if (resizeH > 0) is not (resizeW > 0):
            raise ConfigError(
                "readImages: a size has a height and a width. Received: resizeH="
                f"{resizeH!r}, resizeW={resizeW!r}. Pass both, or neither."
            )
        paths = [part.strip() for part in path.split(",") if part.strip()]
        how = {
            "size": (resizeH, resizeW) if resizeH > 0 else None,
            "channels": 3 if image_codec > 0 else 1 if image_codec == 0 else None,
            "session": _session_of(sc),
        }
        frame = read_images(paths, **how)
        few = minPartitions > 1 and frame.rdd.getNumPartitions() < minPartitions
        return read_images(paths, partitions=minPartitions, **how) if few else frame


def _session_of(sc: Any) -> Any:
    from pyspark.sql import SparkSession

    return None if sc is None else SparkSession.builder.getOrCreate()
