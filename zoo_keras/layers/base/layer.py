"""Layer: weights, configuration and a `call` written in zoo_keras.ops, as keras.layers.Layer.

A layer is called on KerasTensors (a model is being built), on Tensors (a program is being traced)
or on arrays (traced, compiled and run at once). Knows no training loop and no Spark.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from zoo_keras import initializers
from zoo_keras.errors import (
    ArgumentTypeError,
    ConfigError,
    NotFunctionalError,
    ShapeError,
    UnsupportedError,
)
from zoo_keras.graph import Tensor, current_scope, current_trace, not_tracing, scope
from zoo_keras.layers.base.arguments import layer_name, refuse, true_or_false, weight_shape
from zoo_keras.layers.base.call_context import calling, current_training, rounded, rounding, taken
from zoo_keras.layers.base.call_signature import CallSignature
from zoo_keras.layers.base.captured import accepted, captured_arguments
from zoo_keras.layers.base.eager import call_on_arrays
from zoo_keras.layers.base.functional import (
    CallNode,
    note_trials,
    open_sizes,
    symbolic_outputs,
    trial_tensors,
)
from zoo_keras.layers.base.input_spec import InputSpec, check_inputs
from zoo_keras.layers.base.tracking import Tracked
from zoo_keras.naming import auto_name
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.masks import mask_of, set_mask
from zoo_keras.ops.symbolic import KerasTensor, any_symbolic
from zoo_keras.policies import DTypePolicy, dtype_policy, usable
from zoo_keras.policy_map import name_or_policy, policy_for
from zoo_keras.stateless import holding, values_of
from zoo_keras.variables import Variable, is_awaited

__all__ = ["InputSpec", "Layer"]

_making_weights = threading.RLock()  # one thread at a time, of all layers


def captures_arguments(get_config: Any) -> Any:
    """Mark a get_config that adds the arguments of a class's __init__ for classes without one."""
    get_config.captures_arguments = True
    return get_config


