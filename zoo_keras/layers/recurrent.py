"""SimpleRNN, LSTM and GRU: RNN with a cell of its own, which it makes from its arguments."""

from __future__ import annotations

from typing import Any

from zoo_keras.layers.arguments import argument_error
from zoo_keras.layers.input_spec import InputSpec
from zoo_keras.layers.rnn import RNN
from zoo_keras.layers.rnn_cell_base import WEIGHT_OPTIONS, cell_config
from zoo_keras.layers.rnn_cells import GRUCell, LSTMCell, SimpleRNNCell
from zoo_keras.layers.weight_options import options_config

_LAYER_ARGUMENTS = (
    "return_sequences", "return_state", "go_backwards", "stateful", "unroll",
    "zero_output_for_mask", "activity_regularizer",
)  # fmt: skip
_SHARED = (
    "units", "use_bias", "activation", "recurrent_activation", "unit_forget_bias", "reset_after",
    "dropout", "recurrent_dropout", "implementation", *WEIGHT_OPTIONS,
)  # fmt: skip


def _of_cell(name: str) -> property:
    return property(lambda self: getattr(self.cell, name), doc=f"The cell's {name}.")


class _OwnCell(RNN):
    """A layer whose arguments are those of its cell and those of RNN."""

    _cell: Any = None
    _cell_name = ""

    def __init__(self, units: int, *args: Any, use_cudnn: Any = "auto", **kwargs: Any) -> None:
        kwargs.pop("input_length", None)  # Keras 2 wanted it; the input tells
        given = {n: kwargs.pop(n) for n in _LAYER_ARGUMENTS if n in kwargs}
        both = {n: kwargs[n] for n in ("dtype", "trainable") if n in kwargs}
        for name in ("name", "input_shape", "time_major", *both):
            if name in kwargs:
                given[name] = kwargs.pop(name)
        super().__init__(self._cell(units, *args, name=self._cell_name, **both, **kwargs), **given)
        if use_cudnn not in ("auto", True, False):
            raise argument_error(
                self, "use_cudnn", "'auto', True or False", use_cudnn, "It has no effect on a CPU."
            )
        self.use_cudnn = use_cudnn
        self.input_spec = InputSpec(ndim=3)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["cell"]
        mine = type(self.cell).get_config(self.cell)
        own = {key: mine[key] for key in mine if key not in ("name", "trainable", "dtype")}
        return {
            **config,
            **own,
            **cell_config(self.cell),
            **options_config(self, "activity_regularizer"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A layer with this configuration."""
        return super(RNN, cls).from_config(config)


for _name in _SHARED:
    setattr(_OwnCell, _name, _of_cell(_name))


class SimpleRNN(_OwnCell):
    """SimpleRNNCell over sequences (batch, steps, features).

    Takes the arguments of SimpleRNNCell and of RNN.
    https://keras.io/api/layers/recurrent_layers/simple_rnn/

    >>> SimpleRNN(4)(np.ones((2, 3, 5))).shape
    (2, 4)
    """

    _cell, _cell_name = SimpleRNNCell, "simple_rnn_cell"


class LSTM(_OwnCell):
    """LSTMCell over sequences (batch, steps, features).

    Takes the arguments of LSTMCell and of RNN. With tanh, sigmoid and no recurrent dropout the
    whole sequence is one instruction. https://keras.io/api/layers/recurrent_layers/lstm/

    >>> LSTM(4, return_sequences=True)(np.ones((2, 3, 5))).shape
    (2, 3, 4)
    """

    _cell, _cell_name = LSTMCell, "lstm_cell"


class GRU(_OwnCell):
    """GRUCell over sequences (batch, steps, features).

    Takes the arguments of GRUCell and of RNN. With tanh, sigmoid and no recurrent dropout the
    whole sequence is one instruction. https://keras.io/api/layers/recurrent_layers/gru/

    >>> GRU(4, return_sequences=True)(np.ones((2, 3, 5))).shape
    (2, 3, 4)
    """

    _cell, _cell_name = GRUCell, "gru_cell"
