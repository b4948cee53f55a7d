"""Questions about tensors and models under construction."""

from __future__ import annotations

from typing import Any

from zoo_keras.ops.symbolic import KerasTensor


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a KerasTensor. Source: keras.utils.is_keras_tensor."""
    return isinstance(x, KerasTensor)


def get_source_inputs(tensor: KerasTensor) -> list[KerasTensor]:
    """The Inputs that a KerasTensor was computed from. Source: keras.utils.get_source_inputs."""
    found: list[KerasTensor] = []
    seen: set[int] = set()
    stack = [tensor]
    while stack:
        one = stack.pop()
        before = one.history[0].inputs if one.history else []
        if not before and not any(one is t for t in found):
            found.append(one)
        new = [t for t in reversed(before) if id(t) not in seen]
        seen.update(id(t) for t in new)
        stack.extend(new)
    return found
