"""rearrange, vectorize, unfold and fold: axes by name, functions of single values, image patches.

In: tensors, Variables, arrays. Out: the same kinds. All of it is reshaping, gathering and adding.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.nest import flatten, pack_as
from zoo_keras.ops.control import vectorized_map
from zoo_keras.ops.convert import value
from zoo_keras.ops.indexing import take
from zoo_keras.ops.shaping import broadcast_to, pad, reshape, transpose
from zoo_keras.ops.sorting import segment_sum
from zoo_keras.ops.symbolic import public

# ---- axes by name --------------------------------------------------------------------------------


def _groups(side: str, pattern: str) -> list[list[str]]:
    """The names of each axis: "b (h w) c" -> [["b"], ["h", "w"], ["c"]]."""
    text = side.strip()
    if not re.fullmatch(r"(\s*(\w+|\([\w\s]*\)))*\s*", text):
        raise ConfigError(
            f"rearrange: the pattern names axes by words, and groups in brackets. Received: "
            f"{pattern!r}. Write for example 'b h w c -> b (h w) c'."
        )
    return [part.strip("()").split() for part in re.findall(r"\w+|\(.*?\)", text)]


@public
def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """The tensor with its axes in another order, split and joined as the pattern says.

    Sizes that the shape does not tell are keywords; 1 is an axis of size 1. Raises ConfigError for
    patterns that do not match, ShapeError for sizes that do not. Source: keras.ops.rearrange.

    >>> rearrange(np.ones((2, 6, 3)), "b (h w) c -> b h w c", h=2).shape
    (2, 2, 3, 3)
    """
    x = value(tensor)
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ConfigError(f"rearrange: a pattern has one arrow. Received: {pattern!r}. Add it.")
    before, after = (_groups(side, pattern) for side in sides)
    sizes = _sizes(before, tuple(x.shape), axes_lengths, pattern)
    old, new = ([n for group in side for n in group if n != "1"] for side in (before, after))
    if sorted(old) != sorted(new) or len(set(old)) != len(old):
        raise ConfigError(
            f"rearrange: both sides need the same names, each once. Received: {pattern!r}. Correct "
            "the pattern."
        )
    x = reshape(x, tuple(sizes[n] for n in old))
    x = transpose(x, [old.index(n) for n in new])
    return reshape(x, tuple(math.prod(sizes.get(n, 1) for n in group) for group in after))


def _sizes(
    groups: list[list[str]], shape: tuple[int, ...], given: dict[str, int], pattern: str
) -> dict[str, int]:
    if len(groups) != len(shape):
        raise ShapeError(
            f"rearrange: {pattern!r} names {len(groups)} axes. Received: shape {shape}. Name each "
            "axis."
        )
    sizes = dict(given)
    for names, size in zip(groups, shape, strict=True):
        open_ = [n for n in names if n not in sizes and n != "1"]
        known = math.prod(sizes.get(n, 1) for n in names)
        if len(open_) > 1 or known == 0 or size % known or (not open_ and size != known):
            raise ShapeError(
                f"rearrange: an axis of size {size} does not become {names}. Received: sizes "
                f"{given}. Pass all sizes but one."
            )
        sizes.update((n, size // known) for n in open_)
    return sizes


# ---- functions of single values ------------------------------------------------------------------


def vectorize(pyfunc: Callable[..., Any], *, excluded: Any = None, signature: Any = None) -> Any:
    """A function of whole arrays, of one of single values.

    Args:
        excluded: positions of arguments that go to pyfunc as they are.
        signature: what pyfunc takes and gives, if not single values: "(m,n),(n)->(m)".

    pyfunc is called for each element; in a model its ops are written out. Source:
    keras.ops.vectorize.

    >>> vectorize(lambda a, b: a + b)(np.array([1, 2, 3]), 2)
    array([3, 4, 5])
    """
    if not callable(pyfunc):
        raise ConfigError(
            f"vectorize: pyfunc must be a function. Received: pyfunc={pyfunc!r}. Pass a function."
        )
    kept = frozenset(excluded or ())
    cores = None if signature is None else _cores(signature)

    @functools.wraps(pyfunc)
    def call(*args: Any) -> Any:
        mapped = [value(a) for i, a in enumerate(args) if i not in kept]
        widths = [0] * len(mapped) if cores is None else cores
        if len(widths) != len(mapped):
            raise ConfigError(
                f"vectorize: signature={signature!r} has {len(widths)} arguments. Received: "
                f"{len(mapped)}. Make them equal."
            )
        return _mapped(pyfunc, args, kept, mapped, widths)

    return call


def _mapped(
    pyfunc: Callable[..., Any], args: Sequence[Any], kept: frozenset[int], mapped: list[Any],
    widths: Sequence[int],
) -> Any:  # fmt: skip
    split = [len(x.shape) - w for x, w in zip(mapped, widths, strict=True)]
    loops = np.broadcast_shapes(*[tuple(x.shape[:s]) for x, s in zip(mapped, split, strict=True)])
    rows = [
        reshape(broadcast_to(x, (*loops, *x.shape[s:])), (-1, *x.shape[s:]))
        for x, s in zip(mapped, split, strict=True)
    ]

    def one(row: Sequence[Any]) -> Any:
        left = iter(row)
        return pyfunc(*[a if i in kept else next(left) for i, a in enumerate(args)])

    found = vectorized_map(one, rows)
    leaves = [reshape(y, (*loops, *y.shape[1:])) for y in flatten(found)]
    return pack_as(found, leaves)


def _cores(signature: str) -> list[int]:
    """How many axes of its own each argument has."""
    text = signature.replace(" ", "")
    if not re.fullmatch(r"(\([\w,]*\))(,\([\w,]*\))*->(\([\w,]*\))(,\([\w,]*\))*", text):
        raise ConfigError(
            f"vectorize: a signature looks like '(m,n),(n)->(m)'. Received: {signature!r}. Write "
            "the axes of each argument in brackets."
        )
    given = re.findall(r"\(([\w,]*)\)", text.split("->")[0])
    return [len([n for n in names.split(",") if n]) for names in given]


# ---- patches of images ---------------------------------------------------------------------------


def _pair(given: Any) -> tuple[int, int]:
    first, second = (given, given) if isinstance(given, (int, np.integer)) else given
    return int(first), int(second)


def _windows(size: tuple[int, int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """(kernel height * width, places): where each cell of each window lies in the padded image,
    counted row by row; and the padded size."""
    pads, steps, taps, apart = map(_pair, (padding, stride, kernel, dilation))
    whole = [s + 2 * p for s, p in zip(size, pads, strict=True)]
    axes = []
    for n, k, d, s in zip(whole, taps, apart, steps, strict=True):
        starts = np.arange(0, n - d * (k - 1), s)
        if not len(starts):
            raise ShapeError(
                f"unfold and fold: no window fits. Received: kernel_size={kernel} with dilation="
                f"{dilation} in {whole} cells. Pad the image, or use a smaller kernel."
            )
        axes.append(np.arange(k)[:, None] * d + starts)
    rows, columns = axes
    cells = rows[:, None, :, None] * whole[1] + columns[None, :, None, :]
    return cells.reshape(taps[0] * taps[1], -1).astype(np.int32), whole


@public
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows of images (batch, channels, height, width), each a column: (batch, channels *
    cells of a window, windows). Source: keras.ops.unfold.

    >>> unfold(np.ones((1, 2, 4, 4)), 2, stride=2).shape
    (1, 8, 4)
    """
    x = value(x)
    if len(x.shape) != 4:
        raise ShapeError(
            f"unfold: Input must be a 4D tensor. Received: shape {tuple(x.shape)}. Pass images "
            "(batch, channels, height, width)."
        )
    batch, channels = x.shape[:2]
    cells, _ = _windows(tuple(x.shape[2:]), kernel_size, dilation, padding, stride)
    sides = [(0, 0), (0, 0), *[(p, p) for p in _pair(padding)]]
    flat = reshape(pad(x, sides), (batch, channels, -1))
    made = take(flat, cells.ravel(), axis=2)
    return reshape(made, (batch, channels * cells.shape[0], cells.shape[1]))


