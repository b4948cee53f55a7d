"""RDDs and DataFrames as records for training: which columns are inputs, targets and weights.

In: an RDD of (x, y[, weight]), arrays for validation, or a DataFrame and column names. Out: Records:
one partition for each rank, the layout of one record, and how a rank decodes what it receives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ConfigError, DataError
from zoo_keras.spark import arrow
from zoo_keras.spark.rows import Layout, Leaf, layout_of
from zoo_keras.training.data import ArrayData, unpack_x_y_sample_weight


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame."""
    return hasattr(x, "schema") and hasattr(x, "select")


class Records(NamedTuple):
    """Distributed training records.

    Attributes:
        rdd: an RDD of records, or a DataFrame with just the columns needed.
        columns: for a DataFrame, its columns for each leaf; None for an RDD.
        counts: numbers of leaves in x, y and weight (DataFrame).
    """

    rdd: Any
    columns: tuple[arrow.LeafColumns, ...] | None = None
    counts: tuple[int, int, int] = (0, 0, 0)

    @property
    def partitions(self) -> int:
        frame = self.columns is not None
        return int((self.rdd.rdd if frame else self.rdd).getNumPartitions())

    def spread(self, ranks: int) -> Records:
        """The same records in that many partitions (moved by a shuffle when needed)."""
        if self.partitions == ranks:
            return self
        return self._replace(rdd=self.rdd.repartition(ranks))

    def layout(self, model: Any) -> Layout:
        """The layout that one record shows; a DataFrame's flat columns take the Inputs' shapes.

        Raises DataError when there is no record.
        """
        if self.columns is None:
            found = self.rdd.take(1)
            if not found:
                raise DataError("fit: the RDD holds no records. Received: 0 rows.")
            return layout_of(found[0], supervised=True)
        rows = self.rdd.limit(1).collect()
        if not rows:
            raise DataError("fit: the DataFrame holds no records. Received: 0 rows.")
        shapes = input_shapes(model)
        leaves = [
            _leaf(columns, [rows[0][c] for c in columns.names],
                  shapes[i] if i < min(self.counts[0], len(shapes)) else None)
            for i, columns in enumerate(self.columns)
        ]  # fmt: skip
        return Layout(tuple(leaves), self.counts, _structure(self.counts))

    def decoder(self, layout: Layout) -> Any:
        """What turns a rank's items into chunks of columns; None for records."""
        if self.columns is None:
            return None
        return arrow.Decoder(self.columns, tuple(layout.leaves), arrow.schema_text(self.rdd.schema))


def _structure(counts: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    def nest(count: int) -> Any:
        return None if count == 0 else (0 if count == 1 else list(range(count)))

    return nest(counts[0]), nest(counts[1]), nest(counts[2])


def input_shapes(model: Any) -> list[tuple[int | None, ...]]:
    """Shapes of the model's inputs without the batch axis; empty when they are not known."""
    graph = getattr(model, "_function", None)
    return [tuple(t.shape[1:]) for t in graph.inputs] if graph is not None else []


def _leaf(columns: arrow.LeafColumns, values: list[Any], shape: Any) -> Leaf:
    """Name, shape and dtype of a leaf from the first row; `shape` is what the Input wants."""
    arrays = [_sample(v, name) for v, name in zip(values, columns.names, strict=True)]
    array = arrays[0] if len(arrays) == 1 else np.concatenate([a.reshape(-1) for a in arrays])
    dtype = {"float64": "float32", "int64": "int32"}.get(array.dtype.name, array.dtype.name)
    label = ", ".join(columns.names)
    if shape is None or tuple(shape) == array.shape:
        return Leaf(label, array.shape, dtype)
    known = [d for d in shape if d is not None]
    if len(known) == len(shape) and int(np.prod(known)) == array.size:
        return Leaf(label, tuple(known), dtype)
    if len(shape) == array.ndim and all(a in (None, b) for a, b in zip(shape, array.shape)):
        return Leaf(label, array.shape, dtype)
    raise DataError(
        f"Column {label}: expected {int(np.prod(known))} numbers a row for an Input of shape "
        f"{tuple(shape)}. Received: {array.size} (shape {array.shape}). Choose other feature_cols "
        "or change the Input."
    )


def _sample(value: Any, name: str) -> np.ndarray:
    if value is None:
        raise DataError(
            f"Column {name}, first row: expected numbers. Received: null. Fill or drop such rows."
        )
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"Column {name}: expected numbers or arrays of numbers. Received: "
            f"{type(value).__name__}. Convert the column first."
        )
    return array


