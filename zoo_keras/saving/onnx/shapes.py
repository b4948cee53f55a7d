"""ONNX ops that move, cut and join elements, on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import layers, ops
from zoo_keras.errors import FileError
from zoo_keras.saving.onnx.calls import Call, converts, is_array, operand
from zoo_keras.saving.onnx.elementwise import spread
from zoo_keras.saving.onnx.sizes import Size, for_reshape, shape_of

_WIDEST = 1 << 16  # places of a border
_FLOATS = (1, 10, 11, 16)  # of TensorProto.DataType
_CASTS = {**dict.fromkeys(_FLOATS, "float32"), 9: "bool",
          **dict.fromkeys((2, 3, 4, 5, 6, 7, 12, 13), "int32")}  # fmt: skip


@converts("Identity")
def _identity(call: Call) -> Any:
    return call.input(0)


@converts("Dropout")
def _dropout(call: Call) -> Any:
    rate = call.setting("ratio", 1, 12, 0.5)
    return layers.Dropout(float(np.ravel(rate)[0]), name=call.name)(call.input(0))


@converts("Cast")
def _cast(call: Call) -> Any:
    to = call.attribute("to")
    if to not in _CASTS:
        raise call.refuse("numbers and bool are cast to", f"to={to}")
    return ops.cast(call.input(0), _CASTS[to])


@converts("CastLike")
def _cast_like(call: Call) -> Any:
    return ops.cast(call.input(0), str(operand(call.input(1)).dtype))


@converts("Reshape")
def _reshape(call: Call) -> Any:
    x = call.input(0)
    given = call.setting("shape", 1, 5)
    if given is None:
        raise call.refuse("the shape must be a constant", "none")
    sizes, keeps_zero = shape_of(x, call.times[0]), not call.attribute("allowzero", 0)
    target = [
        sizes[i] if keeps_zero and not isinstance(v, Size) and v == 0 else v
        for i, v in enumerate(np.ravel(np.asarray(given, object)))
    ]
    target = _with_rows(target, x.shape, call.batch, call.times[0])
    if target and isinstance(target[0], Size) and x.shape[0] is None:
        rest = for_reshape(np.array(target[1:], object))
        if -1 in rest or None in x.shape[1:] or np.prod(rest) == np.prod(x.shape[1:]):
            return layers.Reshape(rest, name=call.name)(x)
    return ops.reshape(x, for_reshape(np.array(target, object)))


def _with_rows(target: list[Any], shape: Any, batch: int | None, times: int) -> list[Any]:
    """A reshape's target in which the rows and the one inferred size are told where they can be.

    In a file of a fixed number of rows, `batch`, it is a factor of some size of the target.
    """
    if list(shape).count(None) != 1 or not target:
        return target
    row = int(np.prod([n for n in shape if n is not None])) * times
    if not any(isinstance(v, Size) for v in target):
        before = int(np.prod(shape[: list(shape).index(None)]))
        target = _told(target, row, batch or 1, before, times)
    return _inferred(target, row)


def _told(target: list[int], row: int, batch: int, before: int, times: int) -> list[Any]:
    """A target of plain numbers with the rows in their place; `before` counts what is ahead."""
    if -1 in target:
        known = int(np.prod([v for v in target if v != -1]))
        if known == 0 or (row * batch) % known:
            return target
        if before == 1 and target[0] == -1 and row == known:
            return [Size(), *target[1:]]
        target = [row * batch // known if v == -1 else v for v in target]
    ahead = [int(np.prod(target[:i])) for i in range(len(target) + 1)]
    places = range(len(target))
    last = before * batch * times
    exact = [
        i for i in places if target[i] == batch and before <= ahead[i] and ahead[i + 1] <= last
    ]
    fits = [i for i in places if ahead[i] <= before and ahead[i + 1] >= before * batch]
    if ahead[-1] != row * batch or not fits:
        return target
    place = (exact or fits)[0]
    times = -(-target[place] // batch)
    return [*target[:place], Size(times=times), *target[place + 1 :]]


def _inferred(target: list[Any], row: int) -> list[Any]:
    """The target without -1, where there is one open size."""
    opens = [v for v in target if isinstance(v, Size)]
    if len(opens) != 1:
        return target
    others = [v for v in target if not isinstance(v, Size) and v != -1]
    known = opens[0].times * int(np.prod(others))
    if known == 0 or row % known:
        return target
    return [row // known if not isinstance(v, Size) and v == -1 else v for v in target]


@converts("Flatten")
def _flatten(call: Call) -> Any:
    x = call.input(0)
    axis = call.attribute("axis", 1)
    axis = axis % len(x.shape) if axis < 0 else axis
    if axis == 1:
        return layers.Flatten(data_format="channels_last", name=call.name)(x)
    if axis == 0 or None in x.shape[axis:]:
        raise call.refuse("rows stay apart", f"axis={axis} of shape {x.shape}")
    return ops.reshape(x, (-1, int(np.prod(x.shape[axis:]))))


@converts("Transpose")
def _transpose(call: Call) -> Any:
    x = call.input(0)
    order = call.attribute("perm", list(range(len(x.shape)))[::-1])
    if order[0] == 0 and len(order) > 1:
        return layers.Permute(order[1:], name=call.name)(x)
    return ops.transpose(x, tuple(order))


@converts("Squeeze")
def _squeeze(call: Call) -> Any:
    x, axes = call.input(0), call.setting("axes", 1, 13)
    if axes is None:
        axes = [a for a, size in enumerate(x.shape) if size == 1]
    return ops.squeeze(x, axis=tuple(int(a) for a in np.ravel(axes)))


@converts("Unsqueeze")
def _unsqueeze(call: Call) -> Any:
    x, axes = call.input(0), np.ravel(call.setting("axes", 1, 13))
    rank = len(x.shape) + len(axes)
    for axis in sorted(int(a) % rank for a in axes):
        x = ops.expand_dims(x, axis)
    return x


@converts("Concat")
def _concat(call: Call) -> Any:
    like = next(x for x in call.inputs if not is_array(x))
    parts = [spread(x, like) for x in call.inputs if not (is_array(x) and x.size == 0)]
    if len(parts) == 1:
        return parts[0]
    return layers.Concatenate(call.attribute("axis", 1), name=call.name)(parts)


@converts("Split")
def _split(call: Call) -> Any:
    x, axis = call.input(0), call.attribute("axis", 0) % len(call.input(0).shape)
    sizes = parts(call, x.shape[axis])
    ends = np.cumsum(sizes)
    whole = [slice(None)] * axis
    pairs = zip(ends, sizes, strict=True)
    return [x[(*whole, slice(int(end - size), int(end)))] for end, size in pairs]


def parts(call: Call, size: int | None) -> list[int]:
    """The sizes of a Split's outputs; of equal ones only the last may be smaller."""
    given = call.setting("split", 1, 13)
    if given is not None:
        return [int(s) for s in np.ravel(given)]
    count = call.attribute("num_outputs", len(call.node.outputs))
    each = 0 if size is None else -(-size // count)
    if size is None or each * (count - 1) > size:
        raise call.refuse("sizes of its outputs must be known", f"{count} parts of {size}")
    return [each] * (count - 1) + [size - each * (count - 1)]


@converts("Slice")
def _slice(call: Call) -> Any:
    x = call.input(0)
    key = [slice(None)] * len(x.shape)
    for axis, part in slices(call):
        key[axis] = _fitting(part, x.shape[axis])
    return x[tuple(key)]


def slices(call: Call) -> list[tuple[int, slice]]:
    """(axis, slice) for each axis that a Slice cuts."""
    old = call.opset < 10
    starts, ends = (call.setting(n, i, 10) for i, n in ((1, "starts"), (2, "ends")))
    axes = call.setting("axes", 3, 10)
    steps = None if old else call.constant(4, "the steps")
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    rank = len(call.input(0).shape)
    rows = zip(axes, starts, ends, steps, strict=True)
    return [(int(a) % rank, slice(s, e, int(step))) for a, s, e, step in rows]


def _fitting(part: slice, size: int | None) -> slice:
    """A slice with ends that a Python one has: None for what is behind the last."""
    start, stop, step = part.start, part.stop, part.step
    stop = None if isinstance(stop, Size) or abs(int(stop)) >= (1 << 31) - 1 else int(stop)
    if size is not None and stop is not None and stop >= size and step > 0:
        stop = None
    start = int(start)
    if step < 0 and (start >= (1 << 31) - 1 or (size is not None and start >= size)):
        return slice(None, stop, step)
    return slice(start if start or step < 0 else None, stop, None if step == 1 else step)


@converts("Gather")
def _gather(call: Call) -> Any:
    table, where = call.inputs
    axis = call.attribute("axis", 0)
    if is_array(table) and table.ndim == 2 and axis % 2 == 0 and table.dtype.kind == "f":
        layer = layers.Embedding(*table.shape, name=call.name)
        y = layer(where)
        layer.embeddings.assign(operand(table))
        return y
    if is_array(where) and where.ndim == 0 and not is_array(table):
        return table[(*[slice(None)] * (axis % len(table.shape)), int(where))]
    return ops.take(operand(table), operand(where), axis=axis)


@converts("GatherElements")
def _gather_elements(call: Call) -> Any:
    return ops.take_along_axis(*map(operand, call.inputs), axis=call.attribute("axis", 0))


@converts("Pad")
def _pad(call: Call) -> Any:
    x = call.input(0)
    pads = np.ravel(call.setting("pads", 1, 11))
    value = call.setting("value", 2, 11, 0.0)
    axes = call.constant(3, "the axes") if call.opset >= 18 else None
    axes = range(len(x.shape)) if axes is None else [int(a) % len(x.shape) for a in axes]
    sides = [(0, 0)] * len(x.shape)
    for i, axis in enumerate(axes):
        sides[axis] = (int(pads[i]), int(pads[i + len(pads) // 2]))
    mode = call.attribute("mode", "constant")
    if sides[0] != (0, 0) or any(n < 0 for side in sides for n in side):
        raise call.refuse("rows are not padded, and nothing is cut off", f"pads={pads.tolist()}")
    if mode not in ("constant", "reflect", "edge"):
        raise call.refuse("modes are constant, reflect and edge", f"mode={mode!r}")
    return padded(x, sides, float(np.ravel(value)[0]) if np.size(value) else 0.0, mode)


def padded(x: Any, sides: list[tuple[int, int]], value: float = 0.0, mode: str = "constant") -> Any:
    """x with borders; x itself without any."""
    if not any(map(any, sides)):
        return x
    if max(map(max, sides)) > _WIDEST:  # borders are listed place by place
        raise FileError(
            f"a border has {_WIDEST} places at most. Received: {sides}. The file is damaged."
        )
    more = {"constant_values": value} if mode == "constant" else {}
    return ops.pad(x, tuple(sides), mode=mode, **more)


@converts("Expand")
def _expand(call: Call) -> Any:
    x, target = call.input(0), call.constant(1, "the shape")
    own = [1] * (len(target) - len(x.shape)) + list(x.shape)
    pairs = zip(target, own, strict=True)
    fits = [isinstance(t, Size) or n is None or t in (1, n) for t, n in pairs]
    if all(fits) and len(own) == len(x.shape):
        return x
    shape = [1 if fit else int(t) for fit, t in zip(fits, target, strict=True)]
    call.check(shape)
    return ops.add(x, np.zeros(shape, str(x.dtype)))


@converts("Tile")
def _tile(call: Call) -> Any:
    counts = [int(n) for n in call.constant(1, "the counts")]
    if counts[0] != 1:
        raise call.refuse("rows are not repeated", f"repeats={counts}")
    call.check(counts)
    return ops.tile(call.input(0), counts)


@converts("DepthToSpace", "SpaceToDepth")
def _blocks(call: Call) -> Any:
    x, b = call.input(0), call.attribute("blocksize")
    _, c, h, w = x.shape
    if call.node.kind == "SpaceToDepth":
        x = ops.reshape(x, (-1, c, h // b, b, w // b, b))
        return ops.reshape(ops.transpose(x, (0, 3, 5, 1, 2, 4)), (-1, c * b * b, h // b, w // b))
    deep = call.attribute("mode", "DCR") == "DCR"
    x = ops.reshape(x, (-1, b, b, c // b**2, h, w) if deep else (-1, c // b**2, b, b, h, w))
    x = ops.transpose(x, (0, 3, 4, 1, 5, 2) if deep else (0, 1, 4, 2, 5, 3))
    return ops.reshape(x, (-1, c // b**2, h * b, w * b))


@converts("Einsum")
def _einsum(call: Call) -> Any:
    equation = call.attribute("equation")
    if all(map(is_array, call.inputs)):
        _check_einsum(call, equation.replace(" ", ""))
    return ops.einsum(equation, *map(operand, call.inputs))


def _check_einsum(call: Call, equation: str) -> None:
    """`check` for a product of constants."""
    if "." in equation or "->" not in equation:
        raise call.refuse("of constants all axes are named, and those of the output", equation)
    given, _, made = equation.partition("->")
    terms = zip(given.split(","), call.inputs, strict=True)
    sizes = {letter: n for term, x in terms for letter, n in zip(term, x.shape, strict=True)}
    call.check(sizes[letter] for letter in made)


@converts("Trilu")
def _trilu(call: Call) -> Any:
    k = int(np.ravel(call.constant(1, "k", np.array(0)))[0])
    return (ops.triu if call.attribute("upper", 1) else ops.tril)(call.input(0), k)