@public
def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Any:  # fmt: skip
    """Images of which these are the windows, as `unfold` has them; where windows overlap, their
    sum. (batch, channels * cells, windows) -> (batch, channels, *output_size). Source:
    keras.ops.fold.
    """
    x = value(x)
    if len(x.shape) != 3:
        raise ShapeError(
            f"fold: Input must be a 3D tensor. Received: shape {tuple(x.shape)}. Pass what unfold "
            "gives."
        )
    size, sides = _pair(output_size), _pair(padding)
    cells, whole = _windows(size, kernel_size, dilation, padding, stride)
    batch, rows, places = x.shape
    channels = rows // cells.shape[0]
    if rows % cells.shape[0] or places != cells.shape[1]:
        raise ShapeError(
            f"fold: windows of {cells.shape[0]} cells at {cells.shape[1]} places are expected. "
            f"Received: shape {tuple(x.shape)}. Pass what unfold gave for these arguments."
        )
    parts = transpose(reshape(x, (batch * channels, -1)), (1, 0))
    sums = segment_sum(parts, cells.ravel(), whole[0] * whole[1])
    made = reshape(transpose(sums, (1, 0)), (batch, channels, *whole))
    return made[:, :, sides[0] : whole[0] - sides[0], sides[1] : whole[1] - sides[1]]


__all__ = ["fold", "rearrange", "unfold", "vectorize"]
