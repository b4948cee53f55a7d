"""What columns may hold: the one place that knows the types of Spark, Arrow and numpy.

In: a Spark type (by name; pyspark is not imported), or Arrow arrays. Out: kinds, which are plain
data ("int32", ["list", "float32"], ["struct", [["a", "date"], ...]]), and numpy columns
(rows, ...). Days since 1970 stand for dates, seconds for timestamps and durations. No model here.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import DataError, UnsupportedError
from zoo_keras.primitives.images import as_file

_SPARK = {
    "FloatType": "float32", "DoubleType": "float64", "ByteType": "int8", "ShortType": "int16",
    "IntegerType": "int32", "LongType": "int64", "BooleanType": "bool", "StringType": "string",
    "VarcharType": "string", "CharType": "string", "BinaryType": "binary", "DateType": "date",
    "TimestampType": "timestamp", "TimestampNTZType": "timestamp_ntz",
    "DayTimeIntervalType": "duration",
}  # fmt: skip
_AS_NUMBERS = {
    "date": "int32", "timestamp": "float64", "timestamp_ntz": "float64", "duration": "float64",
    "decimal": "float64", "binary": "string",
}  # fmt: skip
_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_IMAGE = {"origin", "height", "width", "nChannels", "mode", "data"}
_VECTOR = {"type", "size", "indices", "values"}  # how Spark stores ML vectors


def kind_of(spark: Any, name: str) -> Any:
    """The kind of a Spark type; DataError names the column of one that nothing can be made of."""
    label = type(spark).__name__
    if label == "ArrayType":
        return ["list", kind_of(spark.elementType, name)]
    if label == "VectorUDT":
        return ["list", "float32"]
    if label == "StructType":
        return ["struct", [[f.name, kind_of(f.dataType, f"{name}.{f.name}")] for f in spark.fields]]
    if label == "DecimalType":
        return ["decimal", spark.precision, spark.scale]
    if hasattr(spark, "sqlType") and label == "ImageUDT":
        return kind_of(spark.sqlType(), name)
    if label not in _SPARK:
        raise DataError(
            f"Column {name}: expected numbers, dates, text, arrays or structs of them, ML vectors "
            f"or images. Received: {label}. Cast or encode the column first."
        )
    return _SPARK[label]


def number_type(kind: Any) -> str:
    """The dtype of the numbers in such a column; "string" for text."""
    if not isinstance(kind, list):
        return _AS_NUMBERS.get(kind, kind)
    if kind[0] == "list":
        return number_type(kind[1])
    if kind[0] == "decimal":
        return "float64"
    if is_image(kind):
        return "uint8"
    found = {number_type(k) for _, k in kind[1]}
    if "string" in found:
        return "string" if found == {"string"} else "mixed"
    return np.result_type(*found).name


def is_image(kind: Any) -> bool:
    """Whether a kind is Spark's struct of an image."""
    return isinstance(kind, list) and kind[0] == "struct" and {n for n, _ in kind[1]} == _IMAGE


def arrow_type(kind: Any) -> Any:
    """The pyarrow type of a kind."""
    import pyarrow as pa

    if not isinstance(kind, list):
        made = {"bool": pa.bool_, "date": pa.date32, "duration": lambda: pa.duration("us"),
                "timestamp": lambda: pa.timestamp("us", "UTC"),
                "timestamp_ntz": lambda: pa.timestamp("us")}  # fmt: skip
        return made[kind]() if kind in made else getattr(pa, kind)()
    if kind[0] == "list":
        return pa.list_(pa.field("element", arrow_type(kind[1])))
    if kind[0] == "decimal":
        return pa.decimal128(*kind[1:])
    return pa.struct([pa.field(name, arrow_type(k)) for name, k in kind[1]])


def arrow_value(value: Any, kind: Any = None) -> Any:
    """An Arrow array of one value as Spark's Python gives it; kind None: of the type it shows."""
    import pyarrow as pa

    return pa.array([_plain_value(value)], None if kind is None else arrow_type(kind))


