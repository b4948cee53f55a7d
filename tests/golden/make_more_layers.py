"""Golden layers of cases/more_layers.py, made like those of cases/layers.py."""

from __future__ import annotations

from .cases import more_layers as table
from .make_layers import golden
from .store import Writer

# TensorFlow takes the gradient of a transform for the inverse transform, which it is not quite.
NO_GRADIENT = ("RandomRotation", "RandomZoom", "RandomTranslation")


def make() -> None:
    writer = Writer("more_layers")
    for case in table.CASES:
        info, arrays = golden(case)
        if case.layer in NO_GRADIENT:
            arrays = {key: array for key, array in arrays.items() if "_grad" not in key}
        writer.add(case.name, info, arrays)
    writer.write()
