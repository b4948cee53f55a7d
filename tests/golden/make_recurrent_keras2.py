"""Files of Keras 2 with recurrent layers."""

from __future__ import annotations

import warnings

import tf_keras

from .cases.recurrent_models import KERAS2_MODELS
from .make_keras2 import golden
from .store import Writer


def make() -> None:
    warnings.simplefilter("ignore")  # tf-keras calls .h5 legacy
    writer = Writer("recurrent_keras2")
    for name, spec in KERAS2_MODELS.items():
        chosen = spec.compile["optimizer"]
        optimizer = getattr(tf_keras.optimizers, chosen["class_name"])(**chosen["config"])
        writer.add(name, *golden(name, spec, optimizer))
    writer.write()
