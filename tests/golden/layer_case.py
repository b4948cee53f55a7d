"""One golden layer of any area, made and called here as real Keras made and called it.

In: an area of AREAS and the name of a case. Out: the layer,
its outputs for given tensors, and the numbers that Keras had. Knows no test.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

import numpy as np

import zoo_keras as zk

from .functions import table as functions
from .recurrent_call import arguments, build, flat, output
from .store import Golden, series

AREAS = ("layers", "spatial", "attention", "recurrent", "more_layers")
golden = cache(Golden)


class LayerCase:
    """A row of an area's table with its arrays."""

    def __init__(self, area: str, name: str) -> None:
        self.area, self.name = area, name
        self.row: dict[str, Any] = golden(area).cases[name]

    def __str__(self) -> str:
        return f"{self.area}-{self.name}"

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        return golden(self.area).arrays(self.name)

    @property
    def computes(self) -> bool:
        return bool(self.row["class"] != "InputLayer")

    def inputs(self) -> list[np.ndarray]:
        return series(self.arrays, "input")

    def shapes(self) -> list[tuple[int, ...]]:
        return [x.shape for x in self.inputs()]

    def made(self) -> Any:
        kwargs = dict(self.row["kwargs"])
        if self.row["class"] == "Lambda":
            kwargs["function"] = functions(zk.ops)[kwargs["function"]]
        return build(zk, self.row["class"], kwargs)

    def built(self) -> Any:
        """The layer with the weights that Keras had."""
        layer = self.made()
        if self.computes:
            layer.build(*self.by_argument(self.shapes()))
            layer.set_weights(series(self.arrays, "weight"))
        return layer

    def by_argument(self, items: list[Any]) -> list[Any]:
        """Inputs, or their shapes, as the positional arguments of the layer."""
        if self.area == "recurrent":
            return items[:1]
        if self.area == "attention":
            return [items] if self.row["listed"] else items
        return [items[0] if len(items) == 1 else items]

    def call(self, layer: Any, tensors: list[Any]) -> Any:
        """The layer's output as one tensor, with the case's masks, states and flags."""
        if self.area == "recurrent":
            return output(zk, layer, list(tensors), arguments(self.row["call"]))
        flags = {key: self._filled(value) for key, value in self.row["call"].items()}
        return layer(*self.by_argument(list(tensors)), **flags)

    def _filled(self, value: Any) -> Any:
        """A flag with its masks, which the table names by number."""
        if isinstance(value, dict):
            return series(self.arrays, "mask")[value["mask"]]
        return [self._filled(v) for v in value] if isinstance(value, list) else value

    def output_shape(self, layer: Any, shapes: list[Any]) -> Any:
        return layer.compute_output_shape(*self.by_argument(shapes))


def cases(*keys: str) -> list[LayerCase]:
    """The cases of all areas, or those whose row has one of the keys."""
    found = [LayerCase(a, n) for a in AREAS for n in golden(a).cases if n != "file"]
    return [c for c in found if not keys or any(k in c.row for k in keys)]


def flat_shapes(shape: Any) -> list[list[int | None]]:
    """The shapes of a layer's outputs, one after the other."""
    is_one = all(d is None or isinstance(d, int) for d in shape)
    return [list(shape)] if is_one else [s for item in shape for s in flat_shapes(item)]


__all__ = ["LayerCase", "cases", "flat", "flat_shapes", "series"]
