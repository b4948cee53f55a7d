"""SimpleRNN, LSTM and GRU: RNN with a cell of its own, which it makes from its arguments."""

from __future__ import annotations

from typing import Any

from zoo_keras.layers.base.arguments import argument_error
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.weight_options import options_config
from zoo_keras.layers.rnn import RNN
from zoo_keras.layers.rnn_cell_base import WEIGHT_OPTIONS
from zoo_keras.layers.rnn_cells import GRUCell, LSTMCell, SimpleRNNCell

_CELL_ARGUMENTS = (
    "units", "use_bias", "activation", "recurrent_activation", "unit_forget_bias", "reset_after",
    "dropout", "recurrent_dropout", "implementation", "seed", "quantization_config",
    *WEIGHT_OPTIONS, "filters", "kernel_size", "strides", "padding", "data_format",
    "dilation_rate",
)  # fmt: skip


def _of_cell(name: str) -> property:
    return property(lambda self: getattr(self.cell, name), doc=f"The cell's {name}.")


class OwnCell(RNN):
    """A layer whose arguments are those of its cell and those of RNN."""

    _cell: Any = None
    _cell_name = ""
    _axes = 3

    def _make(self, arguments: dict[str, Any]) -> None:
        """Take the local variables of a constructor: some are the cell's, some are RNN's."""
        given = {k: v for k, v in arguments.items() if k not in ("self", "kwargs", "__class__")}
        given |= arguments["kwargs"]
        given.pop("input_length", None)  # Keras 2 wanted it; the input tells
        use_cudnn = given.pop("use_cudnn", "auto")
        own = {k: given.pop(k) for k in _CELL_ARGUMENTS if k in given}
        own |= {k: given[k] for k in ("dtype", "trainable") if k in given}
        RNN.__init__(self, self._cell(name=self._cell_name, **own), **given)
        if use_cudnn not in ("auto", True, False):
            raise argument_error(
                self, "use_cudnn", "'auto', True or False", use_cudnn, "It has no effect on a CPU."
            )
        self.use_cudnn = use_cudnn
        self.input_spec = InputSpec(ndim=self._axes)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["cell"]
        mine = type(self.cell).get_config(self.cell)
        if self.cell.quantization_mode:
            config["dtype"] = mine["dtype"]
        own = {key: mine[key] for key in mine if key not in ("name", "trainable", "dtype")}
        return {
            **config,
            **own,
            **options_config(self, "activity_regularizer"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A layer with this configuration."""
        return super(RNN, cls).from_config(config)


for _name in _CELL_ARGUMENTS:
    setattr(OwnCell, _name, _of_cell(_name))


class SimpleRNN(OwnCell):
    """SimpleRNNCell over sequences (batch, steps, features).

    Takes the arguments of SimpleRNNCell and of RNN.
    https://keras.io/api/layers/recurrent_layers/simple_rnn/

    >>> SimpleRNN(4)(np.ones((2, 3, 5))).shape
    (2, 4)
    """

    _cell, _cell_name = SimpleRNNCell, "simple_rnn_cell"

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
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        self._make(locals())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them: without the seed."""
        config = super().get_config()
        del config["seed"]
        return config


class LSTM(OwnCell):
    """LSTMCell over sequences (batch, steps, features).

    Takes the arguments of LSTMCell and of RNN. With built-in activations (docs/engine.md lists
    them) and no recurrent dropout the whole sequence is one instruction. https://keras.io/api/layers/recurrent_layers/lstm/

    >>> LSTM(4, return_sequences=True)(np.ones((2, 3, 5))).shape
    (2, 3, 4)
    """

    _cell, _cell_name = LSTMCell, "lstm_cell"

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
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        self._make(locals())


class GRU(OwnCell):
    """GRUCell over sequences (batch, steps, features).

    Takes the arguments of GRUCell and of RNN. With built-in activations (docs/engine.md lists
    them) and no recurrent dropout the whole sequence is one instruction. https://keras.io/api/layers/recurrent_layers/gru/

    >>> GRU(4, return_sequences=True)(np.ones((2, 3, 5))).shape
    (2, 3, 4)
    """

    _cell, _cell_name = GRUCell, "gru_cell"

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
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        self._make(locals())
