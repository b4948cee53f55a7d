"""FeatureSpace: columns of structured data, each encoded in its way, crossed, and put together.

In: a dict of columns, (rows,) or (rows, 1), of numbers or text. Out: one array (rows, width), or a
dict of encoded columns. The layers behind it are ordinary ones: `adapt` gives each its own column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.core import Rescaling
from zoo_keras.layers.input_layer import Input
from zoo_keras.layers.preprocessing.adapting import is_spark
from zoo_keras.layers.preprocessing.discretization import Discretization
from zoo_keras.layers.preprocessing.encoding import CategoryEncoding
from zoo_keras.layers.preprocessing.hashing import HashedCrossing, Hashing
from zoo_keras.layers.preprocessing.lookup import IntegerLookup, Lookup, StringLookup
from zoo_keras.layers.preprocessing.normalization import Normalization
from zoo_keras.naming import auto_name

_MODULE = "keras.src.layers.preprocessing.feature_space"


def _mode(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(
            f"{name}: invalid value for argument `output_mode`. Received: output_mode={value!r}. "
            f"Use one of {', '.join(map(repr, allowed))}."
        )
    return str(value)


class Cross:
    """Features whose values count together, hashed to `crossing_dim` bins."""

    keras_module = _MODULE

    def __init__(self, feature_names: Any, crossing_dim: int, output_mode: str = "one_hot") -> None:
        self.feature_names, self.crossing_dim = tuple(feature_names), crossing_dim
        self.output_mode = _mode("FeatureSpace.cross", output_mode, ("int", "one_hot"))

    @property
    def name(self) -> str:
        """The names of the features with _X_ between them."""
        return "_X_".join(self.feature_names)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "feature_names": self.feature_names, "crossing_dim": self.crossing_dim,
            "output_mode": self.output_mode,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Cross:
        """The cross of a configuration."""
        return cls(**config)


class Feature:
    """A column's dtype, the layer that it goes through, and what becomes of the layer's output:
    "one_hot", "int" or "float"."""

    keras_module = _MODULE

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        self.dtype = dtype
        if isinstance(preprocessor, dict):
            preprocessor = deserialize_keras_object(preprocessor)
        self.preprocessor = preprocessor
        self.output_mode = _mode("FeatureSpace.feature", output_mode, ("int", "one_hot", "float"))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "dtype": self.dtype,
            "preprocessor": serialize_keras_object(self.preprocessor),
            "output_mode": self.output_mode,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Feature:
        """The feature of a configuration."""
        return cls(**config)


class TFDIdentity(Layer):
    """A column as it is, under the class name of Keras' files."""

    keras_module = _MODULE

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs


class TFDConcat(Layer):
    """Columns side by side, under the class name of Keras' files."""

    keras_module = _MODULE

    def __init__(self, axis: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, xs: Any) -> Any:
        """One tensor of all."""
        return ops.concatenate(list(xs), axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


class FeatureSpace(Layer):
    """Encodes columns of structured data, learning what it must from the data.

    Args:
        features: name -> "float", "float_rescaled", "float_normalized", "float_discretized",
            "integer_categorical", "string_categorical", "integer_hashed" or "string_hashed", or
            what the methods of these names give (or `feature`, for a layer of your own).
        output_mode: "concat" for one array, "dict" for one of each column.
        crosses: tuples of names, or what `cross` gives.
        crossing_dim, hashing_dim, num_discretization_bins: for features and crosses given by name.

    Raises ConfigError for unknown kinds or names, DataError for data without a column. Source:
    keras.utils.FeatureSpace.

    >>> space = FeatureSpace({"age": "float_normalized", "city": "string_categorical"})
    >>> space.adapt({"age": [20.0, 40.0], "city": ["Rome", "Oslo"]})
    >>> space({"age": [30.0], "city": ["Oslo"]})
    array([[0., 0., 1., 0.]], dtype=float32)
    """

    keras_module = "keras.utils"

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Any = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not features:
            raise ConfigError(
                "FeatureSpace: the `features` argument cannot be None or empty. Received: "
                f"{features!r}. Name the columns and how they are encoded."
            )
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins = num_discretization_bins
        self.output_mode = _mode("FeatureSpace", output_mode, ("dict", "concat"))
        self._features = {n: self._feature(n, value) for n, value in features.items()}
        self._crosses = [self._cross(cross) for cross in crosses or ()]
        self.preprocessors = {n: f.preprocessor for n, f in self._features.items()}
        self.crossers = {c.name: HashedCrossing(c.crossing_dim, name=c.name) for c in self._crosses}
        self.one_hot_encoders: dict[str, Any] = {}
        self.concat = TFDConcat(axis=-1) if output_mode == "concat" else None
        self._is_adapted = False
        self._inputs: Any = None
        self._encoded: Any = None

    # ---- kinds of features ---------------------------------------------------------------------

    @classmethod
    def cross(cls, feature_names: Any, crossing_dim: int, output_mode: str = "one_hot") -> Cross:
        """Features that are hashed together."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """A feature with a layer of one's own."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Numbers as they are."""
        layer = TFDIdentity(dtype="float32", name=_named(name, "float"))
        return Feature("float32", layer, "float")

    @classmethod
    def float_rescaled(
        cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None
    ) -> Feature:
        """Numbers times a scale plus an offset."""
        layer = Rescaling(scale, offset, name=_named(name, "float_rescaled"))
        return Feature("float32", layer, "float")

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Numbers with mean 0 and variance 1 in the data."""
        layer = Normalization(axis=-1, name=_named(name, "float_normalized"))
        return Feature("float32", layer, "float")

    @classmethod
    def float_discretized(
        cls, num_bins: int, bin_boundaries: Any = None, output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:  # fmt: skip
        """Numbers in bins."""
        bins = {"bin_boundaries": bin_boundaries} if bin_boundaries else {"num_bins": num_bins}
        layer = Discretization(**bins, name=_named(name, "float_discretized"))
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls, max_tokens: int | None = None, num_oov_indices: int = 1, output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:  # fmt: skip
        """Whole numbers as members of a vocabulary."""
        layer = IntegerLookup(max_tokens, num_oov_indices, name=_named(name, "integer_categorical"))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls, max_tokens: int | None = None, num_oov_indices: int = 1, output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:  # fmt: skip
        """Words as members of a vocabulary."""
        layer = StringLookup(max_tokens, num_oov_indices, name=_named(name, "string_categorical"))
        return Feature("string", layer, output_mode)

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Words by their hashes."""
        layer = Hashing(num_bins, name=_named(name, "string_hashed"))
        return Feature("string", layer, output_mode)

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Whole numbers by their hashes."""
        layer = Hashing(num_bins, name=_named(name, "integer_hashed"))
        return Feature("int32", layer, output_mode)

    def _feature(self, name: str, given: Any) -> Feature:
        if isinstance(given, dict):
            given = deserialize_keras_object(given)
        if isinstance(given, Feature):
            return given
        sizes = {
            "float_discretized": {"num_bins": self.num_discretization_bins},
            "integer_hashed": {"num_bins": self.hashing_dim},
            "string_hashed": {"num_bins": self.hashing_dim},
        }
        if given not in _KINDS:
            raise ConfigError(
                f"FeatureSpace: invalid feature type of {name!r}. Received: {given!r}. Use one of "
                f"{', '.join(_KINDS)}, or what FeatureSpace.feature gives."
            )
        made: Feature = getattr(type(self), given)(name=name, **sizes.get(given, {}))
        return made

    def _cross(self, given: Any) -> Cross:
        if isinstance(given, dict):
            given = deserialize_keras_object(given)
        made = given if isinstance(given, Cross) else Cross(given, self.crossing_dim)
        unknown = [n for n in made.feature_names if n not in self._features]
        if unknown or not made.crossing_dim:
            raise ConfigError(
                "FeatureSpace: all features referenced in the `crosses` argument should be present "
                f"in the `features` dict, and crossing_dim be given. Received: {made.feature_names}"
                f" with crossing_dim={made.crossing_dim}; unknown: {unknown}. Correct the names."
            )
        return made

    @property
    def features(self) -> dict[str, Feature]:
        """Name -> Feature."""
        return self._features

    @property
    def crosses(self) -> list[Cross]:
        """The crosses."""
        return self._crosses

    # ---- learning ------------------------------------------------------------------------------

    def _adaptable(self) -> list[str]:
        return [n for n, layer in self.preprocessors.items() if _learns(layer)]

    def adapt(self, dataset: Any) -> None:
        """Let each layer learn from its column.

        Args:
            dataset: a dict of columns, a frame of pandas or polars, a DataFrame of Spark, or an
                iterable of such dicts, one for each batch.
        """
        names = self._adaptable()
        columns = dataset if is_spark(dataset) else _columns(dataset, list(self._features))
        for name in names:
            layer = self.preprocessors[name]
            if is_spark(dataset):
                layer.adapt(dataset, feature_col=name)
            else:
                layer.adapt(_as_column(columns[name], self._features[name].dtype))
        self._is_adapted = True
        self.built = True
        self._encoded = None
        self.one_hot_encoders = {}

    def _check_adapted(self) -> None:
        if not self._is_adapted and self._adaptable():
            raise ConfigError(
                f'FeatureSpace "{self.name}": you need to call `.adapt(dataset)` before you can '
                "start using it. Received: a call. Adapt it to the training data first."
            )

    # ---- encoding ------------------------------------------------------------------------------

    @property
    def inputs(self) -> dict[str, Any]:
        """Name -> KerasTensor (None, 1)."""
        if self._inputs is None:
            self._inputs = {
                n: Input(shape=(1,), dtype=f.dtype, name=n) for n, f in self._features.items()
            }
        found: dict[str, Any] = self._inputs
        return found

    def get_inputs(self) -> dict[str, Any]:
        """Inputs for a model that begins with these columns."""
        self._check_adapted()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """What the columns become, as tensors of a model: continue with layers."""
        self._check_adapted()
        if self._encoded is None:
            self._encoded = self.call(self.inputs)
        return self._encoded

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        data = args[0] if args else kwargs.get("data")
        if not isinstance(data, Mapping):
            raise DataError(
                "A FeatureSpace can only be called with a dict. Received: data="
                f"{type(data).__name__}. Pass one column for each feature by its name."
            )
        self._check_adapted()
        columns, single = {}, False
        for name, feature in self._features.items():
            if name not in data:
                raise DataError(
                    f'FeatureSpace "{self.name}": a column is missing. Received: {sorted(data)}. '
                    f"Add {name!r}."
                )
            value = data[name]
            if hasattr(value, "history") or hasattr(value, "node"):
                columns[name] = value
                continue
            single = single or np.ndim(value) == 0
            columns[name] = _as_column(value, feature.dtype)
        found = super().__call__(columns)
        if not single:
            return found
        return {n: x[0] for n, x in found.items()} if isinstance(found, dict) else found[0]

    def call(self, data: Any) -> Any:
        """name -> (rows, 1), encoded."""
        coded = {n: self.preprocessors[n](data[n]) for n in sorted(self._features)}
        for cross in sorted(self._crosses, key=lambda c: c.name):
            parts = [coded[n] for n in cross.feature_names]
            coded[cross.name] = self.crossers[cross.name](parts)
        specs: dict[str, Any] = {**self._features, **{c.name: c for c in self._crosses}}
        coded = {n: self._spread(n, x, specs[n].output_mode) for n, x in coded.items()}
        if self.concat is None:
            return coded
        self._check_numbers(coded)
        return self.concat(list(coded.values()))

    def _spread(self, name: str, x: Any, mode: str) -> Any:
        """A column as it is, or one-hot rows of its numbers."""
        if mode != "one_hot":
            return x
        if name not in self.one_hot_encoders:
            layer = self.preprocessors.get(name) or self.crossers[name]
            self.one_hot_encoders[name] = CategoryEncoding(
                _cardinality(name, layer), output_mode="multi_hot"
            )
        return self.one_hot_encoders[name](x)

    def _check_numbers(self, coded: dict[str, Any]) -> None:
        for name, x in coded.items():
            if str(x.dtype).startswith(("int", "string")):
                raise ConfigError(
                    f"FeatureSpace: cannot concatenate features because feature {name!r} has not "
                    f"been encoded. Received: dtype {x.dtype}. Use output_mode='dict'."
                )

    # ---- files ---------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "features": {n: serialize_keras_object(f) for n, f in self._features.items()},
            "output_mode": self.output_mode,
            "crosses": [serialize_keras_object(c) for c in self._crosses],
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FeatureSpace:
        """The space of a configuration, not yet adapted."""
        return cls(**config)

    def get_build_config(self) -> dict[str, Any]:
        """That of each layer."""
        return {n: layer.get_build_config() for n, layer in self.preprocessors.items()}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the layers' weights as they were."""
        for name, built in config.items():
            layer = self.preprocessors.get(name)
            if layer is not None and built and not layer.built:
                layer.build_from_config(built)
        self._is_adapted = self.built = True

    def save(self, filepath: Any, overwrite: bool = True) -> None:
        """Save it as `.keras`; saving.load_model reads it."""
        from zoo_keras.saving import save_model

        save_model(self, filepath, overwrite=overwrite)


_KINDS = (
    "float", "float_rescaled", "float_normalized", "float_discretized", "integer_categorical",
    "string_categorical", "integer_hashed", "string_hashed",
)  # fmt: skip


def _named(name: str | None, kind: str) -> str:
    return f"{name or auto_name(kind)}_preprocessor"


def _learns(layer: Any) -> bool:
    """Whether a layer is to adapt: not where it was given what it would learn."""
    if isinstance(layer, Normalization):
        return layer.input_mean is None
    if isinstance(layer, Discretization):
        return layer.num_bins is not None
    given = getattr(getattr(layer, "_lookup_layer", layer), "_given", False)
    return hasattr(layer, "adapt") and not given


def _cardinality(name: str, layer: Any) -> int:
    """How many numbers a layer may give."""
    if isinstance(layer, Lookup):
        return int(layer.vocabulary_size())
    if isinstance(layer, CategoryEncoding):
        return layer.num_tokens
    if isinstance(layer, Discretization):
        return int(layer.num_bins or len(layer.bin_boundaries or ()) + 1)
    if isinstance(layer, (Hashing, HashedCrossing)):
        return layer.num_bins
    raise ConfigError(
        f"FeatureSpace: feature {name!r} has output_mode='one_hot', but how many numbers its layer "
        f"gives is not known. Received: a {type(layer).__name__}. Use output_mode='int'."
    )


def _columns(dataset: Any, names: list[str]) -> Mapping[str, Any]:
    """Name -> column of a dict, a frame, or batches of dicts."""
    if isinstance(dataset, Mapping) or hasattr(dataset, "columns"):
        return {name: dataset[name] for name in names}
    batches = list(dataset) if hasattr(dataset, "__iter__") else []
    if not batches or not all(isinstance(batch, Mapping) for batch in batches):
        raise DataError(
            "FeatureSpace: `adapt()` takes a dict of arrays or lists, a frame, or batches of "
            f"dicts. Received: {type(dataset).__name__}. Pass one column for each feature."
        )
    return {n: np.concatenate([np.atleast_1d(np.asarray(b[n])) for b in batches]) for n in names}


def _as_column(value: Any, dtype: str) -> np.ndarray:
    """(rows, 1) of floats, whole numbers or text; other columns of two axes and more stay."""
    value = value.to_numpy() if hasattr(value, "to_numpy") else value
    array = np.asarray(value, object if dtype == "string" else None)
    if dtype != "string":
        array = array.astype("float32" if dtype.startswith("float") else "int64")
    return array.reshape(-1, 1) if array.ndim < 2 else array
