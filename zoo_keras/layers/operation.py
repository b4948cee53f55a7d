"""Calls that build a functional model: who was called with which tensors, and what came out.

In: a layer or op function and KerasTensors. Out: new KerasTensors whose history is a CallNode.
Output shapes are found by tracing the call twice with different numbers for the unknown sizes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Tensor, input_tensor, tracing
from zoo_keras.layers.call_context import mask_of, set_mask
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.symbolic import KerasTensor

# What the mask of a KerasTensor looks like, when one travels with it.
_masks: WeakKeyDictionary[KerasTensor, KerasTensor | None] = WeakKeyDictionary()
# Two sets of sizes for unknown dimensions: large enough for any window, and never equal.
_TRIALS = ((89, 97, 101, 103, 107, 109), (127, 131, 137, 139, 149, 151))


class _Local(threading.local):
    def __init__(self) -> None:
        self.sizes: list[Sequence[int]] = []


_local = _Local()


class CallNode:
    """One call of an operation (a layer or an op) in a functional model."""

    def __init__(self, operation: Any, args: tuple, kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation = operation
        self.args, self.kwargs = args, kwargs
        self.outputs = flatten(outputs)
        self.inputs = [t for t in flatten((args, kwargs)) if isinstance(t, KerasTensor)]
        for i, tensor in enumerate(self.outputs):
            tensor.history = (self, i)
        operation._inbound_nodes.append(self)

    @property
    def parents(self) -> list[CallNode]:
        return [t.history[0] for t in self.inputs if t.history]

    def fill_in(self, values: dict[int, Any]) -> tuple[tuple, dict[str, Any]]:
        """The arguments with every KerasTensor replaced by its value in `values` (by id)."""

        def value(leaf: Any) -> Any:
            return values[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        return map_structure(value, self.args), map_structure(value, self.kwargs)


def symbolic_outputs(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """KerasTensors for function(*args, **kwargs), by tracing it with trial sizes."""
    leaves = [t for t in flatten((args, kwargs)) if isinstance(t, KerasTensor)]
    dynamic = any(d is None for t in leaves for d in t.shape)
    trials = [_trial(function, args, kwargs, sizes) for sizes in _TRIALS[: 1 + dynamic]]
    outputs = [_merged(*ts) for ts in zip(*[leaves for _, leaves in trials], strict=True)]
    return pack_as(trials[0][0], outputs)


def _merged(*trials: tuple[Tensor, Tensor | None]) -> KerasTensor:
    """A KerasTensor, with one for its mask, from (tensor, mask) of each trial."""
    tensors = [tensor for tensor, _ in trials]
    made = KerasTensor(_common_shape(*tensors), tensors[0].dtype)
    masks = [mask for _, mask in trials if mask is not None]
    _masks[made] = KerasTensor(_common_shape(*masks), masks[0].dtype) if masks else None
    return made


def _common_shape(first: Tensor, second: Tensor | None = None) -> tuple[int | None, ...]:
    if second is None:
        return tuple(first.shape)
    if len(first.shape) != len(second.shape):
        raise ShapeError(
            "The rank of an output depends on a size that is not known yet. "
            f"Received: {first.shape} and {second.shape}. Give the Input a full shape."
        )
    return tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))


def _trial(
    function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], sizes: Sequence[int]
) -> tuple[Any, list[tuple[Tensor, Tensor | None]]]:
    """The outputs for these sizes, and their leaves with their masks."""

    def stand_in(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        tensor = input_tensor(leaf.name, concrete_shape(leaf.shape, sizes), leaf.dtype)
        set_mask(tensor, stand_in(_masks.get(leaf)))
        return tensor

    with tracing(), _trying(sizes):
        outputs = function(*map_structure(stand_in, args), **map_structure(stand_in, kwargs))
        outputs = map_structure(_as_tensor, outputs)
        return outputs, [(tensor, mask_of(tensor)) for tensor in flatten(outputs)]


@contextmanager
def _trying(sizes: Sequence[int]) -> Iterator[None]:
    _local.sizes.append(sizes)
    try:
        yield
    finally:
        _local.sizes.pop()


def is_tried(size: int) -> bool:
    """Whether a size only stands in for an unknown one while output shapes are looked for."""
    return any(size in sizes for sizes in _local.sizes)


def free_batch(shape: Any) -> Any:
    """A shape, or a structure of shapes, with None for a batch size that is only tried out."""
    if isinstance(shape, dict):
        return {k: free_batch(v) for k, v in shape.items()}
    if not isinstance(shape, (list, tuple)) or not shape:
        return shape
    if isinstance(shape[0], int):
        return (None, *shape[1:]) if is_tried(shape[0]) else shape
    return [free_batch(s) for s in shape]


def _as_tensor(value: Any) -> Tensor:
    from zoo_keras.ops.op import as_tensors

    return value if isinstance(value, Tensor) else as_tensors([value])[0]


def concrete_shape(shape: Sequence[int | None], sizes: Sequence[int]) -> tuple[int, ...]:
    """The shape with its i-th unknown dimension (by position) replaced by sizes[i]."""
    return tuple(sizes[min(i, 5)] if d is None else d for i, d in enumerate(shape))
