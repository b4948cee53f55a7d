"""Spark's daemon of Python workers (`spark.python.daemon.module`), which imports what they all
import before it forks them: each new worker would take 0.8 s of a core over it."""

import contextlib

from pyspark.daemon import manager

with contextlib.suppress(ImportError):  # where zoo_keras is missing, workers must say so
    import pyarrow  # noqa: F401
    import pyspark.worker  # noqa: F401

    import zoo_keras.spark.fit.driver
    import zoo_keras.spark.fit.rank
    import zoo_keras.spark.scoring.worker  # noqa: F401

if __name__ == "__main__":
    manager()
