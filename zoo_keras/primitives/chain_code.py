"""A chain's rows in C's terms: which tile functions, in which registers.

In: rows of ops and the dtypes of their values. Out: the list of numbers that elementwise.c in csrc
decodes. Inside a chain a value is of one of three kinds: "f" float32, "i" int32 (uint8, uint16
too) and "b" a mask of ones or zeros, 32 bits each. Knows op and tile names, no shapes and no nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_keras.dtypes import promote
from zoo_keras.errors import ProgramError
from zoo_keras.native import TILES, attributes, lib
from zoo_keras.primitives.op import registry

Row = tuple[str, tuple[int, ...], tuple[tuple[str, Any], ...]]

KINDS = {"float32": "f", "int32": "i", "uint8": "i", "uint16": "i", "bool": "b"}
_MASKS = {"uint8": 0xFF, "uint16": 0xFFFF}
DTYPES = tuple(KINDS)
MAX_REGISTERS: int = lib.ZK_CHAIN_MAX_REGISTERS
MAX_ROWS: int = lib.ZK_CHAIN_MAX_ROWS
MAX_INPUTS: int = lib.ZK_CHAIN_MAX_INPUTS

_LOGIC = {"logical_and": "and", "logical_or": "or", "logical_xor": "xor", "logical_not": "not"}
_BITS = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "bitwise_not": "not"}
_LOGIC_OF_BOOLS = {
    "add": "or", "multiply": "and", "maximum": "or", "minimum": "and", **_BITS,
}  # fmt: skip
_COMPARE = {
    "equal": ("equal", False),
    "not_equal": ("not_equal", False),
    "less": ("less", False),
    "less_equal": ("less_equal", False),
    "greater": ("less", True),
    "greater_equal": ("less_equal", True),
}
_TESTS = ("isnan", "isinf", "isfinite")
_INT_TILES = {
    "add": "add_int",
    "subtract": "subtract_int",
    "multiply": "multiply_int",
    "floor_divide": "floor_divide_int",
    "mod": "mod_int",
    "maximum": "maximum_int",
    "minimum": "minimum_int",
    "abs": "abs_int",
    "sign": "sign_int",
    "left_shift": "left_shift_int",
    "right_shift": "right_shift_int",
    "gcd": "gcd_int",
    "lcm": "lcm_int",
    **_BITS,
}
_INT_FORMS = ("negative", "square", "relu", "clip", "round")  # made of the tiles above
_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
_CONVERT = {
    ("f", "i"): "int_from_float",
    ("f", "b"): "bool_from_float",
    ("i", "f"): "float_from_int",
    ("i", "b"): "bool_from_int",
    ("b", "f"): "float_from_bool",
    ("b", "i"): "int_from_bool",
}


def supported(name: str, ins: Sequence[str], out: str) -> bool:
    """Whether tile functions exist for this op on these dtypes."""
    if any(d not in KINDS for d in (*ins, out)):
        return False
    if name in ("cast", "stop_gradient", "where") or name in _LOGIC or name in _COMPARE:
        return out not in _MASKS or name == "cast"
    if out == "bool":
        return name in _LOGIC_OF_BOOLS or name in _TESTS
    if name == "to_bfloat16":
        return True
    return out == "float32" or (out == "int32" and (name in _INT_TILES or name in _INT_FORMS))


@dataclass(eq=False)
class Value:
    """One value of a chain: an input (`input` >= 0), a number (`bits`), or a tile's result."""

    kind: str
    tile: str = ""
    sources: tuple[Value, ...] = ()
    input: int = -1
    bits: int | None = None
    register: int = -1


def number(value: Any, kind: str) -> Value:
    """A number as a value of this kind."""
    if kind == "f":
        return Value(kind, bits=int(np.float32(value).view(np.int32)))
    if kind == "b":
        return Value(kind, bits=-1 if value else 0)
    return Value(kind, bits=int(np.clip(value, -(2**31), 2**31 - 1)))


