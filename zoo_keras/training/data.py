"""Data given to fit, evaluate and predict -> batches of plain arrays.

In: arrays, lists and dicts of arrays, generators, PyDatasets. Out: Batch after Batch, each a flat
list of arrays for inputs, targets and sample weights. All checks happen before the first batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ConfigError, DataError
from zoo_keras.feed.columns import as_column, is_ragged, is_text, narrowed, with_lists_of_text
from zoo_keras.native import Gather, permutation
from zoo_keras.nest import flatten, map_structure


class Batch(NamedTuple):
    """Arrays of one step. x, y and weights are flat lists; the structures say how they nest."""

    x: list[np.ndarray]
    y: list[np.ndarray]
    weights: list[np.ndarray]
    structure: tuple[Any, Any, Any]

    @property
    def rows(self) -> int:
        return len(self.x[0])


def template(structure: Any) -> Any:
    """The nest with leaf numbers in place of leaves: hashable shape of a structure."""
    counter = iter(range(1 << 30))
    return map_structure(lambda leaf: next(counter), structure)


def as_array(value: Any, what: str, wide: bool = False) -> np.ndarray:
    """A numeric array of rank 1 or more from an array, list, Series or DataFrame of pandas."""
    column = as_column(value, what, wide=wide)
    if is_ragged(column):
        return column
    if is_text(column):
        raise DataError(
            f"{what}: expected numbers. Received: text, such as "
            f"{column.reshape(-1)[:1].tolist()}. Convert the data to a numeric array first."
        )
    return narrowed(column, wide=wide)


def lists_as_arrays(given: Any, what: str) -> Any:
    """The structure with plain lists of numbers as arrays.

    A list is one array if its items are alike; items of one length that differ further inside are
    several arrays, such as two inputs.
    """
    if isinstance(given, dict):
        return {key: lists_as_arrays(item, f"{what}[{key!r}]") for key, item in given.items()}
    if not isinstance(given, (list, tuple)):
        return given
    if not all(leaf is None or isinstance(leaf, _PLAIN) for leaf in flatten(given)):
        return [lists_as_arrays(item, f"{what}[{i}]") for i, item in enumerate(given)]
    try:
        return np.asarray(given)
    except ValueError:
        lengths = [len(item) if isinstance(item, (list, tuple)) else 0 for item in given]
        if len(set(lengths)) == 1:
            return [lists_as_arrays(item, f"{what}[{i}]") for i, item in enumerate(given)]
        name = what if "[" in what else f"{what}[0]"
        raise DataError(
            f"{name}: the rows have different lengths. Received: a list of {len(given)} items of "
            f"lengths {sorted(set(lengths))}. Pad them to one length."
        ) from None


_PLAIN = (bool, int, float, str, bytes, np.generic)


class Data:
    """What all kinds of local data share: they may hear when an epoch begins and ends."""

    endless = False
    steps: Any = None
    rows: int | None = None

    def on_epoch_begin(self) -> None:
        """Before the first batch of an epoch."""

    def on_epoch_end(self) -> None:
        """After the last batch of an epoch."""


class Rows:
    """Rows of each array, in an order. C copies those of arrays that lie row by row in memory.

    Args:
        ahead: idle threads may begin at once, while the batch before is in use.
    """

    def __init__(self, arrays: Sequence[Any], order: np.ndarray, ahead: bool = False) -> None:
        self._arrays, self._order = arrays, order
        self._plain = [isinstance(a, np.ndarray) and a.flags.c_contiguous and not a.dtype.hasobject
                       for a in arrays]  # fmt: skip
        plain = [a for a, is_plain in zip(arrays, self._plain, strict=True) if is_plain]
        self._copied = Gather(plain, order, ahead)

    def take(self) -> list[Any]:
        """One array for each. To be called once."""
        copied = iter(self._copied.rows())
        return [next(copied) if is_plain else a[self._order]
                for a, is_plain in zip(self._arrays, self._plain, strict=True)]  # fmt: skip


def gathered(arrays: Sequence[Any], order: np.ndarray) -> list[Any]:
    """These rows of each array."""
    return Rows(arrays, order).take()


class ArrayData(Data):
    """Arrays in memory, shuffled and cut into batches. When `wide`, float64 stays float64."""

    rows: int

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        class_weight: dict[int, float] | None = None,
        fill_value: Any = None,
        wide: bool = False,
    ) -> None:
        x, y = lists_as_arrays(with_lists_of_text(x), "x"), lists_as_arrays(y, "y")
        sample_weight = lists_as_arrays(sample_weight, "sample_weight")
        fills = fills_of(x, fill_value)
        self.x = [as_column(a, f"x[{i}]", fills[i], wide) for i, a in enumerate(flatten(x))]
        ys = [] if y is None else flatten(y)
        self.y = [as_array(a, f"y[{i}]", wide) for i, a in enumerate(ys)]
        weights = [] if sample_weight is None else flatten(sample_weight)
        self.weights = [as_array(w, "sample_weight").astype(np.float32) for w in weights]
        self.structure = (template(x), template(y) if y is not None else None,
                          template(sample_weight) if self.weights else None)  # fmt: skip
        self.weigh(class_weight)
        self.batch_size = check_batch_size(batch_size)
        self.rows = check_lengths(self.x, self.y, self.weights)

    def weigh(self, class_weight: dict[int, float] | None) -> None:
        """Class weights, times the sample weights that there are, become the sample weights."""
        if class_weight is None or not self.y:
            return
        self.weights = [class_weights_of(self.y, self.weights, class_weight)]
        self.structure = (*self.structure[:2], template(0))

    @property
    def steps(self) -> int:
        return -(-self.rows // self.batch_size)

    def batches(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """Batches of consecutive rows, or of the rows in the given order."""
        if order is None:
            arrays, size = self._arrays(), self.batch_size
            for lo in range(0, self.rows, size):
                yield self._batch([a[lo : lo + size] for a in arrays])
        else:
            yield from self._ordered(order)

    def _ordered(self, order: np.ndarray) -> Iterator[Batch]:
        """Batches in an order; each is copied while the one before is in use."""
        arrays, size = self._arrays(), self.batch_size
        ready = Rows(arrays, order[:size])
        for lo in range(size, len(order), size):
            batch = self._batch(ready.take())
            ready = Rows(arrays, order[lo : lo + size], ahead=True)
            yield batch
        yield self._batch(ready.take())

    def _arrays(self) -> list[Any]:
        return [*self.x, *self.y, *self.weights]

    def _batch(self, found: list[Any]) -> Batch:
        x, y = len(self.x), len(self.x) + len(self.y)
        return Batch(found[:x], found[x:y], found[y:], self.structure)

    def split(self, fraction: float) -> tuple[ArrayData, ArrayData]:
        """The first 1 - fraction of the rows, and the rest."""
        if not 0 < fraction < 1:
            raise ConfigError(
                f"validation_split must lie between 0 and 1. Received: {fraction}. Pass e.g. 0.2."
            )
        at = int(self.rows * (1 - fraction))
        if at in (0, self.rows):
            raise DataError(
                f"validation_split={fraction} of {self.rows} rows leaves nothing on one side. "
                "Use more rows or another fraction."
            )
        return self._part(slice(0, at)), self._part(slice(at, None))

    def _part(self, rows: slice) -> ArrayData:
        part = object.__new__(ArrayData)
        part.x = [a[rows] for a in self.x]
        part.y = [a[rows] for a in self.y]
        part.weights = [a[rows] for a in self.weights]
        part.structure, part.batch_size = self.structure, self.batch_size
        part.rows = len(part.x[0])
        return part


def fills_of(x: Any, fill_value: Any) -> list[Any]:
    """What stands for nulls in each leaf of x: one value, or of a dict that of the input's name.
    A table takes the dict by its columns."""
    leaves = flatten(x)
    if not isinstance(fill_value, dict):
        return [fill_value] * len(leaves)
    names = list(flatten({key: key for key in x})) if isinstance(x, dict) else []
    tables = [hasattr(leaf, "columns") for leaf in leaves]
    columns = {c for leaf in leaves if hasattr(leaf, "columns") for c in _column_names(leaf)}
    if unknown := sorted(map(str, set(fill_value) - set(names) - columns)):
        raise ConfigError(
            f"fill_value names what x has not. Received: {unknown}. Known are the inputs {names} "
            f"and the columns {sorted(map(str, columns))}."
        )
    if len(names) != len(leaves):
        return [fill_value if table else None for table in tables]
    return [fill_value if table else fill_value.get(name)
            for name, table in zip(names, tables, strict=True)]  # fmt: skip


def _column_names(table: Any) -> list[Any]:
    return list(getattr(table, "column_names", None) or table.columns)


def check_class_weight(class_weight: Any) -> dict[int, float] | None:
    """The argument as a dict of class numbers and weights; ConfigError for anything else."""
    if class_weight is None:
        return None
    whole, number = (int, np.integer), (int, float, np.integer, np.floating)
    wrong = not isinstance(class_weight, dict) or [
        (k, v) for k, v in class_weight.items()
        if not isinstance(k, whole) or not isinstance(v, number)
    ]  # fmt: skip
    if wrong:
        raise ConfigError(
            "class_weight must be a dict from class numbers to weights. Received: "
            f"{class_weight if wrong is True else dict(wrong)!r}. Write e.g. {{0: 1.0, 1: 9.0}}."
        )
    return {int(k): float(v) for k, v in class_weight.items()}


def class_weights_of(
    y: Sequence[np.ndarray], weights: Sequence[np.ndarray], class_weight: dict[int, float]
) -> np.ndarray:
    """A weight for each label (1 for classes not named); sample weights multiply it.

    Labels are class numbers, with a last axis of 1 or without, or one-hot rows. Of targets with
    more axes (sequences, images) each step or pixel has a label: the weights are (rows, ...).
    """
    if len(y) != 1:
        raise ConfigError(
            f"class_weight works for models with one output. Received: {len(y)} arrays of targets. "
            "Use sample_weight."
        )
    labels = _class_numbers(y[0])
    classes = np.array(sorted(class_weight), np.int64)
    values = np.array([class_weight[int(k)] for k in classes], np.float32)
    found = np.ones(labels.shape, np.float32)
    if classes.size:
        at = np.minimum(np.searchsorted(classes, labels), classes.size - 1)
        found = np.where(classes[at] == labels, values[at], found)
    if not weights:
        return found
    by_row = weights[0].size == len(found)
    return found * weights[0].reshape((-1, *[1] * (found.ndim - 1)) if by_row else found.shape)


def _class_numbers(y: np.ndarray) -> np.ndarray:
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    elif y.ndim > 1:
        if y.ndim > 2 and not np.allclose(y.sum(axis=-1, dtype=np.float64), 1):
            raise ConfigError(
                "class_weight: targets of three axes or more must be one-hot along the last one, "
                f"or have a last axis of 1. Received: targets of shape {y.shape} whose last axis "
                "does not sum to 1. Add an axis to class numbers: y[..., None]."
            )
        y = y.argmax(axis=-1)
    return np.rint(y).astype(np.int64)


def check_batch_size(batch_size: Any) -> int:
    """The batch size, 32 when none is given."""
    if batch_size is None:
        return 32
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ConfigError(
            f"batch_size must be a whole number above 0. Received: {batch_size!r}. Pass e.g. 32."
        )
    return int(batch_size)


def check_lengths(*groups: Sequence[np.ndarray]) -> int:
    """The common number of rows of all arrays."""
    lengths = [len(a) for group in groups for a in group]
    if len(set(lengths)) != 1:
        raise DataError(
            "x, y and sample_weight must have the same number of rows. Received: "
            f"{lengths}. Cut them to one length."
        )
    return lengths[0]


class IteratorData(Data):
    """A generator or iterator of (x, y, sample_weight) tuples, each item one batch."""

    def __init__(
        self, source: Any, class_weight: dict[int, float] | None = None, wide: bool = False
    ) -> None:
        self.source, self.class_weight, self.wide = iter(source), class_weight, wide

    def batches(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """The items that are left; it can be read once."""
        for item in self.source:
            yield batch_of(item, self.class_weight, self.wide)


class DatasetData(Data):
    """A PyDataset: an object with `__getitem__(i)` -> batch and a number of batches, or none."""

    def __init__(
        self, dataset: Any, shuffle: bool = False, class_weight: dict[int, float] | None = None,
        wide: bool = False,
    ) -> None:  # fmt: skip
        self.dataset, self.class_weight, self.shuffle = dataset, class_weight, shuffle
        self.wide = wide
        self.steps = dataset.num_batches
        self.endless = self.steps is None

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()

    def batches(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """All items once; `order` gives the sequence of item numbers."""
        count = self.dataset.num_batches  # may change from epoch to epoch
        numbers = itertools.count() if count is None else range(count)
        for i in numbers if order is None else order:
            item = self.dataset[int(i)]
            item = tuple(item) if isinstance(item, list) else item
            yield batch_of(item, self.class_weight, self.wide)


def batch_of(item: Any, class_weight: dict[int, float] | None = None, wide: bool = False) -> Batch:
    """One Batch from x, (x,), (x, y) or (x, y, sample_weight)."""
    x, y, weight = unpack_x_y_sample_weight(item)
    x = lists_as_arrays(with_lists_of_text(x), "x")
    rows = len(as_column(flatten(x)[0], "x[0]"))
    data = ArrayData(x, y, weight, max(rows, 1), class_weight, wide=wide)
    return Batch(data.x, data.y, data.weights, data.structure)


def unpack_x_y_sample_weight(item: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) with None for what is not there, as keras.utils has it."""
    if not isinstance(item, tuple):
        return item, None, None
    if not 1 <= len(item) <= 3:
        raise DataError(
            "A batch must be x, (x, y) or (x, y, sample_weight). Received: a tuple of "
            f"{len(item)}. Nest several inputs in a list."
        )
    padded = (*item, None, None)
    return padded[0], padded[1], padded[2]


