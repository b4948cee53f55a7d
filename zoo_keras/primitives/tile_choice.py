"""Which products run on bfloat16 in tile registers: decided once, when a program is made.

In: the user's choice for inference, this machine, and the shape of a product. Out: yes or no, which
becomes the op that stands in the program and travels with it. The number of rows of a layer has no
say, so that a row has the same bits alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoo_keras import native

INFERENCE = ("float32", "bfloat16")

LEAST_STEPS = 32  # inputs of a sum: what one product of tiles takes
LEAST_COLUMNS = 16  # units: a tile's
LEAST_WEIGHTS = 4096

_inference = "float32"


def inference_dtype() -> str:
    """The dtype to which predictions round the inputs of products."""
    return _inference


def set_inference_dtype(name: str) -> None:
    """Choose for all programs made from now on; see zoo_keras.config.set_inference_dtype."""
    global _inference
    _inference = name


@contextmanager
def inferring_in(name: str) -> Iterator[None]:
    """Programs made in this block predict in that dtype."""
    before = _inference
    set_inference_dtype(name)
    try:
        yield
    finally:
        set_inference_dtype(before)


def attention_pays(keys: int, width: int) -> bool:
    """Whether attention over so many keys, with heads so wide, is worth rounding and packing."""
    return native.has_tiles() and keys >= LEAST_STEPS and width >= LEAST_COLUMNS


def tiles_pay(steps: int, columns: int) -> bool:
    """Whether a product with sums of `steps` inputs and so many columns is worth rounding and
    packing."""
    large = steps * columns >= LEAST_WEIGHTS
    fits = steps >= LEAST_STEPS and columns >= LEAST_COLUMNS
    return native.has_tiles() and large and fits


def convolution_pays(steps: int, columns: int, trains: bool = False) -> bool:
    """The same of a convolution, whose weights are read for many places of each image. Where it
    trains, nothing is packed beforehand and results are float32: few numbers don't pay."""
    least_inputs, least_filters = (LEAST_STEPS, LEAST_STEPS) if trains else (16, 8)
    return native.has_tiles() and steps >= least_inputs and columns >= least_filters
