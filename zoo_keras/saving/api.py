"""save_model, load_model, save_weights, load_weights: which format a path means, and the doors."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from zoo_keras.errors import ConfigError, FileError
from zoo_keras.models.model import Model
from zoo_keras.saving import (
    config_json,
    config_yaml,
    files,
    folder,
    h5,
    hdf5,
    keras_archive,
    layer_groups,
    shards,
    weights_tree,
)
from zoo_keras.saving.legacy import modern_config, version_of
from zoo_keras.saving.precision import in_own_precision
from zoo_keras.saving.tensorflow import saved_model
from zoo_keras.variables import unchanged

_H5 = (".h5", ".hdf5")


_LAYERS_ONLY = (
    "load_weights: by_name only supports loading legacy '.h5' or '.hdf5' files. Received: {!r}. "
    "Leave it out."
)


def save_model(
    model: Model, filepath: Any, overwrite: bool = True, zipped: bool | None = None,
    include_optimizer: bool = True, **kwargs: Any,
) -> None:  # fmt: skip
    """Save architecture, weights and training state as `.keras` or `.h5`.

    Args:
        filepath: local, or of any Hadoop file system (`hdfs://`, `s3a://`, ...) while a Spark
            session runs. The file appears under its name only when it is complete.
        overwrite: False refuses when the file exists.
        zipped: False writes a local folder, of the files that a `.keras` archive holds.
        include_optimizer: keep the training state, in `.h5`.

    Raises ConfigError for a path of another kind or a model without weights, FileError when the
    file cannot be written. Source: keras.saving.save_model.

    >>> model.save("model.keras")
    """
    path = files.path_text(filepath)
    if kwargs.pop("save_format", None):
        if not path.endswith((".keras", *_H5)):
            raise ConfigError(
                "save_model: The `save_format` argument is deprecated: the path says the format. "
                f"Received: {path!r}. Let it end in .keras or .h5."
            )
        warnings.warn(
            "The `save_format` argument is deprecated: the path says the format.", stacklevel=2
        )
    if kwargs:
        raise ConfigError(
            "save_model: The following argument(s) are not supported. Received: "
            f"{sorted(kwargs)}. Leave them out."
        )
    if zipped is False:
        with folder.writable(files.folder_text(path), overwrite) as draft, _unchanged(model):
            keras_archive.save_folder(model, draft)
    elif path.endswith(".keras"):
        if not model.built:
            warnings.warn(
                "You are saving a model that has not yet been built: the file holds no weights.",
                stacklevel=2,
            )
        with _unchanged(model), files.writable(path, overwrite) as local:
            keras_archive.save(model, local)
    elif path.endswith(_H5):
        _require_built(model)
        with _unchanged(model), files.writable(path, overwrite) as local:
            h5.save(model, local, include_optimizer)
    else:
        raise ConfigError(
            f"Invalid filepath extension for saving: it must be .keras or .h5. Received: {path!r}. "
            "Use .weights.h5 with save_weights for weights alone."
        )


def _unchanged(model: Any) -> AbstractContextManager[None]:
    """A block in which no thread trains the model; the optimizer's state stays too."""
    optimizer = getattr(model, "optimizer", None)
    return unchanged([*model.variables, *(optimizer.variables if optimizer is not None else ())])


