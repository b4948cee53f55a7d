"""save_model, load_model, save_weights, load_weights: which format a path means, and the doors."""

from __future__ import annotations

import os
import zipfile
from typing import Any

from zoo_keras.errors import ConfigError, FileError
from zoo_keras.saving import files, h5, hdf5, keras_archive, weights_tree
from zoo_keras.saving.serialization import deserialize_keras_object

_H5 = (".h5", ".hdf5")


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None,
    include_optimizer: bool = True, **kwargs: Any,
) -> None:  # fmt: skip
    """Save architecture, weights and training state as `.keras` or `.h5`.

    The path may be local or of any Hadoop file system (`hdfs://`, `s3a://`, ...) while a Spark
    session runs. The file appears under its name only when it is complete.
    """
    if kwargs or zipped is False:
        raise ConfigError(f"save_model: unsupported arguments. Received: {sorted(kwargs)}.")
    path = os.fspath(filepath)
    _require_built(model)
    if path.endswith(".keras"):
        with files.writable(path, overwrite) as local:
            keras_archive.save(model, local)
    elif path.endswith(_H5):
        with files.writable(path, overwrite) as local:
            h5.save(model, local, include_optimizer)
    else:
        raise ConfigError(
            f"save: the path must end in .keras or .h5. Received: {path!r}. "
            "Use .weights.h5 with save_weights for weights alone."
        )


def load_model(
    filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model in a `.keras` or `.h5` file, written by any Keras from 2 on, or by zoo_keras.

    Args:
        custom_objects: classes and functions of your own by name.
        compile: restore the training state too.
        safe_mode: refuse files that would run Python code of theirs (Lambda layers).

    Raises FileError for what is no model, ConfigError naming unknown layers.
    """
    name = os.fspath(filepath)
    with files.readable(filepath) as path:
        if zipfile.is_zipfile(path):
            return keras_archive.load(path, name, custom_objects, compile, safe_mode)
        if name.endswith(".keras"):
            raise FileError(
                f"{name}: not a .keras archive (a zip file). The file is cut off or of another "
                "kind."
            )
        return h5.load(path, name, custom_objects, compile, safe_mode)


def save_weights(model: Any, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
    """Save the weights alone, as `.weights.h5`."""
    path = os.fspath(filepath)
    if kwargs:
        raise ConfigError(f"save_weights: unsupported arguments. Received: {sorted(kwargs)}.")
    if not path.endswith(".weights.h5"):
        raise ConfigError(f"save_weights: the path must end in .weights.h5. Received: {path!r}.")
    _require_built(model)
    import h5py

    with files.writable(path, overwrite) as local, h5py.File(local, "w") as file:
        weights_tree.write(model, file)


def load_weights(
    model: Any, filepath: Any, skip_mismatch: bool = False, by_name: bool = False, **kwargs: Any
) -> None:
    """Set the weights from `.weights.h5`, a whole-model `.h5`, or `.keras`. Nothing is changed when
    anything does not fit, unless skip_mismatch."""
    if kwargs:
        raise ConfigError(f"load_weights: unsupported arguments. Received: {sorted(kwargs)}.")
    name = os.fspath(filepath)
    _require_built(model)
    with files.readable(filepath) as path:
        if zipfile.is_zipfile(path):
            with keras_archive.open_archive(path, name) as archive:
                keras_archive.read_weights(archive, name, model, skip_mismatch)
            return
        with hdf5.open_for_reading(path, name) as file:
            if "layer_names" in file.attrs or "layer_names0" in file.attrs:
                h5.read_weights(file, model, skip_mismatch, by_name)
            elif "model_weights" in file:
                group = hdf5.child(file, "model_weights", "group")
                h5.read_weights(group, model, skip_mismatch, by_name)
            else:
                weights_tree.read(model, file, skip_mismatch)


def _require_built(model: Any) -> None:
    if not model.built:
        raise ConfigError(
            f'Model "{model.name}" has no weights yet. Received: a model that was never built. '
            "Give it an Input, call build(input_shape), or call it on data first."
        )


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """A model with the configuration that `to_json` gave; weights are new."""
    import json

    from zoo_keras.saving.legacy import modern_config

    try:
        config = json.loads(json_string)
    except (json.JSONDecodeError, TypeError) as error:
        raise ConfigError(f"model_from_json: not JSON ({error}). Pass what to_json gave.") from None
    return deserialize_keras_object(modern_config(config, 3), custom_objects)
