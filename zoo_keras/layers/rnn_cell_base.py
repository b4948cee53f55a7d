"""What the cells of recurrent layers share: options of weights, kernels that may be int8, and
dropout that stays the same over all steps of a sequence.

In: constructor arguments. Out: attributes and configuration, and products with either kernel. Knows
no step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

import numpy as np

from zoo_keras import activations, native, ops, random
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.configs.registration import get_registered_name
from zoo_keras.layers.base.arguments import number, positive
from zoo_keras.layers.base.layer import Layer, known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.quantized import LargeWeight, Quantizable, in_float32
from zoo_keras.primitives.int8 import pack_int8
from zoo_keras.primitives.recurrent_activations import NAMES
from zoo_keras.primitives.recurrent_int8 import IN_INT8
from zoo_keras.quantizers import serialize
from zoo_keras.variables import Variable

LEAST_FEATURES = 64  # inputs of a step for which an int8 product pays
LEAST_WEIGHTS = 12288  # of a recurrent kernel: LSTM of 56 units, GRU of 64, SimpleRNN of 111

WEIGHT_OPTIONS = (
    "kernel_initializer", "recurrent_initializer", "bias_initializer", "kernel_regularizer",
    "recurrent_regularizer", "bias_regularizer", "kernel_constraint", "recurrent_constraint",
    "bias_constraint",
)  # fmt: skip


def has_byte_products() -> bool:
    """Whether this machine has instructions for products of bytes."""
    return native.instruction_set() != "base"


class RecurrentCell(Quantizable):
    """The base of SimpleRNNCell, LSTMCell and GRUCell.

    `_gates` is the number of columns of the kernels in units, `_activations` names the options that
    are activation functions. Of a quantised cell whole sequences are int8 products; one step by
    itself is computed in float32 from the int8 kernels.
    """

    computes = "run_sequence"
    _gates = 1
    kernel: Variable
    kernel_scale: Variable
    recurrent_kernel: Variable
    recurrent_kernel_scale: Variable
    _activations: Sequence[str] = ("activation",)
    activation: Any
    recurrent_activation: Any
    bias_initializer: Any
    bias_regularizer: Any
    bias_constraint: Any

    def __init__(
        self,
        units: int,
        use_bias: bool,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        options: dict[str, Any],
        implementation: int = 2,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.set_quantization(quantization_config)
        self.units = positive(self, "units", units)
        self.use_bias = use_bias
        set_options(self, **options)
        self.dropout = min(1.0, max(0.0, number(self, "dropout", dropout)))
        self.recurrent_dropout = min(
            1.0, max(0.0, number(self, "recurrent_dropout", recurrent_dropout))
        )
        self.implementation = 1 if self.recurrent_dropout else implementation
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed)
        self.state_size: Any = self.units
        self.output_size = self.units
        self._steady: dict[str, Any] | None = None  # masks while a sequence runs

    def _make_kernels(self, input_shape: Any) -> None:
        features, width = known_size(self, input_shape, -1), self._gates * self.units
        if self.quantization_mode:
            self.recurrent_kernel = self.int8_weight("recurrent_kernel", (self.units, width))
        if self.quantization_mode and features >= LEAST_FEATURES:
            self.kernel = self.int8_weight("kernel", (features, width))
        else:
            self.kernel = add_weight(self, "kernel", (features, width))
        if not self.quantization_mode:
            self.recurrent_kernel = add_weight(
                self, "recurrent_kernel", (self.units, width), option="recurrent"
            )

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros (batch, units) for every state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [ops.zeros((batch_size, n), dtype=self.compute_dtype) for n in sizes]

    # ---- whole sequences -----------------------------------------------------------------------

    def kernel_names(self) -> dict[str, str] | None:
        """The activations as the recurrent kernels call them; None when they lack one."""
        found = {option: _kernel_name(getattr(self, option)) for option in self._activations}
        named = {option: name for option, name in found.items() if name is not None}
        return named if len(named) == len(found) else None

    def large_weight(self) -> LargeWeight:
        """The kernel of the states, with a scale for each column."""
        return LargeWeight("recurrent_kernel", (0,))

    def large_weights(self) -> Sequence[LargeWeight]:
        """Also that of the inputs, unless they are few and their product quicker in float32."""
        wide = self.kernel.shape[0] >= LEAST_FEATURES
        return (self.large_weight(), *[LargeWeight("kernel", (0,))] * wide)

    def why_float(self) -> str | None:
        """Why int8 would not be quicker than float32: measured by shape. The machine that quantises
        is asked whether it has instructions for bytes."""
        if self.kernel_names() is None:
            return "stays float32, since it runs step by step"
        if not has_byte_products():
            return "stays float32, which is quicker without instructions for bytes"
        few = self._gates * self.units**2 < LEAST_WEIGHTS
        return "stays float32, which is quicker for few units" if few else None

    def projected(self, x: Any, bias: Any, training: Any) -> Any:
        """Inputs of all steps (batch, steps, features) through the kernel, in one product."""
        if self.kernel.dtype == "int8":
            return self.int8_product(x, self.kernel, self.kernel_scale, bias, activations.linear)
        masks = self.input_masks(x, training)
        if masks is not None:
            widened = {id(m): ops.expand_dims(m, 1) for m in masks}
            masks = [widened[id(m)] for m in masks]
        made = gate_products(self.observed(x), self.kernel, masks, self._gates)
        return made if bias is None else ops.add(made, bias)

    def run(self, recurrence: Any, xp: Any, *rest: Any, **how: Any) -> Any:
        """An op of whole sequences on projected inputs, the recurrent kernel, and the rest of its
        inputs; or its int8 form."""
        rounds = self.quantization_mode and self.rounds_inputs and self.compute_dtype == "float32"
        if not rounds:
            return recurrence(xp, self.in_float("recurrent_kernel"), *rest, **how)
        panels = pack_int8(self.recurrent_kernel, parts=self._gates)
        wstep = ops.divide(np.float32(1), in_float32(self.recurrent_kernel_scale))
        return IN_INT8[recurrence](xp, panels, wstep, *rest, **how)

    # ---- dropout -------------------------------------------------------------------------------

    def input_masks(self, inputs: Any, training: Any) -> Any:
        """What the inputs (batch, features) are multiplied by: None, or a tensor for each gate."""
        return self._masks("inputs", inputs, self.dropout, training)

    def state_masks(self, state: Any, training: Any) -> Any:
        """The same for the state (batch, units)."""
        return self._masks("state", state, self.recurrent_dropout, training)

    def _masks(self, name: str, tensor: Any, rate: float, training: Any) -> Any:
        if not training or not 0 < rate < 1:
            return None
        if self._steady is not None:
            return self._steady[name]
        return self._drawn(tensor.shape, rate)

    def _drawn(self, shape: Sequence[int], rate: float) -> list[Any]:
        count = self._gates if self.implementation == 1 else 1
        ones = in_dtype(np.ones(shape), self.compute_dtype)
        made = [random.dropout(ops.convert_to_tensor(ones), rate, seed=self.seed_generator)
                for _ in range(count)]  # fmt: skip
        return made * (self._gates // count)

    def _step_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one row of a step's inputs and of a state."""
        return {"inputs": (self.kernel.shape[0],), "state": (self.units,)}

    @contextmanager
    def _steady_masks(self, batch: int) -> Iterator[None]:
        rates = {"inputs": self.dropout, "state": self.recurrent_dropout}
        masks = {
            name: self._drawn((batch, *shape), rates[name]) if 0 < rates[name] < 1 else None
            for name, shape in self._step_shapes().items()
        }
        object.__setattr__(self, "_steady", masks)
        try:
            yield
        finally:
            object.__setattr__(self, "_steady", None)

    # ---- configuration -------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = self.quantization_config
        quantized = {} if config is None else {"quantization_config": serialize(config)}
        return {**super().get_config(), **cell_config(self), **quantized}


