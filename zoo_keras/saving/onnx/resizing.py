"""Resize and Upsample: a product with a constant matrix along each axis of space.

Each row of a matrix says of which elements an output is made. Nearest by whole factors is a layer
of Keras. Source: the reference implementation of Resize in the ONNX standard.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras import layers, ops
from zoo_keras.saving.onnx.calls import Call, converts

_LARGEST = 1 << 16  # elements of an axis


@converts("Resize", "Upsample")
def _resize(call: Call) -> Any:
    x = call.input(0)
    rank = len(x.shape)
    factors, sizes = _targets(call, rank)
    if None in x.shape[1:]:
        raise call.refuse("sizes must be known", f"shape {x.shape}")
    if sizes is None:
        pairs = zip(x.shape, factors, strict=True)
        sizes = [None if n is None else math.floor(n * f) for n, f in pairs]
    else:
        factors = [1.0 if n is None else s / n for s, n in zip(sizes, x.shape, strict=True)]
    if factors[0] != 1 or any(not 0 < s <= _LARGEST for s in sizes[1:]):
        raise call.refuse("rows stay, and sizes are positive", f"sizes {sizes}")
    if _is_repetition(call, x.shape, sizes, factors):
        size = (sizes[2] // x.shape[2], sizes[3] // x.shape[3])
        return layers.UpSampling2D(size, data_format="channels_first", name=call.name)(x)
    for axis in range(1, rank):
        if sizes[axis] != x.shape[axis]:
            x = _along(x, axis, _matrix(call, x.shape[axis], sizes[axis], factors[axis]))
    return x


def _targets(call: Call, rank: int) -> tuple[list[float], list[Any] | None]:
    """(factor, or None; size, or None) for each axis."""
    old = call.node.kind == "Upsample" or call.opset < 11
    if call.opset < 9:
        scales: Any = call.attribute("scales")
    else:
        scales = call.constant(1 if old else 2, "the scales")
    sizes = None if old else call.constant(3, "the sizes")
    axes = [int(a) % rank for a in call.attribute("axes", range(rank))]
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refuse("axes are stretched", call.attribute("keep_aspect_ratio_policy"))
    if sizes is not None and len(sizes):
        whole: list[Any] = list(call.input(0).shape)
        for axis, size in zip(axes, np.ravel(sizes), strict=True):
            whole[axis] = int(size) if axis else whole[axis]
        return [], whole
    factors = [1.0] * rank
    for axis, factor in zip(axes, np.ravel(scales), strict=True):
        factors[axis] = float(factor)
    return factors, None


def _is_repetition(call: Call, shape: Any, sizes: Any, factors: Any) -> bool:
    if call.attribute("mode", "nearest") != "nearest" or len(shape) != 4 or sizes[1] != shape[1]:
        return False
    rows = zip(sizes[2:], shape[2:], factors[2:], strict=True)
    whole = all(s % n == 0 and s // n == f for s, n, f in rows)
    pair = (_coordinates(call), _rounding(call))
    return whole and pair in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
                              ("pytorch_half_pixel", "round_prefer_floor"))  # fmt: skip


def _coordinates(call: Call) -> str:
    old = call.node.kind == "Upsample" or call.opset < 11
    given: str = call.attribute("coordinate_transformation_mode", "half_pixel")
    return "asymmetric" if old else given


def _rounding(call: Call) -> str:
    old = call.node.kind == "Upsample" or call.opset < 11
    given: str = call.attribute("nearest_mode", "round_prefer_floor")
    return "floor" if old else given


def _along(x: Any, axis: int, matrix: np.ndarray) -> Any:
    """x with matrix (new, old) applied along an axis."""
    last = len(x.shape) - 1
    if axis == last:
        return ops.matmul(x, np.ascontiguousarray(matrix.T))
    moved = ops.matmul(ops.moveaxis(x, axis, last), np.ascontiguousarray(matrix.T))
    return ops.moveaxis(moved, last, axis)


def _matrix(call: Call, old: int, new: int, factor: float) -> np.ndarray:
    """(new, old): the share of each old element in each new one."""
    if call.attribute("antialias", 0):
        raise call.refuse("there is no antialias", "antialias=1")
    call.check((new, old))
    places = _places(call, old, new, factor)
    mode = call.attribute("mode", "nearest")
    found = np.zeros((new, old), np.float64)
    rows = np.arange(new)
    if mode == "nearest":
        found[rows, np.clip(_rounded(call, places), 0, old - 1)] = 1
    elif mode in ("linear", "bilinear"):
        low = np.floor(places).astype(int)
        for i, share in ((low, 1 - (places - low)), (low + 1, places - low)):
            np.add.at(found, (rows, np.clip(i, 0, old - 1)), share)
    elif mode == "cubic":
        _add_cubic(call, found, places)
    else:
        raise call.refuse("modes are nearest, linear and cubic", f"mode={mode!r}")
    return found.astype(np.float32)


def _places(call: Call, old: int, new: int, factor: float) -> np.ndarray:
    """Where each new element lies among the old ones."""
    out, kind = np.arange(new, dtype=np.float64), _coordinates(call)
    if kind == "half_pixel_symmetric":
        return old / 2 * (1 - new / (factor * old)) + (out + 0.5) / factor - 0.5
    if kind == "pytorch_half_pixel":
        return (out + 0.5) / factor - 0.5 if new > 1 else out * 0
    if kind == "align_corners":
        return out * (old - 1) / (new - 1) if new > 1 else out * 0
    if kind == "asymmetric":
        return out / factor
    if kind == "half_pixel":
        return (out + 0.5) / factor - 0.5
    raise call.refuse("this way of finding coordinates is not known", kind)


def _rounded(call: Call, places: np.ndarray) -> np.ndarray:
    how = _rounding(call)
    found: Any = {
        "floor": np.floor, "ceil": np.ceil, "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    }.get(how)  # fmt: skip
    if found is None:
        raise call.refuse("this nearest_mode is not known", how)
    return found(places).astype(int)


def _add_cubic(call: Call, found: np.ndarray, places: np.ndarray) -> None:
    a = call.attribute("cubic_coeff_a", -0.75)
    old, low = found.shape[1], np.floor(places).astype(int)
    for shift in range(-1, 3):
        away = np.abs(places - low - shift)
        near = ((a + 2) * away - (a + 3)) * away**2 + 1
        far = ((away - 5) * away + 8) * away * a - 4 * a
        share = np.where(away <= 1, near, far)
        inside = (low + shift >= 0) & (low + shift < old)
        if call.attribute("exclude_outside", 0):
            share = np.where(inside, share, 0)
        np.add.at(found, (np.arange(len(low)), np.clip(low + shift, 0, old - 1)), share)
    if call.attribute("exclude_outside", 0):
        found /= found.sum(axis=1, keepdims=True)