def _plain_value(value: Any) -> Any:
    if hasattr(value, "asDict"):
        return {k: _plain_value(v) for k, v in value.asDict().items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(v) for v in value]
    if hasattr(value, "toArray"):  # a vector of Spark ML
        return value.toArray().tolist()
    return bytes(value) if isinstance(value, bytearray) else value


class Place(NamedTuple):
    """Where values stand: the column, what to put for nulls (None: refuse), the row of each;
    whether text is taken, and whether images are wanted as files, of any sizes."""

    name: str
    fill: Any
    row: Callable[[int], int]
    text: bool
    files: bool = False

    def at(self, index: int) -> str:
        """How messages call a place."""
        row = self.row(index)
        return f"Row {row}: column {self.name}" if row >= 0 else f"Column {self.name}, first row"

    def null(self, index: int) -> DataError:
        """What to raise for a null."""
        return DataError(
            f"{self.at(index)}: expected "
            f"{'text' if self.text else 'numbers'}. Received: null. Fill or drop such rows, or "
            "pass fill_value."
        )


def numpy_column(
    column: Any, name: str, first: int | None = 0, text: bool = False, fill: Any = None,
    files: bool = False,
) -> np.ndarray:  # fmt: skip
    """An Arrow array of numbers, text, or equally long lists or structs of them as numpy's.

    Args:
        first: number of the first row, for messages; None: it is the sample that shows the types.
        text: strings and binaries are taken too, as objects.
        fill: stands for nulls and NaN; None: a null is a DataError.
        files: Spark's images become bytes that decode_images reads, not arrays of one size.
    """
    row = (lambda index: -1) if first is None else (lambda index: first + index)
    return _read(column, Place(name, fill, row, text, files))


