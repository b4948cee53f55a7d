"""int8 convolutions of 1 and 2 axes, for inference: rounded images, and products on them.

In: float32 images, or int8 ones with the step (1 / scale) of each; int8 weights from `pack_int8`.
Out: float32, bits of bfloat16, or int8 with steps for the next layer. What a depthwise convolution
reads is uint8 where it is never negative, and its weights are int16: nine weights that nearly
cancel don't bear rounding to 8 bits. Sums of products are exact; a step that is NaN makes all
float32 results of its image NaN. Nothing here has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.conv import conv
from zoo_keras.primitives.conv_geometry import TAP_CASES, Padding, output_shape
from zoo_keras.primitives.int8 import (
    GROUP,
    LONGEST,
    MOST,
    UNSIGNED_MOST,
    abs_max_scale,
    pack_int8,
    packed_shape,
    rounded,
    unpacked,
)
from zoo_keras.primitives.op import Sample, op, registry
from zoo_keras.primitives.products import FUSED_ACTIVATIONS, activate, activation_code
from zoo_keras.primitives.row_rules import first_input, rows_in

RESIDUALS = {"float32", "uint16", "int8"}
DEPTHWISE_TAPS = 2**24 // (UNSIGNED_MOST * MOST)  # products that a float32 sum holds exactly


def depthwise_most(taps: int) -> int:
    """The largest magnitude of depthwise weights whose sums of so many products float32 holds."""
    return min(2**15 - 1, 2**24 // (UNSIGNED_MOST * max(taps, 1)))


def _rounded_shape(x: Spec, *, scale: float, unsigned: bool = False) -> tuple[Spec, Spec]:
    if not x.shape or scale < 0 or (unsigned and not scale):
        raise ShapeError("x needs a batch axis, and scale must not be below 0, or 0 with unsigned.")
    return Spec(x.shape, "uint8" if unsigned else "int8"), Spec(x.shape[:1], "float32")


def _images(low: float = -1.0, hole: float = 0.0) -> Any:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        x = rng.uniform(low, 1, (3, 5, 4, 7)).astype(np.float32)
        x[1, 2, 3, 4] = hole
        return [x]

    return make


@op(
    kernel=True,
    rows=first_input,
    shape=_rounded_shape,
    dtypes=lambda x: x.dtype == "float32",
    samples=[
        Sample((), {"scale": 0.0}, make=_images()),
        Sample((), {"scale": 90.0}, make=_images(0)),
        Sample((), {"scale": 0.0}, make=_images(hole=np.nan)),
        Sample((), {"scale": 90.0}, make=_images(hole=np.inf)),
        Sample((), {"scale": 220.0, "unsigned": True}, make=_images()),
        Sample([(0, 3)], {"scale": 0.0}),
        Sample([(2, 0)], {"scale": 0.0}),
    ],
)
def round_int8(
    x: np.ndarray, *, scale: float, unsigned: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(q, step): x * scale to the nearest int8, or uint8 with `unsigned` (what is below zero
    becomes 0), and 1 / scale for each image, (batch,).

    scale 0 stands for 127 / (the largest magnitude of each image). An image with a NaN or an
    infinity becomes zeros, and its step NaN.
    """
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    finite = np.isfinite(flat).all(-1)
    flat = np.where(finite[:, None], flat, np.float32(0))
    own = abs_max_scale(np.max(np.abs(flat), -1, initial=0))
    own = np.full_like(own, scale) if scale else own
    step = np.where(finite, np.float32(1) / own, np.float32(np.nan))
    return rounded(flat, own[:, None], unsigned).reshape(x.shape), step


# ---- geometry ------------------------------------------------------------------------------------