def _to(value: Value, kind: str) -> Value:
    if value.kind == kind:
        return value
    return Value(kind, _CONVERT[value.kind, kind], (value,))


def _cast(value: Value, dtype: str) -> Value:
    made = _to(value, KINDS[dtype])
    return Value("i", "and", (made, number(_MASKS[dtype], "i"))) if dtype in _MASKS else made


def _keywords(name: str, attrs: dict[str, Any]) -> list[Any]:
    """The op's attributes in the order of their declaration."""
    order = registry[name].__signature__.parameters.values()
    return [attrs[p.name] for p in order if p.kind is p.KEYWORD_ONLY]


def _integer_form(name: str, xs: Sequence[Value], numbers: Sequence[Value]) -> Value:
    x, zero = xs[0], number(0, "i")
    if name in _INT_TILES:
        return Value("i", _INT_TILES[name], tuple(xs))
    if name == "clip":
        above = Value("i", "maximum_int", (x, numbers[0]))
        return Value("i", "minimum_int", (above, numbers[1]))
    forms = {
        "negative": ("subtract_int", (zero, x)),
        "square": ("multiply_int", (x, x)),
        "relu": ("maximum_int", (x, zero)),
    }
    return Value("i", *forms[name]) if name in forms else x


def _compared(name: str, xs: Sequence[Value], dtypes: Sequence[str]) -> Value:
    tile, swap = _COMPARE[name]
    floats = KINDS[promote(*dtypes)] == "f"
    a, b = [_to(x, "f" if floats else "i") for x in xs]
    return Value("b", tile if floats else f"{tile}_int", (b, a) if swap else (a, b))


def _float_form(name: str, xs: Sequence[Value], numbers: Sequence[Value]) -> Value:
    if name == "power" and xs[1].bits is not None:
        exponent = float(np.int32(xs[1].bits).view(np.float32))
        if exponent in _POWERS:
            return Value("f", _POWERS[exponent], (xs[0],))
        if exponent in (3.0, 4.0):
            square = Value("f", "square", (xs[0],))
            return Value("f", "multiply", (square, xs[0] if exponent == 3.0 else square))
    return Value("f", registry[name].tile or "", (*xs, *numbers))


def value_of(
    name: str, xs: Sequence[Value], attrs: dict[str, Any], ins: Sequence[str], out: str
) -> Value:
    """What one row computes, as tile functions on converted operands."""
    kind = KINDS[out]
    if name == "literal":
        return number(attrs["value"], kind)
    if name in ("cast", "stop_gradient"):
        return _cast(xs[0], out)
    if name == "where":
        return Value(kind, "select", (_to(xs[0], "b"), _to(xs[1], kind), _to(xs[2], kind)))
    if name in ("to_bfloat16", "from_bfloat16"):
        return Value(kind, name, (xs[0],))
    if name in _COMPARE:
        return _compared(name, xs, ins)
    if name in _TESTS:
        return Value("b", name, (_to(xs[0], "f"),))
    if kind == "b":
        tile = _LOGIC.get(name) or _LOGIC_OF_BOOLS[name]
        return Value("b", tile, tuple(_to(x, "b") for x in xs))
    numbers = [number(v, kind) for v in _keywords(name, attrs)]
    form = _integer_form if kind == "i" else _float_form
    return form(name, [_to(x, kind) for x in xs], numbers)


def _values(code: Sequence[Row], dtypes: Sequence[str]) -> list[Value]:
    count = len(dtypes) - len(code)
    values = [Value(KINDS[d], input=i) for i, d in enumerate(dtypes[:count])]
    for i, (name, operands, attrs) in enumerate(code):
        xs, ins = [values[j] for j in operands], [dtypes[j] for j in operands]
        values.append(value_of(name, xs, dict(attrs), ins, dtypes[count + i]))
    return values


