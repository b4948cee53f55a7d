"""Objects to configs and back, in the layout of Keras 3:
{"module", "class_name", "config", "registered_name"[, "build_config"][, "compile_config"]}.

In: layers, losses, functions, plain values. Out: dicts that JSON can hold, and the objects again.
Built-in classes are looked up in the public modules of zoo_keras, which stand for those of keras;
nothing else is ever imported because a config names it. Knows no layer and no file format.
"""

from __future__ import annotations

import importlib
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_keras.configs.by_value import dump_function, load_function
from zoo_keras.configs.registration import (
    CustomObjectScope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    scoped_objects,
)
from zoo_keras.errors import ArgumentTypeError, ConfigError, UnsupportedError
from zoo_keras.paths import RENAMED

# Public modules whose classes a config may name; `keras.X` and `keras.src.X...` mean zoo_keras.X.
FAMILIES = (
    "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics",
    "models", "optimizers", "policies", "quantizers", "random", "regularizers",
)  # fmt: skip
# Modules of Keras whose classes stand in files and are in no family -> ours.
_HOMES = {
    "keras.utils": "utils",
    "keras.distillation": "distillation",
    "keras.src.layers.preprocessing.feature_space": "layers.preprocessing.feature_space",
}
_FUNCTION_FAMILIES = ("activations", "losses", "metrics")
# Classes that Keras files under another module than `keras_module` of their base class says.
_KERAS_MODULES = {
    **dict.fromkeys(("Initializer", "Layer", "Loss", "Metric", "Optimizer"), "keras"),
    **dict.fromkeys(("Quantizer", "Regularizer"), "keras"),
    "LossFunctionWrapper": "keras.src.losses.losses",
}
# Classes that Keras exports under another name than their own.
_KERAS_NAMES = {"GroupedQueryAttention": "GroupQueryAttention"}


class UnknownObjectError(ConfigError, TypeError):
    """A config names classes or functions that are neither built in nor registered."""


class _State(threading.local):
    def __init__(self) -> None:
        self.safe_mode: bool | None = None
        self.depth = 0
        self.written: dict[int, tuple[Any, int]] | None = None
        self.writing = False
        self.objects: dict[int, Any] | None = None


_state = _State()
_resolvers: list[Callable[[str, str], Any]] = []


def add_resolver(find: Callable[[str, str], Any]) -> None:
    """Ask `find(module, class_name)` (object or None) too when a built-in name is looked up."""
    _resolvers.append(find)


@contextmanager
def safe_mode_scope(safe_mode: bool | None) -> Iterator[None]:
    """Inside, code by value is refused (True), allowed (False), or as each caller says (None)."""
    before, _state.safe_mode = _state.safe_mode, safe_mode
    try:
        yield
    finally:
        _state.safe_mode = before


def in_safe_mode() -> bool | None:
    """What the innermost safe_mode_scope or enable_unsafe_deserialization said; None if neither."""
    return _state.safe_mode


def enable_unsafe_deserialization() -> None:
    """Allow lambdas and other code by value in this thread, as keras.config's function does."""
    _state.safe_mode = False


@contextmanager
def object_sharing() -> Iterator[None]:
    """Inside, an object met twice is written and made once ("shared_object_id")."""
    before = _state.written, _state.objects
    _state.written, _state.objects = {}, {}
    try:
        yield
    finally:
        _state.written, _state.objects = before


def serialize_keras_object(obj: Any) -> Any:
    """The config of an object: a plain value, or a dict with "class_name" and "config".

    Raises ConfigError for an object without `get_config`. See keras.saving.
    """
    if _state.written is None or _state.writing:
        return _serialize(obj)
    _state.writing = True
    try:
        return _without_single_ids(_serialize(obj))
    finally:
        _state.writing = False


def _serialize(obj: Any) -> Any:
    if obj is None or isinstance(obj, (str, int, float, bool)):
        return obj
    if isinstance(obj, (list, tuple)):
        items = [serialize_keras_object(item) for item in obj]
        return tuple(items) if type(obj) is tuple else items
    if isinstance(obj, dict):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    special = _serialize_special(obj)
    return _serialize_instance(obj) if special is None else special


