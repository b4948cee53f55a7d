"""The first record of an RDD or row of a DataFrame, which shows what the others look like.

In: an RDD, or a DataFrame and a question. Out: a list of one record, or an empty one. There is one
look at each RDD and DataFrame, and no Python worker takes part when records lie in the JVM: Spark
ends a worker that has not read its partition to the end, with all that it has imported and keeps.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, NoReturn

from zoo_keras.spark.java import new_java
from zoo_keras.spark.transport import failures
from zoo_keras.spark.transport.failures import JobError

_seen: weakref.WeakKeyDictionary[Any, dict[Hashable, list[Any]]] = weakref.WeakKeyDictionary()


def first_record(rdd: Any) -> list[Any]:
    """[the first record], or [] when there is none."""
    return seen_once(rdd, None, lambda: _first_in_jvm(rdd) or rdd.take(1))


def seen_once(source: Any, question: Hashable, look: Callable[[], list[Any]]) -> list[Any]:
    """What `look` has found in an RDD or DataFrame, which do not change; nothing is not kept."""
    answers = _seen.setdefault(source, {})
    if question not in answers:
        found = look()
        if not found:
            return []
        answers[question] = found
    return answers[question]


def _first_in_jvm(rdd: Any) -> list[Any]:
    """[the first record] where the JVM has pickled batches, none of them very long; else []."""
    batches = _serializer_of_batches(rdd)
    if batches is None:
        return []
    try:
        found = rdd._jrdd.mapPartitions(new_java(rdd.ctx, "First"), True).take(1)
    except Exception as error:
        _explain(error)
    return batches.loads(found[0])[:1] if found and found[0] else []


def _explain(error: Exception) -> NoReturn:
    """Spark's own trouble, with its disks for one, in short; what the user's code has raised as it
    comes."""
    text = str(error)
    if "SparkException" not in text or failures.of_user(text):
        raise error
    reason = failures.in_short(text)
    failures.raise_instead(error, JobError(
        f"Spark could not read the first record. Received: {reason}. Mend that, and call it again."
    ))  # fmt: skip


def _serializer_of_batches(rdd: Any) -> Any:
    """What reads a batch; None where a Python worker makes the records, or there are no batches."""
    from pyspark.rdd import PipelinedRDD
    from pyspark.serializers import BatchedSerializer, CPickleSerializer

    if isinstance(rdd, PipelinedRDD) and not rdd.is_cached:
        return None
    kind = rdd._jrdd_deserializer
    batched = isinstance(kind, BatchedSerializer) and isinstance(kind.serializer, CPickleSerializer)
    return kind.serializer if batched else None
