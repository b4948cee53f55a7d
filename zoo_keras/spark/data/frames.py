"""RDDs and DataFrames as records for training: which columns are inputs, targets and weights.

In: an RDD of (x, y[, weight]), or a DataFrame and column names; for validation, arrays too. Out:
Records: the layout of one record, one partition for each rank, and how a rank decodes what it gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.dtypes import TEXT
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.feed import kinds
from zoo_keras.spark.data import arrow, partitions
from zoo_keras.spark.data.first import first_record, seen_once
from zoo_keras.spark.data.longest import padded_layout
from zoo_keras.spark.data.partitions import is_frame
from zoo_keras.spark.data.records import Layout, Leaf, layout_of, narrow, untold
from zoo_keras.training.data import ArrayData, Batch, template, unpack_x_y_sample_weight
from zoo_keras.training.fed import fed_batch, takes_text
from zoo_keras.training.own_steps import defined
from zoo_keras.training.ragged_rows import check_pad, ragged_inputs, ragged_targets

Shape = tuple[int | None, ...]


class Records(NamedTuple):
    """Distributed training records.

    Attributes:
        source: an RDD of records, or a DataFrame with just the columns needed.
        groups: for a DataFrame, its columns for each leaf; None for an RDD.
        counts: numbers of leaves in x, y and weight (DataFrame).
        structure: how x, y and weight nest (DataFrame).
        fill: for nulls of inputs, or a dict by column; None: they are refused.
        pad: for rows that are shorter than others; None: they are refused.
        given: the user's DataFrame, where its columns are what their names say.
    """

    source: Any
    groups: tuple[tuple[str, ...], ...] | None = None
    counts: tuple[int, int, int] = (0, 0, 0)
    structure: tuple[Any, Any, Any] = (None, None, None)
    fill: Any = None
    pad: float | None = None
    given: Any = None

    def spread(self, ranks: int, by_content: bool = False) -> Records:
        """The same records in that many partitions."""
        return self._replace(source=partitions.spread(self.source, ranks, by_content))

    def packed(self, layout: Layout) -> Records:
        """The same records as they travel: many columns of a leaf as one array."""
        if self.groups is None:
            return self
        columns, _ = Chosen(self.source).sent(self.groups, layout.records.leaves)
        return self._replace(source=self.source.select(*columns))

    def layout(self, model: Any, method: str) -> Layout:
        """The layout that one record shows; a DataFrame's flat columns take the Inputs' shapes.

        Raises DataError when there is no record.
        """
        dtypes = self._dtypes(model)
        frame = self.groups is not None
        found = self._first_rows() if frame else first_record(self.source)
        if not found:
            raise DataError(
                f"{method}: the {'DataFrame' if frame else 'RDD'} holds no records. Received: 0 "
                "rows. Check the filters that made it."
            )
        if self.groups is None:
            known = layout_of(found[0], True, takes_text(model), self.fill)
            told = isinstance(found[0], tuple) and len(found[0]) > 1
            if not (known.counts[1] or told) and needs_targets(model):
                raise DataError(f"First record: {untold(found[0])}")
            known = _float_inputs(known, model).filled(self.fill)
            known = self._padded(known, model)
            return known.through(model).arranged(model)
        fills = fills_of(self.groups, self.fill, self.counts[0])
        types = {f.name: kinds.kind_of(f.dataType, f.name) for f in self.source.schema.fields}
        leaves = [
            _leaf([_Cell(c, types[c], found[0][c]) for c in group], dtype, shape, fill)
            for group, dtype, shape, fill in zip(
                self.groups, dtypes, self._input_shapes(model), fills, strict=True
            )
        ]
        known = self._padded(Layout(tuple(leaves), self.counts, self.structure), model)
        return known.through(model).arranged(model)

    def _padded(self, known: Layout, model: Any) -> Layout:
        """The layout of rows padded to the longest of all, where the Inputs leave sizes open."""
        if self.pad is None:
            return known
        shapes = [shape for shape, _ in inputs_of(model, known.structure[0])]
        return padded_layout(self, known.opened(shapes), self.pad)

    def _first_rows(self) -> list[Any]:
        """The first row; where nulls are filled one without nulls, which shows all shapes."""

        def look() -> list[Any]:
            whole = self.source.dropna().limit(1).collect() if self.fill is not None else []
            return whole or list(self.source.limit(1).collect())

        if self.given is None:
            return look()
        return seen_once(self.given, (*self.source.columns, self.fill is not None), look)

    def _dtypes(self, model: Any) -> list[str]:
        """The dtype of each leaf of a DataFrame; wrong columns are refused before any job."""
        text = takes_text(model)
        groups = self.groups or ()
        files = [dtype in TEXT for _, dtype in inputs_of(model, self.structure[0])]
        files += [False] * len(groups)
        fills = fills_of(groups, self.fill, self.counts[0])
        return [
            leaf_dtype(self.source.schema, group, text and i < self.counts[0], fill, files[i])
            for i, (group, fill) in enumerate(zip(groups, fills, strict=True))
        ]

    def _input_shapes(self, model: Any) -> list[Shape | None]:
        """The Input's shape for each leaf of x, None for the other leaves."""
        shapes = dict(enumerate(inputs_of(model, self.structure[0])))
        return [shapes.get(i, (None, None))[0] for i in range(sum(self.counts))]

    def decoder(self, layout: Layout) -> Any:
        """What turns a rank's items into chunks of columns; None for records."""
        if self.groups is None:
            return None
        schema = arrow.schema_text(self.source.schema)
        return arrow.Decoder(self.groups, layout, schema)


