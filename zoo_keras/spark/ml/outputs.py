"""A model's outputs as Spark ML's columns: doubles, vectors, probabilities, predicted classes.

In: names and types of columns that `predict` has added. Out: Columns, computed in the JVM from
these alone, so that the model runs once whoever reads them. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from zoo_keras.errors import ConfigError
from zoo_keras.spark.data import arrow

_LEAST = 1e-300  # stands for a threshold of 0, by which nothing can be divided


class Scores(NamedTuple):
    """SQL of a classifier's columns: two of arrays of doubles, and one of a class as a double."""

    raw: str
    probability: str
    prediction: str


def as_column(sql: str) -> Any:
    """The Column of an expression."""
    from pyspark.sql.functions import expr

    return expr(sql)


def plain(frame: Any, name: str, vectors: bool) -> Any:
    """An output as a double, a vector or an array; arrays of arrays stay as they are."""
    kind = frame.schema[name].dataType
    if not _is_array(kind):
        return as_column(_double(arrow.quoted(name)))
    if not vectors or _is_array(kind.elementType):
        return as_column(arrow.quoted(name))
    return vector(frame, _doubles(arrow.quoted(name)))


def vector(frame: Any, sql: str) -> Any:
    """The Column of ML vectors of an array of doubles; null for one that is null."""
    from pyspark.sql.functions import when

    column = as_column(sql)
    if not hasattr(column, "_jc"):  # Spark Connect
        from pyspark.ml.functions import array_to_vector

        return when(column.isNotNull(), array_to_vector(column))
    functions = getattr(frame.sparkSession._jvm, "org.apache.spark.ml.functions")
    made = type(column)(functions.array_to_vector(column._jc))
    return when(column.isNotNull(), made)


def number(frame: Any, name: str) -> Any:
    """An output of one number as a double; ConfigError for other outputs."""
    kind = frame.schema[name].dataType
    if _is_array(kind):
        raise ConfigError(
            "A regression model must have one number a row as its output. Received: "
            f"{kind.simpleString()}. Give the last layer one unit, or use KerasEstimator."
        )
    return plain(frame, name, False)


def scores(
    frame: Any, name: str, logits: bool, thresholds: Sequence[float] | None = None
) -> Scores:
    """What a classifier's output gives; one unit is the second class of two.

    Args:
        logits: whether the output is logits; else it is probabilities, and `raw` is too.
        thresholds: of the classes; the one with the largest probability / threshold is predicted.
    """
    kind = frame.schema[name].dataType
    if _is_array(kind) and _is_array(kind.elementType):
        raise ConfigError(
            "A classification model must have a number a row for each class as its output. "
            f"Received: {kind.simpleString()}. Flatten or pool it first, or use KerasEstimator."
        )
    output = arrow.quoted(name)
    if _is_array(kind):
        raw = _doubles(output)
        probability = _softmax(raw) if logits else raw
    else:
        one = _double(output)
        share = f"1 / (1 + exp(-{one}))" if logits else one
        probability = _unless_null(one, f"array(1 - {share}, {share})")
        raw = _unless_null(one, f"array(-{one}, {one})") if logits else probability
    return Scores(raw, probability, _largest(_scaled(probability, thresholds)))


def _is_array(kind: Any) -> bool:
    return type(kind).__name__ == "ArrayType"


def _double(sql: str) -> str:
    return f"CAST({sql} AS DOUBLE)"


def _unless_null(value: str, sql: str) -> str:
    return f"IF({value} IS NULL, NULL, {sql})"


def _doubles(sql: str) -> str:
    return f"CAST({sql} AS ARRAY<DOUBLE>)"


def _let(name: str, value: str, body: str) -> str:
    """SQL of the body with a name for a value, which is computed once."""
    return f"transform(array({value}), {name} -> {body})[0]"


def _softmax(sql: str) -> str:
    powers = _let("largest", f"array_max({sql})", f"transform({sql}, v -> exp(v - largest))")
    total = "aggregate(powers, 0D, (sum, v) -> sum + v)"
    return _let("powers", powers, _let("total", total, "transform(powers, v -> v / total)"))


def _scaled(sql: str, thresholds: Sequence[float] | None) -> str:
    if thresholds is None:
        return sql
    by = ", ".join(f"{max(threshold, _LEAST)!r}D" for threshold in thresholds)
    return f"zip_with({sql}, array({by}), (p, threshold) -> p / threshold)"


def _largest(sql: str) -> str:
    place = _let("scores", sql, "array_position(scores, array_max(scores))")
    return f"CAST({place} - 1 AS DOUBLE)"
