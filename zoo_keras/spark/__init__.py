"""Everything that needs Spark. Nothing is imported here, so that `import zoo_keras` stays quick:
import the modules by name, and only when an RDD, a DataFrame or a session is at hand."""

from __future__ import annotations

from typing import Any

__all__ = ["report", "udf"]


def __getattr__(name: str) -> Any:
    if name == "udf":
        from zoo_keras.spark.scoring.functions import udf

        return udf
    if name == "report":
        from zoo_keras.spark.fit.report import report

        return report
    raise AttributeError(f"module 'zoo_keras.spark' has no attribute {name!r}")