class Held(NamedTuple):
    """Validation data that the driver holds as arrays."""

    columns: list[np.ndarray]
    known: Layout

    def layout(self, model: Any) -> Layout:
        """Shapes and dtypes of one row."""
        return self.known.arranged(model)

    def part(self, rank: int, ranks: int) -> list[np.ndarray]:
        """A rank's rows."""
        rows = len(self.columns[0])
        return [c[rank * rows // ranks : (rank + 1) * rows // ranks] for c in self.columns]


def held_arrays(given: Any, model: Any = None, fill: Any = None, pad: float | None = None) -> Held:
    """validation_data=(x, y[, sample_weight]) of arrays."""
    x, y, weight = unpack_x_y_sample_weight(tuple(given))
    if model is not None:
        x, y = ragged_inputs(model, x, pad), ragged_targets(y, pad)
    raw = ArrayData(x, y, weight, fill_value=fill)
    data = Batch(raw.x, raw.y, raw.weights, raw.structure)
    if model is not None:
        data = fed_batch(model, data)
    names = ("x", "y", "sample_weight")
    groups = (data.x, data.y, data.weights)
    leaves = [
        Leaf(f"validation_data {name}", a.shape[1:], a.dtype.name)
        for name, group in zip(names, groups, strict=True)
        for a in group
    ]
    counts = (len(data.x), len(data.y), len(data.weights))
    return Held([*data.x, *data.y, *data.weights], Layout(tuple(leaves), counts, data.structure))


def needs_targets(model: Any) -> bool:
    """A loss compares outputs with y; a train_step of its own and add_loss may do without."""
    return getattr(model, "loss", None) is not None and not defined(model, "train")


def inputs_of(model: Any, structure: Any) -> list[tuple[Shape, str]]:
    """(shape without the batch axis, dtype) of the model's Input for each leaf of x.

    Empty when the model has no known inputs. Leaves of a dict find their Inputs by name.
    """
    graph = getattr(model, "_function", None)
    if graph is None:
        return []
    inputs = [(tuple(t.shape[1:]), t.dtype) for t in graph.inputs]
    if isinstance(structure, dict):
        named = dict(zip(map(graph.input_name, graph.inputs), inputs, strict=True))
        inputs = [named[key] for key in sorted(structure) if key in named]
    return inputs


def _float_inputs(layout: Layout, model: Any) -> Layout:
    """Python's whole numbers are floats where the Input takes floats: other rows may hold some."""
    leaves = list(layout.leaves)
    for i, (_, dtype) in enumerate(inputs_of(model, layout.structure[0])[: layout.counts[0]]):
        if dtype.startswith("float") and leaves[i].dtype == "int32":
            leaves[i] = leaves[i]._replace(dtype="float32")
    return layout._replace(leaves=tuple(leaves))


def fills_of(groups: Sequence[Sequence[str]], fill: Any, inputs: int) -> list[Any]:
    """What stands for nulls in the columns of each group. One value is for inputs alone."""
    if fill is None:
        return [None] * len(groups)
    if not isinstance(fill, dict):
        _check_fill(fill)
        return [(fill,) * len(g) if i < inputs else None for i, g in enumerate(groups)]
    known = {name for group in groups for name in group}
    if unknown := sorted(map(str, set(fill) - known)):
        raise ConfigError(
            f"fill_value names columns that are not chosen. Received: {unknown}. The columns are "
            f"{sorted(known)}."
        )
    for value in fill.values():
        _check_fill(value)
    found = [tuple(fill.get(name) for name in group) for group in groups]
    return [each if any(v is not None for v in each) else None for each in found]


def _check_fill(value: Any) -> None:
    number = isinstance(value, (bool, int, float, np.number, np.bool_))
    if not (isinstance(value, (str, bytes)) or (number and np.isfinite(value))):
        raise ConfigError(
            f"fill_value must be a finite number, text, or a dict by column. Received: {value!r}. "
            "Pass e.g. fill_value=0."
        )


def leaf_dtype(
    schema: Any, names: Sequence[str], text: bool = False, fill: tuple[Any, ...] | None = None,
    files: bool = False,
) -> str:  # fmt: skip
    """The dtype of the leaf that these columns make; `text`: it may be text; `files`: the Input
    takes files, so images are some."""
    types = {field.name: field.dataType for field in schema.fields}
    if files and len(names) == 1 and kinds.is_image(kinds.kind_of(types[names[0]], names[0])):
        return "string"
    found = [arrow.number_type(types[n], n) for n in names]
    texts = [n for n, dtype in zip(names, found, strict=True) if dtype in ("string", "mixed")]
    if text and all(dtype == "string" for dtype in found):
        return "string"
    if texts:
        raise DataError(
            f"Column {texts[0]}: expected numbers, booleans, arrays of them, or ML vectors. "
            f"Received: {type(types[texts[0]]).__name__}. Cast or encode the column first, or give "
            'it an Input of its own with dtype="string".'
        )
    fills = [None if isinstance(f, str) else f for f in fill or (None,) * len(names)]
    return narrow(np.result_type(*map(kinds.with_fill, found, fills)))


class _Cell(NamedTuple):
    """One column of the first row."""

    name: str
    kind: Any
    value: Any


def _leaf(
    cells: list[_Cell], dtype: str, shape: Shape | None, fill: tuple[Any, ...] | None = None
) -> Leaf:
    """A leaf as the first row shows it; `shape` is what the Input wants."""
    fills = fill or (None,) * len(cells)
    arrays = [_sample(cell, value, dtype) for cell, value in zip(cells, fills, strict=True)]
    array = arrays[0] if len(arrays) == 1 else np.concatenate([a.reshape(-1) for a in arrays])
    label = ", ".join(cell.name for cell in cells)
    if shape is None or (array.ndim == len(shape) and _matches(array.shape, shape)):
        return Leaf(label, array.shape, dtype, fill)
    known = tuple(d for d in shape if d is not None)
    if len(known) == len(shape) and int(np.prod(known)) == array.size:
        return Leaf(label, known, dtype, fill)
    raise DataError(
        f"Column {label}: expected {' x '.join(map(str, shape))} numbers a row for an Input of "
        f"shape {tuple(shape)}. Received: {array.size} (shape {array.shape}). Choose other "
        "feature_cols, or change the Input."
    )


def _matches(shape: Sequence[int], wanted: Shape) -> bool:
    return all(b in (None, a) for a, b in zip(shape, wanted, strict=True))


def _sample(cell: _Cell, fill: Any, dtype: str) -> np.ndarray:
    """The value of a column in the first row, as an array."""
    text = dtype == "string"
    value = kinds.arrow_value(cell.value, cell.kind)
    first: np.ndarray = kinds.numpy_column(value, cell.name, None, text, fill, files=text)[0]
    return np.asarray(first, object) if text else first


def records_of(
    x: Any,
    feature_cols: Any = None,
    label_cols: Any = None,
    weight_col: str | None = None,
    model: Any = None,
    fill: Any = None,
    pad: float | None = None,
) -> Records:
    """Records from an RDD or a DataFrame; `fill` stands for nulls, `pad` for what rows lack."""
    check_pad(pad)
    if is_frame(x):
        made = _frame_records(x, feature_cols, label_cols, weight_col, model)
        fills_of(made.groups or (), fill, made.counts[0])
        return made._replace(fill=fill, pad=pad)
    if not hasattr(x, "getNumPartitions"):
        raise ConfigError(
            f"Training data on Spark must be an RDD or a DataFrame. Received: {type(x).__name__}. "
            "Make an RDD of (x, y) records with sc.parallelize."
        )
    if any(given is not None for given in (feature_cols, label_cols, weight_col)):
        raise ConfigError(
            "feature_cols, label_cols and weight_col belong to a DataFrame. Received: an RDD. "
            "Give (x, y[, weight]) records without them."
        )
    return Records(x, fill=fill, pad=pad)


def _frame_records(
    frame: Any, feature_cols: Any, label_cols: Any, weight_col: Any, model: Any
) -> Records:
    if feature_cols is None or (label_cols is None and needs_targets(model)):
        raise ConfigError(
            "A DataFrame needs feature_cols and label_cols. Received: "
            f"feature_cols={feature_cols!r}, label_cols={label_cols!r}. "
            f"The columns are {frame.columns}. As a stage of a pipeline use "
            "KerasEstimator(model=...) of zoo_keras.spark.ml, whose Params name the columns."
        )
    outputs = len(getattr(model, "output_names", None) or [0])
    chosen = Chosen(frame)
    features, x = column_groups(chosen.named(feature_cols), len(inputs_of(model, None)))
    given = label_cols is not None
    labels, y = column_groups(chosen.named(label_cols), outputs) if given else ([], None)
    given = weight_col is not None
    weights, w = column_groups(chosen.named(weight_col)) if given else ([], None)
    groups = (*features, *labels, *weights)
    selected = chosen.select([c for group in groups for c in group])
    counts = len(features), len(labels), len(weights)
    return Records(selected, groups, counts, (x, y, w), given=chosen.own_frame())


def column_groups(cols: Any, wanted: int = 1) -> tuple[list[tuple[str, ...]], Any]:
    """Columns of each input, and how the inputs nest.

    "a" or ["a", "b"] is one input; lists in the list, or a dict by input name, several. As many
    columns as there are inputs `wanted` (more than one) are one input each.

    >>> column_groups(["age", "income"]), column_groups([["age"], ["words"]])
    (([('age', 'income')], 0), ([('age',), ('words',)], [0, 1]))
    """
    if isinstance(cols, dict):
        return [_names(cols[key]) for key in sorted(cols)], template(dict.fromkeys(cols))
    if not isinstance(cols, (str, list, tuple)):
        raise ConfigError(
            f"Columns must be given by name. Received: {cols!r}. Pass a name or a list of names."
        )
    several = not isinstance(cols, str) and (
        any(isinstance(c, (list, tuple)) for c in cols) or 1 < wanted == len(cols)
    )
    groups = [_names(c) for c in cols] if several else [_names(cols)]
    return groups, 0 if len(groups) == 1 else list(range(len(groups)))


def _names(cols: Any) -> tuple[str, ...]:
    names = (cols,) if isinstance(cols, str) else tuple(cols)
    if not names or not all(isinstance(c, str) for c in names):
        raise ConfigError(
            f"Columns must be given by name. Received: {cols!r}. Pass a name or a list of names."
        )
    return names


class Chosen:
    """Columns of a frame that the user has chosen, under the names that messages use.

    A column may be given as Spark takes it: its name as it is written (dots, spaces and backticks
    stand for themselves), in other letter case, a field of a struct ("s.a"), or a Column.
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.columns: dict[str, Any] = {}  # name -> Column
        self._given: set[str] = set()  # names of Columns
        alike = Counter(name.lower() for name in frame.columns)
        self._own = {f.name: f.dataType for f in frame.schema.fields if alike[f.name.lower()] == 1}

    def own_frame(self) -> Any:
        """The frame, where every name so far is of a column of its own; else None."""
        return None if self._given else self.frame

    def named(self, cols: Any) -> Any:
        """The same nesting of lists and dicts, with a name in place of every Column."""
        if isinstance(cols, dict):
            return {key: self.named(value) for key, value in cols.items()}
        if isinstance(cols, (list, tuple)):
            return [self.named(each) for each in cols]
        return self._name(cols) if _is_column(cols) else cols

    def _name(self, column: Any) -> str:
        name, number = str(self.frame.select(column).columns[0]), 1
        unique, itself = name, str(column) == f"Column<'{name}'>"
        while unique in self.columns or (unique in self.frame.columns and not itself):
            number += 1
            unique = f"{name} ({number})"
        self.columns[unique] = column
        self._given.add(unique)
        return unique

    def select(self, names: Sequence[str]) -> Any:
        """Just these columns, vectors as arrays of floats. ConfigError names a missing one."""
        names = list(dict.fromkeys(names))
        if self._are_plain(names):  # no question to the JVM for each of them
            return self.frame.selectExpr(*map(arrow.quoted, names))
        return self.frame.select(*self.plain(names))

    def sent(
        self, groups: Sequence[Sequence[str]], leaves: Sequence[Leaf]
    ) -> tuple[list[Any], list[str]]:
        """The Columns that `arrow.leaves_of_batch` wants of these groups, and their names."""
        from pyspark.sql.functions import expr

        packed: dict[str, Any] = {}
        rest: list[str] = []
        for number, (group, leaf) in enumerate(zip(groups, leaves, strict=True)):
            plain = not leaf.open and self._are_plain(group)
            text = (
                arrow.packed_text([(n, self._own[n]) for n in group], leaf.dtype) if plain else ""
            )
            if text:
                name = arrow.packed_name(number)
                packed[name] = expr(text).alias(name)
            else:
                rest += group
        rest = list(dict.fromkeys(rest))
        return [*packed.values(), *self.plain(rest)], [*packed, *rest]

    def _are_plain(self, names: Sequence[str]) -> bool:
        """Whether all are columns of the frame as they are, that no other name could mean."""
        return all(
            n in self._own and n not in self._given and not arrow.is_vector(self._own[n])
            for n in names
        )

    def plain(self, names: Sequence[str]) -> list[Any]:
        """The Columns of these names, vectors as arrays of floats."""
        self._refuse_missing(names)
        columns = [self.columns[n].alias(n) for n in names]
        types = [field.dataType for field in self.frame.select(*columns).schema.fields]
        return [
            arrow.plain_column(self.frame, self.columns[n], kind, n)
            for n, kind in zip(names, types, strict=True)
        ]

    def _refuse_missing(self, names: Sequence[str]) -> None:
        missing = [n for n in names if not self._resolved(n)]
        if missing:
            raise ConfigError(
                f"The DataFrame has no column {missing}. Received: columns {self.frame.columns}. "
                "Check feature_cols, label_cols and weight_col."
            )

    def _resolved(self, name: str) -> bool:
        if name not in self.columns:
            written = self._written(name)
            found = name in self._own or _resolves(self.frame, written)
            column = self.frame[written] if found else None
            if column is None:
                return False
            self.columns[name] = column
        return True

    def _written(self, name: str) -> str:
        """What Spark is asked for. A name with dots stands for itself, in other letter case too,
        unless its first part is a column of its own, which may have such a field."""
        columns = self.frame.columns
        if name in columns:
            return arrow.quoted(name)
        alike = [column for column in columns if column.lower() == name.lower()]
        parts = name.lower().split(".")
        if len(parts) == 1 or len(alike) != 1 or parts[0] in map(str.lower, columns):
            return name
        exact = self.frame.sparkSession.conf.get("spark.sql.caseSensitive", "false") == "true"
        return name if exact else arrow.quoted(alike[0])


def _is_column(given: Any) -> bool:
    return any(cls.__name__ == "Column" for cls in type(given).__mro__)


def _resolves(frame: Any, written: str) -> bool:
    from pyspark.errors import AnalysisException

    try:
        return len(frame.select(written).columns) == 1 and written != "*"
    except AnalysisException:
        return False
