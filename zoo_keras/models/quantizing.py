"""Model.quantize: which layers go to int8, and what a sample says about the range of their inputs.

In: a built float model. Out: the same model with int8 layers. Knows nothing of how a layer keeps
or multiplies its int8 weights.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.quantized import Quantizable
from zoo_keras.primitives.int8 import Range
from zoo_keras.quantizers import resolve_config
from zoo_keras.training.trainer import sample_batches


def quantize_model(
    model: Any, mode: Any, config: Any, filters: Any, sample: Any, type_check: bool
) -> None:
    """See Model.quantize."""
    config = resolve_config(mode, config)
    chosen = _matching(filters)
    layers = [layer for layer in _leaves(model) if chosen(layer) and not _stays(layer)]
    able = [layer for layer in layers if isinstance(layer, Quantizable)]
    ranges = {} if sample is None else calibrate(model, able, sample)
    for layer in able:  # before any of them changes
        layer.check_quantize(mode)
    for layer in layers:
        try:
            quantize_layer(layer, config, ranges.get(id(layer)), type_check, mode)
        except NotImplementedError as error:
            if layer.weights:
                warnings.warn(str(error), stacklevel=4)
    model.forget_training()


def quantize_layer(
    layer: Any, config: Any, seen: Range | None, type_check: bool = True, mode: Any = None
) -> None:
    """One layer to int8, by what a sample showed of its inputs if there was one."""
    layer.seen = seen
    config = config if seen is None else config.calibrated(seen.low, seen.high)
    try:
        layer.quantize(mode, config, type_check=type_check)
    finally:
        layer.seen = None


def _stays(layer: Any) -> bool:
    """Whether a layer is left in float32, with a warning that says why."""
    why = layer.why_float() if isinstance(layer, Quantizable) and layer.built else None
    if why:
        warnings.warn(f'{type(layer).__name__} "{layer.name}": {why}.', stacklevel=5)
    return why is not None


def _leaves(model: Any) -> list[Any]:
    """The layers that hold no others; ops of a functional model are none."""
    found = model._flatten_layers()
    return [x for x in found if isinstance(x, Layer) and not x._sublayers]


def _matching(filters: Any) -> Any:
    """layer -> whether the filters choose it."""
    if filters is None:
        return lambda layer: True
    if callable(filters):
        return filters
    patterns = [filters] if isinstance(filters, str) else filters
    if not isinstance(patterns, (list, tuple)):
        raise ConfigError(
            "quantize: `filters` must be a regular expression, a list of them, or a function of a "
            f"layer. Received: {filters!r}. Pass a part of the layers' names."
        )
    return lambda layer: any(re.search(p, layer.name) for p in patterns)


def calibrate(model: Any, layers: Sequence[Any], sample: Any) -> dict[int, Range]:
    """The range of each layer's inputs while the float model predicts a sample, by the layer's id.

    A layer that the sample never reaches, or that meets zeros alone, has no range.
    """
    for layer in layers:
        layer.seen = Range()
    model.forget_programs()
    try:
        for inputs in sample_batches(model, sample):
            model.predict(inputs, verbose=0)
        found = {id(layer): layer.seen for layer in layers}
    finally:
        for layer in layers:
            layer.seen = None
        model.forget_programs()
    return {key: seen for key, seen in found.items() if seen.low < seen.high}
