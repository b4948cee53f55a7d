"""A file of Keras 2 with depthwise, separable and transposed convolutions."""

from __future__ import annotations

import warnings

import tf_keras

from .cases.spatial_models import KERAS2_MODELS
from .make_keras2 import golden
from .store import Writer


def make() -> None:
    warnings.simplefilter("ignore")  # tf-keras calls .h5 legacy
    writer = Writer("spatial_keras2")
    for name, spec in KERAS2_MODELS.items():
        optimizer = tf_keras.optimizers.get(spec.compile["optimizer"])
        writer.add(name, *golden(name, spec, optimizer))
    writer.write()