def make_data(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    class_weight: dict[int, float] | None = None,
    shuffle: bool = False,
    fill_value: Any = None,
    wide: bool = False,
) -> Any:
    """ArrayData, DatasetData or IteratorData, by the type of x; `wide` is that of ArrayData."""
    if x is None:
        raise DataError("x is missing. Received: None. Pass arrays, an RDD, a DataFrame, ...")
    if is_dataset(x) or is_iterator(x):
        if y is not None or sample_weight is not None:
            raise ConfigError(
                "y and sample_weight come with the items of a generator or PyDataset. "
                "Received: them as arguments too. Leave them out."
            )
        if fill_value is not None:
            raise ConfigError(
                "fill_value is for arrays and tables. Received: it with a generator or PyDataset. "
                "Fill nulls where its items are made."
            )
        return DatasetData(x, shuffle, class_weight, wide) if is_dataset(x) else IteratorData(
            x, class_weight, wide)  # fmt: skip
    return ArrayData(x, y, sample_weight, batch_size, class_weight, fill_value, wide)


def is_dataset(x: Any) -> bool:
    """Whether x is a PyDataset (by its methods)."""
    return isinstance(x, PyDataset)


def is_iterator(x: Any) -> bool:
    """Whether x is a generator or another iterator of batches."""
    return hasattr(x, "__next__")


