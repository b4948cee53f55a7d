"""RNN: a cell run over the steps of sequences.

In: (batch, steps, features...), a mask (batch, steps) and initial states. Out: the last output or
those of all steps, and the last states. Cells that can, run a sequence as one instruction; all
others run as the body of one `scan`.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.layers.base.arguments import argument_error
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.rnn_cell_base import steady_dropout
from zoo_keras.layers.stacked_cells import StackedRNNCells, output_size
from zoo_keras.layers.stacked_cells import initial_state as cell_state
from zoo_keras.nest import flatten, pack_as
from zoo_keras.primitives.scan import scan_steps
from zoo_keras.variables import Variable


class RNN(Layer):
    """Runs a cell over sequences.

    A cell is a layer (or any object) with `call(inputs, states) -> (output, new states)`, a
    `state_size`, and perhaps `output_size` and `get_initial_state(batch_size)`. A masked step keeps
    the states and repeats the output before it, or gives zeros with zero_output_for_mask.
    https://keras.io/api/layers/recurrent_layers/rnn/

    Raises ConfigError when the cell has no state_size; ShapeError when a stateful layer meets
    another batch size.

    >>> RNN(LSTMCell(4), return_sequences=True)(np.ones((2, 3, 5))).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("time_major", False):
            raise UnsupportedError(
                "RNN: sequences are (batch, steps, ...). Received: time_major=True. Transpose the "
                "inputs and outputs with ops.transpose."
            )
        super().__init__(**kwargs)
        self.cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell
        size = getattr(self.cell, "state_size", None)
        if not isinstance(size, (int, list, tuple)):
            raise argument_error(
                self, "cell", "a cell with a whole number or a list of them as `state_size`", cell,
                "Set self.state_size in the cell's __init__.",
            )  # fmt: skip
        self.state_size = list(size) if isinstance(size, (list, tuple)) else [size]
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.states: Any = None

    # ---- states --------------------------------------------------------------------------------

    def build(self, sequences_shape: Any = None, initial_state_shape: Any = None) -> None:
        """Build the cell; a stateful layer also makes its states."""
        step = (sequences_shape[0], *sequences_shape[2:])
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build(step)
        if self.stateful and self.states is None:
            self._make_states(sequences_shape[0])

    def _make_states(self, batch: int | None) -> None:
        if batch is None:
            raise ShapeError(
                f'{type(self).__name__} "{self.name}": a stateful layer needs a fixed batch size. '
                "Received: a batch size of None. Give the Input a batch_shape."
            )
        states = self.get_initial_state(batch)
        made = [Variable(value, trainable=False, name="rnn_state") for value in flatten(states)]
        for variable in made:
            variable.path = f"{self.name}/{variable.name}"
        self._carry(made)
        object.__setattr__(self, "states", pack_as(states, made))

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Zeros, or what the cell wants, for every state."""
        states = cell_state(self.cell, batch_size)
        return list(states) if isinstance(states, (list, tuple)) else [states]

    def reset_state(self) -> None:
        """Set the states of a stateful layer back to zero."""
        for variable in flatten(self.states) if self.states is not None else []:
            variable.assign(variable.numpy() * 0)

    def reset_states(self) -> None:
        """The same, as Keras 2 called it."""
        self.reset_state()

    def _first_states(self, sequences: Any, given: Any) -> list[Any]:
        batch = sequences.shape[0]
        if given is None:
            given = self.states if self.stateful else self.get_initial_state(batch)
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        states = [ops.convert_to_tensor(s) for s in flatten(given)]
        if any(s.shape[0] != batch for s in states):
            raise ShapeError(
                f'{type(self).__name__} "{self.name}": every sequence needs a state. Received: '
                f"{batch} sequences and states of shapes {[s.shape for s in states]}. "
                "Use the batch size that the states were made for."
            )
        nested: list[Any] = pack_as(given, states)
        return nested

    # ---- calls ---------------------------------------------------------------------------------

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        """(batch, steps, ...) -> last output or outputs of all steps, then the last states."""
        states = self._first_states(sequences, initial_state)
        mask = _boolean(flatten(mask)[0])
        fresh = initial_state is None and not self.stateful
        with steady_dropout(self.cell, sequences.shape[0], training):
            output, last = self._whole(sequences, states, mask, training, fresh) or self._steps(
                sequences, states, mask
            )
        if self.stateful:
            for variable, value in zip(flatten(self.states), flatten(last), strict=True):
                variable.assign(value)
        return (output, *last) if self.return_state else output

    def _whole(
        self, x: Any, states: list[Any], mask: Any, training: Any, fresh: bool
    ) -> tuple[Any, list[Any]] | None:
        """The sequence in one instruction, if the cell can."""
        run = getattr(self.cell, "run_sequence", None)
        if run is None or len(x.shape) != 3:
            return None
        masks = () if mask is None else (mask,)
        made = run(x, states, masks, self.go_backwards, training)
        if made is None:
            return None
        outputs, last = made
        if not self.return_sequences:
            return self._last_output(last[0], mask, fresh), last
        if mask is not None:
            shown = mask if self.zero_output_for_mask else self._begun(mask, fresh)
            outputs = outputs if shown is None else _zero_but(outputs, shown)
        return self._in_order(outputs), last

    def _last_output(self, state: Any, mask: Any, fresh: bool) -> Any:
        if mask is None:
            return state
        if self.zero_output_for_mask:
            return _zero_but(state, mask[:, 0 if self.go_backwards else -1])
        return state if fresh else _zero_but(state, ops.any(mask, axis=1))

    def _begun(self, mask: Any, fresh: bool) -> Any:
        """(batch, steps), False before the first step that is not masked: there is no output yet.
        None when the states are zeros, and so are these outputs."""
        if fresh:
            return None
        counts = ops.cast(mask, "int32")
        if self.go_backwards:
            return ops.flip(ops.cumsum(ops.flip(counts, axis=1), axis=1), axis=1) > 0
        return ops.cumsum(counts, axis=1) > 0

    def _in_order(self, outputs: Any) -> Any:
        """Outputs come in the order in which the steps ran."""
        return ops.flip(outputs, axis=1) if self.go_backwards else outputs

    def _steps(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        """The sequence step by step."""
        width = (x.shape[0], output_size(self.cell))
        return self._scanned(self.cell, x, states, mask, ops.zeros(width, dtype=self.compute_dtype))

    def _scanned(
        self, cell: Any, x: Any, states: list[Any], mask: Any, blank: Any
    ) -> tuple[Any, list[Any]]:
        """cell(step, states) over all steps; `blank` is the output before the first."""
        body = _Body(cell, states, mask is not None, self.zero_output_for_mask)
        xs = [_time_first(x)] if mask is None else [_time_first(x), _time_first(mask)]
        first = [blank, *flatten(states)]
        last, rows = scan_steps(body, first, xs, x.shape[1], self.go_backwards)
        nested = pack_as(states, last[1:])
        if not self.return_sequences:
            return last[0], nested
        return self._in_order(_time_first(rows[0])), nested

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The inputs' mask for outputs of all steps; none for the rest."""
        kept = flatten(mask)[0] if self.return_sequences else None
        return [kept, *[None for _ in self.state_size]] if self.return_state else kept

    # ---- configuration -------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            "cell": serialize_keras_object(self.cell),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A layer with this configuration."""
        config = dict(config)
        cell = deserialize_keras_object(config.pop("cell"), custom_objects=custom_objects)
        return cls(cell, **config)


