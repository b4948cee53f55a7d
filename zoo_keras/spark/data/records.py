"""Records of an RDD -> typed columns, with every record checked.

In: (x, y[, weight]) records, each part a number, array, list or dict of arrays. Out: one compact
array for each leaf; large ones lie in unlinked files. The driver learns the leaves from one
record; the ranks hold every record to them, and name partition and row of one that differs.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.dtypes import from_objects, storage
from zoo_keras.errors import DataError
from zoo_keras.feed import kinds
from zoo_keras.feed.columns import holds_text, stacked_text, value_array
from zoo_keras.feed.feed import Source
from zoo_keras.feed.ragged import Ragged, padded
from zoo_keras.nest import flatten
from zoo_keras.spark.data.spill import SpillFile, unencrypted
from zoo_keras.training.data import Batch, template
from zoo_keras.training.fed import feed_for, takes_columns

CHUNK = 1024  # records turned into arrays at a time
ROOM = 8 << 20  # bytes by which an array may grow ahead of its rows: numpy writes zeros there


class Leaf(NamedTuple):
    """One column: how messages call it, the shape of one record's part, its dtype, what stands
    for nulls in each of its columns (None: they are refused), and the shape with None where that of
    a record may differ (None: nowhere), and what then pads it to `shape`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    fill: tuple[Any, ...] | None = None
    open: tuple[int | None, ...] | None = None
    pad: float | None = None

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Whether a record's part may have that shape."""
        wanted = self.shape if self.open is None else self.open
        pairs = zip(shape, wanted, strict=False)
        return len(shape) == len(wanted) and all(b in (None, a) for a, b in pairs)


class Layout(NamedTuple):
    """Columns of the records: numbers of leaves in x, y and weight, and how they nest.

    Attributes:
        targets: which leaves of y the model takes, in its own order; None: all as they are.
        raw: what records look like before the model's Feed, which then is structure[0]; None: no
            Feed, the records are as the model takes them.
    """

    leaves: tuple[Leaf, ...]
    counts: tuple[int, int, int]
    structure: tuple[Any, Any, Any]
    targets: tuple[int, ...] | None = None
    raw: Any = None

    @property
    def records(self) -> Layout:
        """The Layout of the records themselves."""
        found: Layout = self if self.raw is None else self.raw
        return found

    def through(self, model: Any) -> Layout:
        """The Layout behind the model's Feed, if the model has one."""
        count = self.counts[0]
        xs = self.leaves[:count]
        if not any(leaf.dtype == "string" for leaf in xs) and not takes_columns(model):
            return self
        feed = feed_for(model, [Source(x.shape, x.dtype) for x in xs], self.structure[0])
        if feed is None:
            return self
        feed.check_travels()
        xs = tuple(x if x.pad is not None else x._replace(open=None) for x in xs)
        fed = [Leaf(f"x[{i}]", s.shape, s.dtype) for i, s in enumerate(feed.specs())]
        wide = [x._replace(dtype="int64") if x.dtype == "int32" else x for x in xs]
        others = self.leaves[count:]
        return Layout((*fed, *others), (len(fed), *self.counts[1:]), (feed, *self.structure[1:]),
                      self.targets, self._replace(leaves=(*wide, *others)))  # fmt: skip

    def filled(self, fill: Any) -> Layout:
        """The Layout of records whose inputs may hold nulls, for which `fill` stands: a value, or a
        dict by the names of inputs."""
        if fill is None:
            return self
        leaves = list(self.leaves)
        for i, value in enumerate(_fills_of(self.structure[0], self.counts[0], fill)):
            if value is not None:
                dtype = leaves[i].dtype
                if dtype != "string":
                    dtype = narrow(kinds.with_fill(dtype, value))
                leaves[i] = leaves[i]._replace(fill=(value,), dtype=dtype)
        return self._replace(leaves=tuple(leaves))

    def opened(self, shapes: Sequence[tuple[int | None, ...] | None]) -> Layout:
        """The Layout of records that may differ where the model's Inputs, of these shapes, do not
        say a size."""
        leaves = list(self.leaves)
        for i, shape in enumerate(shapes[: self.counts[0]]):
            opens = shape is not None and None in shape and leaves[i].dtype != "string"
            if opens and leaves[i]._replace(open=shape).allows(leaves[i].shape):
                leaves[i] = leaves[i]._replace(open=shape)
        return self._replace(leaves=tuple(leaves))

    @property
    def is_open(self) -> bool:
        """Whether records may differ in shape."""
        return any(leaf.open for leaf in self.leaves)

    def fed(self, columns: list[np.ndarray]) -> list[np.ndarray]:
        """Columns of records as the model's Programs take them."""
        if self.raw is None:
            return columns
        count = self.raw.counts[0]
        return [*self.structure[0].run(columns[:count]), *columns[count:]]

    def split(self, columns: Sequence[np.ndarray]) -> tuple[list, list, list]:
        """Columns of x, y (in the model's order) and weights."""
        a, b = self.counts[0], self.counts[0] + self.counts[1]
        order = range(b - a) if self.targets is None else self.targets
        return list(columns[:a]), [columns[a + i] for i in order], list(columns[b:])

    def zeros(self, rows: int) -> Batch:
        """A batch of zeros in these shapes."""
        columns = [np.zeros((rows, *leaf.shape), leaf.dtype) for leaf in self.leaves]
        return Batch(*self.split(columns), self.structure)

    def arranged(self, model: Any) -> Layout:
        """The same with targets that were given by name in the order of the model's outputs."""
        numbers = [np.array(i) for i in range(self.counts[1])]
        found = model._arranged(Batch([], numbers, [], self.structure))
        return self._replace(targets=tuple(map(int, found.y)), structure=found.structure)


