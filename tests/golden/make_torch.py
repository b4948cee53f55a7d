"""One model in files written by Keras 3 on torch: its optimizers have other module names there."""

from __future__ import annotations

from .cases.models import MODELS
from .make_files import golden
from .store import Writer


def make() -> None:
    writer = Writer("torch")
    writer.add("mlp_torch", *golden("mlp_torch", MODELS["mlp"]))
    writer.write()