class _Body:
    """One step for `scan_steps`: the carried values are the last output and the states."""

    def __init__(self, cell: Any, states: list[Any], masked: bool, zeros: bool) -> None:
        self.cell, self.states, self.masked, self.zeros = cell, states, masked, zeros

    def __call__(self, carried: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
        before = pack_as(self.states, carried[1:])
        output, new = self.cell(xs[0], before)
        new = flatten(new)
        if self.masked:
            used = ops.expand_dims(xs[1], -1)
            kept = ops.zeros_like(output) if self.zeros else carried[0]
            output = ops.where(_widened(used, output), output, kept)
            new = [
                ops.where(_widened(used, n), n, o) for n, o in zip(new, carried[1:], strict=True)
            ]
        return [output, *new], [output]


def _widened(mask: Any, tensor: Any) -> Any:
    """(batch, 1) with as many axes as the tensor."""
    return ops.reshape(mask, (mask.shape[0], *[1] * (len(tensor.shape) - 1)))


def _zero_but(outputs: Any, shown: Any) -> Any:
    return ops.where(ops.expand_dims(shown, -1), outputs, 0.0)


def _time_first(x: Any) -> Any:
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


def _boolean(mask: Any) -> Any:
    """A mask as bool (batch, steps), or None."""
    if mask is None:
        return None
    mask = ops.cast(mask, "bool")
    return ops.squeeze(mask, -1) if len(mask.shape) == 3 else mask
