"""Layers, criterions, optimizers and metrics under BigDL's Torch-style names: thin makers of
Keras' own. In: arguments of BigDL. Out: Keras objects, which save and load as such.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from zoo_keras import initializers, layers, losses, metrics, models, ops, optimizers
from zoo_keras.configs.registration import register_keras_serializable
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.optimizers.schedules import InverseTimeDecay
from zoo_keras.saving import load_model

_SAME = float("inf")  # of dampening: as momentum
_registered = register_keras_serializable("nnframes")


# ---- models --------------------------------------------------------------------------------------


class Model:
    """`Model.loadModel(path)` reads a Keras file; `Model(inputs, outputs)` makes a Keras model."""

    def __new__(cls, input: Any, output: Any) -> Any:
        return models.Model(input, output)

    @staticmethod
    def loadModel(path: str | os.PathLike[str], weightPath: str | None = None) -> models.Model:
        """The model of a .keras or .h5 file, local or of any Hadoop file system.

        >>> net = Model.loadModel("hdfs:///models/mobilenet.keras")
        """
        if weightPath is not None:
            raise UnsupportedError(
                "Model.loadModel: a Keras file holds its weights. Received: weightPath="
                f"{weightPath!r}. Leave it out."
            )
        found: models.Model = load_model(path)
        return found

    load = loadModel


class Sequential(models.Sequential):
    """A Keras Sequential whose `add` gives the model back, so that calls can be chained.

    >>> Sequential().add(Linear(1000, 2)).add(LogSoftMax())
    """

    def add(self, layer: Any, rebuild: bool = True) -> Any:
        """Put a layer on top."""
        super().add(layer, rebuild=rebuild)
        return self


def Linear(input_size: int, output_size: int, with_bias: bool = True) -> layers.Dense:
    """Dense(output_size) for input_size numbers, with Torch's initial weights."""
    if not all(isinstance(n, int) and n > 0 for n in (input_size, output_size)):
        raise ConfigError(
            "Linear needs two whole numbers above 0. Received: "
            f"{input_size!r}, {output_size!r}. Pass e.g. Linear(1000, 2)."
        )
    most = float(input_size) ** -0.5
    start = [initializers.RandomUniform(-most, most) for _ in range(2)]
    return layers.Dense(
        output_size, use_bias=with_bias, input_shape=(input_size,),
        kernel_initializer=start[0], bias_initializer=start[1],
    )  # fmt: skip


def LogSoftMax() -> layers.Activation:
    """Activation("log_softmax")."""
    return layers.Activation("log_softmax")


def SoftMax() -> layers.Activation:
    """Activation("softmax")."""
    return layers.Activation("softmax")


def ReLU(ip: bool = False) -> layers.Activation:
    """Activation("relu")."""
    del ip
    return layers.Activation("relu")


def Tanh() -> layers.Activation:
    """Activation("tanh")."""
    return layers.Activation("tanh")


def Sigmoid() -> layers.Activation:
    """Activation("sigmoid")."""
    return layers.Activation("sigmoid")


def Dropout(init_p: float = 0.5) -> layers.Dropout:
    """Keras' Dropout, with Torch's default."""
    return layers.Dropout(init_p)


def Reshape(size: Sequence[int]) -> layers.Reshape:
    """Keras' Reshape."""
    return layers.Reshape(tuple(size))


# ---- criterions ----------------------------------------------------------------------------------