def records_of(
    x: Any,
    feature_cols: Any = None,
    label_cols: Any = None,
    weight_col: str | None = None,
    sc: Any = None,
    like: Records | None = None,
) -> Records:
    """Records from an RDD, a DataFrame, or (for validation) arrays."""
    if is_frame(x):
        return _frame_records(x, feature_cols, label_cols, weight_col)
    if hasattr(x, "getNumPartitions"):
        if feature_cols or label_cols or weight_col:
            raise ConfigError(
                "feature_cols, label_cols and weight_col belong to a DataFrame. Received: an RDD. "
                "Give (x, y[, weight]) records without them."
            )
        return Records(x)
    if isinstance(x, (tuple, list)) and sc is not None:
        return _array_records(x, sc, like)
    raise ConfigError(
        f"Training data on Spark must be an RDD or a DataFrame. Received: {type(x).__name__}."
    )


def _array_records(x: Any, sc: Any, like: Records | None) -> Records:
    """Validation arrays, cut into records."""
    if like is not None and like.columns is not None:
        raise ConfigError(
            "fit on a DataFrame takes a DataFrame as validation_data. Received: arrays. "
            "Make a DataFrame of them with the same columns."
        )
    xs, ys, ws = unpack_x_y_sample_weight(tuple(x))
    data = ArrayData(xs, ys, ws)
    records = []
    for i in range(data.rows):
        parts = [[a[i] for a in group] for group in (data.x, data.y, data.weights)]
        nested = [p[0] if len(p) == 1 else p for p in parts if p]
        records.append(tuple(nested))
    return Records(sc.parallelize(records, like.partitions if like else None))


def _frame_records(frame: Any, feature_cols: Any, label_cols: Any, weight: Any) -> Records:
    if feature_cols is None or label_cols is None:
        raise ConfigError(
            "A DataFrame needs feature_cols and label_cols. Received: "
            f"feature_cols={feature_cols!r}, label_cols={label_cols!r}. "
            f"The columns are {frame.columns}."
        )
    features, labels = column_groups(feature_cols), column_groups(label_cols)
    weights = column_groups(weight) if weight else []
    groups = [*features, *labels, *weights]
    selected = select(frame, [c for group in groups for c in group])
    leaves = tuple(arrow.LeafColumns(tuple(group)) for group in groups)
    return Records(selected, leaves, (len(features), len(labels), len(weights)))


def column_groups(cols: Any) -> list[list[str]]:
    """Columns of each input: "a" or ["a", "b"] is one input; lists in the list, or a dict, several.

    >>> column_groups(["age", "income"]), column_groups([["age"], ["words"]])
    ([['age', 'income']], [['age'], ['words']])
    """
    if isinstance(cols, str):
        return [[cols]]
    if isinstance(cols, dict):
        return [_names(cols[k]) for k in sorted(cols)]
    if any(isinstance(c, (list, tuple)) for c in cols):
        return [_names(c) for c in cols]
    return [_names(cols)]


def _names(cols: Any) -> list[str]:
    names = [cols] if isinstance(cols, str) else list(cols)
    if not names or not all(isinstance(c, str) for c in names):
        raise ConfigError(f"Columns must be given by name. Received: {cols!r}.")
    return names


def select(frame: Any, names: list[str]) -> Any:
    """Just these columns, vectors as arrays of floats. ConfigError names a missing one."""
    missing = [n for n in names if n not in frame.columns]
    if missing:
        raise ConfigError(
            f"The DataFrame has no column {missing}. Received: columns {frame.columns}. "
            "Check feature_cols, label_cols and weight_col."
        )
    types = {field.name: field.dataType for field in frame.schema.fields}
    unique = list(dict.fromkeys(names))
    return frame.select(*[arrow.plain_column(frame, n, types[n]) for n in unique])