def rows_of(column: Any, name: str, first: int = 0, fill: Any = None) -> list[np.ndarray]:
    """The rows of an Arrow array, whose shapes may differ, as arrays of numbers."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_list(kind) and pa.types.is_primitive(kind.value_type)) or column.null_count:
        return [numpy_column(column.slice(i, 1), name, first + i, False, fill)[0]
                for i in range(len(column))]  # fmt: skip
    ends = np.asarray(column.offsets) - column.offsets[0].as_py()

    def row(index: int) -> int:
        return first + int(np.searchsorted(ends, index, side="right")) - 1

    flat = _read(column.flatten(), Place(name, fill, row, False))
    return [flat[a:b] for a, b in itertools.pairwise(ends)]


def _read(column: Any, place: Place) -> np.ndarray:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if column.null_count:
        return _filled(column, place)
    if _is_list(column.type):
        return _list(column, place)
    if pa.types.is_struct(column.type):
        return _struct(column, place)
    return _plain(column, place)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    t = pa.types
    return bool(t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind))


def _filled(column: Any, place: Place) -> np.ndarray:
    """A column with nulls: the others are read, and the fill value stands between them."""
    valid = np.asarray(column.is_valid())
    if place.fill is None or (column.null_count == len(column) and _is_list(column.type)):
        raise place.null(int(np.argmin(valid)))
    at = np.flatnonzero(valid)
    rest = _read(column.drop_null(), place._replace(row=lambda index: place.row(int(at[index]))))
    made = np.empty((len(column), *rest.shape[1:]), _wide_enough(rest.dtype, place))
    made[valid], made[~valid] = rest, place.fill
    return made


def with_fill(dtype: Any, fill: Any) -> np.dtype:
    """The narrowest dtype for numbers of that one and a fill value."""
    dtype = np.dtype(dtype)
    if fill is None or dtype.kind == "f":
        return dtype
    whole = float(fill).is_integer()
    if dtype.kind == "b" and whole and fill in (0, 1):
        return dtype
    if dtype.kind in "iu" and whole and np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max:
        return dtype
    return np.result_type(dtype, np.min_scalar_type(int(fill) if whole else fill))


def _wide_enough(dtype: np.dtype, place: Place) -> Any:
    """A dtype for values of that one and the fill value."""
    is_text = isinstance(place.fill, (str, bytes))
    if is_text is not (dtype.kind == "O"):
        what = "text" if dtype.kind == "O" else dtype
        raise DataError(
            f"Column {place.name}: fill_value must be of the column's type. Received: "
            f"{place.fill!r} for {what}. Pass a dict by column."
        )
    return dtype if is_text else with_fill(dtype, place.fill)


def _list(column: Any, place: Place) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        usual = column.type.list_size
    else:
        usual = _common_length(np.diff(np.asarray(column.offsets)), place)
    size = max(usual, 1)
    inner = _read(column.flatten(), place._replace(row=lambda index: place.row(index // size)))
    return inner.reshape(len(column), usual, *inner.shape[1:])


def _common_length(lengths: np.ndarray, place: Place) -> int:
    if not lengths.size:
        return 0
    usual = int(np.bincount(lengths).argmax())
    if (lengths != usual).any():
        at = int(np.argmax(lengths != usual))
        raise DataError(
            f"{place.at(at)}: expected lists of {usual} as in most rows. "
            f"Received: a list of {lengths[at]}. Pad or cut them to one length, or pass pad_value "
            "to fit where the Input says None."
        )
    return usual


def _struct(column: Any, place: Place) -> np.ndarray:
    """Fields one behind the other; images as (rows, height, width, channels)."""
    names = [column.type.field(i).name for i in range(column.type.num_fields)]
    fields = dict(zip(names, column.flatten(), strict=True))
    if set(names) == _IMAGE:
        return _files(fields, place) if place.files else _images(fields, place)
    if set(names) == _VECTOR and _is_list(fields["values"].type):
        return _vectors(fields, place)
    parts = [_read(f, place._replace(name=f"{place.name}.{n}")) for n, f in fields.items()]
    if len({p.dtype == object for p in parts}) > 1:
        raise DataError(
            f"Column {place.name}: a struct of one input must hold numbers alone or text alone. "
            f"Received: fields {names}. Choose its fields as several inputs: "
            f'"{place.name}.{names[0]}", ...'
        )
    return np.concatenate([p.reshape(len(column), -1) for p in parts], axis=1)


def _images(fields: dict[str, Any], place: Place) -> np.ndarray:
    """Spark's images, bytes in the order in which they are stored (blue, green, red)."""
    sizes = np.stack([fields[n].to_numpy() for n in ("height", "width", "nChannels")], axis=1)
    data = fields["data"].to_pylist()
    if not len(sizes):
        return np.zeros((0, 0, 0, 0), np.uint8)
    for row, (size, pixels) in enumerate(zip(sizes.tolist(), data, strict=True)):
        if size != sizes[0].tolist() or len(pixels) != np.prod(size):
            raise DataError(
                f"{place.at(row)}: expected images of "
                f"{' x '.join(map(str, sizes[0].tolist()))} bytes, as the first. Received: "
                f"{' x '.join(map(str, size))} in {len(pixels)} bytes. Resize them to one size."
            )
    return np.frombuffer(b"".join(data), np.uint8).reshape(-1, *sizes[0].tolist())


def _files(fields: dict[str, Any], place: Place) -> np.ndarray:
    """Spark's images, of any sizes, as bytes that decode_images reads."""
    made = np.empty(len(fields["data"]), object)
    parts = [fields[n].to_pylist() for n in ("height", "width", "nChannels", "data")]
    for row, (*size, pixels) in enumerate(zip(*parts, strict=True)):
        if None in size or pixels is None:
            raise place.null(row)
        if len(pixels) != np.prod(size):
            raise DataError(
                f"{place.at(row)}: expected an image of {' x '.join(map(str, size))} bytes. "
                f"Received: {len(pixels)} bytes. Drop or mend such rows."
            )
        made[row] = as_file(size[0], size[1], size[2], pixels)
    return made