def load_model(
    filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model in a `.keras` or `.h5` file or a SavedModel, of any Keras, or of zoo_keras.

    Args:
        filepath: of the file, or the local folder of a SavedModel. One without a configuration, as
            Keras 3 exports it, becomes a functional model of its graph.
        custom_objects: classes and functions of your own by name.
        compile: restore the training state too.
        safe_mode: refuse files that would run Python code of theirs (Lambda layers).

    Raises FileError for what is no model, ConfigError naming all unknown layers, losses and
    metrics. Source: keras.saving.load_model.

    >>> model = load_model("model.keras", custom_objects={"MyLayer": MyLayer})
    """
    label, here = files.path_text(filepath), files.folder_text(filepath)
    if os.path.isdir(here) and saved_model.is_saved_model(here):
        return saved_model.load(here, custom_objects, compile, safe_mode)
    if os.path.isfile(os.path.join(here, "config.json")):
        return keras_archive.load(here, here, custom_objects, compile, safe_mode)
    with files.readable(label) as path:
        load = keras_archive.load if _is_zip(path, label) else h5.load
        return load(path, label, custom_objects, compile, safe_mode)


def _is_zip(path: str, label: str) -> bool:
    """Which of the two kinds a file is, by its first bytes. FileError for any other."""
    import h5py

    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        return True
    if h5py.is_hdf5(path):
        return False
    raise FileError(
        f"{label}: neither a .keras archive nor an HDF5 file. Received: "
        f"{'an empty file' if not start else f'a file that begins with {start!r}'}. "
        "The file is cut off, damaged, or of another kind; get a fresh copy."
    )


def save_weights(
    model: Model, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None,
    objects_to_skip: Sequence[Any] = (), **kwargs: Any,
) -> None:  # fmt: skip
    """Save the weights alone, as `.weights.h5`. Paths and errors are those of save_model.

    Args:
        max_shard_size: write several files of at most so many GB, and the path, which then ends in
            `.weights.json`, says where each layer is.
        objects_to_skip: layers whose weights are left out.
    """
    path = files.path_text(filepath)
    if kwargs:
        raise ConfigError(
            f"save_weights: unsupported arguments. Received: {sorted(kwargs)}. Leave them out."
        )
    if max_shard_size is not None:
        _refuse_skips(path, objects_to_skip)
        _save_shards(model, path, max_shard_size, overwrite)
        return
    if not path.endswith(".weights.h5"):
        raise ConfigError(
            f"save_weights: the path must end in .weights.h5. Received: {path!r}. Use save_model "
            "for whole models."
        )
    _require_built(model)
    with (
        _unchanged(model),
        files.writable(path, overwrite) as local,
        hdf5.open_for_writing(local) as file,
    ):
        weights_tree.write(model, file, objects_to_skip)


def _save_shards(model: Model, path: str, gigabytes: float, overwrite: bool) -> None:
    if not path.endswith(shards.ENDING) or not gigabytes > 0:
        raise ConfigError(
            f"save_weights: with max_shard_size, a number of GB above 0, the path must end in "
            f"{shards.ENDING}. Received: {path!r}, max_shard_size={gigabytes!r}. Change them."
        )
    _require_built(model)
    with _unchanged(model):
        shards.write(model, path, gigabytes, overwrite)


def load_weights(
    model: Model, filepath: Any, skip_mismatch: bool = False, by_name: bool = False,
    objects_to_skip: Sequence[Any] = (), **kwargs: Any,
) -> None:  # fmt: skip
    """Set the weights from `.weights.h5`, `.weights.json`, a whole-model `.h5`, or `.keras`.

    Args:
        skip_mismatch: leave out layers that do not fit, with a warning.
        by_name: match the layers of an `.h5` by their names, not by their order.
        objects_to_skip: layers that keep their weights, of a `.weights.h5`.

    Raises FileError when something does not fit; nothing is changed then. Source:
    keras.Model.load_weights.
    """
    if kwargs:
        raise ConfigError(
            f"load_weights: Invalid keyword arguments. Received: {sorted(kwargs)}. Leave them out."
        )
    label = files.path_text(filepath)
    if by_name and label.endswith((".keras", shards.ENDING)):
        raise ConfigError(_LAYERS_ONLY.format(label))
    _require_built(model)
    with files.readable(label) as path:
        if label.endswith(shards.ENDING):
            _refuse_skips(label, objects_to_skip)
            with shards.reading(path, label) as file:
                plan = weights_tree.plan(file, model, skip_mismatch)
        elif _is_zip(path, label):
            _refuse_skips(label, objects_to_skip)
            plan = keras_archive.weights_plan(path, label, model, skip_mismatch)
        else:
            plan = _hdf5_plan(path, label, model, skip_mismatch, by_name, objects_to_skip)
    layer_groups.assign(plan)


def _refuse_skips(label: str, objects_to_skip: Sequence[Any]) -> None:
    if objects_to_skip:
        raise ConfigError(
            "objects_to_skip only supports loading '.weights.h5' files, and saving one. Received: "
            f"{label!r}. Leave it out."
        )


def _hdf5_plan(
    path: str, label: str, model: Model, skip: bool, by_name: bool, objects: Sequence[Any]
) -> layer_groups.Plan:
    with hdf5.open_for_reading(path, label) as file:
        whole = hdf5.find(file, "model_weights")
        if whole is not None or layer_groups.is_root(file):
            _refuse_skips(label, objects)
            return layer_groups.plan(file if whole is None else whole, model, skip, by_name)
        if by_name:
            raise FileError(_LAYERS_ONLY.format(label))
        return weights_tree.plan(file, model, skip, skip=objects)


def _require_built(model: Model) -> None:
    if not model.built:
        raise ConfigError(
            f'Model "{model.name}" has no weights yet. Received: a model that was never built. '
            "Give it an Input, call build(input_shape), or call it on data first."
        )


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """A model with the configuration that `to_json` gave; weights are new.

    Raises ConfigError for JSON that describes no model, naming all unknown classes.
    """
    label = "model_from_json"
    with config_json.custom_names(custom_objects, safe_mode=True), config_json.reading(label):
        try:
            config = json.loads(json_string)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"the argument is no JSON. Received: {error}. Pass what to_json gave."
            ) from None
        return _model_of(config, label)


def model_from_yaml(yaml_string: str, custom_objects: Any = None) -> Any:
    """A model with the configuration that `to_yaml` of Keras 1 or 2 gave; weights are new.

    Needs the package `pyyaml`. Plain values and tuples are read, nothing is executed. Raises
    ConfigError for YAML that describes no model, naming all unknown classes.
    """
    label = "model_from_yaml"
    with config_json.custom_names(custom_objects, safe_mode=True), config_json.reading(label):
        return _model_of(config_yaml.parse(yaml_string), label)


def _model_of(config: Any, label: str) -> Any:
    config = modern_config(in_own_precision(config, label), version_of(config))
    config_json.check_names(config)
    return config_json.make_model(config)
