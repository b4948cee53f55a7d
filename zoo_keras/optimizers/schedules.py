"""Learning rates that depend on the step, with the names and configs of Keras.

In: the number of updates done, as an int or a tensor of a trace. Out: a float32 scalar. Source:
https://keras.io/api/optimizers/learning_rate_schedules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.missing import missing


class LearningRateSchedule:
    """Base of schedules: override `__call__(step)`, written in ops, and `get_config`."""

    keras_module = "keras.optimizers.schedules"

    def __call__(self, step: Any) -> Any:
        """The learning rate of this step."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step).")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config(self).")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """Makes one of what get_config gave."""
        return cls(**config)


class _Schedule(LearningRateSchedule):
    """A schedule whose config is a list of attributes, one of them a number of steps."""

    own: tuple[str, ...]

    def _check_steps(self, name: str, steps: float) -> None:
        if steps <= 0:
            raise ConfigError(
                f"{type(self).__name__}: {name} must be above 0. Received: {name}={steps}. "
                "Pass the number of steps over which the rate changes."
            )

    def get_config(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.own}


def _number(step: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(step), "float32")


class ExponentialDecay(_Schedule):
    """initial_learning_rate * decay_rate**(step / decay_steps), in stairs if staircase."""

    own = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def __call__(self, step: Any) -> Any:
        part = ops.divide(_number(step), float(self.decay_steps))
        part = ops.floor(part) if self.staircase else part
        return ops.multiply(ops.power(float(self.decay_rate), part), self.initial_learning_rate)


class PiecewiseConstantDecay(_Schedule):
    """values[0] up to step boundaries[0], values[1] up to boundaries[1], ..., then the last."""

    own = ("boundaries", "values", "name")

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        if len(boundaries) != len(values) - 1:
            raise ConfigError(
                "PiecewiseConstantDecay: there must be one boundary less than values. Received: "
                f"{len(boundaries)} boundaries and {len(values)} values. Add or drop some."
            )
        self.boundaries, self.values, self.name = boundaries, values, name

    def __call__(self, step: Any) -> Any:
        step = ops.convert_to_tensor(step)
        rate: Any = ops.convert_to_tensor(float(self.values[-1]))
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            rate = ops.where(ops.less_equal(step, boundary), float(value), rate)
        return rate


class PolynomialDecay(_Schedule):
    """From initial to end_learning_rate along (1 - step / decay_steps)**power, over and over if
    cycle, with a longer period each time."""

    own = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power = end_learning_rate, power
        self.cycle, self.name = cycle, name

    def __call__(self, step: Any) -> Any:
        step, period = _number(step), float(self.decay_steps)
        if self.cycle:
            turns = ops.where(ops.equal(step, 0.0), 1.0, ops.ceil(ops.divide(step, period)))
            part = ops.divide(step, ops.multiply(turns, period))
        else:
            part = ops.divide(ops.minimum(step, period), period)
        drop = self.initial_learning_rate - self.end_learning_rate
        curve = ops.power(ops.subtract(1.0, part), float(self.power))
        return ops.add(ops.multiply(curve, drop), self.end_learning_rate)


class InverseTimeDecay(_Schedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps), in stairs if staircase."""

    own = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def __call__(self, step: Any) -> Any:
        part = ops.divide(_number(step), float(self.decay_steps))
        part = ops.floor(part) if self.staircase else part
        below = ops.add(ops.multiply(part, float(self.decay_rate)), 1.0)
        return ops.divide(float(self.initial_learning_rate), below)


def _half_cosine(part: Any) -> Any:
    """1 at part 0, 0 at part 1, half a cosine between."""
    return ops.multiply(ops.add(ops.cos(ops.multiply(part, math.pi)), 1.0), 0.5)


class CosineDecay(_Schedule):
    """Half a cosine from the initial rate (or warmup_target, reached in a straight line over
    warmup_steps) down to alpha times it. Loshchilov and Hutter 2016, arXiv:1608.03983."""

    own = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.alpha, self.name = alpha, name
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def _decayed(self, step: Any, start: float) -> Any:
        curve = _half_cosine(ops.divide(step, float(self.decay_steps)))
        scale = ops.add(ops.multiply(curve, 1 - self.alpha), float(self.alpha))
        return ops.multiply(scale, float(start))

    def __call__(self, step: Any) -> Any:
        step, first = _number(step), float(self.initial_learning_rate)
        if self.warmup_target is None:
            return self._decayed(ops.minimum(step, float(self.decay_steps)), first)
        target, warmup = float(self.warmup_target), float(self.warmup_steps)
        step = ops.minimum(step, float(self.decay_steps) + warmup)
        decayed = self._decayed(ops.subtract(step, warmup), target)
        if not warmup:
            return decayed
        rising = ops.add(ops.multiply(ops.divide(step, warmup), target - first), first)
        return ops.where(ops.less(step, warmup), rising, decayed)


class CosineDecayRestarts(_Schedule):
    """Half cosines one after the other, each t_mul times as long and m_mul times as high as the
    one before. Loshchilov and Hutter 2016, arXiv:1608.03983."""

    own = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self._check_steps("first_decay_steps", first_decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def __call__(self, step: Any) -> Any:
        part = ops.divide(_number(step), float(self.first_decay_steps))
        if self.t_mul == 1.0:
            restarts = ops.floor(part)
            part = ops.subtract(part, restarts)
        else:
            grown = ops.add(ops.multiply(part, self.t_mul - 1.0), 1.0)
            turns = ops.multiply(ops.log(grown), 1.0 / math.log(self.t_mul))
            restarts = ops.floor(ops.add(turns, 1e-6))  # a restart must not be missed by rounding
            length = ops.power(float(self.t_mul), restarts)
            begin = ops.multiply(ops.subtract(length, 1.0), 1.0 / (self.t_mul - 1.0))
            part = ops.divide(ops.subtract(part, begin), length)
        curve = ops.multiply(_half_cosine(part), ops.power(float(self.m_mul), restarts))
        scale = ops.add(ops.multiply(curve, 1 - self.alpha), float(self.alpha))
        return ops.multiply(scale, float(self.initial_learning_rate))


_CLASSES = (
    CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay,
    PolynomialDecay,
)  # fmt: skip
_KNOWN: dict[str, Any] = {cls.__name__: cls for cls in _CLASSES}


def serialize(learning_rate_schedule: LearningRateSchedule) -> Any:
    """The config of a schedule."""
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The schedule that a config describes."""
    return deserialize_keras_object(config, custom_objects, module_objects=_KNOWN)


__all__ = [*_KNOWN, "LearningRateSchedule", "deserialize", "serialize"]


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.optimizers.schedules", name)
