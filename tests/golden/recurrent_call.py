"""How a recurrent case is built and called, the same for real Keras and zoo_keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cases.recurrent import MASKS

NESTED = ("cell", "layer", "backward_layer")


def build(k: Any, class_name: str, kwargs: dict[str, Any]) -> Any:
    """The layer, with its nested layers made from their configurations."""
    made = {key: revived(k, v) if key in NESTED else v for key, v in kwargs.items()}
    return getattr(k.layers, class_name)(**made)


def revived(k: Any, config: dict[str, Any]) -> Any:
    inner = dict(config["config"])
    if "cells" in inner:
        inner["cells"] = [revived(k, c) for c in inner["cells"]]
    return getattr(k.layers, config["class_name"])(**inner)


def arguments(call: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call; a mask is written by its name."""
    return {k: np.array(MASKS[v], bool) if k == "mask" else v for k, v in call.items()}


def output(k: Any, layer: Any, tensors: list[Any], call: dict[str, Any]) -> Any:
    """One tensor (rows, numbers) of all that the layer returns for inputs and states."""
    first, states = tensors[0], list(tensors[1:])
    if type(layer).__name__.endswith("Cell"):
        made = layer(first, states, **call)
    else:
        made = layer(first, **({"initial_state": states} if states else {}), **call)
    rows = first.shape[0]
    parts = [k.ops.reshape(part, (rows, -1)) for part in flat(made)]
    return k.ops.concatenate(parts, axis=1)


def flat(made: Any) -> list[Any]:
    if isinstance(made, (list, tuple)):
        return [leaf for item in made for leaf in flat(item)]
    return [made]
