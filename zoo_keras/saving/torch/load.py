"""from_torch: a net of torchvision with the weights of a state dict.

In: a file, and the name of the architecture. Out: a Model with channels last. Source: the
definitions of torchvision.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, FileError
from zoo_keras.layers.input_layer import Input
from zoo_keras.models import Model
from zoo_keras.saving import files, layer_groups
from zoo_keras.saving.onnx.graph import labelled
from zoo_keras.saving.torch import state_dict
from zoo_keras.saving.torch.nets import ARCHITECTURES, Net
from zoo_keras.variables import awaited_weights

_HEADS = ("fc", "classifier.6", "classifier.1", "classifier")
_PREFIXES = re.compile(r"^(module\.|model\.|backbone\.)+")
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")


def from_torch(
    filepath: Any, architecture: str, input_shape: Sequence[int] = (224, 224, 3),
    classifier_activation: Any = None, name: str | None = None,
) -> Model:  # fmt: skip
    """A net of torchvision with the weights in a file of `torch.save(model.state_dict(), ...)`.

    Args:
        filepath: of a `.pth` of any torch, or `.safetensors`; nothing in it is executed.
        architecture: resnet18, 34, 50, 101, 152; vgg11, 13, 16, 19; densenet121, 161, 169, 201;
            mobilenet_v2.
        input_shape: rows, columns and channels of the images, which have their channels last.
        classifier_activation: None for torch's logits, or "softmax".

    The number of classes is the file's. Layers are called as in `applications`; numbers are those
    of torch. Raises ConfigError for an unknown architecture, FileError when the file has other
    arrays, naming them. Models of other kinds come by ONNX.

    >>> model = from_torch("resnet50-11ad3fa6.pth", "resnet50")
    """
    if architecture not in ARCHITECTURES:
        raise ConfigError(
            f"from_torch: architectures are {', '.join(ARCHITECTURES)}. Received: "
            f"{architecture!r}. Export other models as ONNX, and use from_onnx."
        )
    label = files.path_text(filepath)
    with files.readable(label) as path, labelled(label):
        arrays = _cleaned(state_dict.read(path))
        net = Net(_classes(arrays), classifier_activation)
        with awaited_weights(sys.maxsize):
            image = Input(tuple(input_shape))
            model = Model(image, ARCHITECTURES[architecture](net, image), name=name or architecture)
        layer_groups.assign(_plan(net, arrays, architecture))
    return model


def _cleaned(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names without what trainings put in front of them, and as torchvision has them today."""
    return {
        _OLD_DENSENET.sub(r"\1\2", _PREFIXES.sub("", name)): array
        for name, array in arrays.items()
        if not name.endswith("num_batches_tracked")
    }


def _classes(arrays: dict[str, np.ndarray]) -> int:
    found = next((arrays[f"{h}.weight"] for h in _HEADS if f"{h}.weight" in arrays), None)
    if found is None or found.ndim != 2:
        raise FileError(
            f"the file has no classifier. Received: {sorted(arrays)[:8]}. Use the file of a whole "
            "net of torchvision."
        )
    return int(found.shape[0])


def _plan(net: Net, arrays: dict[str, np.ndarray], architecture: str) -> layer_groups.Plan:
    """The array for each Variable; all of them are used."""
    found: layer_groups.Plan = []
    problems, left = [], dict(arrays)
    for module, layer in net.layers.items():
        for variable, part in zip(layer.weights, _parts(layer), strict=True):
            array = left.pop(f"{module}.{part}", None)
            made = None if array is None else _turned(array, variable, net.turned.get(module))
            if made is None:
                shape = "nothing" if array is None else array.shape
                problems.append(f"{shape} for {module}.{part} of shape {variable.shape}")
            else:
                found.append((variable, made))
    problems += [f"{name}, which it does not have" for name in left]
    if problems:
        raise FileError(
            f"the arrays do not fit {architecture}. Received: {'; '.join(problems[:8])}. Name the "
            "architecture that the file was saved from."
        )
    return found


def _parts(layer: Any) -> list[str]:
    """What torch calls the weights of a layer, in Keras' order."""
    if type(layer).__name__ == "BatchNormalization":
        return ["weight", "bias", "running_mean", "running_var"]
    return ["weight", "bias"][: len(layer.weights)]


def _turned(array: np.ndarray, variable: Any, image: Any) -> np.ndarray | None:
    """The array as Keras lays it out; None when it does not fit."""
    if array.dtype.kind != "f":
        return None
    if array.ndim == 4:  # filters, channels, rows, columns
        is_depthwise = variable.shape[2] == array.shape[0] and array.shape[1] == 1
        array = array.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))
    elif array.ndim == 2:
        if image is not None and array.shape[1] == int(np.prod(image)):
            array = array.reshape(-1, *image).transpose(0, 2, 3, 1).reshape(array.shape)
        array = array.T
    if array.shape != variable.shape:
        return None
    return array.astype(np.float32)
