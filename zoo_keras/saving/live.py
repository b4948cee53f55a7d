"""Models of real Keras in this process -> models here, and back.

In: a model that lives in memory. Out: another, with the same layers, weights and training state.
They meet in a file, so what is true of files is true here; Keras is never imported before a user
asks for a model of it.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from typing import Any

from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.models.model import Model
from zoo_keras.saving import api


def from_keras(model: Any, custom_objects: Any = None) -> Any:
    """The model of a live model of Keras 1, 2, tf.keras or Keras 3, with its training state.

    Args:
        custom_objects: classes and functions here, by the names of those in the model.

    Functions in Lambda layers come along, as the model is yours. Raises ConfigError for what is no
    such model, or names what is not known here.

    >>> ours = zoo_keras.saving.from_keras(keras.applications.ResNet50())
    """
    framework = _framework(model)
    if framework is None:
        raise ConfigError(
            f"from_keras takes a model of Keras. Received: {model!r} of type "
            f"{type(model).__module__}.{type(model).__name__}. Pass a keras.Model."
        )
    is_keras_3 = _version(framework) >= (3, 0)
    with tempfile.TemporaryDirectory(prefix="zoo_keras-") as folder:
        path = os.path.join(folder, "model.keras" if is_keras_3 else "model.h5")
        model.save(path)
        return api.load_model(path, custom_objects, safe_mode=False)


def to_keras(model: Any, custom_objects: Any = None) -> Any:
    """The same model in real Keras 3, which must be installed, with its training state.

    Raises ConfigError for what is no model of zoo_keras, ImportError without Keras.

    >>> theirs = zoo_keras.saving.to_keras(model)
    """
    if not isinstance(model, Model):
        raise ConfigError(
            f"to_keras takes a model of zoo_keras. Received: {model!r}. Pass a zoo_keras.Model."
        )
    keras = importlib.import_module("keras")
    if not hasattr(keras, "__version__") or _version(keras) < (3, 0):
        raise UnsupportedError(
            f"to_keras makes models of Keras 3. Received: keras {keras.__version__}. Install a "
            "newer one, or save the model and open it there."
        )
    with tempfile.TemporaryDirectory(prefix="zoo_keras-") as folder:
        path = os.path.join(folder, "model.keras")
        api.save_model(model, path)
        return keras.saving.load_model(path, custom_objects=custom_objects, safe_mode=False)


def _framework(model: Any) -> Any:
    """The package that a model's class comes from, if it is one of Keras."""
    if isinstance(model, Model):
        return None
    for base in type(model).__mro__:
        root = base.__module__.partition(".")[0]
        if root in ("keras", "tf_keras") and base.__name__ in ("Model", "Container", "Network"):
            return sys.modules.get(root)
        if base.__module__.startswith("tensorflow.python.keras"):
            return sys.modules["tensorflow"].keras
    return None


def _version(framework: Any) -> tuple[int, ...]:
    major, minor = str(framework.__version__).split(".")[:2]
    return int(major), int(minor)
