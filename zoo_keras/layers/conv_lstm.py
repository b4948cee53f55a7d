"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: LSTM over sequences of maps, by convolutions.

In: (batch, steps, *spatial, channels), or channels first. Out: the last map or those of all steps,
and the last states. The inputs of all steps are convolved at once, before the loop over the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.layer import known_size
from zoo_keras.layers.base.weight_options import add_weight
from zoo_keras.layers.convolution import set_windows
from zoo_keras.layers.recurrent import OwnCell
from zoo_keras.layers.rnn_cell_base import dropped
from zoo_keras.layers.rnn_cells import LSTMCell


class ConvLSTMCell(LSTMCell):
    """One step on maps (batch, *spatial, channels): the products of LSTMCell are convolutions."""

    paddings = ("valid", "same")
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    padding: str

    def __init__(
        self, rank: int, filters: int, kernel_size: Any, strides: Any, padding: str,
        data_format: Any, dilation_rate: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(filters, implementation=1, **kwargs)
        self.rank, self.filters = rank, self.units
        set_windows(self, kernel_size, strides, padding, dilation_rate)
        self.data_format = standard_data_format(self, data_format)

    def build(self, input_shape: Any = None) -> None:
        """Make both kernels and the bias for inputs (batch, *spatial, channels)."""
        channels = known_size(self, input_shape, -1)
        self.spatial = [known_size(self, input_shape, 1 + i) for i in range(self.rank)]
        width = 4 * self.filters
        self.kernel = add_weight(self, "kernel", (*self.kernel_size, channels, width))
        self.recurrent_kernel = add_weight(
            self, "recurrent_kernel", (*self.kernel_size, self.filters, width), option="recurrent"
        )
        self.bias = self._make_bias() if self.use_bias else None

    def _places(self) -> list[int]:
        """The spatial sizes of a state."""
        if self.padding == "same":
            return [-(-n // s) for n, s in zip(self.spatial, self.strides, strict=True)]
        spans = [d * (k - 1) for d, k in zip(self.dilation_rate, self.kernel_size, strict=True)]
        return [(n - r - 1) // s + 1 for n, r, s in zip(self.spatial, spans, self.strides)]

    def _step_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "inputs": (*self.spatial, self.kernel.shape[-2]),
            "state": (*self._places(), self.filters),
        }

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros for h and c."""
        shape = (batch_size, *self._places(), self.filters)
        return [ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2)]

    def why_float(self) -> str | None:
        """Why int8 would not be quicker than float32."""
        return "stays float32, since it convolves step by step"

    def projected(self, x: Any, bias: Any, training: Any) -> Any:
        """Inputs of all steps (batch, steps, *spatial, channels) through the kernel."""
        masks = self.input_masks(x[:, 0], training)
        masks = masks and [ops.expand_dims(m, 1) for m in masks]

        def convolve(part: Any, kernel: Any) -> Any:
            rows = ops.reshape(part, (-1, *part.shape[2:]))
            return ops.conv(
                rows, kernel, strides=self.strides, padding=self.padding,
                data_format="channels_last", dilation_rate=self.dilation_rate,
            )  # fmt: skip

        made = _gates(x, self.kernel, masks, convolve)
        made = made if bias is None else ops.add(made, bias)
        return ops.reshape(made, (*x.shape[:2], *made.shape[1:]))

    def step(self, projected: Any, states: Any, training: Any) -> tuple[Any, list[Any]]:
        """One step from inputs that are convolved already: (output, [h, c])."""
        h, c = states

        def convolve(part: Any, kernel: Any) -> Any:
            return ops.conv(part, kernel, padding="same", data_format="channels_last")

        z = _gates(h, self.recurrent_kernel, self.state_masks(h, training), convolve)
        return self._gated(ops.add(projected, z), c)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["units"]
        names = ("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate")
        return {**config, **{name: getattr(self, name) for name in names}}


def _gates(x: Any, kernel: Any, masks: Any, convolve: Any) -> Any:
    """x through the kernel, where every gate may see x through a mask of its own."""
    if masks is None:
        return convolve(x, kernel)
    parts = ops.split(kernel, 4, axis=-1)
    return ops.concatenate([convolve(dropped(x, masks, i), k) for i, k in enumerate(parts)], -1)


class _ConvLSTM(OwnCell):
    """What the three share; `rank` is the number of spatial axes."""

    rank = 0
    _cell_name = "conv_lstm_cell"
    cell: Any
    data_format: Any

    @property
    def _axes(self) -> int:  # type: ignore[override]
        return self.rank + 3

    def _cell(self, **arguments: Any) -> ConvLSTMCell:
        return ConvLSTMCell(self.rank, **arguments)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        self._make(locals())

    def build(self, sequences_shape: Any = None, initial_state_shape: Any = None) -> None:
        """Build the cell; a stateful layer also makes its states."""
        shape = tuple(sequences_shape)
        if self.data_format == "channels_first":
            shape = (*shape[:2], *shape[3:], shape[2])
        super().build(shape)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        """(batch, steps, *spatial, channels) -> last map or maps of all steps, the last states."""
        if self.data_format == "channels_last":
            return super().call(sequences, initial_state, mask, training)
        if initial_state is not None:
            initial_state = [ops.moveaxis(s, 1, -1) for s in initial_state]
        made = super().call(ops.moveaxis(sequences, 2, -1), initial_state, mask, training)
        if not self.return_state:
            return self._first(made, self.return_sequences)
        states = [self._first(s, False) for s in made[1:]]
        return (self._first(made[0], self.return_sequences), *states)

    @staticmethod
    def _first(maps: Any, all_steps: bool) -> Any:
        return ops.moveaxis(maps, -1, 2 if all_steps else 1)

    def _steps(self, x: Any, states: Sequence[Any], mask: Any) -> tuple[Any, list[Any]]:
        training = self._drops
        projected = self.cell.projected(x, self.cell.bias, training)

        def step(rows: Any, before: Any) -> Any:
            return self.cell.step(rows, before, training)

        return self._scanned(step, projected, list(states), mask, ops.zeros_like(states[0]))

    @property
    def _drops(self) -> bool:
        """Whether masks were drawn for this sequence, which is only done in training."""
        return self.cell._steady is not None


class ConvLSTM1D(_ConvLSTM):
    """LSTM over sequences of rows (batch, steps, length, channels), by convolutions.

    https://keras.io/api/layers/recurrent_layers/conv_lstm1d/

    >>> ConvLSTM1D(4, 3)(np.ones((2, 3, 8, 5))).shape
    (2, 6, 4)
    """

    rank = 1


class ConvLSTM2D(_ConvLSTM):
    """LSTM over sequences of images (batch, steps, rows, columns, channels), by convolutions.

    https://keras.io/api/layers/recurrent_layers/conv_lstm2d/

    >>> ConvLSTM2D(4, 3, padding="same")(np.ones((2, 3, 8, 8, 1))).shape
    (2, 8, 8, 4)
    """

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """LSTM over sequences of volumes (batch, steps, *3 axes, channels), by convolutions.

    https://keras.io/api/layers/recurrent_layers/conv_lstm3d/

    >>> ConvLSTM3D(2, 2)(np.ones((1, 2, 4, 4, 4, 1))).shape
    (1, 3, 3, 3, 2)
    """

    rank = 3