class Layer(Tracked):
    """The base of all layers.

    Subclasses make weights in `build(input_shape)` with `add_weight`, and compute in
    `call(inputs)` with functions of zoo_keras.ops. See https://keras.io/api/layers/base_layer/.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")
    ...     def call(self, x):
    ...         return x * self.scale
    """

    keras_module = "keras.layers"

    _init_arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        object.__setattr__(made, "_init_arguments", (args, kwargs))
        return made

    input_dtype = "float32"  # of inputs of which only the shape is known
    _computes = True  # a model leaves computing, and rounding, to its layers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _once(cls.__dict__["build"])  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        shape = kwargs.pop("input_shape", None)
        dim = kwargs.pop("input_dim", None)
        if kwargs:
            raise ConfigError(
                f"{type(self).__name__}: unrecognized keyword arguments. Received: "
                f"{sorted(kwargs)}. Remove them, or check their spelling."
            )
        self.name = layer_name(name or auto_name(type(self).__name__))
        self.built = False
        self.autocast = autocast
        self._path = "/".join(filter(None, [current_scope(), self.name]))
        self._dtype_policy: DTypePolicy = policy_for(dtype, self._path)
        self.supports_masking = False
        self.input_spec: Any = None
        self.activity_regularizer = _regularizer(activity_regularizer)
        self._trainable = true_or_false(trainable)
        self._inbound_nodes: list[CallNode] = []
        self._own_losses: list[Any] = []
        self._build_shapes: Any = None
        self._building = False
        self._input_shape_argument = tuple(shape) if shape else ((dim,) if dim else None)

    # ---- weights -------------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Sequence[int] | int | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Make a Variable of this layer; float ones start as glorot_uniform, others as zeros."""
        from zoo_keras import constraints

        refuse(self, overwrite_with_gradient=overwrite_with_gradient)  # float8 alone needs it
        dims = weight_shape(self, shape)
        if current_trace() is not None and self.built and not self._building:
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": you cannot add new elements of state to a '
                f"layer while it is called. Received: a weight {name!r}. Make it in `build`."
            )
        kind = dtype or self.variable_dtype
        if initializer is None:
            initializer = "glorot_uniform" if str(kind).startswith("float") else "zeros"
        first = initializers.get(initializer)
        if is_awaited(f"{self.name}/{name}", dims):
            first = initializers.Zeros()
        with not_tracing():
            variable = Variable(
                first, dims, kind, trainable, autocast,
                aggregation=aggregation, name=name or auto_name("variable"),
                regularizer=_regularizer(regularizer), constraint=constraints.get(constraint),
            )  # fmt: skip
        variable.path = f"{current_scope() or self.name}/{variable.name}"
        self._track_variable(variable)
        if not self._trainable:
            variable.trainable = False
        return variable

    def add_variable(self, *args: Any, **kwargs: Any) -> Variable:
        """The same as add_weight, under the name that Keras has for Variables of any kind."""
        return self.add_weight(*args, **kwargs)

    def _own_scope(self) -> AbstractContextManager[None]:
        """Nodes and weights made inside carry this layer's name, once."""
        return nullcontext() if self._building else scope(self.name)

    @property
    def path(self) -> str:
        """The names of the layers around it and its own, joined by slashes, as in its weights'."""
        own = self._own_variables
        return own[0].path.rpartition("/")[0] if own else self._path

    @property
    def dtype_policy(self) -> DTypePolicy:
        """The dtypes of weights and of the computation. It is set by a policy or its name."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        self._dtype_policy = usable(dtype_policy(value))

    @property
    def rounds(self) -> bool:
        """Whether the layer rounds what it reads and gives to bfloat16."""
        return self.dtype_policy.mixed and self._computes

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the numbers in `call`: "float32" also where they are rounded to bfloat16."""
        return "float32" if self.dtype_policy.mixed else self.dtype_policy.compute_dtype

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return self.variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """ "int8" once the layer is quantised (see `layers.quantized`), else None."""
        return self.dtype_policy.quantization_mode

    def quantize(self, mode: Any = None, config: Any = None, type_check: bool = True) -> None:
        """Replace weights by int8 ones. Most layers cannot and raise UnsupportedError."""
        raise UnsupportedError(
            f'{type(self).__name__} "{self.name}": has no int8 form, it does not have a `quantize` '
            f"method implemented. Received: quantize({mode!r}). Leave the layer out with `filters`."
        )

    def build(self, input_shape: Any = None) -> None:
        """Make the weights. Called once, with the shape of the first inputs."""
        del input_shape
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        """What build_from_config needs to make the weights without data."""
        if self._build_shapes is None:
            return None
        key = "shapes_dict" if isinstance(self._build_shapes, dict) else "input_shape"
        return {key: self._build_shapes}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the weights as they were made when the layer was saved."""
        if not config:
            return
        shape = config.get("input_shape")
        if shape is not None:
            self.build(_tuples(shape))
        elif "shapes_dict" in config:
            self.build(**{k: _tuples(v) for k, v in config["shapes_dict"].items()})

    def save_own_variables(self, store: Any) -> None:
        """Put the layer's own weights, sublayers left out, into `store` under "0", "1", ..."""
        for i, variable in enumerate(self.stored_in_order()):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Take the weights from what save_own_variables has put into `store`."""
        variables = self.stored_in_order()
        if len(store) != len(variables):
            raise shape_error(
                self, f"{len(variables)} arrays are needed", f"{len(store)} arrays",
                "Load them into the layer that they were saved from.",
            )  # fmt: skip
        for i, variable in enumerate(variables):
            variable.assign(store[str(i)])

    def stored_in_order(self) -> list[Any]:
        """What files keep of the layer's own Variables, trainable ones first."""
        return sorted(self._own_variables, key=lambda v: not v.trainable_when_made)

    # ---- calls ---------------------------------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The computation, written in zoo_keras.ops. Subclasses must define it."""
        raise NotImplementedError(
            f'{type(self).__name__} "{self.name}": does not have a `call` method implemented. '
            "Received: a call of the layer. Define call(self, inputs) in the class."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any_symbolic(args) or any_symbolic(kwargs.values()):
            return self._call_symbolic(args, kwargs)
        if current_trace() is not None or _has_tensor((args, kwargs)):
            return self._call_traced(*args, **kwargs)
        return call_on_arrays(self, args, kwargs)

    def stateless_call(
        self, trainable_variables: Sequence[Any], non_trainable_variables: Sequence[Any],
        *args: Any, return_losses: bool = False, **kwargs: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """(outputs, non-trainable variables afterwards) of a call with these variables, and the
        losses if return_losses; the layer's own stay as they are."""
        if not self.built:
            raise ConfigError(
                f'Layer "{self.name}": stateless_call needs variables. Received: a layer that is '
                "not built. Call it on data, or build(input_shape), first."
            )
        mine = [*self.trainable_variables, *self.non_trainable_variables]
        with holding(self.name, mine, [*trainable_variables, *non_trainable_variables]):
            outputs = self(*args, **kwargs)
            after = values_of(self.non_trainable_variables)
            losses = (list(self.losses),) if return_losses else ()
        return (outputs, after, *losses)

    def _call_symbolic(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        self._prepare(args, kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        CallNode(self, args, kwargs, outputs)
        return outputs

    def _call_traced(self, *args: Any, **kwargs: Any) -> Any:
        self._prepare(args, kwargs)
        signature = self._signature()
        bound = signature.bind(args, kwargs)
        training = self._training(bound)
        if signature.takes_training:
            bound["training"] = training
        self._fill_masks(signature, bound)
        inputs = signature.first_tensors(bound)
        given = bound.get("mask")
        masks = map_structure(mask_of, inputs) if given is None else given
        mixed = self.rounds
        with calling(training), rounding(mixed), self._own_scope():
            if self.autocast:
                bound = taken(bound, self, mixed)
            outputs = signature.invoke(self.call, bound)
            outputs = rounded(outputs) if mixed else outputs
            self._add_activity_loss(outputs)
            self._send_masks(inputs, masks, outputs)
        return outputs

    def _prepare(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Check the inputs and build the layer when this is the first call."""
        if "_inbound_nodes" not in self.__dict__:
            raise ConfigError(
                f"{type(self).__name__}: the base constructor never ran. Received: a call of the "
                "layer. Call super().__init__() first in its __init__."
            )
        signature = self._signature()
        inputs = signature.first_tensors(signature.bind(args, kwargs))
        check_inputs(self.input_spec, inputs, self.name)
        if not self.built or self._building:
            with _making_weights:
                if self.built:  # by another thread, or it calls itself while it is built
                    return
                shapes = signature.shapes(signature.bind(args, kwargs))
                signature.build(self, shapes)
                self.built = True
                check_inputs(self.input_spec, inputs, self.name)

    def _signature(self) -> CallSignature:
        return _signature_of(type(self))

    def _training(self, bound: dict[str, Any]) -> bool | None:
        given = bound.get("training")
        if given is not None:
            return bool(given)
        outer = current_training()
        return outer if outer is not None else self._signature().default_training

    def _fill_masks(self, signature: CallSignature, bound: dict[str, Any]) -> None:
        """Give `mask` arguments the masks that came with the tensors."""
        for name, tensors in signature.mask_arguments(bound):
            if bound.get(name) is None:
                masks = map_structure(mask_of, tensors)
                if any(m is not None for m in flatten(masks)):
                    bound[name] = masks

    def _send_masks(self, inputs: Any, previous: Any, outputs: Any) -> None:
        overridden = type(self).compute_mask is not Layer.compute_mask
        if not self.supports_masking and not overridden:
            return
        if not overridden and all(m is None for m in flatten(previous)):
            return
        masks = self.compute_mask(inputs, previous)
        for tensor, mask in zip(flatten(outputs), flatten(masks), strict=False):
            set_mask(tensor, mask)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs; by default that of the inputs."""
        del inputs
        return previous_mask

    def _add_activity_loss(self, outputs: Any) -> None:
        if self.activity_regularizer is not None:
            for tensor in flatten(outputs):
                self.add_loss(self.activity_regularizer(tensor) / max(tensor.shape[0], 1))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors like the outputs of a call with these KerasTensors."""
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            signature = self._signature()
            inputs = signature.first_tensors(signature.bind(args, kwargs))
            return self._outputs_by_shape(inputs)
        return symbolic_outputs(self._call_traced, args, kwargs)

    def _outputs_by_shape(self, inputs: Any) -> Any:
        """KerasTensors by the compute_output_shape of a subclass."""
        made = self._shaped(map_structure_shapes(inputs))
        try:
            trials = [self._shaped(map_structure_shapes(trial_tensors(inputs, n))) for n in (0, 1)]
        except ShapeError:  # these sizes do not fit, others will
            return made
        for tensor, *tried in zip(*map(flatten, [made, *trials]), strict=True):
            note_trials(tensor, [t.shape for t in tried])
        return made

    def _shaped(self, input_shape: Any) -> Any:
        return _keras_tensors(self.compute_output_shape(input_shape), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs for inputs of this shape (None: not known).

        Builds the layer if it was not built before.
        """
        if type(self).call is Layer.call:
            raise NotImplementedError(
                f'{type(self).__name__} "{self.name}": does not have a `compute_output_shape` '
                "method implemented, nor a `call`. Received: a shape. Define call(self, inputs)."
            )
        inputs = _keras_tensors(input_shape, self.input_dtype)
        self._prepare((inputs,), {})
        outputs = symbolic_outputs(self._call_traced, (inputs,), {})
        return map_structure_shapes(outputs)

    @property
    def metrics(self) -> list[Any]:
        """Metrics set as attributes of this layer and of those below it."""
        return [m for layer in self._flatten_layers() for m in layer._own_metrics]

    # ---- losses --------------------------------------------------------------------------------

    def add_loss(self, loss: Any) -> None:
        """Add scalar tensors to the training loss; call it inside `call`."""
        trace = current_trace()
        (trace.losses if trace else self._own_losses).extend(flatten(loss))

    @property
    def losses(self) -> list[Any]:
        """Regularization losses of all weights, and losses added outside of traces."""
        own = [loss for layer in self._flatten_layers() for loss in layer._own_losses]
        return own + self.regularization_losses()

    def regularization_losses(self) -> list[Any]:
        """One scalar for each trainable weight that has a regularizer."""
        return [v.regularizer(v) for v in self.trainable_weights if v.regularizer is not None]

    # ---- configuration -------------------------------------------------------------------------

    @captures_arguments
    def get_config(self) -> dict[str, Any]:
        """Constructor arguments from which `from_config` makes an equal layer."""
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": self.dtype_policy.serialize(),
        }
        if self.activity_regularizer is not None:
            from zoo_keras import regularizers

            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        if hasattr(type(self).get_config, "captures_arguments"):
            return accepted(type(self), {**config, **captured_arguments(self, Layer)})
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer with this configuration (weights not included)."""
        config = dict(config)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = name_or_policy(config["dtype"])
        try:
            return cls(**config)
        except TypeError as error:
            raise ArgumentTypeError(
                f"{cls.__name__}: cannot be made from its configuration ({error}). Received: "
                f"{sorted(config)}. Give the class a from_config, or fit __init__ to get_config."
            ) from error

    # ---- functional-model attributes -----------------------------------------------------------

    @property
    def input(self) -> Any:
        """The KerasTensors of the layer's first call."""
        return _first_call(self, "input")

    @property
    def output(self) -> Any:
        """The KerasTensors that the layer's first call made."""
        return _first_call(self, "output")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def map_structure_shapes(tensors: Any) -> Any:
    """Shapes in the structure of the tensors; one tensor gives one tuple."""
    if isinstance(tensors, dict):
        return {k: map_structure_shapes(v) for k, v in tensors.items()}
    if isinstance(tensors, (list, tuple)):
        return [map_structure_shapes(t) for t in tensors]
    return None if tensors is None else tuple(tensors.shape)


def is_shape(value: Any) -> bool:
    """Whether a value is one shape rather than a structure of shapes."""
    return isinstance(value, (tuple, list)) and all(
        d is None or isinstance(d, (int, np.integer)) for d in value
    )


def _keras_tensors(shape: Any, dtype: str) -> Any:
    if is_shape(shape):
        return KerasTensor(shape, dtype)
    if isinstance(shape, dict):
        return {k: _keras_tensors(v, dtype) for k, v in shape.items()}
    found = [_keras_tensors(s, dtype) for s in shape]
    return tuple(found) if isinstance(shape, tuple) else found


def _once(build: Any) -> Any:
    """Around a class's build: outside traces, under the layer's name, its shapes noted."""

    @functools.wraps(build)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> None:
        with _making_weights:
            if self._building:  # super().build(...)
                build(self, *args, **kwargs)
                return
            self._build_shapes = open_sizes(_build_arguments(build, args, kwargs))
            with not_tracing(), self._own_scope():
                self._building = True
                try:
                    build(self, *args, **kwargs)
                finally:
                    self._building = False
            self.built = True

    return wrapped


def _build_arguments(build: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    names = list(inspect.signature(build).parameters)[1:]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(given) == 1:
        return next(iter(given.values()))
    return given or None


Layer.build = _once(Layer.build)  # type: ignore[method-assign]


def _has_tensor(values: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in flatten(values))


def _tuples(shape: Any) -> Any:
    if is_shape(shape):
        return tuple(shape)
    if isinstance(shape, dict):
        return {k: _tuples(v) for k, v in shape.items()}
    return [_tuples(s) for s in shape]


def _regularizer(identifier: Any) -> Any:
    from zoo_keras import regularizers

    return regularizers.get(identifier)


_signatures: dict[Any, CallSignature] = {}


def _signature_of(cls: Any) -> CallSignature:
    if cls not in _signatures:
        _signatures[cls] = CallSignature(cls.call, cls.build)
    return _signatures[cls]


def _first_call(layer: Layer, side: str) -> Any:
    nodes = layer._inbound_nodes
    if not nodes:
        raise NotFunctionalError(
            f'{type(layer).__name__} "{layer.name}": has never been called on a KerasTensor and '
            f"thus has no defined `{side}`. Received: .{side}. Call it on Input(...) first."
        )
    tensors = nodes[0].inputs if side == "input" else nodes[0].outputs
    return tensors[0] if len(tensors) == 1 else pack_as(tensors, tensors)


def known_size(layer: Layer, shape: Any, axis: int) -> int:
    """The size of an axis, which weights depend on; ShapeError when there is none or it is None."""
    if not is_shape(shape) or not -len(shape) <= axis < len(shape) or shape[axis] is None:
        raise shape_error(
            layer, f"the size of axis {axis} must be known to make the weights",
            f"input shape {shape}", "Give the Input a full shape.",
        )  # fmt: skip
    return int(shape[axis])


def shape_error(
    layer: Layer, expected: str, received: Any, advice: str, met: Sequence[Sequence[int]] = ()
) -> ShapeError:
    """A ShapeError in the three-part form, naming the layer; `met` is that of ShapeError."""
    return ShapeError(
        f'{type(layer).__name__} "{layer.name}": {expected}. Received: {received}. {advice}', met
    )
