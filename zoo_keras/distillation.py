"""Distillation: a small model learns from labels and from what a large one makes of the same data.

In: two models, losses between their outputs or layers. Out: a model whose weights to train are the
small one's. Source: keras.distillation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import losses, metrics, ops, tree
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.missing import missing
from zoo_keras.models.model import Model
from zoo_keras.nest import flatten, map_structure

_LAST = "final_output"


def _as_losses(given: Any, owner: str) -> Any:
    """Loss objects or functions of names, nested as given; None stands for no loss."""
    made = map_structure(lambda x: losses.get(x) if isinstance(x, str) else x, given)
    if all(loss is None for loss in flatten(made)):
        raise ConfigError(
            f"{owner}: `loss` must contain at least one non-`None` value. Received: loss={given!r}"
            ". Pass for example 'mse'."
        )
    return made


def _total(loss: Any, teacher: Any, student: Any, one: Any) -> Any:
    """The sum of one(loss, teacher's, student's) over all outputs that have a loss."""
    columns = zip(flatten(loss), flatten(teacher), flatten(student), strict=True)
    parts = [one(each, t, s) for each, t, s in columns if each is not None]
    return ops.sum(ops.stack(parts))


class DistillationLoss:
    """A loss between a teacher's outputs and a student's: define `compute_loss`."""

    keras_module = "keras.distillation"

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """A scalar."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define compute_loss. Received: a call of it. Define "
            "compute_loss(self, teacher_outputs, student_outputs)."
        )

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """ValueError unless both are nested alike."""
        tree.assert_same_structure(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """ValueError where the models don't have what the loss reads."""


class FeatureDistillation(DistillationLoss):
    """A loss between outputs of two layers, by their names; None means the last output.

    Args:
        loss: a name or a loss, nested as the outputs; None where an output has none.

    >>> FeatureDistillation("mse", teacher_layer_name="wide", student_layer_name="narrow")
    """

    def __init__(
        self, loss: Any = "mse", teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
    ) -> None:  # fmt: skip
        self.teacher_layer_name, self.student_layer_name = teacher_layer_name, student_layer_name
        self.loss = _as_losses(loss, "FeatureDistillation")

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """The layers must be there, in models made of inputs and outputs."""
        names = (self.teacher_layer_name, self.student_layer_name)
        models = (teacher, student)
        for role, model, name in zip(("teacher", "student"), models, names, strict=True):
            if any(names) and model._function is None:
                raise ConfigError(
                    "FeatureDistillation with specific layer names requires Functional or "
                    f"Sequential models. Received: the {role} {model.name}, a subclass. Leave the "
                    "names out, or use LogitsDistillation."
                )
            if name is not None:
                model.get_layer(name=name)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """All of them nested as the losses are."""
        super().validate_outputs(teacher_outputs, student_outputs)
        if len(flatten(self.loss)) != len(flatten(teacher_outputs)):
            raise ConfigError(
                "FeatureDistillation: loss structure mismatch. Received: "
                f"{len(flatten(self.loss))} losses for {len(flatten(teacher_outputs))} outputs. "
                "Nest the losses alike."
            )

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """The sum of the means of the losses."""
        return _total(
            self.loss, teacher_outputs, student_outputs, lambda f, t, s: ops.mean(f(t, s))
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "loss": map_structure(serialize_keras_object, self.loss),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FeatureDistillation:
        """The loss of a configuration."""
        return cls(**{**config, "loss": deserialize_keras_object(config["loss"])})


class LogitsDistillation(DistillationLoss):
    """A loss between logits divided by a temperature; KLDivergence takes their softmax, and is
    multiplied by the temperature's square.

    >>> LogitsDistillation(temperature=4.0)
    """

    def __init__(self, temperature: float = 3.0, loss: Any = "kl_divergence") -> None:
        self.temperature = temperature
        self.loss = _as_losses(loss, "LogitsDistillation")
        real = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if not real or temperature <= 0:
            raise ConfigError(
                "LogitsDistillation: temperature must be a positive number. Received: "
                f"{temperature!r}. 3 to 5 are usual."
            )

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """The sum of the means of the losses."""
        return _total(self.loss, teacher_outputs, student_outputs, self._one)

    def _one(self, loss: Any, teacher: Any, student: Any) -> Any:
        heat = self.temperature
        teacher, student = ops.divide(teacher, heat), ops.divide(student, heat)
        if not isinstance(loss, losses.KLDivergence):
            return ops.mean(loss(teacher, student))
        likely = [ops.softmax(x, axis=-1) for x in (teacher, student)]
        return ops.mean(loss(*likely)) * heat**2

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "temperature": self.temperature,
            "loss": map_structure(serialize_keras_object, self.loss),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LogitsDistillation:
        """The loss of a configuration."""
        return cls(**{**config, "loss": deserialize_keras_object(config["loss"])})


class Distiller(Model):
    """Trains a student by labels and by a teacher, which stays as it is. Calls are the student's.

    The loss is student_loss_weight times that of compile, plus the rest times the weighted sum of
    the distillation losses.

    Raises ConfigError for models that do not fit each other and for settings out of range.

    >>> distiller = Distiller(teacher, student, LogitsDistillation(3.0))
    >>> distiller.compile("adam", loss="sparse_categorical_crossentropy")
    """

    keras_module = "keras.distillation"

    def __init__(
        self,
        teacher: Any,
        student: Any,
        distillation_losses: Any,
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _check_models(teacher, student)
        self.teacher, self.student = teacher, student
        self.student_loss_weight = _share(student_loss_weight)
        self.distillation_losses, self.distillation_loss_weights = _weighted(
            distillation_losses, distillation_loss_weights
        )
        for loss in self.distillation_losses:
            loss.validate_model_compatibility(teacher, student)
        self._teacher_parts = _parts(teacher, self._names("teacher_layer_name"))
        self._student_parts = _parts(student, self._names("student_layer_name"))
        self.teacher.trainable = False
        self.student_loss_tracker = metrics.Mean(name="student_loss")
        self.distillation_loss_tracker = metrics.Mean(name="distillation_loss")
        self.total_loss_tracker = metrics.Mean(name="total_loss")
        self._student_loss: Any = None

    def _names(self, attribute: str) -> list[str]:
        found = [getattr(loss, attribute, None) for loss in self.distillation_losses]
        return list(dict.fromkeys(name for name in found if name is not None))

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """As Model.compile; loss is the student's, and must be given."""
        if loss is None or (metrics is not None and not isinstance(metrics, (list, tuple))):
            raise ConfigError(
                "Distiller.compile: 'loss' cannot be `None`, and metrics are a list. Received: "
                f"loss={loss!r}, metrics={metrics!r}. Pass the student's loss."
            )
        self._student_loss = _as_losses(loss, "Distiller")
        super().compile(optimizer=optimizer, loss=None, metrics=metrics, **kwargs)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """The student's outputs."""
        del mask
        return self.student(inputs, training=training)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                     sample_weight: Any = None, training: bool = True) -> Any:  # fmt: skip
        """The sum of both kinds of losses."""
        del sample_weight
        y_pred = self(x, training=training) if y_pred is None else y_pred
        share = self.student_loss_weight
        own: Any = 0.0
        if share > 0 and y is not None:
            columns = zip(flatten(self._student_loss), flatten(y), flatten(y_pred), strict=True)
            own = ops.sum(ops.stack([ops.mean(f(t, p)) for f, t, p in columns]))
        taught = self._taught(x, y_pred) if share < 1 else 0.0
        total = ops.add(ops.multiply(share, own), ops.multiply(1.0 - share, taught))
        self.student_loss_tracker.update_state(own)
        self.distillation_loss_tracker.update_state(taught)
        self.total_loss_tracker.update_state(total)
        return total

    def _taught(self, x: Any, y_pred: Any) -> Any:
        teacher = _outputs(self.teacher, self._teacher_parts, x, training=False)
        student = {_LAST: y_pred}
        if self._student_parts is not None:
            student = _outputs(self.student, self._student_parts, x, training=True)
        found: Any = 0.0
        weighted = zip(self.distillation_losses, self.distillation_loss_weights, strict=True)
        for loss, weight in weighted:
            named = getattr(loss, "teacher_layer_name", None)
            seen = teacher[named or _LAST]
            mine = y_pred if named is None else student[loss.student_layer_name or _LAST]
            loss.validate_outputs(seen, mine)
            found = ops.add(found, ops.multiply(weight, loss.compute_loss(seen, mine)))
        return found

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "name": self.name,
            "teacher": serialize_keras_object(self.teacher),
            "student": serialize_keras_object(self.student),
            "distillation_losses": [serialize_keras_object(x) for x in self.distillation_losses],
            "distillation_loss_weights": list(self.distillation_loss_weights),
            "student_loss_weight": self.student_loss_weight,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Distiller:
        """The distiller of a configuration."""
        made = dict(config)
        for key in ("teacher", "student"):
            made[key] = deserialize_keras_object(made[key], custom_objects=custom_objects)
        made["distillation_losses"] = [
            deserialize_keras_object(x, custom_objects=custom_objects)
            for x in made["distillation_losses"]
        ]
        return cls(**made)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(
            "Distiller: student_loss_weight must be a number between 0.0 and 1.0. Received: "
            f"{value!r}. 0.5 gives both the same weight."
        )
    return float(value)


def _weighted(given: Any, weights: Any) -> tuple[list[Any], list[float]]:
    if given is None:
        raise ConfigError(
            "Distiller: 'distillation_losses' cannot be `None`. Received: None. Pass "
            "LogitsDistillation(), FeatureDistillation(), or a list."
        )
    many = list(given) if isinstance(given, (list, tuple)) else [given]
    weights = [1.0] * len(many) if weights is None else list(weights)
    if len(weights) != len(many):
        raise ConfigError(
            f"Distiller: the number of distillation_loss_weights ({len(weights)}) must match the "
            f"number of distillation_losses ({len(many)}). Received: {weights}. Pass one for each."
        )
    return many, weights


def _check_models(teacher: Any, student: Any) -> None:
    for role, model in (("Teacher", teacher), ("Student", student)):
        if not isinstance(model, Model):
            raise ConfigError(f"{role} must be a keras.Model. Received: {model!r}. Pass a model.")
    if teacher._function is None or student._function is None:
        return
    for what in ("inputs", "outputs"):
        pairs = zip(getattr(teacher, what), getattr(student, what), strict=True)
        for a, b in pairs:
            sizes = zip(a.shape, b.shape, strict=False)
            apart = any(None not in s and s[0] != s[1] for s in sizes)
            if len(a.shape) != len(b.shape) or apart or a.dtype != b.dtype:
                raise ShapeError(
                    f"Teacher and student {what} are incompatible. Received: teacher {a.shape} "
                    f"{a.dtype}, student {b.shape} {b.dtype}. All dimensions and dtypes must match."
                )


def _parts(model: Any, names: list[str]) -> Any:
    """A model of the last output and of the layers with these names; None without names."""
    if not names:
        return None
    layers = {name: model.get_layer(name=name).output for name in names}
    return Model(model.input, {_LAST: model.output, **layers}, name=f"{model.name}_features")


def _outputs(model: Any, parts: Any, x: Any, training: bool) -> dict[str, Any]:
    if parts is None:
        return {_LAST: model(x, training=training)}
    found: dict[str, Any] = parts(x, training=training)
    return found


__all__ = ["DistillationLoss", "Distiller", "FeatureDistillation", "LogitsDistillation"]


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.distillation", name)
