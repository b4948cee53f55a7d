"""Why a job has failed, in one clear error.

In: the text of Spark's exception. Out: what a rank has said of its own failure, what the user's
own function has raised, or Spark's reason in short. Knows no jobs and no models.
"""

from __future__ import annotations

import json
import re
import socket
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from zoo_keras.errors import ClusterError, ZooKerasError

_MARK = "zookeras-failure:"
_TRACE = re.compile(
    r"PythonException: [^\n]*Traceback \(most recent call last\):\n"
    r"(.*?)(?=\n\s*(?:SQLSTATE:|at )|\Z)",
    re.DOTALL,
)
_FRAME = re.compile(r'  File "([^"]+)", line (\d+), in (.+)\n(?:    .*\n)*')
_SPARKS_OWN = ("/pyspark/", "pyspark.zip", "/zoo_keras/spark/")


class LostExecutor(NamedTuple):
    """An executor that went away during a job."""

    id: str
    host: str
    reason: str


class LateRanksError(ClusterError):
    """Not all ranks of a job could begin in time.

    Attributes:
        lost: the executors that went away meanwhile (LostExecutor).
    """

    lost: Sequence[LostExecutor] = ()


class JobError(ClusterError):
    """A job of ranks that failed.

    Attributes:
        lost: the executors that went away (LostExecutor).
        restartable: whether the failure came from the cluster, so that another try may succeed.
        cancelled: whether it was stopped on purpose.
    """

    def __init__(
        self,
        message: str,
        *,
        lost: list[LostExecutor] | None = None,
        restartable: bool = False,
        cancelled: bool = False,
    ) -> None:
        super().__init__(message)
        self.lost, self.restartable, self.cancelled = lost or [], restartable, cancelled


class WorkerError(Exception):
    """What a Python worker has raised: the lines of its traceback that are not Spark's."""


class UserFailure(NamedTuple):
    """An exception of the user's own function: its text, where it was raised, and the way there."""

    text: str
    place: str
    trace: str

    def as_error(self, job: str) -> JobError:
        """The exception first; nothing of the cluster is at fault, so there is no other try."""
        error = JobError(
            f"{self.text}\nThis ended job {job} while its data were read. Received: the exception "
            f"above, raised {self.place}. Mend the data or that function, and call it again."
        )
        error.__cause__ = WorkerError("in a Python worker\n" + self.trace)
        return error


_INSTALLED = re.compile(
    r"ModuleNotFoundError: No module named 'zoo_keras[^\n]*|[^\n]*PYTHON_VERSION_MISMATCH[^\n]*|"
    r"AttributeError: Can't get attribute [^\n]*zoo_keras[^\n]*|"
    r"ImportError: cannot import name [^\n]* from 'zoo_keras[^\n]*"
)


def of_installation(text: str) -> ClusterError | None:
    """The executors' Python could not read what the driver's has sent."""
    found = _INSTALLED.search(text)
    if found is None:
        return None
    return ClusterError(
        "The Python of the executors lacks the zoo_keras, or the Python, that the driver has. "
        f"Received: {found[0].strip()[:500]}. Install the same wheel into both: PYSPARK_PYTHON "
        "(spark.pyspark.python) names the executors' Python, --archives brings one along, and "
        "`zoo-keras doctor` shows what is there."
    )


def describe(rank: int, error: Exception) -> str:
    """A rank's account of its failure, as text that `of_rank` finds again."""
    what = {
        "rank": rank,
        "host": socket.gethostname(),
        "type": type(error).__name__,
        "module": type(error).__module__,
        "message": str(error),
        "trace": "".join(traceback.format_exception(error)[-6:]),
    }
    return _MARK + json.dumps(what)


def of_rank(text: str) -> dict[str, Any] | None:
    """The rank's own account of its failure."""
    found = re.search(re.escape(_MARK) + r"(\{.*\})", text)
    if not found:
        return None
    try:
        failure, _ = json.JSONDecoder().raw_decode(found[1])
    except json.JSONDecodeError:
        return None
    return dict(failure)


def of_user(text: str) -> UserFailure | None:
    """The exception of a Python function that made the data."""
    for found in _TRACE.finditer(text):
        if _MARK in found[1]:
            continue
        last = found[1].rpartition("Traceback (most recent call last):\n")[2]
        frames = [f for f in _FRAME.finditer(last) if not any(own in f[1] for own in _SPARKS_OWN)]
        message = _FRAME.split(last)[-1].strip()
        place = f"in {frames[-1][3]} ({frames[-1][1]}, line {frames[-1][2]})" if frames else "there"
        return UserFailure(message, place, "".join(f[0] for f in frames) + message)
    return None


def alone(items: Iterator[Any]) -> Iterator[Any]:
    """The same items; an error of ours comes without the way to it, for its message says all."""
    try:
        yield from items
    except ZooKerasError as error:
        raise error.with_traceback(None) from None


def in_short(text: str) -> str:
    """Spark's reason without the Java frames that follow it."""
    text = re.sub(r"^An error occurred while calling [^\n]*\n: ", "", text)  # py4j's own words
    reason = text.split("Most recent failure reason: ")[-1]
    return re.split(r"\n\s+at |\nDriver stacktrace:", reason)[0].strip()[:2000]


def raise_instead(spark: BaseException, clear: Exception) -> NoReturn:
    """Raise the clear error; Spark's is its context, for debuggers, and not printed before it."""
    try:
        raise spark
    except BaseException:
        raise clear from clear.__cause__