def is_merged(kernel_shape: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> bool:
    """Whether the cells of a window's row, side by side in memory, are one tap: where places lie
    side by side too, or a row is so short that one tap holds it."""
    short = kernel_shape[-3] * kernel_shape[-2] <= GROUP
    return dilation[-1] == 1 and (strides[-1] == 1 or short)


def pack_conv_int8(w: Any, *, strides: Sequence[int], dilation: Sequence[int]) -> Any:
    """int8 weights (*kernel, channels, filters) as `conv_int8` reads them with this geometry."""
    from zoo_keras.primitives.arrays import reshape

    shape = _taps(tuple(w.shape), strides, dilation)
    return pack_int8(reshape(w, shape=shape))


def _taps(
    kernel: tuple[int, ...], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int]:
    """(taps, inputs of one, filters) of weights (*kernel, channels, filters)."""
    split = -3 if is_merged(kernel, strides, dilation) else -2
    return math.prod(kernel[:split]), math.prod(kernel[split:-1]), kernel[-1]


def _outputs(
    y: Spec, scale: float, both: bool, narrow: bool = False, unsigned: bool = False
) -> tuple[Spec, ...]:
    q = Spec(y.shape, "uint8" if unsigned else "int8")
    rounds = (q, Spec(y.shape[:1], "float32")) if scale else ()
    y = Spec(y.shape, "uint16" if narrow else y.dtype)
    return (y, *rounds) if both or not scale else rounds


def _check_vectors(filters: int, step: Spec, images: int, *vectors: Spec) -> None:
    if any(v.shape != (filters,) for v in vectors) or step.shape != (images,):
        raise ShapeError(f"wstep and b need {filters} numbers, and step one for each image.")


def _conv_shape(
    q: Spec, step: Spec, w: Spec, wstep: Spec, b: Spec, *more: Spec, kernel_shape: tuple[int, ...],
    strides: Any, padding: Any, dilation: Any, activation: str, scale: float, both: bool,
    narrow: bool = False, unsigned: bool = False,
) -> tuple[Spec, ...]:  # fmt: skip
    activation_code(activation)
    if len(q.shape) not in (3, 4):
        raise ShapeError("int8 convolutions have 1 or 2 spatial axes.")
    shape = output_shape(q, kernel_shape, strides, padding, dilation, 1)
    taps = _taps(tuple(kernel_shape), strides, dilation)
    if w.shape != packed_shape(*taps):
        raise ShapeError(f"weights {tuple(kernel_shape)} must be packed by pack_conv_int8.")
    if math.prod(taps[:2]) > LONGEST:
        raise ShapeError(f"a sum of {math.prod(taps[:2])} products may not fit into int32.")
    _check_vectors(shape[-1], step, shape[0], wstep, b)
    if more and more[0].shape != shape:
        raise ShapeError(f"the residual must have the shape of the output, {shape}.")
    if any(s.shape != shape[:1] for s in more[1:]) or len(more) != _terms(more):
        raise ShapeError("an int8 residual needs one step for each image, others none.")
    return _outputs(Spec(shape, "float32"), scale, both, narrow, unsigned)


def _terms(more: Sequence[Spec]) -> int:
    """How many inputs a residual takes."""
    return min(len(more), 1) + any(r.dtype == "int8" for r in more[:1])


def _numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    def two(values: Sequence[int], missing: int) -> list[int]:
        return [missing] * (2 - len(values)) + list(values)

    depthwise = len(ins[2].shape) == 2
    merged = not depthwise and is_merged(attrs["kernel_shape"], attrs["strides"], attrs["dilation"])
    return attributes(
        "CONV_TAPS",
        strides=two(attrs["strides"], 1),
        padding=two([p[0] for p in attrs["padding"]], 0),
        dilation=two(attrs["dilation"], 1),
        kernel=two(attrs["kernel_shape"][:-2], 1),
        activation=activation_code(attrs["activation"]),
        merged=merged,
        scale=attrs["scale"],
    )


def _is_int8(q: Spec, step: Spec, w: Spec, wstep: Spec, b: Spec, *more: Spec) -> bool:
    floats = all(s.dtype == "float32" for s in (step, wstep, b, *more[1:]))
    return q.dtype == w.dtype == "int8" and floats and {r.dtype for r in more[:1]} <= RESIDUALS


def _is_bytes(q: Spec, step: Spec, w: Spec, wstep: Spec, b: Spec) -> bool:
    floats = all(s.dtype == "float32" for s in (step, wstep, b))
    return q.dtype in ("int8", "uint8") and w.dtype == "int16" and floats


# ---- references ----------------------------------------------------------------------------------


def _scaled_back(
    sums: np.ndarray, step: np.ndarray, wstep: np.ndarray, b: np.ndarray, *residual: np.ndarray,
    activation: str, scale: float, both: bool, narrow: bool = False, unsigned: bool = False,
) -> Any:  # fmt: skip
    by_image = step.reshape(-1, *[1] * (sums.ndim - 1))
    y = sums.astype(step.dtype) * (by_image * wstep) + b
    y = activate(sum(residual, y), activation).astype(np.float32)
    kept = registry["to_bfloat16"].reference(y) if narrow else y
    if not scale:
        return kept
    q = rounded(np.nan_to_num(y, nan=0.0), np.float32(scale), unsigned)
    after = np.where(np.isnan(step), np.nan, np.float32(1) / np.float32(scale)).astype(np.float32)
    return (kept, q, after) if both else (q, after)


def _exact_sums(q: np.ndarray, w: np.ndarray, groups: int, how: dict[str, Any]) -> np.ndarray:
    wide = q.astype(np.float64), w.astype(np.float64)
    return np.asarray(conv.reference(*wide, groups=groups, **how))


def _packed_sums(
    q: np.ndarray, packed: np.ndarray, kernel_shape: tuple[int, ...], strides: tuple[int, ...],
    padding: Padding, dilation: tuple[int, ...],
) -> np.ndarray:  # fmt: skip
    w = unpacked(packed, *_taps(kernel_shape, strides, dilation)).reshape(kernel_shape)
    return _exact_sums(q, w, 1, {"strides": strides, "padding": padding, "dilation": dilation})


_RESULTS = ((0.0, False), (0.5, False), (0.25, True))


def conv_sample(i: int, case: Any, residual: bool, depthwise: bool = False) -> Sample:
    """Case i of x, kernel, strides, padding and dilation, with results of kind i % 3.

    Numbers are such that float32 holds all results exactly.
    """
    x_shape, kernel, *how = case
    strides, padding, dilation = how
    if depthwise:
        kernel = (*kernel[:-2], x_shape[-1], 1)
    attrs = dict(zip(("strides", "padding", "dilation"), how, strict=True))
    scale, both = _RESULTS[i % 3]
    name = ("linear", "relu", "relu6")[i % 3]

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        most = depthwise_most(math.prod(kernel[:-2])) if depthwise else MOST
        w = rng.integers(-most, most + 1, kernel).astype(np.int16 if depthwise else np.int8)
        q = rng.integers(-MOST, MOST + 1, x_shape).astype(np.int8)
        if depthwise and i % 2:
            q = rng.integers(0, UNSIGNED_MOST + 1, x_shape).astype(np.uint8)
        n = x_shape[-1] if depthwise else kernel[-1]
        packed = w.reshape(-1, n) if depthwise else pack_conv_int8(
            w, strides=attrs["strides"], dilation=attrs["dilation"]
        )  # fmt: skip
        step = 2.0 ** rng.integers(-8, -6, len(q))
        wstep, b = 2.0 ** rng.integers(-8, -6, n), rng.integers(-9, 9, n) / 4
        out = output_shape(Spec(x_shape, "int8"), kernel, strides, padding, dilation, 1)
        more = _residual(rng, out, i // 2 % 3) if residual else []
        floats = [a.astype(np.float32) for a in (wstep, b)]
        return [q, step.astype(np.float32), packed, *floats, *more]

    attrs |= {"kernel_shape": kernel, "activation": name, "scale": scale, "both": both}
    attrs |= {} if depthwise else {"narrow": i % 4 == 3 and (both or not scale)}
    attrs |= {"unsigned": scale > 0 and i % 5 < 2}
    return Sample((), attrs, make=make)


def _residual(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> list[np.ndarray]:
    """A residual in float32, in bits, or in int8 with its steps."""
    whole = rng.integers(-9, 9, shape)
    if kind == 2:
        step = 2.0 ** rng.integers(-4, -1, shape[:1])
        return [whole.astype(np.int8), step.astype(np.float32)]
    y = (whole / 4).astype(np.float32)
    return [registry["to_bfloat16"].reference(y) if kind else y]


_ADDED = rows_in(1, 1, 0, 0, 0, 1, 1)
_ROWS = rows_in(1, 1)


@op(
    kernel=True,
    rows=_ROWS,
    shape=_conv_shape,
    attrs_to_c=_numbers,
    dtypes=_is_int8,
    epilogue=FUSED_ACTIVATIONS,
    with_residual="conv_int8_add",
    takes_scale=(3, 4),
    samples=[conv_sample(i, c, False) for i, c in enumerate(TAP_CASES)],
)
def conv_int8(
    q: np.ndarray,
    step: np.ndarray,
    w: np.ndarray,
    wstep: np.ndarray,
    b: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    activation: str,
    scale: float,
    both: bool,
    narrow: bool = False,
    unsigned: bool = False,
) -> Any:
    """y = activation(conv(q, w) * step * wstep + b), the products summed exactly.

    q (batch, *spatial, channels) and step (batch,) come from `round_int8`, w from `pack_conv_int8`
    for weights of `kernel_shape`; wstep and b are (filters,). The result is y, with narrow its
    bits; with a `scale` y rounded by it (`unsigned`: to uint8) and the steps (batch,), and y before
    them when `both`.
    """
    sums = _packed_sums(q, w, tuple(kernel_shape), strides, padding, dilation)
    how: dict[str, Any] = {"activation": activation, "scale": scale, "both": both, "narrow": narrow}
    how |= {"unsigned": unsigned}
    return _scaled_back(sums, step, wstep, b, **how)


@op(
    kernel="conv_int8",
    rows=_ADDED,
    shape=_conv_shape,
    attrs_to_c=_numbers,
    dtypes=_is_int8,
    epilogue=FUSED_ACTIVATIONS,
    samples=[conv_sample(i, c, True) for i, c in enumerate(TAP_CASES)],
)
def conv_int8_add(
    q: np.ndarray,
    step: np.ndarray,
    w: np.ndarray,
    wstep: np.ndarray,
    b: np.ndarray,
    residual: np.ndarray,
    *residual_step: np.ndarray,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    activation: str,
    scale: float,
    both: bool,
    narrow: bool = False,
    unsigned: bool = False,
) -> Any:
    """`conv_int8` with a residual like y, added before the activation: float32, bits of bfloat16,
    or int8 followed by the step of each image."""
    if residual.dtype == np.uint16:
        residual = registry["from_bfloat16"].reference(residual)
    for by in residual_step:
        residual = residual * by.reshape(-1, *[1] * (residual.ndim - 1))
    sums = _packed_sums(q, w, tuple(kernel_shape), strides, padding, dilation)
    how: dict[str, Any] = {"activation": activation, "scale": scale, "both": both, "narrow": narrow}
    how |= {"unsigned": unsigned}
    return _scaled_back(sums, step, wstep, b, residual, **how)


def _depthwise_shape(
    q: Spec, step: Spec, w: Spec, wstep: Spec, b: Spec, *, kernel_shape: tuple[int, ...],
    strides: Any, padding: Any, dilation: Any, activation: str, scale: float, both: bool,
    unsigned: bool = False,
) -> tuple[Spec, ...]:  # fmt: skip
    activation_code(activation)
    *window, channels, each = kernel_shape
    if len(q.shape) not in (3, 4) or each != 1:
        raise ShapeError("int8 depthwise convolutions have 1 or 2 axes and a filter a channel.")
    shape = output_shape(q, (*window, 1, channels), strides, padding, dilation, channels)
    if w.shape != (math.prod(window), channels):
        raise ShapeError(f"weights {tuple(kernel_shape)} must come as (taps, channels).")
    if math.prod(window) > DEPTHWISE_TAPS:
        raise ShapeError(f"a sum of {math.prod(window)} products may not be exact in float32.")
    _check_vectors(channels, step, shape[0], wstep, b)
    return _outputs(Spec(shape, "float32"), scale, both, unsigned=unsigned)


@op(
    kernel=True,
    rows=_ROWS,
    shape=_depthwise_shape,
    attrs_to_c=_numbers,
    dtypes=_is_bytes,
    epilogue=FUSED_ACTIVATIONS,
    takes_scale=(3, 4),
    samples=[conv_sample(i, c, False, True) for i, c in enumerate(TAP_CASES)],
)
def depthwise_int8(
    q: np.ndarray,
    step: np.ndarray,
    w: np.ndarray,
    wstep: np.ndarray,
    b: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    activation: str,
    scale: float,
    both: bool,
    unsigned: bool = False,
) -> Any:
    """`conv_int8` with a filter for each channel: q may be uint8; w (taps, channels) is int16,
    within `depthwise_most(taps)`, for weights of kernel_shape (*kernel, channels, 1)."""
    how = {"strides": strides, "padding": padding, "dilation": dilation}
    *window, channels, _ = kernel_shape
    sums = _exact_sums(q, w.reshape(*window, 1, channels), channels, how)
    return _scaled_back(
        sums, step, wstep, b, activation=activation, scale=scale, both=both, unsigned=unsigned
    )
