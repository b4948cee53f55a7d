"""The YAML that describes a model: plain values, and the tuples that Keras 1 wrote.

In: text from a user. Out: the values as JSON has them. No tag makes any other object; repeated
parts are counted before they are copied. Needs pyyaml.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo_keras.errors import ConfigError

_MOST_VALUES = 1_000_000


def parse(text: str) -> Any:
    """The value of a YAML text. ConfigError for what is none, ImportError without pyyaml."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise ImportError(
            "model_from_yaml reads YAML with the package pyyaml. Received: no such package. "
            "Install pyyaml, or use model_from_json."
        ) from error
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("tag:yaml.org,2002:python/tuple", loader.construct_yaml_seq)
    loader.add_constructor("tag:yaml.org,2002:python/unicode", loader.construct_yaml_str)
    try:
        value = yaml.load(text, loader)
    except (yaml.YAMLError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"the argument is no YAML of a model. Received: {str(error)[:200]}. Pass what to_yaml "
            "gave."
        ) from None
    return _copied(value, [_MOST_VALUES])


def _copied(value: Any, left: list[int]) -> Any:
    """The value without shared parts, which YAML's anchors make."""
    left[0] -= 1
    if left[0] < 0:
        raise ConfigError(
            f"YAML of a model has {_MOST_VALUES} values at most. Received: more, by repetition. "
            "The text is damaged or hostile."
        )
    if isinstance(value, dict):
        return {k: _copied(v, left) for k, v in value.items()}
    if isinstance(value, list):
        return [_copied(v, left) for v in value]
    return value
