"""Arrays of Keras 1's layers, and kernels that Theano wrote -> those of Keras 2 and 3.

In: a layer, and the names and arrays that a file has for it. Out: its arrays in the order and
layout of today. Knows no file format. Source: what keras 2.3 does when it loads such weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import FileError
from zoo_keras.layers.base.layer import Layer

Stored = tuple[str, np.ndarray]  # the name of an array in the file, and the array

_SPLIT_GATES = re.compile(r"_(forward_|backward_)?[WUb]_[icfozrh](_\d+)?(:0)?$")
# LSTM: i, c, f, o in the file, i, f, c, o here. GRU: z, r, h.
_GATES = {12: (0, 2, 1, 3), 9: (0, 1, 2)}
_THEANO = re.compile(r"_(W|W_carry|[WUb]_\w)(_\d+)?$|^param_\d+$")


def is_of_theano(names: Sequence[str], backend: str | None) -> bool:
    """Whether Theano wrote these arrays; TensorFlow's names of Keras 1 end in `:0`."""
    if backend is not None:
        return backend == "theano"
    return any(map(_THEANO.search, names))


def modern_arrays(
    layer: Layer, stored: Sequence[Stored], keras_1: bool, flipped: bool, trained_only: bool = False
) -> list[np.ndarray]:
    """The layer's arrays, trainable ones first.

    Args:
        keras_1: the layout is Keras 1's.
        flipped: kernels of convolutions were turned around, as Theano's are.
        trained_only: the file has no others, as of an optimizer's slots.

    Raises FileError when the file has too few arrays for the layer.
    """
    rest = iter(stored)
    found = []
    for part, trainable in _parts(layer):
        if trained_only and not trainable:
            continue
        arrays = _taken(part, rest, trainable)
        if keras_1:
            arrays = _modern(part, arrays)
        if flipped and trainable == bool(part.trainable_weights):
            arrays = _turned(part, arrays)
        found += arrays
    if next(rest, None) is not None:
        found.append(np.zeros(0))  # one too many: the caller tells
    return found


def aligned_otherwise(model: Any) -> list[str]:
    """Names of layers whose windows Theano places elsewhere, as both fill up at the borders."""
    return [layer.name for layer in _leaves(model) if _is_aligned_otherwise(layer)]


def _is_aligned_otherwise(layer: Any) -> bool:
    if getattr(layer, "padding", None) != "same":
        return False
    if hasattr(layer, "pool_size"):
        return True
    even = any(size % 2 == 0 for size in layer.kernel_size)
    return even or any(stride > 1 for stride in layer.strides)


def _parts(layer: Layer) -> Iterator[tuple[Layer, bool]]:
    """The layers below in the order of the file: all that are trained, then what is not."""
    leaves = list(_leaves(layer))
    yield from ((leaf, True) for leaf in leaves if leaf.trainable_weights)
    yield from ((leaf, False) for leaf in leaves if leaf.non_trainable_weights)


def _leaves(layer: Any) -> Iterator[Layer]:
    from zoo_keras.models.model import Model

    kind = type(layer).__name__
    if isinstance(layer, Model):
        for inner in layer.layers:
            yield from _leaves(inner)
    elif kind == "TimeDistributed":
        yield from _leaves(layer.layer)
    elif kind == "Bidirectional":
        yield from _leaves(layer.forward_layer)
        yield from _leaves(layer.backward_layer)
    else:
        yield layer


def _taken(layer: Layer, rest: Iterator[Stored], trainable: bool) -> list[np.ndarray]:
    """As many arrays as the file has for the layer's weights of this kind."""
    weights = layer.trainable_weights if trainable else layer.non_trainable_weights
    count = len(weights)
    found: list[np.ndarray] = []
    for name, array in rest:
        if not found and type(layer).__name__ in ("LSTM", "GRU", "ConvLSTM2D"):
            count = _number(name, layer, count)
        found.append(array)
        if len(found) == count:
            break
    if len(found) < count:
        raise FileError(
            f'layer "{layer.name}" needs {count} arrays. Received: {len(found)}. The file belongs '
            "to another model."
        )
    return found


def _number(name: str, layer: Layer, count: int) -> int:
    if not _SPLIT_GATES.search(name):
        return count
    return 9 if type(layer).__name__ == "GRU" else 12


def _modern(layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
    kind = type(layer).__name__
    first = getattr(layer, "data_format", None) == "channels_first"
    if kind in ("LSTM", "GRU", "ConvLSTM2D") and len(arrays) in _GATES:
        arrays = _joined_gates(arrays, first and kind == "ConvLSTM2D")
    change = _KERNELS.get((kind, first)) or _KERNELS.get((kind, None))
    if kind == "Conv2D" and arrays and arrays[0].shape != layer.weights[0].shape:
        change = _KERNELS[kind, True]  # of a model that had its channels first
    if change is None or not arrays or arrays[0].ndim < 3:
        return arrays
    if kind == "ConvLSTM2D":
        return [*map(change, arrays[:2]), *arrays[2:]]
    return [change(arrays[0]), *arrays[1:]]


def _joined_gates(arrays: list[np.ndarray], first: bool) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias of arrays W, U, b for each gate."""
    order = _GATES[len(arrays)]
    axis = 0 if first else -1  # filters of a kernel
    sides = [[arrays[3 * gate + side] for gate in order] for side in range(3)]
    return [np.concatenate(side, axis if side[0].ndim > 1 else -1) for side in sides]


def _kernel_1d(kernel: np.ndarray) -> np.ndarray:
    """(size, 1, in, out), in Keras 1.0 (out, in, size, 1) -> (size, in, out)."""
    if kernel.ndim != 4:
        return kernel
    if kernel.shape[1] != 1 or (kernel.shape[3] == 1 and kernel.shape[2] != 1):
        kernel = kernel.transpose(2, 3, 1, 0)
    return kernel[:, 0]


def _moved(*order: int) -> Any:
    return lambda kernel: kernel.transpose(order) if kernel.ndim == len(order) else kernel


# (layer, channels come first) -> its kernel of Keras 1 in today's layout.
_KERNELS = {
    ("Conv1D", None): _kernel_1d,
    ("Conv2D", True): _moved(2, 3, 1, 0),
    ("Conv3D", True): _moved(2, 3, 4, 1, 0),
    ("Conv2DTranspose", True): _moved(2, 3, 0, 1),
    ("Conv2DTranspose", False): _moved(0, 1, 3, 2),
    ("ConvLSTM2D", True): _moved(2, 3, 1, 0),
}
_CONVOLUTIONS = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3, "Conv2DTranspose": 2, "ConvLSTM2D": 2}


def _turned(layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Kernels of convolutions turned around in their axes of space."""
    kind = type(layer).__name__
    if kind not in _CONVOLUTIONS:
        return arrays
    axes = tuple(range(_CONVOLUTIONS[kind]))
    turned = 2 if kind == "ConvLSTM2D" else 1
    return [np.flip(a, axes) for a in arrays[:turned]] + arrays[turned:]