class PyDataset:
    """Base class of data sets that make their own batches, as keras.utils.PyDataset.

    Subclasses define `__getitem__(index)` -> (x, y) or (x, y, sample_weight), and `__len__`, or
    `num_batches`, which is None where there is no end.
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers, self.use_multiprocessing = workers, use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index).")

    @property
    def num_batches(self) -> int | None:
        """The number of batches; None for a data set without an end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise ConfigError(
            f"{type(self).__name__} must say how many batches it has. Received: a class without "
            "__len__. Define __len__(), or a property num_batches that may be None."
        )

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


class Orders:
    """The orders of epochs, asked for one after the other. That of a long next epoch is made while
    the present one trains: 6,000,000 rows take 0.05 s, a tenth of an epoch of a small model."""

    LONG = 1 << 18

    def __init__(self, make: Callable[[int], np.ndarray | None], count: int) -> None:
        self._make, self._long = make, count >= self.LONG
        self._next: Future[np.ndarray | None] | None = None

    def of(self, epoch: int, last: bool) -> np.ndarray | None:
        """The order of an epoch; `last`: no other follows."""
        ready, self._next = self._next, None
        order = self._make(epoch) if ready is None else ready.result()
        if self._long and not last:
            pool = ThreadPoolExecutor(1)
            self._next = pool.submit(self._make, epoch + 1)
            pool.shutdown(wait=False)
        return order


def epoch_order(
    count: int, shuffle: Any, seed: int, epoch: int, batch_size: int = 1
) -> np.ndarray | None:
    """The permutation of an epoch: the same for the same seed, wherever it is computed."""
    if not shuffle:
        return None
    rng = np.random.default_rng([seed, epoch])
    if shuffle == "batch":
        starts = rng.permutation(-(-count // batch_size)) * batch_size
        return np.concatenate([np.arange(s, min(s + batch_size, count)) for s in starts])
    if count < Orders.LONG:
        return rng.permutation(count)
    return permutation(count, rng.integers(0, 1 << 64, 4, np.uint64))