def layout_of(record: Any, supervised: bool, text: bool = False, fill: Any = None) -> Layout:
    """The Layout that a sample record shows.

    Args:
        text: x may hold text.
        supervised: records are (x, y) or (x, y, weight), or x alone where no loss needs y;
            otherwise they are x, whatever their type.
        fill: stands for nulls within x: a value, or a dict by the names of inputs.
    """
    try:
        parts = _parts(record, supervised)
    except DataError as error:
        raise DataError(f"First record: {error}") from None
    groups = [flatten(p) if p is not None else [] for p in parts]
    names = ("x", "y", "sample_weight")
    fills = _fills_of(parts[0], len(groups[0]), fill)
    leaves = [
        _leaf(
            value,
            f"{name}[{i}]" if len(group) > 1 else name,
            text and name == "x",
            fills[i] if name == "x" else None,
        )
        for name, group in zip(names, groups, strict=True)
        for i, value in enumerate(group)
    ]
    inputs, weights = len(groups[0]), len(groups[2])
    for i in range(len(leaves) - weights, len(leaves)):
        leaves[i] = leaves[i]._replace(dtype="float32")
    if not inputs:
        raise DataError("x in the first record: expected numbers. Received: a null. Drop it.")
    structure = tuple(template(p) if p is not None else None for p in parts)
    counts = (inputs, len(groups[1]), weights)
    return Layout(tuple(leaves), counts, structure)  # type: ignore[arg-type]


def _parts(record: Any, supervised: bool) -> tuple[Any, Any, Any]:
    if not supervised:
        return _as_leaf(record), None, None
    record = record if isinstance(record, tuple) else (record,)
    if not 1 <= len(record) <= 3:
        raise untold(record)
    padded = (*record, None, None)
    return _as_leaf(padded[0]), _as_leaf(padded[1]), padded[2]


def untold(record: Any) -> DataError:
    """What to raise for a record without the targets that a loss needs, or with too many parts."""
    return DataError(
        "a record must be a tuple (x, y) or (x, y, sample_weight). Received: "
        f"{type(record).__name__}{f' of {len(record)}' if isinstance(record, tuple) else ''}. "
        "Map the RDD to such tuples first."
    )


def inputs_alone(inputs: int, record: tuple[Any, ...], where: str = "") -> DataError:
    """What to raise for a record that seems to be one of fit, where predict takes x alone."""
    return DataError(
        f"{where}predict takes records of x alone, here of {inputs} "
        f"input{'s' if inputs > 1 else ''}. Received: a tuple of {len(record)}, such as the (x, y) "
        "of fit. Take x out of it: model.predict(rdd.map(lambda record: record[0]))."
    )


