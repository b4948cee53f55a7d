"""How a class's `call` and `build` take their arguments: read once with inspect, then applied."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.graph import Tensor
from zoo_keras.nest import flatten
from zoo_keras.ops.symbolic import KerasTensor


class CallSignature:
    """The parameters of `call`, and which shapes `build` asks for."""

    def __init__(self, call: Callable[..., Any], build: Callable[..., Any]) -> None:
        parameters = list(inspect.signature(call).parameters.values())[1:]
        kinds = inspect.Parameter
        self.names = [
            p.name for p in parameters if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
        ]
        self.variadic = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
        self.keyword_only = {p.name for p in parameters if p.kind is kinds.KEYWORD_ONLY}
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        open_ended = any(p.kind is kinds.VAR_KEYWORD for p in parameters)
        self.takes_training = "training" in self.names
        self.open_ended = open_ended
        given = defaults.get("training")
        self.default_training = given if isinstance(given, bool) else None
        self.build_names = list(inspect.signature(build).parameters)[1:]

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name; extra positional ones under '*'."""
        positional = [n for n in self.names if n not in self.keyword_only]
        bound = dict(zip(positional, args, strict=False))
        if len(args) > len(positional):
            bound["*"] = args[len(positional) :]
        bound.update(kwargs)
        return bound

    def invoke(self, call: Callable[..., Any], bound: dict[str, Any]) -> Any:
        """Call with arguments made by `bind`."""
        bound = dict(bound)
        extra = bound.pop("*", ())
        if not self.takes_training and not self.open_ended:
            bound.pop("training", None)
        if not extra:
            return call(**bound)
        positional = [bound.pop(n) for n in self.names if n in bound and n not in self.keyword_only]
        return call(*positional, *extra, **bound)

    def first_tensors(self, bound: dict[str, Any]) -> Any:
        """The first argument that is not a flag: the layer's inputs."""
        for name in [*self.names, *bound]:
            if name in bound and name not in ("training", "mask", "*"):
                return bound[name]
        return bound.get("*", [None])[0] if bound.get("*") else None

    def mask_arguments(self, bound: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """(mask parameter, the tensors whose masks belong there)."""
        if "mask" in self.names and len(self.shapes(bound)) == 1:  # as in Keras, not with more
            yield "mask", self.first_tensors(bound)
        for name in self.names:
            if name.endswith("_mask") and name[:-5] in bound:
                yield name, bound[name[:-5]]

    def shapes(self, bound: dict[str, Any]) -> dict[str, Any]:
        """Shapes of all tensor arguments, as `<argument>_shape`."""
        found = {}
        for name, value in bound.items():
            leaves = flatten(value)
            if any(_has_shape(leaf) for leaf in leaves):
                found[f"{name}_shape"] = _shapes(value)
        return found

    def build(self, layer: Any, shapes: dict[str, Any]) -> None:
        """Call `build` with the shapes that it names, or with the first one."""
        matching = {n: shapes[n] for n in self.build_names if n in shapes}
        first = next(iter(shapes.values()), None)
        if len(self.build_names) == 1 or not self.build_names or not matching:
            layer.build(first) if self.build_names else layer.build()
        else:
            self._check_build(layer)
            layer.build(**matching)

    def _check_build(self, layer: Any) -> None:
        """ConfigError when `build` takes shapes of arguments that `call` does not have."""
        for name in self.build_names:
            argument = name.removesuffix("_shape")
            if argument == name:
                fault = f"argument `{name}`, which does not end in `_shape`"
            elif argument not in self.names and not self.open_ended:
                fault = f"argument `{name}`, but `call()` does not have argument `{argument}`"
            else:
                continue
            raise ConfigError(
                f'{type(layer).__name__} "{layer.name}": each argument of a `build()` with several '
                f"is the shape of one of `call()`. Received: {fault}. Name it after that argument, "
                "as in build(self, x_shape, y_shape)."
            )


def _has_shape(value: Any) -> bool:
    return (
        isinstance(value, (Tensor, KerasTensor))
        or hasattr(value, "__array_interface__")
        or (getattr(type(value), "is_zk_variable", False))
    )


def _shapes(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _shapes(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "shape"):
        return [_shapes(v) for v in value]
    return tuple(value.shape) if _has_shape(value) else None
