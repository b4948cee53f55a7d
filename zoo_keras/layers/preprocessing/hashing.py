"""Hashing and HashedCrossing: values, or combinations of them, to a fixed number of bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.errors import DataError
from zoo_keras.layers.base.arguments import argument_error, one_of, positive, refuse
from zoo_keras.layers.base.layer import Layer, shape_error
from zoo_keras.layers.preprocessing.encoding import encode, output_mode
from zoo_keras.layers.preprocessing.lookup import salt_of
from zoo_keras.primitives.lookup import cross_bins, hash_bins


class Hashing(Layer):
    """The bin of each word or whole number by its hash: FarmHash, or SipHash with a salt.

    https://keras.io/api/layers/preprocessing_layers/categorical/hashing/

    >>> Hashing(3)(["A", "B", "C"])
    array([1, 0, 1])
    """

    on_columns = True
    list_dtype = np.int64

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else config.floatx()
        super().__init__(**kwargs)
        refuse(self, sparse=sparse)
        self.num_bins = positive(self, "num_bins", num_bins)
        self.mask_value, self.salt, self.sparse = mask_value, salt_of(self, salt), False
        self.output_mode = _mode(self, output_mode)
        if self.output_mode == "int" and self.dtype not in ("int32", "int64"):
            raise argument_error(
                self, "dtype", "int32 or int64 with output_mode='int'", self.dtype, "Leave it out."
            )

    def call(self, inputs: Any) -> Any:
        """Bins of the inputs, or encodings of them."""
        if self.output_mode == "one_hot" and inputs.shape[-1:] == (1,):
            inputs = ops.squeeze(inputs, -1)
        salt = tuple(self.salt) if self.salt else None
        options: dict[str, Any] = {"bins": self.num_bins, "mask": self.mask_value, "salt": salt}
        if self.output_mode == "int" and self.dtype == "int32":
            options["dtype"] = "int32"
        bins = hash_bins(inputs, **options)
        if self.output_mode == "int":
            return bins
        return encode(bins, self.output_mode, self.num_bins, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "salt": self.salt,
            "mask_value": self.mask_value,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
        }


class HashedCrossing(Layer):
    """The bin of values of several features that occur together: words, whole numbers or both.

    Takes a list of columns (rows,) or (rows, 1).
    https://keras.io/api/layers/preprocessing_layers/categorical/hashed_crossing/

    Raises ShapeError for fewer than two columns, or columns of different or other shapes.

    >>> HashedCrossing(5)([np.array(["A", "B", "A"]), np.array([101, 101, 102])])
    array([1, 4, 3])
    """

    on_columns = True
    list_dtype = np.int64

    def __init__(
        self, num_bins: int, output_mode: str = "int", sparse: bool = False,
        name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        if dtype is None and output_mode == "int":
            dtype = "int64"
        super().__init__(name=name, dtype=dtype, **kwargs)
        refuse(self, sparse=sparse)
        self.num_bins, self.sparse = positive(self, "num_bins", num_bins), False
        self.output_mode = one_of(self, "output_mode", output_mode, ("int", "one_hot"))

    def call(self, inputs: Any) -> Any:
        """Bins of the combinations, or one-hot rows of them."""
        shapes = [tuple(x.shape) for x in inputs] if isinstance(inputs, (list, tuple)) else []
        one_each = all(len(s) < 2 or s[1:] == (1,) for s in shapes)
        if len(shapes) < 2 or len(set(shapes)) > 1 or not one_each:
            raise shape_error(
                self, "expected a list of two or more columns (rows,) or (rows, 1)",
                f"shapes {shapes}", "Pass one column for each feature.",
            )  # fmt: skip
        self._check_dtypes(inputs)
        bins = cross_bins(*inputs, bins=self.num_bins)
        if self.output_mode == "int":
            return bins
        return encode(bins, self.output_mode, self.num_bins, self.compute_dtype)

    def _check_dtypes(self, columns: Any) -> None:
        for column in columns:
            if column.dtype not in ("string", "bytes") and "int" not in str(column.dtype):
                raise DataError(
                    f'HashedCrossing "{self.name}": a column should have an integer or string '
                    f"dtype. Received: {column.dtype}. Put numbers into bins by Discretization."
                )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "num_bins": self.num_bins,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
        }


def _mode(layer: Layer, value: Any) -> str:
    return output_mode(layer, value, ("int", "one_hot", "multi_hot", "count"))
