"""Calls that build a functional model: who was called with which tensors, and what came out.

In: a layer or op function and KerasTensors. Out: new KerasTensors whose history is a CallNode.
Output shapes are found by tracing the call twice with different numbers for the unknown sizes. A
KerasTensor remembers its shape in both trials, so that a batch axis stays one wherever it goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Tensor, input_tensor, tracing
from zoo_keras.layers.base.trial_sizes import ALIKE, BATCH, Pair, Search
from zoo_keras.nest import flatten, map_structure
from zoo_keras.ops.masks import mask_of, set_mask
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.primitives.op import as_tensors

# What the mask of a KerasTensor looks like, when one travels with it.
_masks: WeakKeyDictionary[KerasTensor, KerasTensor | None] = WeakKeyDictionary()
# The shapes of a KerasTensor in the trials, when a call made it.
_tried: WeakKeyDictionary[KerasTensor, Sequence[tuple[int, ...]]] = WeakKeyDictionary()


class _Local(threading.local):
    def __init__(self) -> None:
        self.sizes: list[set[int]] = []


_local = _Local()


class CallNode:
    """One call of an operation (a layer or an op) in a functional model."""

    def __init__(self, operation: Any, args: tuple, kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation = operation
        self.args, self.kwargs = args, kwargs
        self.outputs = [t for t in flatten(outputs) if t is not None]
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
    """KerasTensors for function(*args, **kwargs), by tracing it with trial sizes.

    Sizes follow from those of the Inputs. Where that does not fit, unknown sizes are all alike: the
    data may have them so, as in `a[:, 1:] + b` for Inputs of which b has one step less. After that
    they are what the errors ask for. Raises the first error when no sizes are found to fit.
    """
    call = _Call(function, args, kwargs)
    leaves = [t for t in flatten((args, kwargs)) if isinstance(t, KerasTensor)]
    dynamic = any(d is None for t in leaves for d in t.shape)
    trials = _fitting(call, leaves) if dynamic else [_trial(call, 0, trial_shape)]
    made = iter([_merged(*ts) for ts in zip(*[leaves for _, leaves in trials], strict=True)])
    return map_structure(lambda leaf: None if leaf is None else next(made), trials[0][0])


class _Call(NamedTuple):
    function: Callable[..., Any]
    args: tuple
    kwargs: dict[str, Any]


_Trial = tuple[Any, list[tuple[Tensor, Tensor | None]]]  # outputs, their leaves with masks
_ShapeOf = Callable[[KerasTensor, int], tuple[int, ...]]


def _fitting(call: _Call, leaves: Sequence[KerasTensor]) -> list[_Trial]:
    """Two trials that go well, with sizes that differ where they are unknown."""
    trials, first = _pair(call, trial_shape)
    empty = trials if not any(first) else []
    if empty and not _vanishes(empty):
        return empty
    unknown = [(id(t), i) for t in _with_masks(leaves) for i, d in enumerate(t.shape) if d is None]
    behind = [axis for axis in unknown if axis[1]]  # rows of a batch are any number, if that fits
    for axes in (behind, unknown) if len(behind) < len(unknown) else (unknown,):
        found, empty = _searched(call, axes, empty)
        if found or empty:
            return found or empty
    raise _explained(next(filter(None, first)), leaves)


def _searched(
    call: _Call, axes: list[tuple[int, int]], empty: list[_Trial]
) -> tuple[list[_Trial], list[_Trial]]:
    """Trials that go well with other sizes of these axes; those of which nothing is left."""
    search = Search(len(axes))
    for pairs in search.choices():
        trials, errors = _pair(call, _chosen(dict(zip(axes, pairs, strict=True))))
        if not any(errors) and not _vanishes(trials):
            return trials, empty
        empty = empty or ([] if any(errors) else trials)
        search.failed(errors if any(errors) else [_VANISHED, _VANISHED])
    return [], empty


# Of what is cut off at the start of an axis nothing may be left of a size that is only tried.
_VANISHED = ShapeError(met=[(0,), (1 << 14,)])


def _vanishes(trials: Sequence[_Trial]) -> bool:
    """Whether an output is empty in all trials."""
    return any(
        0 in sizes
        for made in zip(*[leaves for _, leaves in trials], strict=True)
        for sizes in zip(*[tensor.shape for tensor, _ in made], strict=False)
        if not any(sizes)
    )


def _pair(call: _Call, shape_of: _ShapeOf) -> tuple[list[_Trial], list[ShapeError | None]]:
    """The trials that went well, and each trial's error or None."""
    trials: list[_Trial] = []
    errors: list[ShapeError | None] = []
    for number in (0, 1):
        try:
            trials.append(_trial(call, number, shape_of))
            errors.append(None)
        except ShapeError as error:
            errors.append(error)
    return trials, errors


def _chosen(sizes: dict[tuple[int, int], Pair]) -> _ShapeOf:
    def shape_of(tensor: KerasTensor, number: int) -> tuple[int, ...]:
        alike = _alike(tensor, number)
        pairs = (sizes.get((id(tensor), i)) for i in range(len(alike)))
        return tuple(p[number] if p else d for p, d in zip(pairs, alike, strict=True))

    return shape_of


