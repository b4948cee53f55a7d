"""Methods of models that Keras 1 and 2 had: generators of their own, classes of predictions.

In: their arguments. Out: what fit, evaluate and predict give; queues and processes are left out. A
warning names what to call today.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.missing import warn_older

_QUEUES = ("max_queue_size", "max_q_size", "workers", "nb_worker", "use_multiprocessing",
           "pickle_safe")  # fmt: skip
_SAMPLES = {"samples_per_epoch": "steps_per_epoch", "nb_val_samples": "validation_steps",
            "val_samples": "steps"}  # fmt: skip


def older_epochs(method: str, epochs: int, given: dict[str, Any]) -> int:
    """The number of epochs, also by Keras 1's `nb_epoch`, which leaves the other arguments."""
    if "nb_epoch" not in given:
        return epochs
    warn_older(method, "nb_epoch", "epochs")
    older: int = given.pop("nb_epoch")
    if epochs not in (1, older):
        raise ConfigError(
            f"{method}: nb_epoch is an older name of epochs. Received: epochs={epochs} and "
            f"nb_epoch={older}. Leave nb_epoch out."
        )
    return older


class OlderCalls:
    """Calls that go to fit, evaluate and predict."""

    fit: Any
    evaluate: Any
    predict: Any

    def fit_generator(self, generator: Any, *args: Any, **kwargs: Any) -> Any:
        """fit of Keras 2 for generators: (generator, steps_per_epoch, epochs, verbose, callbacks,
        validation_data, validation_steps, ...)."""
        names = ("steps_per_epoch", "epochs", "verbose", "callbacks", "validation_data",
                 "validation_steps", "validation_freq", "class_weight")  # fmt: skip
        return self.fit(generator, **_arguments("fit", names, args, kwargs))

    def evaluate_generator(self, generator: Any, *args: Any, **kwargs: Any) -> Any:
        """evaluate of Keras 2 for generators: (generator, steps, callbacks, ...)."""
        names = ("steps", "callbacks")
        given = {"verbose": 0, **_arguments("evaluate", names, args, kwargs)}
        return self.evaluate(generator, **given)

    def predict_generator(self, generator: Any, *args: Any, **kwargs: Any) -> Any:
        """predict of Keras 2 for generators: (generator, steps, callbacks, ...)."""
        names = ("steps", "callbacks")
        given = {"verbose": 0, **_arguments("predict", names, args, kwargs)}
        return self.predict(generator, **given)

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """predict under Keras 2's name for Sequential models."""
        warn_older("Model", "predict_proba", "predict")
        return self.predict(x, batch_size=batch_size, verbose=verbose)

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """The most probable class of each row; of one output whether it is above 0.5."""
        warn_older("Model", "predict_classes", "np.argmax(model.predict(x), axis=-1)")
        found = self.predict(x, batch_size=batch_size, verbose=verbose)
        if not isinstance(found, np.ndarray):
            raise ConfigError(
                "predict_classes is for models of one output. Received: "
                f"{len(found)} outputs. Use predict and np.argmax."
            )
        if found.shape[-1] > 1:
            return np.argmax(found, axis=-1)
        return (found > 0.5).astype("int32")


def _arguments(
    method: str, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments of `<method>_generator` as the method takes them."""
    older = f"{method}_generator"
    warn_older("Model", older, f"{method}, which takes generators")
    if len(args) > len(names):
        raise ConfigError(
            f"{older}: too many arguments without a name. Received: {len(args) + 1}. Name those "
            f"after {names[-1]}."
        )
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    for name in given.keys() & _SAMPLES.keys():
        raise ConfigError(
            f"{older}: {name} counts rows. Received: {name}={given[name]}. Pass {_SAMPLES[name]}, "
            "a number of batches."
        )
    return {name: value for name, value in given.items() if name not in _QUEUES}
