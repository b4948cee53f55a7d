"""Running a model inside any Spark task: the parcel that travels, and the worker that unpacks it.

In (driver): a Model and what one record looks like. Out: a Parcel of programs and weights, plain
data that pickles once into a broadcast. In (executor): the Parcel. Out: results batch by batch.
Tasks do not know of each other.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.engine.program import Program
from zoo_keras.engine.runner import Loaded, Packed, Runner
from zoo_keras.engine.spaces import OUT, RNG, SHARE, of_batch
from zoo_keras.graph import Spec
from zoo_keras.spark.data.records import Layout
from zoo_keras.spark.engine import Engine, check_engine, check_inference, this_engine
from zoo_keras.spark.scoring.open_rows import OpenModel, differ

KEPT = 2  # models that a Python worker keeps ready between tasks


class Parcel(NamedTuple):
    """Programs for some batch sizes, the spaces they run on, and the layout of records.

    Attributes:
        uid: names the parcel in the worker's cache.
        programs: batch size -> Program.
        spaces: weights and state by space name.
        outputs: Specs of one record's outputs (without the batch axis).
        engine: that of the driver, which made the programs.
        by_shape: the model, for rows of other shapes than the programs have; None: all are alike.
    """

    uid: str
    programs: dict[int, Program]
    spaces: dict[str, np.ndarray]
    layout: Layout
    outputs: tuple[Spec, ...]
    engine: Engine
    by_shape: OpenModel | None = None


def batch_sizes(batch_size: int) -> list[int]:
    """Sizes of which any number of rows is a short sum, so that no batch needs padding.

    >>> batch_sizes(32)
    [32, 6, 1]
    """
    return sorted({batch_size, max(1, round(batch_size**0.5)), 1}, reverse=True)


def make_parcel(
    spaces: dict[str, np.ndarray],
    layout: Layout,
    compile_for: Callable[[int], Program],
    batch_size: int,
    threads: int,
    outputs: Sequence[Spec] = (),
) -> Parcel:
    """Compile for all sizes with the threads of a Spark task."""
    with native.using_threads(threads):
        programs = {n: compile_for(n) for n in batch_sizes(batch_size)}
    copies = {name: np.array(array) for name, array in spaces.items()}
    return Parcel(uuid.uuid4().hex, programs, copies, layout, tuple(outputs), this_engine())


class Worker:
    """A Parcel made ready in one Python process."""

    def __init__(self, parcel: Parcel) -> None:
        check_engine(parcel.engine)
        check_inference(parcel.engine)
        self.parcel = parcel
        self._shapes = [leaf.shape for leaf in parcel.layout.leaves]
        self.sizes = sorted(parcel.programs, reverse=True)
        self.spaces = {name: _writable(array) for name, array in parcel.spaces.items()}
        self.lock = threading.Lock()
        self._model: Any = None  # made when a row of another shape comes
        self._runners: dict[int, Runner] = {}
        self._packs: dict[bytes, Packed] = {}  # derived from the weights once for all sizes

    def runner(self, rows: int) -> Runner:
        """The runner for batches of so many rows."""
        if rows not in self._runners:
            runner = Runner(Loaded(self.parcel.programs[rows], self._packs))
            for name, array in self.spaces.items():
                runner.set(name, array)
            runner.set(RNG, np.zeros(2, np.int64))
            runner.set(SHARE, np.asarray(rows / self.sizes[0], np.float32))
            self._runners[rows] = runner
        return self._runners[rows]

    def pieces(self, rows: int) -> Iterator[tuple[int, int]]:
        """[first, last) of the pieces into which so many rows are cut."""
        first = 0
        for size in self.sizes:
            while rows - first >= size:
                yield first, first + size
                first += size

    def run(
        self, columns: Sequence[np.ndarray], rows: slice, outs: Sequence[np.ndarray] = (),
        version: int | None = None,
    ) -> None:  # fmt: skip
        """Run on these rows of the columns; nothing of them is kept."""
        runner = self.runner(rows.stop - rows.start)
        fed = {
            name: np.ascontiguousarray(array[rows])
            for name, array in of_batch(self.parcel.layout.split(columns)).items()
        }
        fed.update(OUT.named(outs))
        for space, array in fed.items():
            runner.lend(space, array)
        runner.run(version)

    def predict(self, columns: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for all rows of the columns; lists where rows of them differ in shape."""
        if self.parcel.by_shape is not None and differ(columns, self._shapes):
            return self._predict_by_shape(self.parcel.by_shape, columns)
        rows = len(columns[0])
        results = [np.empty((rows, *s.shape), s.dtype) for s in self.parcel.outputs]
        with self.lock:
            for first, last in self.pieces(rows):
                outs = [result[first:last] for result in results]
                self.run(columns, slice(first, last), outs, version=0)
        return results

    def _predict_by_shape(self, by_shape: OpenModel, columns: Sequence[Any]) -> list[Any]:
        with self.lock:
            self._model = self._model or by_shape.load()
        return by_shape.predict(
            self._model, columns, self.parcel.layout.structure[0], self.sizes[0]
        )

    def measure(self, columns: Sequence[np.ndarray]) -> None:
        """Add all rows to the space `metrics`."""
        with self.lock:
            for first, last in self.pieces(len(columns[0])):
                self.run(columns, slice(first, last))


def _writable(array: np.ndarray) -> np.ndarray:
    copy = native.aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


_workers: OrderedDict[str, Worker] = OrderedDict()
_lock = threading.Lock()


def worker_for(parcel: Parcel) -> Worker:
    """The Worker of a parcel; this process keeps the last few, so tasks need not unpack again."""
    with _lock:
        if parcel.uid not in _workers:
            _workers[parcel.uid] = Worker(parcel)
            while len(_workers) > KEPT:
                _workers.popitem(last=False)
        _workers.move_to_end(parcel.uid)
        return _workers[parcel.uid]


def in_chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
