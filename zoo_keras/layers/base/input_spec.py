"""InputSpec: what a layer accepts, checked when it is called, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import ShapeError
from zoo_keras.nest import flatten


class InputSpec:
    """Rank, dtype and sizes of a layer input, as keras.InputSpec.

    >>> InputSpec(min_ndim=2, axes={-1: 784})
    """

    def __init__(
        self,
        dtype: str | None = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype, self.name, self.optional = dtype, name, optional
        self.shape = tuple(shape) if shape is not None else None
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze = allow_last_axis_squeeze

    def problem(self, shape: Sequence[int | None]) -> str | None:
        """What is wrong with this shape, or None."""
        ndim = len(shape)
        if self.ndim is not None and ndim != self.ndim and not self.allow_last_axis_squeeze:
            return f"expected {self.ndim} dimensions"
        if self.min_ndim is not None and ndim < self.min_ndim:
            return f"expected at least {self.min_ndim} dimensions"
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"expected at most {self.max_ndim} dimensions"
        return self._axes_problem(shape)

    def met(self, shape: Sequence[int | None]) -> list[list[int]]:
        """The sizes given and the sizes expected, where both are known."""
        expected = [*(self.shape or ()), *self.axes.values()]
        return [[d for d in sizes if d is not None] for sizes in (shape, expected)]

    def _axes_problem(self, shape: Sequence[int | None]) -> str | None:
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                return f"expected axis {axis} to have size {size}"
        for got, want in zip(shape, self.shape or (), strict=False):
            if want is not None and got is not None and got != want:
                return f"expected shape {self.shape}"
        return None


def check_inputs(spec: Any, inputs: Any, layer_name: str) -> None:
    """Raise ShapeError when the inputs (anything with `.shape`) do not fit the specs."""
    if spec is None:
        return
    specs, given = flatten(spec), flatten(inputs)
    if len(specs) != len(given):
        raise ShapeError(
            f'Layer "{layer_name}" expects {len(specs)} input(s). Received: {len(given)} input '
            "tensor(s). Pass a list with one tensor for each input."
        )
    for i, (one, x) in enumerate(zip(specs, given, strict=True)):
        if x is None or one is None:
            continue
        if problem := one.problem(x.shape):
            raise ShapeError(
                f'Input {i} of layer "{layer_name}" is incompatible with the layer: {problem}. '
                f"Received: an input of shape {tuple(x.shape)}. Reshape the data or change the "
                "layer before this one.",
                met=one.met(x.shape),
            )
