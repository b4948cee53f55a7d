"""DTypePolicyMap: dtype policies by the paths of layers.

In: regular expressions and policies. Out: the policy of a path. A layer that is made with a map
takes what the map has for its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from zoo_keras.errors import ArgumentTypeError, ConfigError
from zoo_keras.policies import DTypePolicy, dtype_policy, usable


class DTypePolicyMap(MutableMapping):
    """Paths, or regular expressions for them -> policies, and one for all other layers.

    Raises ConfigError for keys that are there already and when several expressions match a path.
    Source: keras.dtype_policies.DTypePolicyMap.

    >>> found = DTypePolicyMap("float32", {"encoder/.*": "mixed_bfloat16"})
    >>> found["encoder/dense"].name
    'mixed_bfloat16'
    """

    keras_module = "keras.dtype_policies"

    def __init__(
        self, default_policy: Any = None, policy_map: dict[str, Any] | None = None
    ) -> None:
        if isinstance(default_policy, DTypePolicyMap):
            raise ConfigError(
                "DTypePolicyMap: `default_policy` cannot be a `DTypePolicyMap`. Received: "
                f"{default_policy!r}. Pass a policy."
            )
        if policy_map is not None and not isinstance(policy_map, dict):
            raise ArgumentTypeError(
                f"DTypePolicyMap: If specified, `policy_map` must be a dict. Received: "
                f"{policy_map!r}. Pass paths and policies."
            )
        self._default = None if default_policy is None else dtype_policy(default_policy)
        self._map: dict[str, DTypePolicy] = {}
        for key, policy in (policy_map or {}).items():
            self[key] = policy

    @property
    def default_policy(self) -> DTypePolicy:
        """That of all other layers: the global one unless another was given."""
        return dtype_policy(None) if self._default is None else self._default

    @property
    def name(self) -> str:
        """ "map_" and the default policy's."""
        return f"map_{self.default_policy.name}"

    @property
    def variable_dtype(self) -> str:
        """The default policy's."""
        return self.default_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The default policy's."""
        return self.default_policy.compute_dtype

    @property
    def quantization_mode(self) -> str | None:
        """The default policy's."""
        return self.default_policy.quantization_mode

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self._map:
            return self._map[key]
        found = [pattern for pattern in self._map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ConfigError(
                f"DTypePolicyMap: Path {key!r} matches multiple dtype policy specification keys. "
                f"Received: {found}. Make the expressions exclude each other."
            )
        return self._map[found[0]] if found else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._map:
            raise ConfigError(
                f"{key} already exist in the DTypePolicyMap as a key. Received: {policy!r}. Delete "
                "the old one first."
            )
        try:
            self._map[key] = dtype_policy(policy)
        except ConfigError:
            raise ConfigError(
                f"DTypePolicyMap: Cannot interpret the assigned value. Received: {policy!r} for "
                f"{key!r}. Assign a policy or its name."
            ) from None

    def __delitem__(self, key: str) -> None:
        del self._map[key]

    def __contains__(self, key: object) -> bool:
        return key in self._map

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._map)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments. Without a default policy all that are in the map, too, will
        follow the global one where the configuration is read."""
        return {
            "default_policy": None if self._default is None else self._default.serialize(),
            "policy_map": {key: self._written(policy) for key, policy in self._map.items()},
        }

    def _written(self, policy: DTypePolicy) -> dict[str, Any]:
        config = policy.serialize()
        if self._default is not None:
            return config
        followed = "name" if policy.quantization_mode is None else "source_name"
        return {**config, "config": {**config["config"], followed: None}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> DTypePolicyMap:
        """The map of a configuration."""
        del custom_objects
        return cls(config["default_policy"], config["policy_map"])

    def __repr__(self) -> str:
        default = None if self._default is None else self._default.name
        mapping = [(key, policy.name) for key, policy in self._map.items()]
        return f"<DTypePolicyMap default_policy={default}, mapping={mapping}>"

    def serialize(self) -> dict[str, Any]:
        """Keras' configuration."""
        return {
            "module": self.keras_module, "class_name": "DTypePolicyMap",
            "config": self.get_config(), "registered_name": None,
        }  # fmt: skip


def policy_for(dtype: Any, path: str) -> DTypePolicy:
    """The policy of a layer with this path, made with this dtype, policy or map.

    Raises UnsupportedError for one that layers cannot compute in.
    """
    return usable(dtype[path] if isinstance(dtype, DTypePolicyMap) else dtype_policy(dtype))


def name_or_policy(config: dict[str, Any]) -> Any:
    """What a layer is given as dtype in place of a configuration: a name where that says all, else
    a policy or a map."""
    if config.get("class_name") == "DTypePolicyMap":
        return DTypePolicyMap.from_config(config["config"])
    policy = dtype_policy(config)
    return policy.name if type(policy) is DTypePolicy else policy