@_registered
class ClassNLLCriterion(losses.Loss):
    """-y_pred[class], where y_pred are log-probabilities, as LogSoftMax gives them.

    Args:
        size_average: the mean over rows, else their sum.
        logProbAsInput: False: y_pred are probabilities.
    """

    def __init__(
        self, weights: Any = None, size_average: bool = True, logProbAsInput: bool = True,
        name: str = "class_nll_criterion",
    ) -> None:  # fmt: skip
        if weights is not None:
            raise UnsupportedError(
                "ClassNLLCriterion: weights of classes are not supported. Received: weights="
                f"{weights!r}. Use setFitOptions({{'class_weight': {{0: 1.0, 1: 2.0}}}}), which "
                "counts classes from 0, or setWeightCol."
            )
        super().__init__(name, "sum_over_batch_size" if size_average else "sum")
        self.size_average, self.logProbAsInput = bool(size_average), bool(logProbAsInput)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One value a row, for classes from 0; DataError for a label that is none of them."""
        if not self.logProbAsInput:
            y_pred = ops.log(ops.maximum(y_pred, 1e-8))
        classes = ops.reshape(ops.cast(y_true, "int32"), y_pred.shape[:-1])
        # logsumexp - y_pred[class], from an op that checks its labels
        loss = ops.sparse_categorical_crossentropy(classes, y_pred, from_logits=True)
        return loss - ops.logsumexp(y_pred, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"size_average": self.size_average, "logProbAsInput": self.logProbAsInput}
        return {"name": self.name, **own}


@_registered
class CrossEntropyCriterion(losses.SparseCategoricalCrossentropy):
    """SparseCategoricalCrossentropy of logits, for classes from 0."""

    def __init__(self, size_average: bool = True, name: str = "cross_entropy_criterion") -> None:
        super().__init__(True, reduction=_reduction(size_average), name=name)
        self.size_average = bool(size_average)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "size_average": self.size_average}


def MSECriterion() -> losses.Loss:
    """MeanSquaredError."""
    return losses.MeanSquaredError()


def AbsCriterion(size_average: bool = True) -> losses.Loss:
    """MeanAbsoluteError."""
    return losses.MeanAbsoluteError(_reduction(size_average))


def SmoothL1Criterion(size_average: bool = True) -> losses.Loss:
    """Huber with delta 1."""
    return losses.Huber(1.0, _reduction(size_average))


def BCECriterion(size_average: bool = True) -> losses.Loss:
    """BinaryCrossentropy of probabilities; labels are 0 and 1."""
    return losses.BinaryCrossentropy(reduction=_reduction(size_average))


def _reduction(size_average: bool) -> str:
    return "sum_over_batch_size" if size_average else "sum"


# ---- optimizers ----------------------------------------------------------------------------------


@_registered
class DampedSGD(optimizers.SGD):
    """SGD as Torch has it: v = momentum * v + (1 - dampening) * g, at first v = g; w - rate * v.

    `decay` times w is added to g. With nesterov g + momentum * v takes the place of v.
    """

    def __init__(
        self, learning_rate: Any = 1e-3, momentum: float = 0.0, nesterov: bool = False,
        dampening: float = 0.0, decay: float = 0.0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        self.dampening, self.decay = dampening, decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Assign a Variable, and its slot, anew."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.decay:
            gradient = gradient + ops.multiply(self.decay, variable)
        if self.momentum:
            slot = self._slots["momentum"][self._get_variable_index(variable)]
            later = ops.multiply(self.momentum, slot) + (1 - self.dampening) * gradient
            moved = ops.where(ops.equal(self.iterations, 0), gradient, later)
            slot.assign(moved)
            gradient = gradient + self.momentum * moved if self.nesterov else moved
        variable.assign(variable - rate * gradient)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dampening": self.dampening, "decay": self.decay}


def SGD(
    learningrate: float = 1e-3, learningrate_decay: float = 0.0, weightdecay: float = 0.0,
    momentum: float = 0.0, dampening: float = _SAME, nesterov: bool = False,
) -> optimizers.Optimizer:  # fmt: skip
    """BigDL's SGD: dampening is the momentum unless it is given; the rate at step t is
    learningrate / (1 + t * learningrate_decay).

    >>> SGD(learningrate=0.01, momentum=0.9, dampening=0.0, nesterov=True)
    """
    damp = momentum if dampening == _SAME else dampening
    if nesterov and (momentum <= 0 or damp != 0):
        raise ConfigError(
            "SGD: Nesterov's momentum needs a momentum above 0 and dampening=0. Received: "
            f"momentum={momentum!r}, dampening={damp!r}. Pass both."
        )
    rate = decayed(learningrate, learningrate_decay)
    if not momentum and not weightdecay:
        return optimizers.SGD(rate)
    return DampedSGD(rate, momentum, nesterov, damp, weightdecay)


def Adam(
    learningrate: float = 1e-3, learningrate_decay: float = 0.0, beta1: float = 0.9,
    beta2: float = 0.999, epsilon: float = 1e-8,
) -> optimizers.Optimizer:  # fmt: skip
    """Keras' Adam under BigDL's names."""
    rate = decayed(learningrate, learningrate_decay)
    return optimizers.Adam(rate, beta_1=beta1, beta_2=beta2, epsilon=epsilon)


def RMSprop(
    learningrate: float = 1e-2, learningrate_decay: float = 0.0, decayrate: float = 0.99,
    epsilon: float = 1e-8,
) -> optimizers.Optimizer:  # fmt: skip
    """Keras' RMSprop under BigDL's names."""
    return optimizers.RMSprop(decayed(learningrate, learningrate_decay), decayrate, epsilon=epsilon)


def Adagrad(learningrate: float = 1e-3, learningrate_decay: float = 0.0) -> optimizers.Optimizer:
    """Keras' Adagrad, which begins with 0 as BigDL's does."""
    rate = decayed(learningrate, learningrate_decay)
    return optimizers.Adagrad(rate, initial_accumulator_value=0.0, epsilon=1e-10)


def decayed(rate: float, decay: float) -> Any:
    """A learning rate, or what it is at each step when it decays."""
    return InverseTimeDecay(rate, 1, decay) if decay else rate


# ---- methods of validation -----------------------------------------------------------------------


class ValidationMethod:
    """A metric by BigDL's name, for setValidation; `metric` makes Keras' for so many classes."""

    def metric(self, classes: int) -> Any:
        """Keras' metric; None where there is nothing to add."""
        raise NotImplementedError


class Top1Accuracy(ValidationMethod):
    """The share of rows whose class is predicted."""

    def metric(self, classes: int) -> Any:
        """Accuracy of class numbers, or of one sigmoid unit."""
        name = type(self).__name__
        if classes == 1:
            return metrics.BinaryAccuracy(name)
        return metrics.SparseCategoricalAccuracy(name)


class Accuracy(Top1Accuracy):
    """Top1Accuracy."""


class Top5Accuracy(ValidationMethod):
    """The share of rows whose class is among the five largest outputs."""

    def metric(self, classes: int) -> Any:
        """SparseTopKCategoricalAccuracy(5)."""
        return metrics.SparseTopKCategoricalAccuracy(5, "Top5Accuracy")


class AUC(ValidationMethod):
    """The area under the ROC of one sigmoid unit."""

    def __init__(self, threshold_num: int = 200) -> None:
        self.thresholds = threshold_num

    def metric(self, classes: int) -> Any:
        """Keras' AUC."""
        return metrics.AUC(self.thresholds, name="AUC")


class MAE(ValidationMethod):
    """The mean absolute error."""

    def metric(self, classes: int) -> Any:
        """MeanAbsoluteError."""
        return metrics.MeanAbsoluteError("MAE")


class MSE(ValidationMethod):
    """The mean squared error."""

    def metric(self, classes: int) -> Any:
        """MeanSquaredError."""
        return metrics.MeanSquaredError("MSE")


class Loss(ValidationMethod):
    """The criterion, which is always there as val_loss."""

    def metric(self, classes: int) -> Any:
        """Nothing to add."""
        return None
