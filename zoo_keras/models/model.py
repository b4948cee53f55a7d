"""Model: a Layer that can be trained, saved and summarised; functional, or a subclass."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from zoo_keras.errors import ConfigError, NotFunctionalError
from zoo_keras.layers.base.layer import Layer, captures_arguments, map_structure_shapes
from zoo_keras.models.function_graph import FunctionGraph
from zoo_keras.models.functional_config import functional_config, functional_from_config
from zoo_keras.models.state_tree import set_state_tree, state_tree
from zoo_keras.naming import auto_name
from zoo_keras.nest import flatten
from zoo_keras.training.trainer import Trainer


class Model(Trainer, Layer):
    """A model from inputs and outputs, or a base class with `call` to define.

    >>> inputs = Input((784,))
    >>> model = Model(inputs, Dense(10)(inputs))

    See https://keras.io/api/models/model/. `fit`, `evaluate` and `predict` also take Spark RDDs and
    DataFrames.
    """

    keras_module = "keras"

    _computes = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _let_pipelines_ask()
        inputs, outputs, kwargs = _functional_arguments(args, kwargs)
        name = kwargs.pop("name", None)
        if inputs is None:
            super().__init__(name=name or auto_name(type(self).__name__), **kwargs)
            self._function = None
        else:
            prefix = "functional" if type(self) in (Model, Functional) else type(self).__name__
            super().__init__(name=name or auto_name(prefix), **kwargs)
            self._function = FunctionGraph(inputs, outputs, self.name)
            self._sublayers = list(self._function.operations)
            self.built = True
            if not self._trainable:
                self.trainable = False

    # ---- the functional graph ------------------------------------------------------------------

    @property
    def layers(self) -> list[Any]:
        """The layers directly inside this model."""
        return [layer for layer in self._sublayers if isinstance(layer, Layer)]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "`Model.layers` attribute is reserved: it cannot be set. Use another attribute name."
        )

    def _graph(self) -> FunctionGraph:
        if self._function is None:
            raise NotFunctionalError(
                f'Model "{self.name}" is a subclassed model without input and output tensors. '
                "Build it from Input(...) to use this."
            )
        return self._function

    @property
    def inputs(self) -> list[Any]:
        """The symbolic inputs of a functional model, flat."""
        return list(self._graph().inputs)

    @property
    def outputs(self) -> list[Any]:
        """The symbolic outputs of a functional model, flat."""
        return list(self._graph().outputs)

    @property
    def input(self) -> Any:
        return self._graph().inputs_structure

    @property
    def output(self) -> Any:
        return self._graph().outputs_structure

    @property
    def input_shape(self) -> Any:
        """The shape of the input, or shapes as inputs nest; None for sizes left open."""
        return map_structure_shapes(self.input)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, or shapes as outputs nest."""
        return map_structure_shapes(self.output)

    @property
    def input_dtype(self) -> str:  # type: ignore[override]
        """The dtype of the first input, float32 where there are none."""
        graph = self._function
        return graph.inputs[0].dtype if graph and graph.inputs else "float32"

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        graph = self._function
        return [graph.input_name(t) for t in graph.inputs] if graph else []

    @property
    def output_names(self) -> list[str]:
        """Names by which losses and metrics of several outputs are given."""
        graph = self._function
        if graph is None:  # of a subclass, known when a call has given a dict
            return list(self.__dict__.get("_output_keys", ()))
        if isinstance(graph.outputs_structure, dict):
            return list(_leaf_names(graph.outputs_structure))
        return [t.history[0].operation.name for t in graph.outputs if t.history]

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Run the functional graph; the only item of a list of outputs stands for the list, as in
        Keras. Subclasses define their own."""
        del training, mask
        if self._function is None:
            raise NotImplementedError(
                f"{type(self).__name__} does not define `call`, and has no input and output "
                "tensors. Define call(self, inputs) or build the model from Input(...)."
            )
        outputs = self._function.run(inputs)
        return outputs[0] if _is_single(outputs) else outputs

    def _call_symbolic(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """KerasTensors, in a list where the outputs are a list of one."""
        made = super()._call_symbolic(args, kwargs)
        graph = self._function
        plain = graph is not None and _is_plain_functional(type(self))
        return [made] if plain and _is_single(graph.outputs_structure) else made

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of a subclassed model for inputs of this shape."""
        if self.built or self._function is not None or input_shape is None:
            return
        from zoo_keras.layers.base.layer import _keras_tensors

        tensors = _keras_tensors(input_shape, "float32")
        self.built = True
        self.compute_output_spec(tensors)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """A layer by name, or by its index in `layers`."""
        if index is not None and 0 <= index < len(self.layers):
            return self.layers[index]
        found = [layer for layer in self.layers if layer.name == name]
        if not found:
            raise ConfigError(
                f'Model "{self.name}" has no such layer. Received: name={name!r}, index={index}. '
                f"Its layers are {[layer.name for layer in self.layers]}."
            )
        return found[0]

    def quantize(  # type: ignore[override]
        self,
        mode: Any = None,
        config: Any = None,
        filters: Any = None,
        sample: Any = None,
        *,
        type_check: bool = True,
    ) -> None:
        """Put kernels into int8 (of Dense, EinsumDense, convolutions, LSTM, GRU and SimpleRNN), and
        the tables of Embedding.

        The model then predicts faster and can be saved; it cannot be trained any more. Layers
        without an int8 form, and those that it would slow down (see docs/engine.md), stay as they
        are, with a warning when they have weights.

        Args:
            mode: "int8".
            config: a quantizers.Int8QuantizationConfig instead of a mode.
            filters: a regular expression, a list of them, or a function of a layer: which layers.
            sample: inputs as `predict` takes them: arrays, an RDD, or a DataFrame whose columns
                are the inputs in their order. They fix one scale for all inputs of a layer;
                without them each row of its inputs has its own. (Keras has no such argument.)
            type_check: leave subclasses of these layers alone.

        Raises ConfigError for a layer that is not built or is quantised already.
        Source: keras.Model.quantize.
        """
        from zoo_keras.models.quantizing import quantize_model

        quantize_model(self, mode, config, filters, sample, type_check)

    # ---- state ---------------------------------------------------------------------------------

    def get_state_tree(self, value_format: str = "backend_tensor") -> dict[str, Any]:
        """The values of all Variables, in dicts nested like their paths.

        Args:
            value_format: "backend_tensor", or "numpy_array" for copies.

        Raises ConfigError where two Variables have one path. Source: keras.Model.get_state_tree.

        >>> model.get_state_tree()["trainable_variables"]["dense"]["kernel"]
        """
        return state_tree(self, value_format)

    def set_state_tree(self, state_tree: dict[str, Any]) -> None:
        """Assign values that get_state_tree gave; Variables that are left out stay.

        Raises ConfigError for paths that the model has not, and changes nothing then.
        """
        set_state_tree(self, state_tree)

    # ---- configuration -------------------------------------------------------------------------

    @captures_arguments
    def get_config(self) -> dict[str, Any]:
        if self._function is not None and _is_plain_functional(type(self)):
            return functional_config(self, self._function)
        return Layer.get_config(self)

    def get_build_config(self) -> dict[str, Any] | None:
        """What build_from_config needs; a functional model is built by its configuration."""
        plain = self._function is not None and _is_plain_functional(type(self))
        return {"input_shape": None} if plain else super().get_build_config()

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A model with this configuration (weights not included)."""
        if "layers" in config and "input_layers" in config:
            return functional_from_config(
                Functional if cls is Model else cls, config, custom_objects
            )
        return super().from_config(config)

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as JSON, for `models.model_from_json`."""
        import json

        from zoo_keras.configs.serialization import serialize_keras_object

        return json.dumps(serialize_keras_object(self), **kwargs)

    # ---- files and display ---------------------------------------------------------------------

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Save architecture, weights and training state as `.keras` or `.h5`."""
        from zoo_keras.saving import save_model

        save_model(self, filepath, overwrite=overwrite, **kwargs)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Save the weights as `.weights.h5`, or in files of at most max_shard_size GB each."""
        from zoo_keras.saving import save_weights

        save_weights(self, filepath, overwrite, max_shard_size, **kwargs)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Load weights from `.weights.h5`, `.h5` or `.keras`."""
        from zoo_keras.saving import load_weights

        load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def summary(self, line_length: int | None = None, positions: Sequence[float] | None = None,
                print_fn: Any = None, expand_nested: bool = False, show_trainable: bool = False,
                layer_range: Any = None, programs: bool = False) -> None:  # fmt: skip
        """Print the layers, their output shapes and numbers of parameters.

        With `programs` also what the model has compiled here so far, and which instructions of it
        numpy computes because the engine has no kernel for them.
        """
        from zoo_keras.models.summary import print_summary

        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable,
                      layer_range, programs)  # fmt: skip


class Functional(Model):
    """What Model(inputs, outputs) makes; the class name that Keras files carry."""

    keras_module = "keras.src.models.functional"

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)


def _new_functional(cls: type, *args: Any, **kwargs: Any) -> Any:
    inputs, _, _ = _functional_arguments(args, kwargs)
    target = Functional if cls is Model and inputs is not None else cls
    return Layer.__new__(target, *args, **kwargs)


Model.__new__ = _new_functional  # type: ignore[method-assign]


def _let_pipelines_ask() -> None:
    """Let Spark's Pipeline call `fit` of a model that is among its stages: the error then says
    which stage to use instead. Spark itself would say that it knows no such thing."""
    base = sys.modules.get("pyspark.ml.base")
    if base is not None and not issubclass(Model, base.Estimator):
        base.Estimator.register(Model)


def _functional_arguments(args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """(inputs, outputs, other keywords); inputs is None when the call is not functional."""
    rest = dict(kwargs)
    given = list(args)
    inputs = rest.pop("inputs", None) if "inputs" in rest else (given.pop(0) if given else None)
    outputs = rest.pop("outputs", None) if "outputs" in rest else (given.pop(0) if given else None)
    if given:
        rest.setdefault("name", given.pop(0))
    if outputs is None:
        return None, None, kwargs
    return inputs, outputs, rest


def _leaf_names(outputs: dict[str, Any], above: str = "") -> Iterator[str]:
    """The keys of outputs; of those below a key, that key, a slash, and their own or layer's."""
    for key in sorted(outputs):
        value, name = outputs[key], f"{above}{key}"
        if isinstance(value, dict):
            yield from _leaf_names(value, f"{name}/")
        elif isinstance(value, (list, tuple)):
            for tensor in flatten(value):
                yield f"{name}/{tensor.history[0].operation.name if tensor.history else 'output'}"
        else:
            yield name


def _is_single(outputs: Any) -> bool:
    return isinstance(outputs, (list, tuple)) and len(outputs) == 1


def _is_plain_functional(cls: type) -> bool:
    if cls.__init__ in (Model.__init__, Functional.__init__):  # type: ignore[misc]
        return True
    parameters = list(inspect.signature(cls.__init__).parameters)[1:]  # type: ignore[misc]
    return parameters[:2] == ["inputs", "outputs"]
