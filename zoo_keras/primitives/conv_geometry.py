"""Shapes, attributes and samples of convolution: what its ops have in common.

In: specs of x (batch, *spatial, channels), w (*kernel, channels // groups, filters). Out: shapes,
and the numbers that C wants. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.dtypes import promote
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.conv_choice import winograd_raw
from zoo_keras.primitives.products import activation_code

Padding = tuple[tuple[int, int], ...]


def window_cells(
    size: int, window: int, stride: int, padding: tuple[int, int], dilation: int = 1
) -> int:
    """Number of places of a window along one axis; ShapeError when there is none."""
    covered = dilation * (window - 1) + 1
    places = (size + sum(padding) - covered) // stride + 1
    if places < 1 or window < 1:
        raise ShapeError(
            f"a window of {window} cells (dilation {dilation}) does not fit on an axis of {size} "
            f"cells padded by {padding}; use a smaller window or padding 'same'.",
            met=[(size,), (covered,)],
        )
    return places


def check_lengths(axes: int, **attrs: Sequence[Any]) -> None:
    """ShapeError unless every attribute has one entry for each spatial axis."""
    for name, value in attrs.items():
        if len(value) != axes:
            raise ShapeError(f"{name} must have {axes} entries, one for each spatial axis.")


def three_axes(values: Sequence[Any], missing: Any) -> list[Any]:
    """Attributes of 1 to 3 spatial axes as those of 3, depth first."""
    return [missing] * (3 - len(values)) + list(values)


def float32_conv(*specs: Spec) -> bool:
    """Whether the kernels of convolution apply: float32 and 1 to 3 spatial axes."""
    return all(s.dtype == "float32" for s in specs) and len(specs[0].shape) in (3, 4, 5)


def _check_channels(x: Spec, kernel: Sequence[int], groups: int) -> None:
    if len(x.shape) < 3 or len(kernel) != len(x.shape):
        raise ShapeError(
            "x needs a batch axis, 1 spatial axis or more and a channel axis, and w as many axes "
            "as x."
        )
    channels, filters = x.shape[-1], kernel[-1]
    if groups < 1 or channels != kernel[-2] * groups or filters % groups:
        raise ShapeError(
            f"with groups={groups} the channels of x must be groups times w's {kernel[-2]}, and "
            f"the {filters} filters of w a multiple of groups."
        )


def output_shape(
    x: Spec, kernel: Sequence[int], strides: Any, padding: Any, dilation: Any, groups: int
) -> tuple[int, ...]:
    _check_channels(x, kernel, groups)
    check_lengths(len(kernel) - 2, strides=strides, padding=padding, dilation=dilation)
    sizes = x.shape[1:-1]
    places = map(window_cells, sizes, kernel[:-2], strides, padding, dilation)
    return (x.shape[0], *places, kernel[-1])


def conv_shape(
    x: Spec, w: Spec, *, strides: Any, padding: Any, dilation: Any, groups: int = 1
) -> Spec:
    shape = output_shape(x, w.shape, strides, padding, dilation, groups)
    return Spec(shape, promote(x.dtype, w.dtype))


def numbers(attrs: dict[str, Any], winograd: int, kernel: Sequence[int] = ()) -> list[float]:
    """What C wants: strides, low padding and dilation of 3 axes, groups, activation,
    Winograd's tile or 0, and for packed weights the kernel's cells."""
    return attributes(
        "CONV",
        strides=three_axes(attrs["strides"], 1),
        padding=three_axes([p[0] for p in attrs["padding"]], 0),
        dilation=three_axes(attrs["dilation"], 1),
        groups=attrs.get("groups", 1),
        activation=activation_code(attrs.get("activation", "linear")),
        winograd=winograd,
        kernel=tuple(kernel),
    )


def geometry(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    """The numbers of an op whose second input is the weights."""
    return numbers(attrs, winograd_raw(outs[0].shape, ins[1].shape, attrs))


# x, w, strides, padding, dilation, groups
CASES = (
    ((2, 9, 8, 3), (3, 3, 3, 5), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 7, 9, 4), (3, 2, 4, 17), (2, 3), ((0, 1), (1, 0)), (1, 1), 1),
    ((2, 11, 10, 2), (3, 3, 2, 33), (1, 1), ((2, 2), (0, 3)), (2, 3), 1),
    ((2, 6, 6, 6), (3, 3, 3, 8), (1, 2), ((1, 1), (1, 1)), (1, 1), 2),
    ((2, 7, 6, 5), (3, 3, 1, 5), (1, 1), ((1, 1), (1, 1)), (1, 1), 5),
    ((1, 8, 7, 20), (3, 3, 1, 20), (2, 2), ((0, 1), (1, 1)), (1, 1), 20),
    ((2, 5, 6, 3), (2, 3, 1, 6), (1, 1), ((0, 0), (1, 1)), (1, 2), 3),
    ((3, 12, 12, 1), (5, 5, 1, 6), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    ((2, 4, 4, 24), (1, 1, 24, 20), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 5, 5, 3), (1, 1, 3, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    ((0, 5, 5, 3), (3, 3, 3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 3, 3, 1), (3, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 13, 3), (3, 3, 7), (1,), ((1, 1),), (1,), 1),
    ((1, 20, 4), (3, 4, 6), (2,), ((4, 0),), (2,), 1),
    ((2, 9, 6), (3, 1, 6), (1,), ((1, 1),), (1,), 6),
    ((1, 4, 5, 3, 2), (2, 3, 2, 2, 3), (1, 2, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 2), 1),
    ((2, 3, 4, 5, 4), (3, 1, 3, 1, 4), (2, 1, 2), ((1, 1), (0, 0), (1, 1)), (1, 1, 1), 4),
    ((1, 3, 3, 4, 7), (3, 3, 3, 7, 18), (1, 1, 1), ((1, 1), (1, 1), (1, 1)), (1, 1, 1), 1),
)


def case_attrs(case: Any) -> dict[str, Any]:
    return dict(zip(("strides", "padding", "dilation", "groups"), case[2:], strict=True))


def y_shape(case: Any) -> tuple[int, ...]:
    return output_shape(Spec(case[0], "float32"), case[1], *case[2:])


# Of kernels that read images tap by tap: x, kernel, strides, padding, dilation.
TAP_CASES = (
    ((2, 9, 8, 3), (3, 3, 3, 5), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((1, 7, 9, 4), (3, 2, 4, 17), (2, 3), ((0, 1), (1, 0)), (1, 1)),
    ((2, 11, 10, 2), (3, 3, 2, 33), (1, 1), ((2, 2), (0, 3)), (2, 3)),
    ((2, 9, 12, 70), (3, 3, 70, 40), (2, 2), ((0, 1), (0, 1)), (1, 1)),
    ((1, 8, 8, 64), (3, 3, 64, 64), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((1, 8, 8, 64), (1, 1, 64, 32), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 5, 7, 20), (1, 1, 20, 16), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((3, 15, 17, 3), (7, 7, 3, 9), (2, 2), ((3, 3), (3, 3)), (1, 1)),
    ((0, 5, 5, 3), (3, 3, 3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 13, 3), (3, 3, 7), (1,), ((2, 0),), (1,)),
    ((1, 20, 4), (3, 4, 6), (2,), ((0, 1),), (1,)),
)