def _ordered(outputs: Iterable[Value]) -> list[Value]:
    """The values that the outputs need, sources first."""
    order: list[Value] = []
    done: set[int] = set()

    def visit(value: Value) -> None:
        if id(value) not in done:
            done.add(id(value))
            for source in value.sources:
                visit(source)
            order.append(value)

    for value in outputs:
        visit(value)
    return order


# Pairs of tiles that C has in one: (tile, tile of its only-here operand) -> the tile for both.
_PAIRS = {("add", "multiply"): "multiply_add", ("relu", "add"): "add_relu"}


def _fuse_pairs(outputs: Sequence[Value]) -> None:
    """Replace pairs of tile functions by one, where the first has no other reader."""
    order = _ordered(outputs)
    readers: dict[int, int] = {}
    for value in [*outputs, *(s for v in order for s in v.sources)]:
        readers[id(value)] = readers.get(id(value), 0) + 1
    for value in order:
        for i, inner in enumerate(value.sources):
            pair = _PAIRS.get((value.tile, inner.tile))
            if pair and readers[id(inner)] == 1:
                value.tile = pair
                value.sources = (*inner.sources, *value.sources[:i], *value.sources[i + 1 :])
                break


def _own_values(outputs: Sequence[Value]) -> list[Value]:
    """Each output as a value of its own: inputs, numbers and repeated values are copied."""
    found: list[Value] = []
    for value in outputs:
        taken = not value.tile or any(value is other for other in found)
        found.append(Value(value.kind, "copy", (value,)) if taken else value)
    return found


def _allocate(rows: Sequence[Value], first: int) -> int:
    """Give the rows without a register one from `first` on; returns how many there are."""
    last = {id(source): i for i, value in enumerate(rows) for source in value.sources}
    free: list[int] = []
    count = 0
    for i, value in enumerate(rows):
        dying = {id(s): s.register for s in value.sources if s.tile and last[id(s)] == i}
        free += sorted((r for r in dying.values() if r >= first), reverse=True)
        if value.register < 0:
            if not free:
                free.append(first + count)
                count += 1
            value.register = free.pop()
    return count


def _tile_number(tile: str) -> int:
    if tile not in TILES:
        raise ProgramError(f"chain: the C engine has no tile function {tile!r}. Build it again.")
    return TILES[tile]


def encode(
    code: Sequence[Row],
    dtypes: Sequence[str],
    outputs: Sequence[int],
    patterns: Sequence[tuple[int, int]],
) -> list[float]:
    """The attribute numbers of a chain instruction.

    Registers: outputs first, then inputs, numbers, and values in between. The list holds how many
    numbers, in-betweens and rows there are; (repeat, period) of each input; the bits of each
    number; and for each row its tile, its register and three source registers.
    """
    values = _values(code, dtypes)
    results = _own_values([values[i] for i in outputs])
    _fuse_pairs(results)
    order = _ordered(results)
    literals = [v for v in order if v.bits is not None]
    rows = [v for v in order if v.tile]
    for i, value in enumerate(results):
        value.register = i
    for value in order:
        if value.input >= 0:
            value.register = len(results) + value.input
    base = len(results) + len(patterns)
    for i, value in enumerate(literals):
        value.register = base + i
    between = _allocate(rows, base + len(literals))
    registers = base + len(literals) + between
    if registers > MAX_REGISTERS or len(rows) > MAX_ROWS or len(patterns) > MAX_INPUTS:
        raise ProgramError(
            f"chain: too long for one instruction. Received: {len(rows)} rows, {len(patterns)} "
            f"inputs, {registers} registers. Gather fewer nodes."
        )
    found = attributes("CHAIN", numbers=len(literals), between=between, rows=len(rows))
    found += [n for pattern in patterns for n in pattern]
    found += [v.bits for v in literals if v.bits is not None]
    for value in rows:
        sources = [s.register for s in value.sources]
        read = (*sources, *[sources[-1]] * (lib.ZK_CHAIN_SOURCES - len(sources)))
        tile = _tile_number(value.tile)
        found += attributes("CHAIN", tile=tile, target=value.register, source=read)
    return [float(n) for n in found]
