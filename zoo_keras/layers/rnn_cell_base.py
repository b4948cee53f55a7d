"""What the cells of recurrent layers share: options of weights, and dropout that stays the same
over all steps of a sequence.

In: constructor arguments. Out: attributes and configuration. Knows no step and no sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from zoo_keras import ops, random
from zoo_keras.layers.base.arguments import number, positive
from zoo_keras.layers.base.layer import Layer, known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options

WEIGHT_OPTIONS = (
    "kernel_initializer", "recurrent_initializer", "bias_initializer", "kernel_regularizer",
    "recurrent_regularizer", "bias_regularizer", "kernel_constraint", "recurrent_constraint",
    "bias_constraint",
)  # fmt: skip


class RecurrentCell(Layer):
    """The base of SimpleRNNCell, LSTMCell and GRUCell.

    `_gates` is the number of columns of the kernels in units, `_activations` names the options that
    are activation functions.
    """

    _gates = 1
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
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
        self.kernel = add_weight(self, "kernel", (features, width))
        self.recurrent_kernel = add_weight(
            self, "recurrent_kernel", (self.units, width), option="recurrent"
        )

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros (batch, units) for every state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [ops.zeros((batch_size, n), dtype=self.compute_dtype) for n in sizes]

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
        ones = np.ones(shape, self.compute_dtype)
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
        return {**super().get_config(), **cell_config(self)}


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