def _vectors(fields: dict[str, Any], place: Place) -> np.ndarray:
    """ML vectors, dense and sparse (type 0), as (rows, size) float32, as vector_to_array gives."""
    sparse = np.asarray(fields["type"]) == 0
    values = fields["values"]
    lengths = np.asarray(values.value_lengths(), np.int64)
    sizes = np.where(sparse, np.asarray(fields["size"].fill_null(0), np.int64), lengths)
    usual = _common_length(sizes, place)
    made = np.zeros((len(sizes), usual), np.float32)
    flat = np.asarray(values.flatten())
    owners = np.repeat(np.arange(len(sizes)), lengths)
    dense = np.repeat(~sparse, lengths)
    with np.errstate(over="ignore"):  # becomes infinity, which is refused
        made[~sparse] = flat[dense].reshape(-1, usual)
        made[owners[~dense], np.asarray(fields["indices"].flatten())] = flat[~dense]
    return made


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text: strings or binaries."""
    import pyarrow as pa

    t = pa.types
    return bool(t.is_string(kind) or t.is_binary(kind) or t.is_large_string(kind)
                or t.is_large_binary(kind) or t.is_fixed_size_binary(kind))  # fmt: skip


def _plain(column: Any, place: Place) -> np.ndarray:
    """Numbers or text, one for each element."""
    import pyarrow as pa

    kind, t = column.type, pa.types
    if is_text(kind) and place.text:
        objects = np.empty(len(column), object)
        objects[:] = column.to_pylist()
        return objects
    if t.is_date(kind):
        return np.asarray(column.cast(pa.date32()).cast(pa.int32()))
    if t.is_timestamp(kind) or t.is_duration(kind):
        return np.asarray(column.cast(pa.int64())) / _SECOND[kind.unit]
    if t.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (t.is_floating(kind) or t.is_integer(kind) or t.is_boolean(kind)):
        raise UnsupportedError(
            f"Column {place.name}: expected numbers. Received: Arrow type {kind}. Cast the column."
        )
    values = np.asarray(column.to_numpy(zero_copy_only=False))
    if place.fill is not None and values.dtype.kind == "f" and np.isnan(values).any():
        values = np.where(np.isnan(values), values.dtype.type(place.fill), values)
    return values


# ---- numpy's types, and Python's objects in its arrays -------------------------------------------


def is_null(value: Any) -> bool:
    """Whether a Python object is a null: None, NaN, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and value != value


def numbers(array: np.ndarray) -> np.ndarray:
    """Dates, times and decimals as numbers, NaN for nulls between them; other arrays as they are.

    >>> numbers(np.array(["1970-01-03", "1969-12-31"], "datetime64[D]"))
    array([ 2, -1])
    """
    if array.dtype.kind == "m":
        return array / np.timedelta64(1, "s")
    if array.dtype.kind == "M":
        return _times(array)
    first = next((v for v in array.flat if not is_null(v)), None) if array.dtype == object else None
    if isinstance(first, decimal.Decimal):
        return _each(array, float)
    if isinstance(first, datetime.datetime):
        return _each(
            array, lambda v: v.replace(tzinfo=v.tzinfo or datetime.timezone.utc).timestamp()
        )
    if isinstance(first, datetime.date):
        found = _each(array, lambda v: v.toordinal() - _EPOCH)
        return found if np.isnan(found).any() else found.astype(np.int32)
    if isinstance(first, datetime.timedelta):
        return _each(array, lambda v: v.total_seconds())
    return array


_EPOCH = datetime.date(1970, 1, 1).toordinal()


def _times(array: np.ndarray) -> np.ndarray:
    days = np.datetime_data(array.dtype)[0] in "YMWD"
    whole = array.astype("datetime64[D]" if days else "datetime64[us]")
    found = whole.view(np.int64)
    if np.isnat(whole).any():
        found = np.where(np.isnat(whole), np.nan, found)
    return found if days else found / 1e6


def _each(array: np.ndarray, number: Callable[[Any], float]) -> np.ndarray:
    flat = [np.nan if is_null(v) else number(v) for v in array.flat]
    return np.array(flat, np.float64).reshape(array.shape)


def without_nulls(array: np.ndarray, fill: Any) -> np.ndarray:
    """The array with a value in place of nulls and NaN."""
    if array.dtype == object:
        nulls = np.array([is_null(v) for v in array.flat], bool).reshape(array.shape)
    elif array.dtype.kind == "f":
        nulls = np.isnan(array)
    else:
        return array
    if not nulls.any():
        return array
    made = array.copy()
    made[nulls] = fill
    return made