def _kernel_name(function: Any) -> str | None:
    if not isinstance(function, FunctionType):
        return None
    if get_registered_name(function) == "keras2>hard_sigmoid":
        return "hard_sigmoid_fifth"
    name = function.__name__
    return name if name in NAMES and function is getattr(activations, name, None) else None


def cell_config(cell: Any) -> dict[str, Any]:
    """The arguments that a cell and its layer have in common."""
    return {
        "units": cell.units,
        **options_config(cell, *cell._activations, *WEIGHT_OPTIONS),
        "use_bias": cell.use_bias,
        "dropout": cell.dropout,
        "recurrent_dropout": cell.recurrent_dropout,
        "seed": cell.seed,
    }


@contextmanager
def steady_dropout(cell: Any, batch: int, training: Any) -> Iterator[None]:
    """While the block runs, all cells at or below `cell` keep the dropout that they drew first."""
    found = cell._flatten_layers() if isinstance(cell, Layer) else []
    with ExitStack() as stack:
        for each in found if training else []:
            if isinstance(each, RecurrentCell):
                stack.enter_context(each._steady_masks(batch))
        yield


def dropped(x: Any, masks: Any, gate: int = 0) -> Any:
    """x times the mask of a gate, if there is one."""
    return x if masks is None else ops.multiply(x, masks[gate])


def gate_products(x: Any, kernel: Any, masks: Any, gates: int) -> Any:
    """x @ kernel, where every gate may see x through a mask of its own."""
    if masks is None:
        return ops.matmul(x, kernel)
    if all(m is masks[0] for m in masks):
        return ops.matmul(ops.multiply(x, masks[0]), kernel)
    parts = ops.split(kernel, gates, axis=1)
    return ops.concatenate([ops.matmul(dropped(x, masks, i), k) for i, k in enumerate(parts)], -1)
