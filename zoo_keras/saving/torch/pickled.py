"""The pickles that torch writes of state dicts, as data: tensors by name, and nothing else.

In: bytes of a pickle. Out: dicts, lists, and Tensors, which say where their numbers lie. No class
is looked up and no function called, whatever the pickle names. Source: pickletools.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from zoo_keras.errors import FileError, UnsupportedError

# Classes of storages -> numpy; bfloat16 is widened by who reads the bytes.
STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2",
            "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1",
            "ByteStorage": "u1", "BoolStorage": "?", "BFloat16Storage": "bfloat16"}  # fmt: skip


class Global(NamedTuple):
    """The name of a class or function."""

    module: str
    name: str


class Storage(NamedTuple):
    """A row of numbers in the file."""

    dtype: str
    key: str
    size: int


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK = object()
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "MARK": lambda: _MARK,
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
}  # fmt: skip
_PUSHES = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
           "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING")  # fmt: skip
_NOTHING = ("PROTO", "FRAME", "STOP")
_MOST_AXES, _MOST_COPIED = 32, 1_000_000  # a list that is copied may be named again and again


def read(data: Any) -> Any:
    """The object in a pickle: bytes, or a binary file at its beginning. FileError for no such one,
    UnsupportedError naming what it holds besides tensors."""
    reader = _Reader()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            reader.take(opcode.name, argument)
        return reader.stack[-1]
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise FileError(
            f"the pickle cannot be read. Received: {error!r}"[:300] + ". The file is damaged."
        ) from None


class _Reader:
    """A stack and a memory, as pickles need them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0  # items of lists that became dicts

    def take(self, name: str, argument: Any) -> None:
        """One instruction."""
        if name in _NOTHING:
            return
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _PUSHES:
            self.stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            names = [item for item in self.stack if isinstance(item, Global)]
            raise _refused(names[-1] if names else name)

    def above(self) -> list[Any]:
        """What lies above the last mark."""
        found = []
        while (item := self.stack.pop()) is not _MARK:
            found.append(item)
        return found[::-1]


def _refused(what: Any) -> UnsupportedError:
    name = f"{what.module}.{what.name}" if isinstance(what, Global) else str(what)
    return UnsupportedError(
        f"A state dict holds tensors alone. Received: {name[:120]} in its pickle. Save "
        "model.state_dict(), or export the model as ONNX."
    )


def _global(reader: _Reader, argument: str) -> None:
    module, _, name = argument.partition(" ")
    reader.stack.append(Global(module, name))


def _stack_global(reader: _Reader, _: Any) -> None:
    name, module = reader.stack.pop(), reader.stack.pop()
    reader.stack.append(Global(_text(module), _text(name)))


def _text(item: Any) -> str:
    """A name. What nests is none: its parts may share parts, so that text of it has no end."""
    if not isinstance(item, str):
        raise TypeError("a name that is no text")
    return item


def _tuple(count: int | None) -> Callable[[_Reader, Any], None]:
    def make(reader: _Reader, _: Any) -> None:
        items = reader.above() if count is None else [reader.stack.pop() for _ in range(count)]
        reader.stack.append(tuple(items if count is None else items[::-1]))

    return make


def _set_items(reader: _Reader, _: Any) -> None:
    items = reader.above()
    _fill(reader.stack[-1], items)


def _set_item(reader: _Reader, _: Any) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    _fill(reader.stack[-1], [key, value])


def _fill(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict):
        raise TypeError("items of what is no dict")
    keys = items[::2]
    if not all(isinstance(key, (str, int)) for key in keys):  # hashes of what nests have no end
        raise TypeError("names that are no texts")
    target.update(zip(keys, items[1::2], strict=True))


def _append(reader: _Reader, _: Any) -> None:
    item = reader.stack.pop()
    _extend(reader.stack[-1], [item])


def _appends(reader: _Reader, _: Any) -> None:
    items = reader.above()
    _extend(reader.stack[-1], items)


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError("items of what is no list")
    target.extend(items)


def _build(reader: _Reader, _: Any) -> None:
    reader.stack.pop()  # attributes of the dict: versions of modules


def _storage(reader: _Reader, _: Any) -> None:
    kind, found, key, _, count = reader.stack.pop()[:5]
    if kind != "storage" or not isinstance(found, Global) or found.name not in STORAGES:
        name = found.name[:80] if isinstance(found, Global) else type(found).__name__
        raise UnsupportedError(f"Storages hold numbers. Received: {name}.")
    reader.stack.append(Storage(STORAGES[found.name], _text(key), int(count)))


def _items(reader: _Reader, pairs: list[Any]) -> list[Any]:
    """Keys and values in turn, of the pairs that Python 2 wrote."""
    reader.copied += len(pairs)
    if reader.copied > _MOST_COPIED or not all(len(pair) == 2 for pair in pairs):
        raise ValueError("more names than a net has, or no pairs")
    return [item for pair in pairs for item in pair]


def _reduce(reader: _Reader, _: Any) -> None:
    arguments, function = reader.stack.pop(), reader.stack.pop()
    if function == Global("collections", "OrderedDict"):
        made: dict[Any, Any] = {}
        _fill(made, _items(reader, arguments[0] if arguments else []))
        reader.stack.append(made)
    elif function == Global("torch._utils", "_rebuild_tensor_v2"):
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        if max(len(shape), len(strides)) > _MOST_AXES:
            raise ValueError("a tensor of more axes than tensors have")
        sizes = (tuple(int(n) for n in given) for given in (shape, strides))
        reader.stack.append(Tensor(storage, int(offset), *sizes))
    elif function == Global("torch._utils", "_rebuild_parameter"):
        reader.stack.append(arguments[0])
    else:
        raise _refused(function)


_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "GLOBAL": _global, "STACK_GLOBAL": _stack_global, "TUPLE": _tuple(None), "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2), "TUPLE3": _tuple(3), "SETITEM": _set_item, "SETITEMS": _set_items,
    "APPEND": _append, "APPENDS": _appends, "BUILD": _build, "BINPERSID": _storage,
    "REDUCE": _reduce,
}  # fmt: skip