def _explained(error: ShapeError, leaves: Sequence[KerasTensor]) -> ShapeError:
    """The error with a word on the numbers in it that the user never wrote."""
    shapes = ((t.shape, trial_shape(t, n)) for t in leaves for n in (0, 1))
    sizes = sorted({n for shape, tried in shapes for d, n in zip(shape, tried) if d is None})
    numbers = ", ".join(map(str, sizes))
    return ShapeError(f"{error} (Sizes that are not known yet were tried as {numbers}.)", error.met)


def _with_masks(tensors: Sequence[KerasTensor]) -> list[KerasTensor]:
    """Every tensor and every mask once."""
    masks = (m for m in map(_masks.get, tensors) if m is not None)
    return list({id(t): t for t in (*tensors, *masks)}.values())


def _merged(*trials: tuple[Tensor, Tensor | None]) -> KerasTensor:
    """A KerasTensor, with one for its mask, from (tensor, mask) of each trial."""
    made = _common([tensor for tensor, _ in trials])
    masks = [mask for _, mask in trials if mask is not None]
    _masks[made] = _common(masks) if masks else None
    return made


def _common(tensors: Sequence[Tensor]) -> KerasTensor:
    """A KerasTensor of the shape that the tensors of all trials have."""
    first, last = tensors[0].shape, tensors[-1].shape
    if len(first) != len(last):
        raise ShapeError(
            "The rank of an output depends on a size that is not known yet. "
            f"Received: {first} and {last}. Give the Input a full shape."
        )
    shape = (a if a == b else None for a, b in zip(first, last, strict=True))
    made = KerasTensor(shape, tensors[0].dtype)
    note_trials(made, [first, last])
    return made


def note_trials(tensor: KerasTensor, shapes: Sequence[Sequence[int | None]]) -> None:
    """Remember the shapes that a tensor has in the trials."""
    _tried[tensor] = [_filled(shape, number) for number, shape in enumerate(shapes)]


def memory_of(tensor: KerasTensor | None) -> Any:
    """What is remembered of a tensor beside itself: its shapes in the trials, and its mask."""
    if tensor is None:
        return None
    known = tensor in _masks
    mask = _masks.get(tensor)
    return _tried.get(tensor), known, mask, memory_of(mask)


def remember(tensor: KerasTensor | None, memory: Any) -> None:
    """Remember of a copy what `memory_of` the first gave."""
    if tensor is None or memory is None:
        return
    tried, known, mask, of_mask = memory
    if tried is not None:
        _tried[tensor] = tried
    if known:
        _masks[tensor] = mask
        remember(mask, of_mask)


def trial_shape(tensor: KerasTensor, number: int) -> tuple[int, ...]:
    """The shape that a tensor has in a trial."""
    return _tried[tensor][number] if tensor in _tried else _alike(tensor, number)


def trial_tensors(tensors: Any, number: int) -> Any:
    """The same structure of KerasTensors with the shapes that they have in a trial."""

    def tried(leaf: Any) -> Any:
        known = isinstance(leaf, KerasTensor)
        return KerasTensor(trial_shape(leaf, number), leaf.dtype) if known else leaf

    return map_structure(tried, tensors)


def _alike(tensor: KerasTensor, number: int) -> tuple[int, ...]:
    return _filled(tensor.shape, number)


def _filled(shape: Sequence[int | None], number: int) -> tuple[int, ...]:
    batch, other = BATCH[number], ALIKE[number]
    return tuple((other if i else batch) if d is None else d for i, d in enumerate(shape))


def _trial(call: _Call, number: int, shape_of: _ShapeOf) -> _Trial:
    """The outputs when tensors have these shapes."""
    sizes: set[int] = set()

    def stand_in(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        shape = shape_of(leaf, number)
        sizes.update(n for n, known in zip(shape, leaf.shape, strict=True) if known is None)
        tensor = input_tensor(leaf.name, shape, leaf.dtype)
        set_mask(tensor, stand_in(_masks.get(leaf)))
        return tensor

    with tracing(), _trying(sizes):
        args, kwargs = map_structure(stand_in, call.args), map_structure(stand_in, call.kwargs)
        outputs = map_structure(_as_tensor, call.function(*args, **kwargs))
        return outputs, [(t, mask_of(t)) for t in flatten(outputs) if t is not None]


@contextmanager
def _trying(sizes: set[int]) -> Iterator[None]:
    _local.sizes.append(sizes)
    try:
        yield
    finally:
        _local.sizes.pop()


def is_tried(size: int) -> bool:
    """Whether a size only stands in for an unknown one while output shapes are looked for."""
    return any(size in sizes for sizes in _local.sizes)


def open_sizes(shape: Any) -> Any:
    """A shape, or a structure of shapes, with None for sizes that are only tried out.

    The last axis keeps its size: weights depend on it.
    """
    if isinstance(shape, dict):
        return {k: open_sizes(v) for k, v in shape.items()}
    if not isinstance(shape, (list, tuple)) or not shape:
        return shape
    if shape[0] is None or isinstance(shape[0], int):
        return (*(None if d is not None and is_tried(d) else d for d in shape[:-1]), shape[-1])
    return [open_sizes(s) for s in shape]


def _as_tensor(value: Any) -> Tensor | None:
    return value if value is None or isinstance(value, Tensor) else as_tensors([value])[0]