def _serialize_special(obj: Any) -> Any:
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("utf-8")}}
    if isinstance(obj, slice):
        parts = {k: serialize_keras_object(getattr(obj, k)) for k in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": parts}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, np.dtype):
        return obj.name
    if isinstance(obj, np.ndarray) and obj.ndim:
        value = {"value": obj.tolist(), "dtype": obj.dtype.name}
        return {"class_name": "__numpy__", "config": value}
    if isinstance(obj, (np.ndarray, np.generic)):
        return obj.item()
    if type(obj).__name__ == "KerasTensor":
        return _serialize_keras_tensor(obj)
    if isinstance(obj, types.FunctionType) and obj.__name__ == "<lambda>":
        return {"class_name": "__lambda__", "config": {"value": dump_function(obj)}}
    return None


def _serialize_keras_tensor(tensor: Any) -> dict[str, Any]:
    """`keras_history` of the tensor, if the model builder set it: [layer name, node, index]."""
    history = getattr(tensor, "keras_history", None)
    config = {"shape": tuple(tensor.shape), "dtype": tensor.dtype, "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


def _serialize_instance(obj: Any) -> dict[str, Any]:
    config = {**public_names(type(obj)), "config": _inner_config(obj)}
    ordered = {k: config[k] for k in ("module", "class_name", "config", "registered_name")}
    for key in ("build_config", "compile_config"):
        method = getattr(obj, f"get_{key}", None)
        if method is not None and (extra := method()) is not None:
            ordered[key] = serialize_keras_object(extra)
    _note_shared(obj, ordered)
    return ordered


def _inner_config(obj: Any) -> Any:
    if isinstance(obj, types.FunctionType):
        return get_registered_name(obj)
    if hasattr(obj, "get_config"):
        config = obj.get_config()
        if not isinstance(config, dict):
            raise ConfigError(
                f"get_config() of {obj} must return a dict. Received: {config!r}. "
                "Return the arguments of __init__ by name."
            )
        return serialize_keras_object(config)
    if hasattr(obj, "__name__"):
        return get_registered_name(obj)
    raise UnknownObjectError(
        f"An object of {type(obj)} cannot be written into a config. Received: {obj!r}. "
        "Give its class a get_config() method that returns the arguments of __init__."
    )


def public_names(cls: type) -> dict[str, Any]:
    """ "module", "class_name" and "registered_name" under which a config names the class.

    The module of a built-in class is the `keras_module` that its base class states.
    """
    registered = get_registered_name(cls)
    own = cls.__module__.startswith("zoo_keras.") and registered == cls.__name__
    if own and (module := getattr(cls, "keras_module", None)):
        module = _KERAS_MODULES.get(cls.__name__, module)
        inside = cls.__name__ if module.startswith("keras.src") else None
        name = _KERAS_NAMES.get(cls.__name__, cls.__name__)
        return {"module": module, "class_name": name, "registered_name": inside}
    outside = None if cls.__module__ == "__main__" else cls.__module__
    return {"module": outside, "class_name": cls.__name__, "registered_name": registered}


def _note_shared(obj: Any, config: dict[str, Any]) -> None:
    if _state.written is not None:  # obj is kept alive, so that its id stays its own
        _, number = _state.written.setdefault(id(obj), (obj, len(_state.written) + 1))
        config["shared_object_id"] = number


def _without_single_ids(config: Any) -> Any:
    """The config with the ids of those objects alone that it holds more than once."""
    found = list(_with_id(config))
    counts = Counter(c["shared_object_id"] for c in found)
    for inner in found:
        if counts[inner["shared_object_id"]] == 1:
            del inner["shared_object_id"]
    return config


def _with_id(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict) and "shared_object_id" in config:
        yield config
    if isinstance(config, (dict, list, tuple)):
        for value in config.values() if isinstance(config, dict) else config:
            yield from _with_id(value)


def deserialize_keras_object(
    config: Any,
    custom_objects: dict[str, Any] | None = None,
    safe_mode: bool = True,
    module_objects: dict[str, Any] | None = None,
) -> Any:
    """The object that a config describes.

    Args:
        config: what serialize_keras_object returned (also after a trip through JSON).
        custom_objects: classes and functions by name, besides those registered.
        safe_mode: refuse lambdas and other code by value; an enclosing scope decides first.
        module_objects: built-in names that may appear bare, as "mse" in a loss.

    Raises UnknownObjectError with all names that are not known, ConfigError for code by value
    in safe mode or a malformed config.
    """
    safe = safe_mode if _state.safe_mode is None else _state.safe_mode
    custom = {**(custom_objects or {}), **scoped_objects(), **get_custom_objects()}
    if _state.depth == 0:
        raise_if_unknown(_unknown(config, custom))
    _state.depth += 1
    try:
        return _Reader(custom, safe, module_objects).read(config)
    finally:
        _state.depth -= 1


class _Reader:
    """Reads one config with its nested ones; holds what stays the same on the way."""

    def __init__(self, custom: dict[str, Any], safe: bool, module_objects: Any) -> None:
        self.custom, self.safe, self.module_objects = custom, safe, module_objects

    def read(self, config: Any) -> Any:
        if isinstance(config, str) and self.custom.get(config) is not None:
            return self.custom[config]
        if isinstance(config, (list, tuple)):
            return [self.read(x) for x in config]
        if self.module_objects is not None:
            found = self._named_in_module(config)
            if found is not None:
                return found
        if config is None or isinstance(config, (str, int, float, bool)):
            return config
        if not isinstance(config, dict):
            raise UnknownObjectError(
                f"A config cannot be read. Received: {config!r} of {type(config)}. "
                "Pass what serialize_keras_object returned."
            )
        if "class_name" not in config or "config" not in config:
            return {key: self.nested(value) for key, value in config.items()}
        return self._object(config)

    def nested(self, config: Any) -> Any:
        return _Reader(self.custom, self.safe, None).read(config)

    def _named_in_module(self, config: Any) -> Any:
        """An object of the family's own table: by bare name, or by class_name in a dict."""
        if isinstance(config, str):
            found = self.module_objects.get(config)
            return found.from_config({}) if _is_class(found) else found
        if not isinstance(config, dict) or "class_name" not in config:
            return None
        name, inner = config["class_name"], config.get("config")
        if name in self.custom or config.get("registered_name") in self.custom:
            return None
        if name == "function":
            bare = inner if config.get("module") == "builtins" else config.get("registered_name")
            return self.module_objects.get(bare) if isinstance(bare, str) else None
        module = config.get("module")
        if module is not None and _builtin(module, name) is not None:
            return None
        found = self.module_objects.get(name)
        if not _is_class(found):
            return found
        return self._make(found, {**config, "config": inner or {}})

    def _object(self, config: dict[str, Any]) -> Any:
        name = config["class_name"]
        inner = {} if config["config"] is None else config["config"]
        if isinstance(name, str) and name.startswith("__") and name.endswith("__"):
            return self._special(name, inner)
        found = find_object(config, self.custom)
        if found is None:
            raise UnknownObjectError(_unknown_message([_described(config)]))
        if isinstance(found, types.FunctionType) or name == "function":
            return found
        if not isinstance(inner, dict):
            raise ConfigError(
                f'The "config" of a {name} must be a dict. Received: {inner!r}. '
                "The file or config is damaged, or was not written by Keras."
            )
        return self._make(found, {**config, "config": inner})

    def _special(self, name: str, inner: Any) -> Any:
        if name == "__lambda__":
            if self.safe:
                raise ConfigError(
                    "The config holds a Python lambda by value: arbitrary code execution. "
                    "Received: safe_mode=True. Load with safe_mode=False if you trust the file."
                )
            return load_function(inner["value"])
        if name in ("__numpy__", "__tensor__"):
            return np.array(inner["value"], dtype=_number_dtype(inner["dtype"]))
        if name == "__bytes__":
            return inner["value"].encode("utf-8")
        if name == "__ellipsis__":
            return Ellipsis
        if name == "__slice__":
            return slice(*(self.nested(inner[k]) for k in ("start", "stop", "step")))
        if name == "__keras_tensor__":
            return _read_keras_tensor(inner)
        if name == "__typespec__" and not isinstance(inner, (list, tuple, dict)):
            raise ArgumentTypeError(
                f"A {name} in a config: Expected 'config' to be a list or a tuple. Received: "
                f"{inner!r}. The file or config is damaged."
            )
        raise UnsupportedError(
            f"A config names a {name}, which zoo_keras does not have. Received: {inner!r}. "
            "Save the model without TensorFlow type specifications."
        )

    def _make(self, cls: Any, config: dict[str, Any]) -> Any:
        shared = config.get("shared_object_id")
        if shared is not None and _state.objects and shared in _state.objects:
            return _state.objects[shared]
        if not hasattr(cls, "from_config"):
            raise UnknownObjectError(
                f"{cls} has no from_config(). Received: its config {config}. "
                "Give the class a from_config(cls, config) class method."
            )
        with CustomObjectScope(self.custom), safe_mode_scope(self.safe):
            made = _from_config(cls, config)
            if (build := config.get("build_config")) and not made.built:
                made.build_from_config(build)
                made.built = True
            if compiled := config.get("compile_config"):
                made.compile_from_config(compiled)
        if shared is not None and _state.objects is not None:
            _state.objects[shared] = made
        return made


def _from_config(cls: Any, config: dict[str, Any]) -> Any:
    try:
        return cls.from_config(dict(config["config"]))
    except TypeError as error:
        if isinstance(error, ConfigError):
            raise
        raise UnknownObjectError(
            f"{cls.__name__}.from_config failed: {error}. Received: config={config['config']}. "
            "Accept every key in __init__, or deserialize nested objects in from_config."
        ) from error


def _number_dtype(name: Any) -> np.dtype:
    """A dtype of numbers; one of text could ask for any amount of memory."""
    dtype = np.dtype(str(name))
    if dtype.kind not in "fiub":
        raise ConfigError(
            f"An array in a config must hold numbers. Received: dtype={name!r}. "
            "The file or config is damaged, or was not written by Keras."
        )
    return dtype


def _read_keras_tensor(inner: dict[str, Any]) -> Any:
    from zoo_keras.ops.symbolic import KerasTensor

    tensor = KerasTensor(inner["shape"], dtype=inner["dtype"])
    tensor.keras_history = inner["keras_history"]
    return tensor


def _is_class(value: Any) -> bool:
    return isinstance(value, type)


def find_object(config: dict[str, Any], custom: dict[str, Any]) -> Any:
    """The class or function that a config with "class_name" names; None if it is not known."""
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name") or name
    if not isinstance(name, str) or not isinstance(registered, str):
        raise ConfigError(
            f"The names in a config must be strings. Received: class_name={name!r}, "
            f"registered_name={registered!r}. The file or config is damaged."
        )
    if name == "function":
        found = _find_function(config["config"], module, custom)
        return _not_in_disguise(found, registered, (name, config["config"]), module)
    found = get_registered_object(registered, custom_objects=custom)
    if found is None:
        found = custom.get(name)
    if found is not None or not module:
        return found
    return _not_in_disguise(_builtin(module, name), registered, (name,), module)


def _not_in_disguise(found: Any, registered: str, names: Sequence[Any], module: Any) -> Any:
    """What was found by module and name; a config that claims to mean a registered object with
    another name must not get a built-in one."""
    ours = str(getattr(found, "__module__", "")).startswith("zoo_keras.")
    if found is None or registered in names or not ours or module is None:
        return found
    raise ConfigError(
        f"A config of {names[-1]!r} in {module!r} resolved to a Keras built-in. Received: "
        f"registered_name={registered!r}. The file or config is damaged, or was not written by "
        "Keras."
    )


def _find_function(name: Any, module: str | None, custom: dict[str, Any]) -> Any:
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"A function in a config: Expected 'config' to be a non-null str. Received: {name!r}. "
            "The file or config is damaged, or was not written by Keras."
        )
    if name.startswith("keras2>"):
        importlib.import_module("zoo_keras.saving.keras2")  # registers what Keras 3 does not have
    found = get_registered_object(name, custom_objects=custom)
    if found is None and module == "builtins":
        found = next(filter(None, (_public(f, name) for f in _FUNCTION_FAMILIES)), None)
    elif found is None and module:
        found = _builtin(module, name)
    if found is None and ">" not in name:  # Keras up to 3.6 dropped the package of the name
        found = next((o for n, o in custom.items() if n.endswith(f">{name}")), None)
    return found


def _builtin(module: Any, name: str) -> Any:
    parts = str(module).split(".")
    if parts[0] != "keras":
        return None
    for find in _resolvers:
        if (found := find(module, name)) is not None:
            return found
    if str(module) in _HOMES:
        return _public(_HOMES[str(module)], name)
    below = parts[2:] if parts[1:2] == ["src"] else parts[1:]
    if not below:
        return next(filter(None, (_public(f, name) for f in FAMILIES)), None)
    if below[0] == "backend":  # a class of one backend, as torch's Adam: the family comes later
        below = [part for part in below if part in FAMILIES]
    if below[0:1] == ["applications"] and len(below) == 2:  # layers of image models
        return _public(".".join(below), name)
    if not below or below[0] not in FAMILIES:
        return None
    family = "optimizers.schedules" if below[:2] == ["optimizers", "schedules"] else below[0]
    return _public(family, name)


def _public(family: str, name: str) -> Any:
    """A class or function of zoo_keras that the family's module offers under this name."""
    if f"{family}.{name}" in RENAMED:  # for scripts: weights in files lie otherwise
        return None
    try:
        found = getattr(importlib.import_module(f"zoo_keras.{family}"), name, None)
    except (ModuleNotFoundError, UnsupportedError):
        return None
    plain = isinstance(found, types.FunctionType) and family in _FUNCTION_FAMILIES
    usable = plain or hasattr(found, "from_config")
    own = str(getattr(found, "__module__", "")).startswith("zoo_keras.")
    return found if usable and own else None


def unknown_objects(config: Any, custom_objects: dict[str, Any] | None = None) -> Iterator[str]:
    """Descriptions of all classes and functions in the config that nothing is known of."""
    return _unknown(config, {**(custom_objects or {}), **scoped_objects(), **get_custom_objects()})


def raise_if_unknown(described: Iterable[str]) -> None:
    """UnknownObjectError with all of the descriptions, if there are any."""
    missing = list(dict.fromkeys(described))
    if missing:
        raise UnknownObjectError(_unknown_message(missing))


def _unknown(config: Any, custom: dict[str, Any]) -> Iterator[str]:
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from _unknown(value, custom)
    if not isinstance(config, dict):
        return
    name = str(config.get("class_name", "__"))
    named = "config" in config and "module" in config and not name.startswith("__")
    if named and find_object(config, custom) is None:
        yield _described(config)
    for value in config.values():
        yield from _unknown(value, custom)


def _described(config: dict[str, Any]) -> str:
    name = config["config"] if config["class_name"] == "function" else config["class_name"]
    module = config.get("module")
    kind = "function" if config["class_name"] == "function" else "class"
    return f"{kind} {name!r}" + (f" of {module}" if module else "")


def _unknown_message(names: list[str]) -> str:
    return (
        "A config names objects that are neither built into zoo_keras nor registered. "
        f"Received: {'; '.join(names)}. Pass your own ones in custom_objects={{name: object}} or "
        "decorate them with @zoo_keras.saving.register_keras_serializable() and import them "
        "before loading; those of keras.* are not supported."
    )


def get_by_name(identifier: Any, known: dict[str, Any], family: str) -> Any:
    """What `keras.<family>.get` returns: the object that a name, config, class or object means.

    Raises ConfigError, with the known names, when there is none.
    """
    if identifier is None:
        return None
    found = identifier
    if isinstance(identifier, (str, dict)):
        found = deserialize_keras_object(identifier, module_objects=known)
    if isinstance(found, type):
        found = found()
    if not callable(found) or isinstance(found, str):
        names = ", ".join(sorted(known))
        raise ConfigError(
            f"Unknown {family}. Received: {identifier!r}. Use an object, a function, or one of the "
            f"names {names}; register your own with register_keras_serializable()."
        )
    return found
