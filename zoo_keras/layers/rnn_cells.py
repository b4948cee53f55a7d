"""SimpleRNNCell, LSTMCell and GRUCell: one step, and where the engine can, a whole sequence.

In: inputs of a step (batch, features) and states (batch, units). Out: the output and new states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import initializers, ops
from zoo_keras.layers.base.weight_options import add_weight
from zoo_keras.layers.rnn_cell_base import (
    RecurrentCell,
    dropped,
    gate_products,
)
from zoo_keras.primitives import gru as rnn_gru
from zoo_keras.primitives import recurrent as rnn

# Outputs of a sequence and the last states.
Sequences = tuple[Any, list[Any]]


def _state(states: Any) -> Any:
    return states[0] if isinstance(states, (list, tuple)) else states


def _like_states(state: Any, states: Any) -> Any:
    return [state] if isinstance(states, (list, tuple)) else state


class SimpleRNNCell(RecurrentCell):
    """activation(inputs @ kernel + state @ recurrent_kernel + bias), its own output and state.

    https://keras.io/api/layers/recurrent_layers/simple_rnn_cell/

    >>> RNN(SimpleRNNCell(4))(np.ones((2, 3, 5))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        options = {
            "activation": activation,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(units, use_bias, dropout, recurrent_dropout, seed, options, **kwargs)

    def build(self, input_shape: Any = None) -> None:
        """Make both kernels and the bias for inputs (batch, features)."""
        self._make_kernels(input_shape)
        self.bias = add_weight(self, "bias", (self.units,)) if self.use_bias else None

    def call(self, sequence: Any, states: Any, training: Any = False) -> Any:
        """One step: (output, states)."""
        before = _state(states)
        seen = dropped(sequence, self.input_masks(sequence, training))
        made = ops.matmul(seen, self.in_float("kernel"))
        if self.bias is not None:
            made = ops.add(made, self.bias)
        before = dropped(before, self.state_masks(before, training))
        made = ops.add(made, ops.matmul(before, self.in_float("recurrent_kernel")))
        output = self.activation(made)
        return output, _like_states(output, states)

    def run_sequence(
        self, x: Any, states: Sequence[Any], mask: Sequence[Any], reverse: bool, training: Any
    ) -> Sequences | None:
        """All steps in one instruction; None when only step by step is possible."""
        names = self.kernel_names()
        if type(self) is not SimpleRNNCell or names is None:
            return None
        if training and self.recurrent_dropout:
            return None
        xp, how = self.projected(x, self.bias, training), {"reverse": reverse, **names}
        _, y, last = self.run(rnn.simple_rnn, xp, states[0], *mask, kept=(True,) * 3, **how)
        return y, [last]


class LSTMCell(RecurrentCell):
    """Long short-term memory: gates input, forget, candidate, output; states h and c.

    https://keras.io/api/layers/recurrent_layers/lstm_cell/

    >>> RNN(LSTMCell(4))(np.ones((2, 3, 5))).shape
    (2, 4)
    """

    _gates = 4
    _activations = ("activation", "recurrent_activation")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        options = {
            "activation": activation,
            "recurrent_activation": recurrent_activation,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(units, use_bias, dropout, recurrent_dropout, seed, options, **kwargs)
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [self.units, self.units]

    def build(self, input_shape: Any = None) -> None:
        """Make both kernels and the bias for inputs (batch, features)."""
        self._make_kernels(input_shape)
        self.bias = self._make_bias() if self.use_bias else None

    def _make_bias(self) -> Any:
        if not self.unit_forget_bias:
            return add_weight(self, "bias", (4 * self.units,))

        def forget_ones(shape: Any, dtype: Any = None) -> Any:
            made = [self.bias_initializer((n,), dtype=dtype) for n in (self.units, 2 * self.units)]
            ones = initializers.Ones()((self.units,), dtype=dtype)
            return ops.concatenate([made[0], ones, made[1]])

        return self.add_weight(
            name="bias", shape=(4 * self.units,), initializer=forget_ones,
            regularizer=self.bias_regularizer, constraint=self.bias_constraint,
        )  # fmt: skip

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """One step: (output, [h, c])."""
        h, c = states
        masks = self.input_masks(inputs, training)
        z = gate_products(inputs, self.in_float("kernel"), masks, 4)
        masks = self.state_masks(h, training)
        z = ops.add(z, gate_products(h, self.in_float("recurrent_kernel"), masks, 4))
        if self.bias is not None:
            z = ops.add(z, self.bias)
        return self._gated(z, c)

    def _gated(self, z: Any, c: Any) -> tuple[Any, list[Any]]:
        """Output and states from what comes to the four gates, side by side, and the state c."""
        i, f, candidate, o = ops.split(z, 4, axis=-1)
        i, f, o = (self.recurrent_activation(x) for x in (i, f, o))
        c = ops.add(ops.multiply(f, c), ops.multiply(i, self.activation(candidate)))
        h = ops.multiply(o, self.activation(c))
        return h, [h, c]

    def run_sequence(
        self, x: Any, states: Sequence[Any], mask: Sequence[Any], reverse: bool, training: Any
    ) -> Sequences | None:
        """All steps in one instruction; None when only step by step is possible."""
        names = self.kernel_names()
        if type(self) is not LSTMCell or names is None:
            return None
        if training and self.recurrent_dropout:
            return None
        xp, how = self.projected(x, self.bias, training), {"reverse": reverse, **names}
        made = self.run(rnn.lstm, xp, *states, *mask, kept=(True,) * 6, **how)
        return made[3], [made[4], made[5]]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


class GRUCell(RecurrentCell):
    """Gated recurrent unit: gates update, reset, candidate.

    With reset_after the reset gate acts after the recurrent product, and the bias has two rows.
    https://keras.io/api/layers/recurrent_layers/gru_cell/

    >>> RNN(GRUCell(4))(np.ones((2, 3, 5))).shape
    (2, 4)
    """

    _gates = 3
    _activations = ("activation", "recurrent_activation")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        options = {
            "activation": activation,
            "recurrent_activation": recurrent_activation,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(units, use_bias, dropout, recurrent_dropout, seed, options, **kwargs)
        self.reset_after = reset_after

    def build(self, input_shape: Any = None) -> None:
        """Make both kernels and the bias for inputs (batch, features)."""
        self._make_kernels(input_shape)
        width = 3 * self.units
        shape = (2, width) if self.reset_after else (width,)
        self.bias = add_weight(self, "bias", shape) if self.use_bias else None

    def _biases(self) -> tuple[Any, Any]:
        """Of the inputs and of the state; None where there is none."""
        if self.bias is None or not self.reset_after:
            return self.bias, None
        rows = ops.convert_to_tensor(self.bias)
        return rows[0], rows[1]

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """One step: (output, states)."""
        h, (bias, state_bias) = _state(states), self._biases()
        x = gate_products(inputs, self.in_float("kernel"), self.input_masks(inputs, training), 3)
        x = x if bias is None else ops.add(x, bias)
        x_z, x_r, x_h = ops.split(x, 3, axis=-1)
        masks = self.state_masks(h, training)
        kernels = ops.split(self.in_float("recurrent_kernel"), 3, axis=1)
        terms = [None] * 3 if state_bias is None else ops.split(state_bias, 3)
        p_z, p_r = (self._term(dropped(h, masks, k), kernels[k], terms[k]) for k in (0, 1))
        z, r = (self.recurrent_activation(ops.add(*pair)) for pair in ((x_z, p_z), (x_r, p_r)))
        seen = dropped(h, masks, 2)
        if self.reset_after:
            p_h = ops.multiply(r, self._term(seen, kernels[2], terms[2]))
        else:
            p_h = ops.matmul(ops.multiply(r, seen), kernels[2])
        candidate = self.activation(ops.add(x_h, p_h))
        h = ops.add(ops.multiply(z, h), ops.multiply(ops.subtract(1.0, z), candidate))
        return h, _like_states(h, states)

    @staticmethod
    def _term(h: Any, kernel: Any, bias: Any) -> Any:
        product = ops.matmul(h, kernel)
        return product if bias is None else ops.add(product, bias)

    def run_sequence(
        self, x: Any, states: Sequence[Any], mask: Sequence[Any], reverse: bool, training: Any
    ) -> Sequences | None:
        """All steps in one instruction; None when only step by step is possible."""
        names = self.kernel_names()
        if type(self) is not GRUCell or names is None:
            return None
        if training and self.recurrent_dropout:
            return None
        bias, state_bias = self._biases()
        xp = self.projected(x, bias, training)
        how: dict[str, Any] = {"reverse": reverse, "kept": (True,) * 5, **names}
        if self.reset_after:
            if state_bias is None:
                state_bias = ops.zeros((3 * self.units,), dtype=self.compute_dtype)
            made = self.run(rnn_gru.gru, xp, state_bias, states[0], *mask, **how)
        else:
            made = self.run(rnn_gru.gru_reset_first, xp, states[0], *mask, **how)
        return made[3], [made[4]]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "reset_after": self.reset_after}
