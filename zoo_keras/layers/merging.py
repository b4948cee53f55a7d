"""Layers with several inputs: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot.

In: a list of tensors. Out: one tensor. Elementwise ones broadcast; inputs of lower rank get axes of
size 1 behind the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import argument_error, is_whole
from zoo_keras.layers.base.layer import Layer, is_shape, shape_error
from zoo_keras.ops.masks import mask_of


class Merge(Layer):
    """The base of layers that take a list of tensors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        """Check the shapes; there are no weights."""
        if is_shape(input_shape) or not input_shape:
            raise shape_error(
                self, "a list of inputs is needed", f"input shape {input_shape}",
                "Call the layer on a list of tensors.",
            )  # fmt: skip
        self._check_shapes([tuple(s) for s in input_shape])

    def _check_shapes(self, shapes: list[tuple[int | None, ...]]) -> None:
        """ShapeError unless the rows broadcast to one shape and the batches are equal."""
        rows = [s[1:] for s in shapes]
        sizes = zip(*[_padded(r, max(map(len, rows))) for r in rows], strict=True)
        if (
            any(len(set(d) - {None, 1}) > 1 for d in sizes)
            or len({s[0] for s in shapes} - {None}) > 1
        ):
            raise shape_error(
                self, "the inputs must broadcast to one shape and have one batch size",
                f"shapes {shapes}", "Reshape them, or use Concatenate.",
            )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        """The merged tensor."""
        if not isinstance(inputs, (list, tuple)):
            raise shape_error(
                self, "a list of inputs is needed", f"one input {inputs!r}",
                "Call the layer on a list of tensors.",
            )  # fmt: skip
        return self._merge(_equal_ranks(list(inputs)))

    def _merge(self, inputs: list[Any]) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define _merge(inputs).")

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """A step counts when it counts in one of the inputs; None when one has no mask."""
        masks = self._masks(inputs, mask)
        if any(m is None for m in masks):
            return None
        return reduce(ops.logical_or, masks)

    def _masks(self, inputs: Any, mask: Any) -> list[Any]:
        """One mask, or None, for each input."""
        if mask is None:
            return [None]
        for name, value in (("mask", mask), ("inputs", inputs)):
            if not isinstance(value, (list, tuple)):
                raise argument_error(
                    self, f"`{name}` should be a list.", name, value, "Give one for each input."
                )
        if len(mask) != len(inputs):
            raise shape_error(
                self, "`inputs` and `mask` should have the same length",
                f"{len(inputs)} inputs and {len(mask)} masks", "Give one, or None, for each input.",
            )  # fmt: skip
        return list(mask)


def _padded(row: tuple[int | None, ...], length: int) -> tuple[int | None, ...]:
    return (1,) * (length - len(row)) + row


def _equal_ranks(inputs: list[Any]) -> list[Any]:
    """Axes of size 1 after the batch until all have as many axes; masks stay with tensors."""
    rank = max(len(x.shape) for x in inputs)
    if all(len(x.shape) == rank for x in inputs):
        return inputs
    return [
        ops.reshape(x, (x.shape[0], *(1,) * (rank - len(x.shape)), *x.shape[1:])) for x in inputs
    ]


class Add(Merge):
    """The sum of all inputs. https://keras.io/api/layers/merging_layers/add/

    >>> Add()([np.ones((1, 2)), np.ones((1, 2))])
    array([[2., 2.]], dtype=float32)
    """

    def _merge(self, inputs: list[Any]) -> Any:
        return reduce(ops.add, inputs)


class Subtract(Merge):
    """The first of two inputs minus the second.

    https://keras.io/api/layers/merging_layers/subtract/

    >>> Subtract()([np.ones((1, 2)), np.ones((1, 2))])
    array([[0., 0.]], dtype=float32)
    """

    def _check_shapes(self, shapes: list[tuple[int | None, ...]]) -> None:
        _require_two(self, shapes)
        super()._check_shapes(shapes)

    def _merge(self, inputs: list[Any]) -> Any:
        return ops.subtract(*inputs)


class Average(Merge):
    """The mean of all inputs. https://keras.io/api/layers/merging_layers/average/

    >>> Average()([np.ones((1, 2)), np.zeros((1, 2))])
    array([[0.5, 0.5]], dtype=float32)
    """

    def _merge(self, inputs: list[Any]) -> Any:
        return ops.divide(reduce(ops.add, inputs), float(len(inputs)))


class Multiply(Merge):
    """The product of all inputs; a masked step of an input counts as 1.

    https://keras.io/api/layers/merging_layers/multiply/

    >>> Multiply()([np.ones((1, 2)), np.ones((1, 2))])
    array([[1., 1.]], dtype=float32)
    """

    def _merge(self, inputs: list[Any]) -> Any:
        masks = [_spread_mask(x) for x in inputs]
        pairs = zip(inputs, masks, strict=True)
        product = reduce(ops.multiply, [x if m is None else ops.where(m, x, 1.0) for x, m in pairs])
        if any(m is None for m in masks):
            return product
        return ops.where(reduce(ops.logical_or, masks), product, 0.0)


def _spread_mask(x: Any) -> Any:
    """The mask that came with x, in x's shape; None without one."""
    mask = mask_of(x)
    return None if mask is None else ops.broadcast_to(ops.expand_dims(mask, -1), x.shape)


