"""What files compute of shapes and constants, computed while the model is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.saving.onnx.calls import Call, folds
from zoo_keras.saving.onnx.model_file import DTYPES
from zoo_keras.saving.onnx.shapes import parts, slices
from zoo_keras.saving.onnx.sizes import Size, is_open, shape_of, tidy


@folds("Constant")
def _constant(call: Call) -> Any:
    names = ("value", "value_float", "value_floats", "value_int", "value_ints")
    name = next((n for n in names if n in call.node.attributes), None)
    if name is None:
        raise call.refuse("a constant has numbers", sorted(call.node.attributes))
    value = call.node.attributes[name]
    if name == "value":
        return value
    return np.array(value, np.float32 if "float" in name else np.int64)


def shape(call: Call) -> Any:
    """Shape, of an array or a tensor."""
    x = call.input(0)
    sizes = np.array(x.shape, np.int64) if isinstance(x, np.ndarray) else shape_of(x, call.times[0])
    return sizes[call.attribute("start", 0) : call.attribute("end", len(sizes))]


def size(call: Call) -> Any:
    """Size, of an array or a tensor."""
    return tidy(np.prod(shape(call), dtype=object))


@folds("Identity", "Dropout")
def _same(call: Call) -> Any:
    return call.input(0)


@folds("Cast", "CastLike")
def _cast(call: Call) -> Any:
    x = call.input(0)
    if is_open(x):
        return x
    if call.node.kind == "CastLike":
        return x.astype(call.input(1).dtype)
    to = DTYPES.get(call.attribute("to"))
    if to is None:
        raise call.refuse("constants are cast to numbers and bool", f"to={call.attribute('to')}")
    return x.astype(to)


@folds("Gather")
def _gather(call: Call) -> Any:
    x, where = call.inputs
    axis = call.attribute("axis", 0) % x.ndim
    call.check((*x.shape[:axis], *where.shape, *x.shape[axis + 1 :]))
    return tidy(np.take(x, where.astype(np.int64), axis=axis))


@folds("Concat")
def _concat(call: Call) -> Any:
    call.check((sum(x.size for x in call.inputs),))
    return tidy(np.concatenate(call.inputs, axis=call.attribute("axis", 1)))


@folds("Unsqueeze")
def _unsqueeze(call: Call) -> Any:
    axes = tuple(int(a) for a in np.ravel(call.setting("axes", 1, 13)))
    return np.expand_dims(call.input(0), axes)


@folds("Squeeze")
def _squeeze(call: Call) -> Any:
    axes = call.setting("axes", 1, 13)
    axes = None if axes is None else tuple(int(a) for a in np.ravel(axes))
    return np.squeeze(call.input(0), axes)


@folds("Slice")
def _slice(call: Call) -> Any:
    x = call.input(0)
    key = [slice(None)] * x.ndim
    for axis, part in slices(call):
        key[axis] = slice(int(part.start), int(part.stop), part.step)
    return tidy(x[tuple(key)])


@folds("Reshape")
def _reshape(call: Call) -> Any:
    x, target = call.input(0), np.ravel(call.setting("shape", 1, 5))
    return x.reshape([x.shape[i] if t == 0 else int(t) for i, t in enumerate(target)])


@folds("Flatten")
def _flatten(call: Call) -> Any:
    x, axis = call.input(0), call.attribute("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


@folds("Transpose")
def _transpose(call: Call) -> Any:
    return call.input(0).transpose(call.attribute("perm"))


@folds("ConstantOfShape")
def _filled(call: Call) -> Any:
    value = call.attribute("value", np.zeros(1, np.float32))
    return np.full(_known(call, call.input(0)), np.ravel(value)[0], value.dtype)


@folds("Expand")
def _expand(call: Call) -> Any:
    x, target = call.input(0), list(call.input(1))
    if len(target) == x.ndim > 1 and x.shape[0] == 1 and target[0] == call.batch:
        target[0] = 1  # one row stands for all
    shape = np.broadcast_shapes(x.shape, _known(call, np.array(target, object)))
    call.check(shape)
    return np.broadcast_to(x, shape)


def _known(call: Call, target: np.ndarray) -> tuple[int, ...]:
    """A shape with 1 for open sizes: what has one row stands for all rows."""
    sizes = tuple(1 if isinstance(v, Size) else int(v) for v in np.ravel(target))
    call.check(sizes)
    return sizes


@folds("Tile")
def _tile(call: Call) -> Any:
    x, counts = call.inputs
    call.check((x.size, *counts))
    return np.tile(x, counts)


@folds("Range")
def _range(call: Call) -> Any:
    start, stop, step = (np.ravel(v)[0] for v in call.inputs)
    if isinstance(stop, Size):
        raise call.refuse("its end must be known", f"{stop}")
    call.check((abs((stop - start) / step) if step else -1,))
    return np.arange(start, stop, step, dtype=call.input(0).dtype)


@folds("Split")
def _split(call: Call) -> Any:
    x, axis = call.input(0), call.attribute("axis", 0)
    return [tidy(v) for v in np.split(x, np.cumsum(parts(call, x.shape[axis]))[:-1], axis)]


@folds("Trilu")
def _trilu(call: Call) -> Any:
    k = int(np.ravel(call.constant(1, "k", np.array(0)))[0])
    return (np.triu if call.attribute("upper", 1) else np.tril)(call.input(0), k)


@folds("MatMul")
def _matmul(call: Call) -> Any:
    x, y = call.inputs
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    call.check((*batch, *x.shape[-2:-1], *y.shape[-1:][: y.ndim - 1]))
    return np.matmul(x, y)


@folds("Pad")
def _pad(call: Call) -> Any:
    pads = np.ravel(call.setting("pads", 1, 11)).astype(int)
    sides = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    call.check((call.input(0).size, *(2 + abs(int(a)) + abs(int(b)) for a, b in sides)))
    value = call.setting("value", 2, 11, 0)
    return np.pad(call.input(0), sides, constant_values=np.ravel(value)[0])
