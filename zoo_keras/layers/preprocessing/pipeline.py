"""Pipeline: layers one after the other, as one layer that is not a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.layer import Layer


class Pipeline(Layer):
    """Applies layers in order, such as several that augment images.

    https://keras.io/api/layers/preprocessing_layers/pipeline/

    >>> Pipeline([Rescaling(2.0), Rescaling(1.0, offset=3.0)])(np.ones((1, 2)))
    array([[5., 5.]], dtype=float32)
    """

    def __init__(self, layers: Sequence[Any], name: str | None = None) -> None:
        super().__init__(name=name)
        self._pipeline_layers = list(layers)

    @property
    def layers(self) -> list[Any]:
        """The layers, first to last."""
        return self._pipeline_layers

    @property
    def on_columns(self) -> bool:
        """Whether a layer works on whole columns."""
        return any(getattr(layer, "on_columns", False) for layer in self._pipeline_layers)

    def build(self, input_shape: Any = None) -> None:
        """Layers are built when they are called."""

    def call(self, inputs: Any, training: Any = True, mask: Any = None) -> Any:
        """What the last layer makes of what the ones before it made."""
        for layer in self._pipeline_layers:
            names = layer._signature().names
            given = {"training": training, "mask": mask}
            inputs = layer(
                inputs, **{k: v for k, v in given.items() if k in names and v is not None}
            )
            mask = None  # it comes with the tensors from here on
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"layers": serialize_keras_object(self._pipeline_layers), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A pipeline with this configuration."""
        if not isinstance(config.get("layers"), (list, tuple)):
            raise ConfigError(
                "Pipeline: a config holds its `layers` as a list. Received: "
                f"layers={config.get('layers')!r}. Pass what get_config gave."
            )
        layers = [
            deserialize_keras_object(c, custom_objects=custom_objects) for c in config["layers"]
        ]
        return cls(**{**config, "layers": layers})