class _Extreme(Merge):
    """Maximum and Minimum: where an input is masked, the others decide."""

    choose: Callable[..., Any]

    def _merge(self, inputs: list[Any]) -> Any:
        output, output_mask = inputs[0], _spread_mask(inputs[0])
        for x in inputs[1:]:
            mask = _spread_mask(x)
            x = x if mask is None else ops.where(mask, x, output)
            output = output if output_mask is None else ops.where(output_mask, output, x)
            both = mask is not None and output_mask is not None
            output_mask = ops.logical_or(output_mask, mask) if both else None
            output = type(self).choose(output, x)
        return output


class Maximum(_Extreme):
    """The largest of all inputs, element by element.

    https://keras.io/api/layers/merging_layers/maximum/

    >>> Maximum()([np.ones((1, 2)), np.zeros((1, 2))])
    array([[1., 1.]], dtype=float32)
    """

    choose = staticmethod(ops.maximum)


class Minimum(_Extreme):
    """The smallest of all inputs, element by element.

    https://keras.io/api/layers/merging_layers/minimum/

    >>> Minimum()([np.ones((1, 2)), np.zeros((1, 2))])
    array([[0., 0.]], dtype=float32)
    """

    choose = staticmethod(ops.minimum)


class Concatenate(Merge):
    """The inputs one after the other along an axis; all other sizes must agree.

    https://keras.io/api/layers/merging_layers/concatenate/

    >>> Concatenate()([np.ones((1, 2)), np.ones((1, 3))]).shape
    (1, 5)
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_whole(axis):
            raise argument_error(self, "axis", "a whole number", axis, "Name one axis.")
        self.axis = int(axis)

    def _check_shapes(self, shapes: list[tuple[int | None, ...]]) -> None:
        rank = len(shapes[0])
        same_rank = all(len(s) == rank for s in shapes)
        rest = [a for a in range(rank) if a != self.axis % max(rank, 1)]
        if not same_rank or any(len({s[a] for s in shapes} - {None}) > 1 for a in rest):
            raise shape_error(
                self, f"all sizes but those of axis {self.axis} must agree", f"shapes {shapes}",
                "Reshape the inputs, or choose another axis.",
            )  # fmt: skip

    def _merge(self, inputs: list[Any]) -> Any:
        return ops.concatenate(inputs, axis=self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks one after the other; an input without one counts everywhere."""
        given = self._masks(inputs, mask)
        if all(m is None for m in given):
            return None
        masks = [_full_mask(x, m) for x, m in zip(inputs, given, strict=True)]
        return ops.any(ops.concatenate(masks, axis=self.axis), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


def _full_mask(x: Any, mask: Any) -> Any:
    if mask is None:
        return ops.ones(x.shape, dtype="bool")
    if len(mask.shape) < len(x.shape):
        return ops.broadcast_to(ops.expand_dims(mask, -1), x.shape)
    return mask


class Dot(Merge):
    """Products of two inputs summed along an axis of each: (batch, *rest of 1, *rest of 2).

    axes is one axis for both, or one for each, not 0; normalize divides by lengths first (cosine).
    https://keras.io/api/layers/merging_layers/dot/

    >>> Dot(axes=1)([np.ones((2, 5)), np.ones((2, 5))]).shape
    (2, 1)
    """

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = isinstance(axes, (list, tuple)) and len(axes) == 2 and all(map(is_whole, axes))
        if not pair and not is_whole(axes):
            raise argument_error(
                self, "axes", "a whole number, or 2 of them", axes, "Name an axis of each input."
            )
        self.axes, self.normalize = axes, normalize

    def _axes_for(self, shapes: list[Any]) -> list[int]:
        pair = [self.axes] * 2 if is_whole(self.axes) else self.axes
        return [a % len(s) for a, s in zip(pair, shapes, strict=True)]

    def _check_shapes(self, shapes: list[tuple[int | None, ...]]) -> None:
        _require_two(self, shapes)
        first, second = self._axes_for(shapes)
        sizes = {shapes[0][first], shapes[1][second]} - {None}
        if len(sizes) > 1 or 0 in (first, second):
            raise shape_error(
                self, f"the axes {self.axes} must have one size, and not be the batch",
                f"shapes {shapes}", "Change axes.",
            )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        """The products' sums."""
        _require_two(self, [tuple(x.shape) for x in inputs])
        axes = self._axes_for([x.shape for x in inputs])
        if self.normalize:
            inputs = [ops.normalize(x, axis=a) for x, a in zip(inputs, axes, strict=True)]
        first = ops.moveaxis(inputs[0], axes[0], -1)
        second = ops.moveaxis(inputs[1], axes[1], 1)
        batch, *left, size = first.shape
        right = second.shape[2:]
        product = ops.matmul(
            ops.reshape(first, (batch, _product(left), size)),
            ops.reshape(second, (batch, size, _product(right))),
        )
        return ops.reshape(product, (batch, *left, *right) if left or right else (batch, 1))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: the steps are gone."""
        return None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def _product(sizes: Any) -> int:
    return reduce(lambda a, b: a * b, sizes, 1)


def _require_two(layer: Layer, shapes: list[Any]) -> None:
    if len(shapes) != 2:
        raise shape_error(
            layer, "exactly 2 inputs are needed", f"shapes {shapes}", "Pass a list of 2 tensors."
        )


def add(inputs: Any, **kwargs: Any) -> Any:
    """Add(**kwargs)(inputs)."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """Subtract(**kwargs)(inputs)."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """Multiply(**kwargs)(inputs)."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """Average(**kwargs)(inputs)."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """Maximum(**kwargs)(inputs)."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """Minimum(**kwargs)(inputs)."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """Concatenate(axis, **kwargs)(inputs)."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """Dot(axes, **kwargs)(inputs)."""
    return Dot(axes=axes, **kwargs)(inputs)
