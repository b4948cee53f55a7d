"""A layer called on arrays: traced and compiled once for shapes and arguments, then run, and its
variable updates written back.

In: a layer and arrays. Out: arrays. What a user's own class or function computes may depend on
anything, so it is traced at every call.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.dtypes import name_of, storage
from zoo_keras.engine.eager import Eager
from zoo_keras.feed.columns import holds_text
from zoo_keras.graph import Graph, Node, Tensor, input_tensor, tracing
from zoo_keras.layers.base import tracking
from zoo_keras.layers.base.column_call import call_on_columns
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.convert import value
from zoo_keras.ops.masks import any_arrays, mask_of, set_mask
from zoo_keras.primitives.fed import standing_in
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.straight import settings
from zoo_keras.recent import Recent
from zoo_keras.values import ARRAYS, answering
from zoo_keras.variables import Variable, unchanged, updating

CALLS, CALL_BYTES = 16, 16 << 20  # kept ready for each layer

_KNOWN = (np.ndarray, np.generic, Tensor, Variable)
_PLAIN = (bool, int, float, str, type(None))


def call_on_arrays(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """layer(*args, **kwargs) with arrays in and arrays out."""
    args = map_structure(_as_numbers, _lists_as_arrays(layer, args))
    kwargs = map_structure(_as_numbers, kwargs) if kwargs else kwargs
    key = _key(args, kwargs)
    kept: Recent | None = layer.__dict__.get("_eager")
    call: _Call | None = kept.get(key) if kept is not None and key is not None else None
    if call is None or not call.current(layer):
        if any(_is_text(leaf) for leaf in flatten((args, kwargs))):
            return call_on_columns(layer, args, kwargs)
        try:
            call = _Call(layer, args, kwargs)
        except _MeetsColumns:
            return call_on_columns(layer, args, kwargs)
        if key is not None and call.lasts:
            kept = layer.__dict__.setdefault("_eager", Recent(CALLS, CALL_BYTES))
            kept.put(key, call, call.nbytes)
    return call(args, kwargs)


class _MeetsColumns(Exception):
    """A call works on columns: what it gives is known only with the values."""


def _no_columns(node: Node) -> Sequence[Tensor]:
    raise _MeetsColumns


def _lists_as_arrays(layer: Any, args: tuple) -> tuple:
    """A plain list of numbers or text is one array; a list of arrays is several inputs."""
    first = args[0] if args else None
    plain = isinstance(first, (list, tuple, int, float, str, bytes))
    if plain and not any(isinstance(leaf, np.ndarray) for leaf in flatten(first)):
        text = any(isinstance(leaf, (str, bytes)) for leaf in flatten(first))
        dtype = object if text else getattr(layer, "list_dtype", np.float32)
        return (np.asarray(first, dtype), *args[1:])
    return args


def _as_numbers(leaf: Any) -> Any:
    """An array of any byte order, or of objects, as numbers."""
    if type(leaf) in ARRAYS and name_of(leaf.dtype) in native.DTYPES and leaf.dtype.isnative:
        return leaf
    if hasattr(leaf, "to_numpy"):  # a frame or column of pandas or polars
        return _as_numbers(leaf.to_numpy())
    if _is_text(leaf):
        return leaf
    if hasattr(type(leaf), "__array__") and not isinstance(leaf, _KNOWN):
        return _as_numbers(np.asarray(leaf))
    return value(np.asarray(leaf)) if isinstance(leaf, (np.ndarray, np.generic)) else leaf


def _is_text(leaf: Any) -> bool:
    if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "OUS":
        return False
    return leaf.dtype.kind in "US" or holds_text(np.asarray(leaf))


def _is_fed(leaf: Any) -> bool:
    return isinstance(leaf, (np.ndarray, np.generic))


def _key(args: tuple, kwargs: dict[str, Any]) -> Any:
    """Equal for calls that one program serves; None when an argument is no plain value."""
    masked = any_arrays()
    if len(args) == 1 and not kwargs and type(args[0]) in ARRAYS and not masked:
        return args[0].shape, args[0].dtype, settings()
    leaves = flatten((args, kwargs))
    if not all(_is_fed(leaf) or type(leaf) in _PLAIN for leaf in leaves):
        return None
    kinds = tuple([
        (leaf.shape, leaf.dtype) if _is_fed(leaf) else (type(leaf), leaf) for leaf in leaves
    ])  # fmt: skip
    masks = tuple([np.shape(mask_of(leaf)) if _is_masked(leaf) else None for leaf in leaves])
    return kinds, masks, repr(map_structure(lambda leaf: None, (args, kwargs))), settings()


def _is_masked(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and mask_of(leaf) is not None


class _Call:
    """A traced call of a layer.

    Attributes:
        lasts: whether another call with the same shapes would be traced alike.
    """

    def __init__(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        inputs: list[Any] = []
        masked: list[Any] = []
        policy = layer.__dict__.get("_dtype_policy")  # none: the call says why it cannot be
        wide = policy is not None and "float64" in (layer.compute_dtype, layer.input_dtype)

        def symbolic(leaf: Any) -> Any:
            if not _is_fed(leaf):
                return leaf
            dtype = "float32" if leaf.dtype == np.float64 and not wide else leaf.dtype.name
            inputs.append(input_tensor(f"in{len(inputs)}", leaf.shape, dtype))
            if _is_masked(leaf):
                masked.append(input_tensor(f"mask{len(masked)}", np.shape(mask_of(leaf)), "bool"))
                set_mask(inputs[-1], masked[-1])
            return inputs[-1]

        with tracing() as trace, standing_in(_no_columns):
            trace.once = True
            args, kwargs = map_structure(symbolic, args), map_structure(symbolic, kwargs)
            outputs = layer._call_traced(*args, **kwargs)
            leaves = flatten(outputs)
            results = as_tensors([leaf for leaf in leaves if leaf is not None])
            masks = [mask_of(result) for result in results]
            sent = as_tensors([mask for mask in masks if mask is not None])
        self._masked = [i for i, mask in enumerate(masks) if mask is not None]
        self._structure = map_structure(lambda tensor: None, outputs)  # tensors hold their graph
        self._given = [leaf is not None for leaf in leaves]
        self._count = len(results)
        self._losses, losses = layer._own_losses, as_tensors(trace.losses)
        below = [each for each in layer._flatten_layers() if each is not layer]
        self._below = [each._own_losses for each in below if hasattr(each, "_own_losses")]
        self._lost = len(losses)
        self._random = trace.rng is not None
        updates = list(trace.updates.values())
        self._updated = [variable for variable, _ in updates]
        self._variables = [variable for variable, _ in trace.parameters.values()]
        fed = [*inputs, *masked, *([trace.rng] if self._random else [])]
        graph = Graph(fed, [*results, *sent, *losses, *[value for _, value in updates]])
        self._eager = Eager(graph, fed, self._variables)
        self._dtypes = [np.dtype(storage(t.dtype)) for t in inputs]
        self.nbytes = self._eager.nbytes
        self._edits, self._looked = layer.edits(), tracking.last_edit()
        self.lasts = not self._random and all(map(is_known, layer._flatten_layers()))

    def current(self, layer: Any) -> bool:
        """Whether the layer is as it was when it was traced."""
        now = tracking.last_edit()
        if now != self._looked:
            if layer.edits() != self._edits:
                return False
            self._looked = now
        return True

    def __call__(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        arrays = [leaf for leaf in flatten((args, kwargs)) if _is_fed(leaf)]
        fed = [_dense(a, d) for a, d in zip(arrays, self._dtypes, strict=True)]
        if any_arrays():
            fed += [_dense(mask_of(a), np.dtype(bool)) for a in arrays if _is_masked(a)]
        if self._random:
            fed.append(np.zeros(2, np.int64))  # generators count the calls
        results: list[Any] = self._run(fed)
        if not all(self._given):
            left = iter(results)
            results = [next(left) if given else None for given in self._given]
        if not isinstance(self._structure, (list, tuple, dict)):
            return results[0]
        return pack_as(self._structure, results)

    def _run(self, fed: Sequence[np.ndarray]) -> list[np.ndarray]:
        with updating(self._variables) if self._updated else unchanged(self._variables):
            results = self._eager([*fed, *[v.present() for v in self._variables]])
            made = [answering(result) for result in results[: self._count]]
            for i, mask in zip(self._masked, results[self._count :], strict=False):
                set_mask(made[i], mask)
            rest = results[self._count + len(self._masked) :]
            if self._lost:  # what `losses` shows until the next call
                self._losses[:] = rest[: self._lost]
                for losses in self._below:
                    losses.clear()
            for variable, value in zip(self._updated, rest[self._lost :], strict=True):
                variable.assign(value)
        return made


def _dense(array: Any, dtype: np.dtype) -> np.ndarray:
    if type(array) in ARRAYS and array.dtype == dtype and array.flags.c_contiguous:
        return array
    return np.asarray(array, dtype, order="C")


def is_known(layer: Any) -> bool:
    """Whether all that the layer computes is code of this package."""
    own = [v for v in list(vars(layer).values()) if isinstance(v, types.FunctionType)]
    return all(_ours(value) for value in (type(layer), *own)) and type(layer).__name__ != "Lambda"


def _ours(value: Any) -> bool:
    return str(value.__module__).startswith("zoo_keras.")
