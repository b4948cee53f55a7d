"""Every exception of zoo_keras. Each is also the built-in type that Keras raises in its place, so
`except ValueError` in existing code goes on working. Messages have three parts: what and where,
what was received, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class ZooKerasError(Exception):
    """Base of all errors raised on purpose by zoo_keras."""


class ShapeError(ZooKerasError, ValueError):
    """Shapes that do not fit together; the message names the op or layer.

    `met` holds the groups of sizes that met where they did not fit, for who can choose others.
    """

    def __init__(self, message: str = "", met: Iterable[Sequence[int]] = ()) -> None:
        super().__init__(message)
        self.met = tuple(tuple(group) for group in met)


class ConfigError(ZooKerasError, ValueError):
    """An argument, name or configuration that is not valid."""


class ArgumentTypeError(ConfigError, TypeError):
    """An argument of another type than the one that is needed."""


class NotFunctionalError(ConfigError, AttributeError):
    """What only a functional model has, asked of another; hasattr() is False for it."""


class DataError(ZooKerasError, ValueError):
    """Data that do not fit the model: wrong width, dtype, nulls, labels out of range."""


class FileError(ZooKerasError, ValueError):
    """A file that is not what it should be: truncated, hostile, or no model at all."""


class UnsupportedError(ZooKerasError, NotImplementedError):
    """Something Keras or Spark has and zoo_keras does not; the message says what is supported."""


class ProgramError(ZooKerasError, RuntimeError):
    """The engine refused a program, or an instruction failed while it ran."""


class ClusterError(ZooKerasError, RuntimeError):
    """The Spark session cannot run what was asked: slots, configuration, a lost executor."""


class NotCompiledError(ZooKerasError, ValueError):
    """fit, evaluate or train_on_batch was called before compile."""


class NonFiniteLossError(ZooKerasError, ArithmeticError):
    """The training loss became NaN or infinite; the message says at which epoch and step."""