def _as_leaf(part: Any) -> Any:
    """A list of plain numbers is one vector; a list of arrays is several inputs."""
    if not isinstance(part, (list, tuple)):
        return part
    kind = _kind_of_sum(part)
    if kind is float:
        return np.frombuffer(struct.pack(f"{len(part)}d", *part))
    if kind is None and any(map(_is_array, flatten(part))):
        return part
    try:
        return value_array(part)
    except ValueError:
        raise DataError(
            f"expected numbers of one shape. Received: a ragged list ({str(part)[:60]}). Pad it."
        ) from None


def _kind_of_sum(part: Any) -> type | None:
    """float where all of a list are Python's own numbers and one is a float; int where all are
    other numbers, or lists of numbers. It takes a tenth of asking each; None: ask each."""
    try:
        kind = type(sum(part))
    except (TypeError, ValueError, ArithmeticError):
        nested = all(type(item) in (list, tuple) and _kind_of_sum(item) for item in part)
        return int if nested else None
    return kind if kind in (int, float) else int if issubclass(kind, np.generic) else None


def _is_array(value: Any) -> bool:
    return getattr(value, "ndim", 0) > 0 or hasattr(value, "toArray")


def _fills_of(x: Any, count: int, fill: Any) -> list[Any]:
    if not isinstance(fill, dict):
        return [fill] * count
    return [fill.get(key) for key in sorted(x)] if isinstance(x, dict) else [None] * count


def _leaf(value: Any, name: str, text: bool, fill: Any) -> Leaf:
    sample = Leaf(name, (), "float32", None if fill is None else (fill,))
    where = "in the first record"
    if text and (holds_text(value) or (value is None and isinstance(fill, (str, bytes)))):
        return Leaf(name, _text_array(value, name, where, sample).shape, "string")
    array = _number_array(value, name, where, sample)
    return Leaf(name, array.shape, narrow(array.dtype))


def _number_array(value: Any, name: str, where: str, leaf: Leaf | None = None) -> np.ndarray:
    array = _filled(value, leaf)
    if array.dtype.kind not in "fiub":
        what = "a null" if value is None else f"{type(value).__name__} ({str(value)[:60]})"
        raise DataError(
            f"{name} {where}: expected numbers of one shape. Received: {what}. "
            "Drop such records, turn them into numeric arrays, or pass fill_value for nulls."
        )
    return array


def _filled(value: Any, leaf: Leaf | None) -> np.ndarray:
    """A record's value as an array, of objects where it is none of numbers; nulls are filled."""
    fill = leaf.fill[0] if leaf is not None and leaf.fill else None
    if value is None and leaf is not None and fill is not None:
        return np.full(leaf.shape, fill)
    try:
        array = np.asarray(value.toArray() if hasattr(value, "toArray") else value)
    except ValueError:
        return np.asarray(None)
    array = kinds.numbers(array)
    if fill is not None:
        array = from_objects(kinds.without_nulls(array, fill))
    return array


def _text_array(value: Any, name: str, where: str, leaf: Leaf | None = None) -> np.ndarray:
    fill = leaf.fill[0] if leaf is not None and leaf.fill else None
    if fill is not None and leaf is not None:
        if value is None:
            return np.full(leaf.shape, fill, object)
        if isinstance(value, (list, tuple, np.ndarray)):
            value = kinds.without_nulls(np.array(value, object), fill)
    try:
        array = value_array(value)
    except ValueError:
        array = np.asarray(None)
    if stacked_text([value], array.shape) is None:
        what = "a null" if value is None else f"{type(value).__name__} ({str(value)[:60]})"
        raise DataError(
            f"{name} {where}: expected text, as the others have. Received: {what}. Fill or drop "
            "such records, or pass fill_value."
        )
    return array


def _stacked(values: list[Any], leaf: Leaf) -> np.ndarray | None:
    """The values as one array, when they are alike; None otherwise."""
    if leaf.dtype == "string":
        return stacked_text(values, leaf.shape)
    if not values:
        return np.empty((0, *leaf.shape), leaf.dtype)
    try:
        alike = isinstance(values[0], np.ndarray)
        array = np.stack(values) if alike else np.asarray(values)
    except (ValueError, TypeError):
        return None
    return kinds.numbers(array) if array.shape == (len(values), *leaf.shape) else None


