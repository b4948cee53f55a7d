"""Bidirectional: a recurrent layer and its mirror image, which begins with the last step.

In: what the layer takes. Out: both outputs merged, or a tuple of both, then the states of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.arguments import argument_error
from zoo_keras.layers.base.layer import Layer
from zoo_keras.nest import flatten

_MERGES: dict[Any, Callable[[Any, Any], Any]] = {
    "sum": ops.add,
    "mul": ops.multiply,
    "ave": lambda a, b: ops.multiply(ops.add(a, b), 0.5),
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    None: lambda a, b: (a, b),
}
_EQUAL = ("stateful", "return_sequences", "return_state")


class Bidirectional(Layer):
    """Runs a recurrent layer forwards and a copy of it backwards.

    merge_mode is "concat", "sum", "mul", "ave", or None for a tuple. With return_sequences the
    outputs of masked steps are zero.
    https://keras.io/api/layers/recurrent_layers/bidirectional/

    Raises ConfigError for another merge_mode, and when a backward_layer of one's own does not fit.

    >>> Bidirectional(LSTM(4))(np.ones((2, 3, 5))).shape
    (2, 8)
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(value, Layer) and (value is not None or name == "layer"):
                raise argument_error(self, name, "a layer", value, "Pass one, such as LSTM(3).")
        if merge_mode not in _MERGES:
            raise argument_error(
                self, "merge_mode", "'concat', 'sum', 'mul', 'ave' or None", merge_mode,
                "Check the spelling.",
            )  # fmt: skip
        self.forward_layer = _copy(layer, "forward_")
        mirror = {"go_backwards": True}
        self.backward_layer = backward_layer or _copy(layer, "backward_", **mirror)
        self._check_pair()
        for each in (self.forward_layer, self.backward_layer):
            if hasattr(each, "zero_output_for_mask"):
                each.zero_output_for_mask = each.return_sequences
            if hasattr(layer, "use_cudnn") and each is not backward_layer:
                each.use_cudnn = layer.use_cudnn
        self.merge_mode = merge_mode
        self.stateful, self.return_state = layer.stateful, layer.return_state
        self.return_sequences = layer.return_sequences
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._first_weights = list(weights or [])

    def _check_pair(self) -> None:
        pair = self.forward_layer, self.backward_layer
        if pair[0].go_backwards == pair[1].go_backwards:
            raise ConfigError(
                f'Bidirectional "{self.name}": one layer must go forwards and one backwards. '
                f"Received: go_backwards={pair[0].go_backwards} in both. Set it in one of them."
            )
        for name in _EQUAL:
            one, other = (getattr(each, name) for each in pair)
            if one != other:
                raise ConfigError(
                    f'Bidirectional "{self.name}": both layers must have the same {name}. '
                    f"Received: {one} and {other}. Make them equal."
                )

    def build(self, sequences_shape: Any = None, initial_state_shape: Any = None) -> None:
        """Build both layers."""
        for each in (self.forward_layer, self.backward_layer):
            if not each.built:
                each.build(sequences_shape)
        if self._first_weights:
            self.set_weights(self._first_weights)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        """Both outputs, merged; then the states of both with return_state."""
        given = [None, None]
        if initial_state is not None:
            half = len(initial_state) // 2
            given = [initial_state[:half], initial_state[half:]]
        y, back = (
            layer(sequences, initial_state=state, mask=mask)
            for layer, state in zip((self.forward_layer, self.backward_layer), given, strict=True)
        )
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*y[1:], *back[1:])
            y, back = y[0], back[0]
        if self.return_sequences:
            back = ops.flip(back, axis=1)
        output = _MERGES[self.merge_mode](y, back)
        if not self.return_state:
            return output
        return (*output, *states) if self.merge_mode is None else (output, *states)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The inputs' mask for outputs of all steps; none for the rest."""
        kept = flatten(mask)[0] if self.return_sequences else None
        masks = [kept, kept] if self.merge_mode is None else [kept]
        return masks if len(masks) > 1 or self.return_state else kept

    # ---- states --------------------------------------------------------------------------------

    @property
    def states(self) -> Any:
        """The states of both layers, when they are stateful."""
        pair = self.forward_layer.states, self.backward_layer.states
        return (*pair[0], *pair[1]) if pair[0] and pair[1] else None

    def reset_state(self) -> None:
        """Set the states of both layers back to zero."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """The same, as Keras 2 called it."""
        self.reset_state()

    # ---- configuration -------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "merge_mode": self.merge_mode,
            "layer": serialize_keras_object(self.forward_layer),
            "backward_layer": serialize_keras_object(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Bidirectional:
        """A layer with this configuration."""
        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = deserialize_keras_object(config[name], custom_objects=custom_objects)
        return cls(**config)


def _copy(layer: Any, prefix: str, **changes: Any) -> Any:
    """A layer of the same configuration, with weights of its own."""
    config = serialize_keras_object(layer)
    name = prefix + layer.name.removeprefix(prefix)
    inner = {**config["config"], "name": name, **changes}
    return deserialize_keras_object({**config, "config": inner})
