"""Config: named values that can be frozen, compared and written as JSON, as keras.utils.Config."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterator
from typing import Any

from zoo_keras.errors import ConfigError


class Config:
    """Values by attribute or by key.

    Args:
        kwargs: the first values.

    Raises ConfigError when a frozen one is changed. Source: keras.utils.Config.

    >>> config = Config(rate=0.1)
    >>> config.epochs = 3
    >>> config.to_json()
    '{"rate": 0.1, "epochs": 3}'
    """

    _values: dict[str, Any]
    _frozen: bool

    def __init__(self, **kwargs: Any) -> None:
        object.__setattr__(self, "_values", dict(kwargs))
        object.__setattr__(self, "_frozen", False)

    def _check_open(self) -> None:
        if self._frozen:
            raise ConfigError(
                "Cannot mutate attribute(s) because the config is frozen. Received: a change. Call "
                "unfreeze() first."
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.__dict__.get("_values", {}):
            raise AttributeError(
                f"Config has no attribute {name!r}. Received: {name}. Its values are "
                f"{list(self.__dict__.get('_values', {}))}."
            )
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        self._check_open()
        del self._values[name]

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._check_open()
        self._values[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and other._values == self._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Config {self._values}>"

    def keys(self) -> Any:
        """The names."""
        return self._values.keys()

    def values(self) -> Any:
        """The values."""
        return self._values.values()

    def items(self) -> Any:
        """Pairs of both."""
        return self._values.items()

    def pop(self, *args: Any) -> Any:
        """Take a value out, as dict.pop."""
        self._check_open()
        return self._values.pop(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several values, as dict.update."""
        self._check_open()
        self._values.update(*args, **kwargs)

    def get(self, keyname: str, value: Any = None) -> Any:
        """A value, or another where it is missing."""
        return self._values.get(keyname, value)

    @property
    def frozen(self) -> bool:
        """Whether it cannot be changed."""
        return self._frozen

    def freeze(self) -> None:
        """Refuse changes from now on."""
        object.__setattr__(self, "_frozen", True)

    def unfreeze(self) -> None:
        """Allow changes again."""
        object.__setattr__(self, "_frozen", False)

    def as_dict(self) -> dict[str, Any]:
        """A copy as a dict."""
        return copy.copy(self._values)

    def to_json(self) -> str:
        """The values as JSON."""
        return json.dumps(self._values)

    def diff(self, other: Config) -> str:
        """The lines of both as JSON, marked where they differ."""
        first, second = (json.dumps(c._values, indent=4).splitlines() for c in (self, other))
        return "\n".join(difflib.Differ().compare(first, second))