def _is_clean(array: np.ndarray, leaf: Leaf) -> bool:
    """Whether values pass all checks and fit into the leaf's dtype."""
    if leaf.dtype == "string":
        return True
    wanted, kind = np.dtype(leaf.dtype), array.dtype.kind
    if kind == "f":
        return wanted.kind == "f" and bool(np.isfinite(array).all())
    if kind == "b" or wanted.kind == "f":
        return kind in "iub"
    return kind in "iu" and wanted.kind != "b" and fits(array, wanted)


def fits(array: np.ndarray, wanted: Any) -> bool:
    """Whether all integers lie within the range of an integer dtype."""
    if np.can_cast(array.dtype, wanted) or not array.size:
        return True
    info = np.iinfo(wanted)
    return bool(array.min() >= info.min and array.max() <= info.max)


def narrow(dtype: Any) -> str:
    """The dtype in which the engine takes such numbers: no wide floats, no wide integers."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return "float32"
    return "int32" if dtype.itemsize > 4 or dtype == np.uint32 else dtype.name


class Columns:
    """Collects records into one growing array for each leaf.

    Args:
        layout: what every record must look like.
        partition: its number, for messages.
        budget: bytes kept in memory; what is over lies in a file that has no name.
        spills: whether it may; a file is not encrypted.
    """

    def __init__(
        self, layout: Layout, partition: int, budget: int = 1 << 62, spills: bool = True
    ) -> None:
        self.layout, self.partition, self.budget = layout, partition, budget
        self.spills = spills
        self._stores = [_Store(leaf) for leaf in layout.leaves]
        self.rows = 0  # read so far

    def read(self, records: Iterable[Any], supervised: bool) -> list[np.ndarray]:
        """All records as arrays of shape (rows, ...)."""
        chunk: list[list[Any]] = []
        for record in records:
            chunk.append(self._leaves(record, supervised))
            if len(chunk) == CHUNK:
                self._flush(chunk)
        self._flush(chunk)
        return [store.array() for store in self._stores]

    def read_chunks(self, chunks: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
        """All chunks (one array for each leaf, checked already) as arrays of shape (rows, ...)."""
        with in_partition(self.partition):
            for chunk in chunks:
                self.rows += len(chunk[0])
                for store, array in zip(self._stores, chunk, strict=True):
                    store.add(array)
                self._spill_over()
        return [store.array() for store in self._stores]

    def chunk(self, records: list[Any], supervised: bool) -> list[np.ndarray]:
        """These records as arrays, checked; nothing is kept."""
        leaves = [self._leaves(record, supervised) for record in records]
        first = self.rows - len(records)
        return self._columns(leaves, first)

    def _spill_over(self) -> None:
        if sum(store.nbytes for store in self._stores) > self.budget:
            if not self.spills:
                raise unencrypted(self.partition, self.budget)
            for store in self._stores:
                store.spill()

    def _leaves(self, record: Any, supervised: bool) -> list[Any]:
        row = self.rows
        try:
            parts = _parts(record, supervised)
        except DataError as error:
            raise DataError(f"Partition {self.partition}, row {row}: {error}") from None
        groups = [flatten(p) if p is not None else [] for p in parts]
        counts = self.layout.records.counts
        if tuple(map(len, groups)) != counts:
            names = ("x", "y", "sample_weight")
            if supervised and counts[1] and not (isinstance(record, tuple) and len(record) > 1):
                raise DataError(f"Partition {self.partition}, row {row}: {untold(record)}")
            if not supervised and isinstance(record, tuple):
                where = f"Partition {self.partition}, row {row}: "
                raise inputs_alone(self.layout.counts[0], record, where)
            raise DataError(
                f"Partition {self.partition}, row {row}: expected as many arrays as in the first "
                f"record ({_counted(names, counts)}). Received: "
                f"{_counted(names, map(len, groups))}. Give every record the same parts."
            )
        leaves = [leaf for group in groups for leaf in group]
        self.rows += 1
        return leaves

    def _flush(self, chunk: list[list[Any]]) -> None:
        arrays = self._columns(chunk, self.rows - len(chunk))
        for store, array in zip(self._stores, arrays, strict=True):
            store.add(array)
        chunk.clear()
        self._spill_over()

    def _columns(self, chunk: list[list[Any]], first: int) -> list[np.ndarray]:
        """One array for each leaf of the layout, behind the Feed."""
        if self.layout.raw is not None and not chunk:
            return [np.empty((0, *leaf.shape), leaf.dtype) for leaf in self.layout.leaves]
        leaves = self.layout.records.leaves
        made = [self._column([row[i] for row in chunk], x, first) for i, x in enumerate(leaves)]
        with in_partition(self.partition):
            return self.layout.fed(made)

    def _column(self, values: list[Any], leaf: Leaf, first: int) -> np.ndarray:
        """The chunk's values of one leaf as an array, checked."""
        array = _stacked(values, leaf)
        if array is None or not _is_clean(array, leaf):
            array = self._row_by_row(values, leaf, first)
        made: Any = array.astype(storage(leaf.dtype), copy=False)
        return made

    def _row_by_row(self, values: list[Any], leaf: Leaf, first: int) -> np.ndarray:
        """The same for values of odd types; finds the row of a wrong one."""
        arrays = []
        for row, value in enumerate(values, first):
            where = f"in partition {self.partition}, row {row}"
            text = leaf.dtype == "string"
            read = _text_array if text else _number_array
            arrays.append(read(value, leaf.name, where, leaf))
            self._check(arrays[-1], leaf, row)
        return together(arrays, leaf)

    def _check(self, array: np.ndarray, leaf: Leaf, row: int) -> None:
        where = f"Partition {self.partition}, row {row}: {leaf.name}"
        if not leaf.allows(array.shape):
            raise DataError(
                f"{where}: expected shape {leaf.open or leaf.shape}, as the others have. "
                f"Received: shape {array.shape}. Pad or cut the records to one shape, or pass "
                "pad_value to fit where the Input says None."
            )
        if _is_clean(array, leaf):
            return
        if array.dtype.kind == "f" and leaf.dtype == "float32":
            raise DataError(
                f"{where}: expected finite numbers. Received: NaN or infinity (a null becomes "
                "NaN). Fill or drop such records, or pass fill_value."
            )
        raise DataError(
            f"{where}: expected {leaf.dtype} as in the first record. Received: dtype "
            f"{array.dtype}, values {array.min()} to {array.max()}. Use one dtype for all records, "
            "such as float32, or numbers that fit."
        )


def together(rows: list[np.ndarray], leaf: Leaf) -> Any:
    """Rows as one array, or as a Ragged column where their shapes differ."""
    if leaf.pad is not None:
        return padded(rows, leaf.shape, leaf.dtype, leaf.pad)
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    return Ragged([row.astype(leaf.dtype, copy=False) for row in rows], leaf.name)


@contextlib.contextmanager
def in_partition(number: int, stage: str = "") -> Iterator[None]:
    """Adds the partition's number, and a pipeline's stage, to what a DataError says."""
    place = f"Stage {stage}: Partition {number}" if stage else f"Partition {number}"
    try:
        yield
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def _counted(names: Sequence[str], counts: Iterable[int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True))


class _Store:
    """One leaf's rows: an array that grows where it lies, or a file to which chunks are added."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.kept = np.empty((0, *leaf.shape), leaf.dtype)  # the first `rows` are in use
        self.rows = 0
        self.file: SpillFile | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.kept.nbytes

    def add(self, chunk: np.ndarray) -> None:
        first, self.rows = self.rows, self.rows + len(chunk)
        if self.file is not None:
            self.file.write(chunk)
            return
        if self.rows > len(self.kept):
            room = min(len(self.kept) // 8, ROOM // max(chunk[:1].nbytes, 1))
            self._resize(max(self.rows, len(self.kept) + room))
        self.kept[first : self.rows] = chunk

    def _resize(self, rows: int) -> None:
        """No second copy of large arrays: the system moves their pages."""
        self.kept.resize((rows, *self.leaf.shape), refcheck=False)

    def spill(self) -> None:
        """Move what is in memory into an unlinked file; later chunks follow it."""
        if self.file is None:
            self.file = SpillFile()
            self.file.write(self.kept[: self.rows])
            self._resize(0)

    def array(self) -> np.ndarray:
        """All rows; nothing can be added any more."""
        shape = (self.rows, *self.leaf.shape)
        if self.file is None:
            self._resize(self.rows)
            return self.kept
        if 0 in shape:
            return np.empty(shape, self.leaf.dtype)
        return self.file.mapped(shape, self.leaf.dtype)
